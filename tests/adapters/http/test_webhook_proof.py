"""What proves an endpoint and its sender to each other: the challenge, the test, the secrets, the public keys."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import WebhookVerificationError

from asyncinfer.adapters.webhook import Ed25519Signer, PrivateKey
from tests.adapters.http.hooks import FAILS, SECRET, Hooks, echo_the_challenge, hooked, told, verify
from tests.adapters.http.steps import slug_of
from tests.faults.harness.webhook_receiver import Behaviour, Request, answer_ok, answering


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked(echo_the_challenge) as hooks:
        yield hooks


async def echo_in_json(request: Request) -> None:
    body = json.dumps({"challenge": told(request)["data"]["challenge"]}).encode()
    await request.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def echo_with_500(request: Request) -> None:
    body = told(request)["data"]["challenge"].encode()
    await request.send(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.mark.parametrize("behave", [echo_the_challenge, echo_in_json])
async def test_an_endpoint_that_echoes_the_challenge_is_enabled(hooks: Hooks, behave: Behaviour) -> None:
    hooks.receiver.behave = behave
    endpoint = await hooks.registered(proof="challenge")
    assert (endpoint["enabled"], endpoint["verified"]) == (False, False)
    answered = await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/verify")
    assert (answered.status_code, answered.json()["enabled"], answered.json()["verified"]) == (200, True, True)
    assert "secret" not in answered.json()
    (request,) = hooks.receiver.requests
    verify(endpoint["secret"], request)
    assert told(request)["type"] == "webhook.verification"


@pytest.mark.parametrize(
    "behave",
    [answer_ok, FAILS, echo_with_500, answering(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), answering(b"no HTTP")],
)
async def test_an_endpoint_that_does_not_echo_is_not_proven(hooks: Hooks, behave: Behaviour) -> None:
    endpoint = await hooks.registered(proof="challenge")
    path = f"/v1/webhooks/{endpoint['id']}"
    hooks.receiver.behave = behave
    answered = await hooks.client.post(f"{path}/verify")
    assert (answered.status_code, slug_of(answered)) == (422, "webhook-not-proven")
    assert (await hooks.client.get(path)).json()["enabled"] is False


async def test_an_endpoint_that_has_not_proven_itself_cannot_be_enabled_otherwise(hooks: Hooks) -> None:
    endpoint = await hooks.registered(proof="challenge")
    answered = await hooks.client.patch(f"/v1/webhooks/{endpoint['id']}", json={"enabled": True})
    assert (answered.status_code, slug_of(answered)) == (422, "webhook-not-proven")
    await hooks.delivery({"endpoint": endpoint["id"]}, status="disabled")
    assert hooks.receiver.requests == []


async def test_a_proven_endpoint_must_prove_itself_again_at_a_new_url(hooks: Hooks) -> None:
    endpoint = await hooks.registered(proof="challenge")
    path = f"/v1/webhooks/{endpoint['id']}"
    await hooks.client.post(f"{path}/verify")
    moved = (await hooks.client.patch(path, json={"url": f"{hooks.url}&elsewhere"})).json()
    assert (moved["enabled"], moved["verified"]) == (False, False)
    again = (await hooks.client.post(f"{path}/verify")).json()
    assert (again["enabled"], again["verified"]) == (True, True)


async def test_a_url_that_was_changed_under_the_challenge_is_not_proven(hooks: Hooks) -> None:
    endpoint = await hooks.registered(proof="challenge")
    path = f"/v1/webhooks/{endpoint['id']}"

    async def moves_and_echoes(request: Request) -> None:
        await hooks.client.patch(path, json={"url": f"{hooks.url}&elsewhere"})
        await echo_the_challenge(request)

    hooks.receiver.behave = moves_and_echoes
    answered = await hooks.client.post(f"{path}/verify")
    assert (answered.status_code, slug_of(answered)) == (422, "webhook-not-proven")
    assert (await hooks.client.get(path)).json()["enabled"] is False


async def test_a_test_is_sent_once_and_its_answer_told(hooks: Hooks) -> None:
    hooks.receiver.behave = answer_ok
    endpoint = await hooks.registered()
    answered = await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/test")
    went = answered.json()
    assert (answered.status_code, went["kind"], went["status"], went["detail"]) == (200, "delivered", 200, "")
    assert 0 <= went["latency_seconds"] < 5
    (request,) = hooks.receiver.requests
    verify(endpoint["secret"], request)
    assert (told(request)["type"], told(request)["data"]) == ("webhook.test", {"endpoint": endpoint["id"]})


async def test_a_test_that_fails_is_an_answer_too(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    hooks.receiver.behave = FAILS
    answered = await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/test")
    assert (answered.status_code, answered.json()["kind"], answered.json()["status"]) == (200, "status", 500)
    assert (await hooks.client.get("/v1/deliveries")).json()["data"] == []


async def test_both_secrets_verify_in_the_overlap_of_a_rotation(hooks: Hooks) -> None:
    hooks.receiver.behave = answer_ok
    old = await hooks.registered()
    answered = await hooks.client.post(f"/v1/webhooks/{old['id']}/rotate-secret")
    new = answered.json()
    assert answered.status_code == 200
    assert (new["id"], new["secret_hint"]) == (old["id"], new["secret"][-4:])
    assert new["secret"] != old["secret"]
    await hooks.delivery({"endpoint": old["id"]}, status="delivered")
    (request,) = hooks.receiver.requests
    verify(old["secret"], request)
    verify(new["secret"], request)
    signatures = request.headers["webhook-signature"].split(" ")
    assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1"]


async def test_after_two_rotations_the_first_secret_verifies_no_more(hooks: Hooks) -> None:
    hooks.receiver.behave = answer_ok
    first = await hooks.registered()
    rotated = [(await hooks.client.post(f"/v1/webhooks/{first['id']}/rotate-secret")).json() for _ in range(2)]
    await hooks.delivery({"endpoint": first["id"]}, status="delivered")
    (request,) = hooks.receiver.requests
    for each in rotated:
        verify(each["secret"], request)
    with pytest.raises(WebhookVerificationError):
        verify(first["secret"], request)


async def test_the_public_keys_verify_what_is_signed_with_the_private_ones() -> None:
    async with hooked(signers=[Ed25519Signer(PrivateKey.new())]) as hooks:
        answered = await hooks.client.get("/.well-known/jwks.json")
        await hooks.delivery({"url": hooks.url}, status="delivered")
        (request,) = hooks.receiver.requests
    assert (answered.status_code, answered.headers["cache-control"]) == (200, "max-age=3600")
    (key,) = answered.json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    verify(SECRET, request)
    signature = request.headers["webhook-signature"].rpartition("v1a,")[2]
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))
    public.verify(base64.b64decode(signature, validate=True), signed)


async def test_without_keys_the_set_of_them_is_empty(hooks: Hooks) -> None:
    answered = await hooks.client.get("/.well-known/jwks.json")
    assert (answered.status_code, answered.json()) == (200, {"keys": []})


async def test_the_public_keys_are_everybodys() -> None:
    async def nobody(request: object) -> None:
        """Know nobody."""

    async with hooked(authenticate=nobody) as hooks:
        answers: list[httpx.Response] = [
            await hooks.client.get(path) for path in ("/.well-known/jwks.json", "/v1/webhooks", "/v1/deliveries")
        ]
    assert [answered.status_code for answered in answers] == [200, 401, 401]
