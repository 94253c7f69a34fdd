"""Steps that several tests of the HTTP adapter take."""

from __future__ import annotations

from typing import Any

import httpx

from asyncinfer.wire import PROBLEM_PREFIX

Json = dict[str, Any]  # Any: JSON has no type of its own
BASE = "https://api.example.com"


def request_of(model: str, given: Json | None = None, **members: Any) -> Json:
    """Return the body of a submit."""
    return {"model": model, "input": given or {}, **members}


async def submitted(client: httpx.AsyncClient, model: str = "echo", given: Json | None = None, **members: Any) -> Json:
    """Submit a job; return it as it was accepted."""
    if model == "echo" and given is None:
        given = {"text": "hello"}
    answered = await client.post("/v1/jobs", json=request_of(model, given, **members))
    assert answered.status_code == 202, answered.text
    job: Json = answered.json()
    return job


async def ended(client: httpx.AsyncClient, model: str = "echo", given: Json | None = None, **members: Any) -> Json:
    """Submit a job; return it as it ended."""
    accepted = await submitted(client, model, given, **members)
    answered = await client.get(f"/v1/jobs/{accepted['id']}", params={"wait": 10})
    job: Json = answered.json()
    assert job["finished_at"] is not None, job
    return job


async def running(client: httpx.AsyncClient, **members: Any) -> Json:
    """Submit a job that runs until it is canceled; return it once it runs."""
    job = await submitted(client, "waits_for_ever", **members)
    while job["status"] == "queued":
        headers = {"If-None-Match": f'W/"{job["revision"]}"'}
        answered = await client.get(f"/v1/jobs/{job['id']}", params={"wait": 10, "until": "change"}, headers=headers)
        job = answered.json()
    assert job["status"] == "running"
    return job


def slug_of(answered: httpx.Response) -> str:
    """Return which problem an answer is, once it is seen to be a well-formed one."""
    assert answered.headers["content-type"] == "application/problem+json"
    document = answered.json()
    assert document["status"] == answered.status_code
    assert document["type"].startswith(PROBLEM_PREFIX)
    assert document["title"]
    slug: str = document["type"].removeprefix(PROBLEM_PREFIX)
    return slug


def pointer_of(answered: httpx.Response) -> str:
    """Return which member of the request a `validation` problem is about."""
    assert slug_of(answered) == "validation"
    (error,) = answered.json()["errors"]
    pointer: str = error["pointer"]
    return pointer
