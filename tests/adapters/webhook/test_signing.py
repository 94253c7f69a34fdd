"""Signatures against known vectors, and against the library of Standard Webhooks."""

from __future__ import annotations

import base64
import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from asyncinfer.adapters.webhook import (
    Ed25519Signer,
    HmacSigner,
    PrivateKey,
    Secret,
    Signer,
    signed_headers,
)
from asyncinfer.errors import InvalidOption

ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1_614_265_330
BODY = b'{"test": 2432232314}'
"""The message of all the vectors below."""


async def test_v1_is_the_known_signature() -> None:
    """standard-webhooks/standard-webhooks: libraries/javascript/src/webhook.test.ts, "sign function works"."""
    signer = HmacSigner(Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))

    headers = await signed_headers(ID, TIMESTAMP, BODY, [signer])

    assert headers == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        pytest.param(
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
            id="svix/svix-webhooks: server/svix-server/src/worker.rs, test_asymmetric_key_signing",
        ),
        pytest.param(
            "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
            id="standard-webhooks: libraries/go/webhook_asymmetric_test.go, TestAsymmetricWebhookSign",
        ),
    ],
)
async def test_v1a_is_the_known_signature(key: str, signature: str) -> None:
    headers = await signed_headers(ID, TIMESTAMP, BODY, [Ed25519Signer(PrivateKey.parse(key))])

    assert headers["webhook-signature"] == signature


@given(
    message_id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    body=st.text(st.characters(codec="utf-8")).map(str.encode),
    key=st.binary(min_size=24, max_size=64),
)
@settings(deadline=None)
async def test_standardwebhooks_verifies_whatever_is_signed(message_id: str, body: bytes, key: bytes) -> None:
    secret = Secret(key)

    headers = await signed_headers(message_id, int(time.time()), body, [HmacSigner(secret)])

    Webhook(secret.reveal()).verify(body, headers, json_parse=False)


async def test_standardwebhooks_returns_the_body_that_was_signed() -> None:
    secret = Secret.new()
    body = json.dumps({"type": "job.succeeded", "data": {"output": "ä ☃"}}, ensure_ascii=False).encode()

    headers = await signed_headers("dlv_1", int(time.time()), body, [HmacSigner(secret)])

    assert Webhook(secret.reveal()).verify(body, headers) == json.loads(body)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_standardwebhooks_verifies_by_any_secret_in_any_order(order: tuple[int, ...]) -> None:
    current, previous, older = secrets = [Secret.new() for _ in range(3)]
    signers: list[Signer] = [*map(HmacSigner, secrets), Ed25519Signer(PrivateKey.new())]

    headers = await signed_headers("dlv_1", int(time.time()), b"{}", [signers[place] for place in order])

    for secret in (current, previous, older):
        Webhook(secret.reveal()).verify(b"{}", headers)


async def test_standardwebhooks_refuses_a_secret_that_did_not_sign() -> None:
    headers = await signed_headers("dlv_1", int(time.time()), b"{}", [HmacSigner(Secret.new())])

    with pytest.raises(WebhookVerificationError):
        Webhook(Secret.new().reveal()).verify(b"{}", headers)


async def test_signatures_stand_in_the_order_of_the_signers() -> None:
    current, previous = HmacSigner(Secret.new()), HmacSigner(Secret.new())
    ed25519 = Ed25519Signer(PrivateKey.new())
    message = b"dlv_1.7.{}"

    headers = await signed_headers("dlv_1", 7, b"{}", [current, previous, ed25519])

    assert headers["webhook-signature"].split(" ") == [
        await current.sign(message),
        await previous.sign(message),
        await ed25519.sign(message),
    ]


async def test_bodies_of_any_bytes_are_signed() -> None:
    headers = await signed_headers("dlv_1", 7, bytes(range(256)), [HmacSigner(Secret.new())])

    assert len(base64.b64decode(headers["webhook-signature"].removeprefix("v1,"), validate=True)) == 32


class Elsewhere(Signer):
    """A signer of somebody's own, and the messages that it was given."""

    def __init__(self, signature: str) -> None:
        self.signature = signature
        self.messages: list[bytes] = []

    async def sign(self, message: bytes) -> str:
        self.messages.append(message)
        return self.signature


async def test_a_signer_of_ones_own_is_given_the_very_bytes() -> None:
    signer = Elsewhere("v1a,AAAA")

    headers = await signed_headers("dlv_1", 7, b"\xff.", [signer])

    assert signer.messages == [b"dlv_1.7.\xff."]
    assert headers["webhook-signature"] == "v1a,AAAA"


@pytest.mark.parametrize(
    "signature", ["", "v1", "v1,", "v2,AAAA", "v1,AAAA v1,BBBB", "v1,AAAA\r\nx: y", "v1,AAAA\n", "v1,-_"]
)
async def test_a_signature_that_would_break_the_header_is_refused_and_not_shown(signature: str) -> None:
    with pytest.raises(InvalidOption, match=r"Elsewhere\.sign: expected `v1,` or") as refused:
        await signed_headers("dlv_1", 7, b"{}", [Elsewhere(signature)])

    assert "AAAA" not in str(refused.value)


@pytest.mark.parametrize("message_id", ["", "dlv.1", ".", "dlv 1", "dlv_1\n", "dlv_ä", "x" * 65])
async def test_an_id_that_would_make_the_signed_bytes_ambiguous_is_refused(message_id: str) -> None:
    with pytest.raises(InvalidOption, match="message_id"):
        await signed_headers(message_id, 7, b"{}", [HmacSigner(Secret.new())])


async def test_a_time_before_1970_is_refused() -> None:
    with pytest.raises(InvalidOption, match="timestamp"):
        await signed_headers("dlv_1", -1, b"{}", [HmacSigner(Secret.new())])


async def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(InvalidOption, match="signers"):
        await signed_headers("dlv_1", 7, b"{}", [])


def test_no_signer_shows_its_secret() -> None:
    secret, key = Secret.new(), PrivateKey.new()

    shown = f"{HmacSigner(secret)!r} {Ed25519Signer(key)!r}"

    assert secret.reveal()[6:] not in shown
    assert key.reveal()[5:] not in shown
