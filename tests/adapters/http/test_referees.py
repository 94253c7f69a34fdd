"""What strangers' tools make of the API: its document, and clients that were not written for it.

schemathesis asks what the document allows and what it forbids, follows its links, and compares every answer with it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, cast

import httpx
import pytest
import schemathesis
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LocationPolling, LongRunningOperation, LROBasePolling
from azure.core.rest import HttpRequest
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import CheckNode, Interaction
from schemathesis.schemas import BaseSchema

from asyncinfer import JobManager, model
from asyncinfer._codec import is_dict
from asyncinfer.adapters.http import BearerTokens, Bounds, create_app
from tests.adapters.http.models import ALL
from tests.adapters.http.serving import served_in_thread
from tests.adapters.http.steps import request_of

EXAMPLES = {"pr": 20, "rel": 400}
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
TOKENS = BearerTokens({BearerTokens.hash("ann"): "ann"})


Azure = PipelineClient[Any, Any]  # Any: whichever requests and responses it is given


@model
async def rest(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@model
async def greet(name: str = "you") -> str:
    """May be submitted without any input, which the document cannot describe: it is each model's own."""
    return f"hello {name}"


@pytest.fixture
def url() -> Iterator[str]:
    manager = JobManager("memory://", models=[*ALL, greet, rest], drain_grace=0)
    bounds = Bounds(wait_seconds=0.2, body_seconds=0.5)
    with served_in_thread(
        lambda url: create_app(manager, public_base_url=url, authenticate=TOKENS, bounds=bounds)
    ) as url:
        yield url


def test_the_document_is_openapi(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_only_what_tells_nothing_of_anybody_is_public(url: str) -> None:
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    operations = [(path, operation) for path, methods in paths.items() for operation in methods.values()]
    assert {path for path, operation in operations if not operation["security"]} == {
        "/", "/healthz", "/readyz", "/openapi.json",
    }  # fmt: skip


def test_schemathesis_finds_nothing(url: str, size: Literal["pr", "rel"]) -> None:
    run = Run(url, EXAMPLES[size], seed=1 if size == "pr" else None)
    assert run.findings == []
    assert run.phases.keys() == {"EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING"}
    # It has been further than the door.
    assert {200, 202, 204, 401, 404, 405, 415, 422} <= run.statuses.keys()


class Run:
    """One run of schemathesis with all its checks in all its phases."""

    def __init__(self, url: str, examples: int, seed: int | None) -> None:
        self.findings: list[str] = []
        self.phases: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        for event in from_schema(_schema(url, examples, seed)).execute():
            if isinstance(event, (events.NonFatalError, events.FatalError)):
                self.findings.append(repr(event))
            elif isinstance(event, events.ScenarioFinished):
                self._read(event)

    def _read(self, event: events.ScenarioFinished) -> None:
        for case, interaction in event.recorder.interactions.items():
            self.phases[event.phase.name] += 1
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
            for check in event.recorder.checks.get(case, []):
                if check.failure_info is not None and not _is_beyond_a_schema(check, interaction):
                    self.findings.append(_told(check, interaction))


def _schema(url: str, examples: int, seed: int | None) -> BaseSchema:
    settings: dict[str, Any] = {
        "headers": {"Authorization": "Bearer ann"},
        "generation": {"max-examples": examples, "database": "none"},
        "checks": {"max_response_time": 2},
        "continue-on-failure": True,
    }
    if seed is not None:
        settings["seed"] = seed
    # Any: schemathesis leaves the types of these two open.
    config: SchemathesisConfig = cast("Any", SchemathesisConfig).from_dict(settings)
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)

    cast("Any", schema).hook(map_body)
    return schema


def map_body(context: Any, body: Any) -> Any:  # Any: whatever is generated
    """Name a model and URLs that are there, else nothing would ever be made; what is wrong stays wrong."""
    if not is_dict(body):
        return body
    body = _with_url({**body, "webhook": _with_url(body["webhook"])} if "webhook" in body else body)
    if not is_dict(body.get("input", {})) or _NAME.fullmatch(str(body.get("model", ""))) is None:
        return body
    return {**body, "model": "greet", "input": {}}


def _with_url(value: Any) -> Any:  # Any: as above
    is_url = is_dict(value) and isinstance(value.get("url"), str) and 1 <= len(value["url"]) <= 2_048
    return {**value, "url": "https://hooks.example.com/cb"} if is_url else value


def _is_beyond_a_schema(check: CheckNode, interaction: Interaction) -> bool:
    """Tell whether a request was refused for what JSON Schema has no words for."""
    if check.name != "positive_data_acceptance" or interaction.response is None:
        return False
    problem = json.loads(interaction.response.content)
    slug = problem["type"].rpartition(":")[2]
    if slug in ("idempotency-key-reused", "job-expired", "no-result", "webhook-not-proven"):
        return True  # what came before decides
    if slug == "webhook-url-rejected":
        return True  # where a URL may lead is no matter of its form alone
    if slug == "malformed-request":
        return "64 bits" in problem["detail"] or "double" in problem["detail"]  # metadata is any JSON that all can read
    if slug == "payload-too-large":
        return "metadata" in problem["detail"]  # it is bounded in bytes
    if slug != "validation":
        return False
    (error,) = problem["errors"]
    return (
        # A cursor is opaque, and only one may be given.
        error["pointer"] in ("after", "before")
        # Of a date-time's offset, the format knows no bound.
        or "in the years 1 to 9999 of UTC" in error["detail"]
        # Printable is what Unicode calls so.
        or error["pointer"] in ("/labels", "/description")
        # Not beside not_before.
        or error["pointer"] == "/delay_seconds"
        # Either a URL or an endpoint, and only where there is a sender.
        or error["pointer"] == "/webhook"
        # 6.0 is an integer to JSON Schema. No client writes one so, and here it is taken for a mistake.
        or "expected int, got float" in error["detail"]
    )


def _told(check: CheckNode, interaction: Interaction) -> str:
    assert check.failure_info is not None
    response = interaction.response
    answer = "none" if response is None else f"{response.status_code} {response.content[:500]!r}"
    failure = check.failure_info.failure
    return f"{check.name}: {failure.title}: {failure.message}\n{check.failure_info.code_sample}\n-> {answer}"


# azure-core polls as Azure's services are polled: by the headers of the first answer.


@pytest.fixture
def azure(url: str) -> Iterator[Azure]:
    policies = [RequestIdPolicy(), HeadersPolicy({"Authorization": "Bearer ann"})]
    with PipelineClient[Any, Any](url, policies=policies) as client:
        yield client


def sent(client: Azure, request: HttpRequest) -> Any:  # Any: a response in the pipeline, which has no public type
    return client.send_request(request, _return_pipeline_response=True)


def body_of(response: Any) -> Any:
    return response.http_response.json()


def polling(*algorithms: LongRunningOperation[Any, Any], **options: str) -> LROBasePolling[Any, Any, Any]:
    return LROBasePolling(timeout=1, lro_algorithms=algorithms or None, lro_options=options)


def test_azure_core_follows_the_operation_location_of_a_submit_to_its_end(url: str, azure: Azure) -> None:
    first = sent(azure, HttpRequest("POST", f"{url}/v1/jobs", json=request_of("rest", {"seconds": 0.2})))
    assert first.http_response.status_code == 202
    poller = LROPoller(azure, first, body_of, polling())
    job = poller.result(30)
    assert (poller.status(), job["status"], job["output"]) == ("succeeded", "succeeded", "rested")


def test_azure_core_follows_a_put_too(url: str, azure: Azure) -> None:
    first = sent(azure, HttpRequest("PUT", f"{url}/v1/jobs/mine", json=request_of("rest", {"seconds": 0.2})))
    assert LROPoller(azure, first, body_of, polling()).result(30)["output"] == "rested"


def test_azure_core_follows_the_location_of_a_pending_result_to_the_result(url: str, azure: Azure) -> None:
    job = body_of(sent(azure, HttpRequest("POST", f"{url}/v1/jobs", json=request_of("rest", {"seconds": 0.2}))))
    pending = sent(azure, HttpRequest("GET", f"{url}/v1/jobs/{job['id']}/result"))
    assert pending.http_response.status_code == 202
    assert LROPoller(azure, pending, body_of, polling(LocationPolling())).result(30) == "rested"
    # With both headers it asks for the status, and fetches from the location what it was told to.
    options = {"final-state-via": "location"}
    assert LROPoller(azure, pending, body_of, polling(**options)).result(30) == "rested"


def test_azure_core_tells_a_failed_and_a_canceled_job_from_one_that_succeeded(url: str, azure: Azure) -> None:
    failing = sent(azure, HttpRequest("POST", f"{url}/v1/jobs", json=request_of("fails", {"message": "no luck"})))
    failed = LROPoller(azure, failing, body_of, polling())
    with pytest.raises(HttpResponseError):
        failed.result(30)
    endless = sent(azure, HttpRequest("POST", f"{url}/v1/jobs", json=request_of("waits_for_ever")))
    canceled = LROPoller(azure, endless, body_of, polling())
    azure.send_request(HttpRequest("POST", f"{url}/v1/jobs/{body_of(endless)['id']}/cancel"))
    with pytest.raises(HttpResponseError):
        canceled.result(30)
    assert (failed.status(), canceled.status()) == ("failed", "canceled")
