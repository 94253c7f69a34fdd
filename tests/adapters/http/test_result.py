"""GET /v1/jobs/{id}/result."""

from __future__ import annotations

import base64

import httpx

from tests.adapters.http.steps import BASE, ended, running, slug_of


async def test_a_result_is_told_as_json(client: httpx.AsyncClient) -> None:
    job = await ended(client, "mirror", {"point": {"x": 1, "y": 2}})
    answered = await client.get(f"/v1/jobs/{job['id']}/result")
    assert (answered.status_code, answered.json()) == (200, {"x": 2, "y": 1})
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["etag"] == f'W/"{job["revision"]}"'


async def test_bytes_are_told_as_they_are(client: httpx.AsyncClient) -> None:
    job = await ended(client, "doubles", {"data": base64.b64encode(b"\0\xff").decode()})
    answered = await client.get(f"/v1/jobs/{job['id']}/result")
    assert (answered.status_code, answered.content) == (200, b"\0\xff\0\xff")
    assert answered.headers["content-type"] == "application/octet-stream"


async def test_a_large_result_is_told_whole(client: httpx.AsyncClient) -> None:
    data = bytes(range(256)) * 4_096
    job = await ended(client, "doubles", {"data": base64.b64encode(data).decode()})
    assert (await client.get(f"/v1/jobs/{job['id']}/result")).content == data * 2


async def test_a_pending_result_is_answered_with_the_job_and_when_to_look_again(client: httpx.AsyncClient) -> None:
    job = await running(client)
    answered = await client.get(f"/v1/jobs/{job['id']}/result")
    assert (answered.status_code, answered.json()["status"]) == (202, "running")
    assert answered.headers["retry-after"] == "1"
    assert answered.headers["location"] == f"{BASE}/v1/jobs/{job['id']}/result"
    assert answered.headers["operation-location"] == f"{BASE}/v1/jobs/{job['id']}"


async def test_a_failed_job_has_no_result(client: httpx.AsyncClient) -> None:
    job = await ended(client, "fails", {"message": "no luck"})
    answered = await client.get(f"/v1/jobs/{job['id']}/result")
    assert (answered.status_code, slug_of(answered)) == (424, "no-result")
    assert (answered.json()["job_id"], answered.json()["code"]) == (job["id"], "model_error")


async def test_a_canceled_job_has_no_result(client: httpx.AsyncClient) -> None:
    job = await running(client)
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    await client.get(f"/v1/jobs/{job['id']}", params={"wait": 10})
    answered = await client.get(f"/v1/jobs/{job['id']}/result")
    assert (answered.status_code, slug_of(answered)) == (424, "no-result")
    assert "code" not in answered.json()
