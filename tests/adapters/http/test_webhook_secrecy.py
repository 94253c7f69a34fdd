"""F28 with a sender: secrets of endpoints and tokens in URLs go to their owner and their receiver, and nowhere else."""

from __future__ import annotations

import logging

import pytest

from asyncinfer.abc import DeliveryFilter
from tests.adapters.http.hooks import FAILS, GONE, SECRET, hooked
from tests.adapters.http.steps import request_of
from tests.faults.harness.webhook_receiver import answer_ok


async def test_no_log_line_problem_or_metric_shows_a_secret_or_a_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown: list[str] = []
    async with hooked(FAILS) as hooks:
        endpoint = await hooks.registered(description="mark-of-description")
        path = f"/v1/webhooks/{endpoint['id']}"
        rotated = (await hooks.client.post(f"{path}/rotate-secret")).json()
        await hooks.delivery({"url": hooks.url}, status="pending")
        await hooks.delivery({"endpoint": endpoint["id"]}, status="pending")
        hooks.receiver.behave = GONE
        await hooks.delivery({"endpoint": endpoint["id"]}, status="disabled")
        hooks.receiver.behave = answer_ok
        url = f"{hooks.url}&more"
        refused = [
            await hooks.client.post(f"{path}/verify"),
            await hooks.client.post("/v1/webhooks", json={"url": f"{url}#fragment"}),
            await hooks.client.post("/v1/webhooks", json={"url": f"{url} "}),
            await hooks.client.post("/v1/webhooks", json={"url": url, "secret": rotated["secret"]}),
            await hooks.client.post("/v1/webhooks", json={"url": [url]}),
            await hooks.client.patch(path, json={"url": url.replace("127.0.0.1", "10.0.0.1")}),
            await hooks.client.post("/v1/jobs", json=request_of("echo", {}, webhook={"url": url})),
            await hooks.client.post("/v1/jobs", json=request_of("echo", {"text": "a"}, webhook={"url": url, "a": 1})),
            await hooks.client.get("/v1/deliveries", params={"status": url}),
            await hooks.client.get("/v1/deliveries/" + rotated["secret"]),
        ]
        assert {answered.status_code for answered in refused} == {422, 404}
        answers = [await hooks.client.get(at) for at in ("/metrics", "/v1/deliveries", "/readyz")]
        shown += [answered.text + str(answered.headers) for answered in (*refused, *answers)]
        shown += [repr(one) for one in (hooks.sender, hooks.sender.endpoints, hooks.manager)]
        shown += [repr(one) for one in await hooks.manager.outbox.endpoints("")]
        shown += [repr(one) for one in await hooks.manager.outbox.deliveries("", DeliveryFilter())]
    # The client that asks is the test's own, and logs what it asks for.
    shown += [caplog.handler.format(record) for record in caplog.records if record.name != "httpx"]
    secrets = [one["secret"].removeprefix("whsec_") for one in (endpoint, rotated, {"secret": SECRET})]
    marks = ["of-the-receiver", "mark-of-description", *secrets]
    assert [(mark, text) for mark in marks for text in shown if mark in text] == []
    assert any("webhook" in text for text in shown)
