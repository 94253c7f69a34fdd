"""GET /v1/jobs."""

from __future__ import annotations

import re

import httpx
import pytest

from asyncinfer import JobManager
from tests.adapters.http.steps import BASE, ended, pointer_of, slug_of, submitted


async def ids(client: httpx.AsyncClient, query: str) -> set[str]:
    answered = await client.get(f"/v1/jobs?{query}")
    assert answered.status_code == 200, answered.text
    return {job["id"] for job in answered.json()["data"]}


async def test_jobs_are_listed_newest_first_without_outputs(client: httpx.AsyncClient) -> None:
    jobs = [(await ended(client))["id"] for _ in range(2)]
    answered = await client.get("/v1/jobs")
    page = answered.json()
    # Ids sort by time, and within a millisecond anyhow.
    assert (page["object"], [job["id"] for job in page["data"]]) == ("list", sorted(jobs, reverse=True))
    assert [job["output"] for job in page["data"]] == [None, None]
    assert (page["next_cursor"], page["prev_cursor"]) == (None, None)
    assert "link" not in answered.headers


async def test_pages_are_turned_by_cursor_and_by_link(client: httpx.AsyncClient) -> None:
    jobs = sorted([(await submitted(client))["id"] for _ in range(5)], reverse=True)
    first = await client.get("/v1/jobs", params={"limit": 2, "model": "echo"})
    (link,) = re.findall(r'<([^>]+)>; rel="next"', first.headers["link"])
    assert link.startswith(f"{BASE}/v1/jobs?limit=2&model=echo&after=")
    second = await client.get(link)
    last = await client.get("/v1/jobs", params={"limit": 2, "after": second.json()["next_cursor"]})
    pages = [[job["id"] for job in page.json()["data"]] for page in (first, second, last)]
    assert pages == [jobs[:2], jobs[2:4], jobs[4:]]
    assert last.json()["next_cursor"] is None
    (back,) = re.findall(r'<([^>]+)>; rel="prev"', second.headers["link"])
    assert [job["id"] for job in (await client.get(back)).json()["data"]] == jobs[:2]


async def test_jobs_are_filtered(client: httpx.AsyncClient, manager: JobManager) -> None:
    await manager.pause("slow")
    done = await ended(client, labels={"run": "7", "a.b": "c d"})
    waits = await submitted(client, "waits_for_ever", labels={"run": "7"})
    both = {waits["id"], done["id"]}
    assert await ids(client, "status=queued") == {waits["id"]}
    assert await ids(client, "status=queued,succeeded") == both
    assert await ids(client, "model=echo") == {done["id"]}
    assert await ids(client, "queue=slow") == {waits["id"]}
    assert await ids(client, "label.run=7") == both
    assert await ids(client, "label.run=7&label.a.b=c%20d") == {done["id"]}
    assert await ids(client, "label.run=8") == set()
    assert await ids(client, "model=nobody") == set()
    assert await ids(client, "created_after=2020-01-01T00:00:00Z") == both
    assert await ids(client, "created_after=2098-01-01T00:00:00Z") == set()
    assert await ids(client, "created_before=2020-01-01T00:00:00%2B02:00") == set()


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2020-01-01", "created_before"),
        ("after=nonsense", "after"),
        ("before=nonsense", "before"),
        ("after=a&before=b", "before"),
        ("owner=somebody", "owner"),
        ("label.run=7&label.run=8", "label.run"),
        ("label.a%00=7", "label.a\0"),
    ],
)
async def test_a_wrong_filter_is_named(client: httpx.AsyncClient, query: str, pointer: str) -> None:
    answered = await client.get(f"/v1/jobs?{query}")
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)


async def test_a_cursor_of_another_listing_is_refused_or_harmless(client: httpx.AsyncClient) -> None:
    answered = await client.get("/v1/jobs?after=9999999999999999999999999999:job_1")
    assert slug_of(answered) == "validation"
