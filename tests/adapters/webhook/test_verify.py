"""What a receiver accepts, and that all else is one error."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook
from starlette.datastructures import Headers

from asyncinfer.adapters.webhook import (
    Ed25519Signer,
    HmacSigner,
    PrivateKey,
    Secret,
    SignatureInvalid,
    Signer,
    signed_headers,
    verify,
)
from asyncinfer.errors import AsyncinferError, InvalidOption

SECRET, OTHER_SECRET = Secret.new(), Secret.new()
KEY, OTHER_KEY = PrivateKey.new(), PrivateKey.new()
WHSEC, OTHER_WHSEC = SECRET.reveal(), OTHER_SECRET.reveal()
WHPK, OTHER_WHPK = str(KEY.public()), str(OTHER_KEY.public())
NOW = 1_614_265_330
BODY = b'{"type":"job.succeeded"}'
WRONG = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
V1, V1A = HmacSigner(SECRET), Ed25519Signer(KEY)


def signed(*signers: Signer, message_id: str = "dlv_1", timestamp: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return asyncio.run(signed_headers(message_id, timestamp, body, signers))


HEADERS = signed(V1, V1A)


@pytest.mark.parametrize("secrets", [WHSEC, WHPK, [WHSEC], (WHPK,), [WHSEC, WHPK], [OTHER_WHSEC, OTHER_WHPK, WHPK]])
def test_a_request_signed_by_one_of_the_secrets_is_accepted(secrets: str | Sequence[str]) -> None:
    verify(BODY, HEADERS, secrets, now=NOW)


@pytest.mark.parametrize("secrets", [OTHER_WHSEC, OTHER_WHPK, [OTHER_WHSEC, OTHER_WHPK]])
def test_a_request_signed_by_another_is_refused(secrets: str | Sequence[str]) -> None:
    with pytest.raises(SignatureInvalid, match="message dlv_1: no signature is by any of the"):
        verify(BODY, HEADERS, secrets, now=NOW)


@pytest.mark.parametrize("secret", [WHSEC, OTHER_WHSEC])
@pytest.mark.parametrize("order", [(SECRET, OTHER_SECRET), (OTHER_SECRET, SECRET)])
def test_a_rotation_of_the_sender_passes_unseen(secret: str, order: Sequence[Secret]) -> None:
    verify(BODY, signed(*map(HmacSigner, order)), secret, now=NOW)


@pytest.mark.parametrize("secret", [WHPK, OTHER_WHPK])
@pytest.mark.parametrize("order", [(KEY, OTHER_KEY), (OTHER_KEY, KEY)])
def test_a_rotation_of_the_senders_key_passes_unseen(secret: str, order: Sequence[PrivateKey]) -> None:
    verify(BODY, signed(*map(Ed25519Signer, order)), secret, now=NOW)


@pytest.mark.parametrize("signer", [V1, HmacSigner(OTHER_SECRET), V1A, Ed25519Signer(OTHER_KEY)])
@pytest.mark.parametrize("secrets", [[WHSEC, OTHER_WHSEC, WHPK, OTHER_WHPK], [OTHER_WHPK, WHPK, OTHER_WHSEC, WHSEC]])
def test_a_rotation_of_the_receiver_passes_unseen(signer: Signer, secrets: Sequence[str]) -> None:
    verify(BODY, signed(signer), secrets, now=NOW)


def test_what_standardwebhooks_signs_is_accepted() -> None:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(WHSEC).sign("msg_1", now, BODY.decode()),
    }

    verify(BODY, headers, WHSEC)


def test_signatures_of_other_versions_and_keys_are_passed_over() -> None:
    signature = f"{WRONG} v2,AAAA nonsense v1a,AAAA v1 {HEADERS['webhook-signature']} v1,"

    verify(BODY, HEADERS | {"webhook-signature": signature}, WHSEC, now=NOW)
    verify(BODY, HEADERS | {"webhook-signature": signature}, WHPK, now=NOW)


@pytest.mark.parametrize("version", ["v1", "v1a", "v2", ""])
def test_a_signature_counts_only_under_its_own_version(version: str) -> None:
    v1, v1a = (signature.partition(",")[2] for signature in HEADERS["webhook-signature"].split(" "))
    crossed = f"{version},{v1a if version == 'v1' else v1} {version},{v1 if version == 'v1a' else 'AAAA'}"

    with pytest.raises(SignatureInvalid):
        verify(BODY, HEADERS | {"webhook-signature": crossed}, [WHSEC, WHPK], now=NOW)


@pytest.mark.parametrize("case", [str.title, str.upper, str.lower])
def test_header_names_may_have_any_case(case: Callable[[str], str]) -> None:
    verify(BODY, {case(name): value for name, value in HEADERS.items()}, WHSEC, now=NOW)


def test_the_headers_of_a_starlette_request_are_taken() -> None:
    verify(BODY, Headers(HEADERS), WHSEC, now=NOW)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_missing_header_is_refused(name: str) -> None:
    with pytest.raises(SignatureInvalid, match=f"{name}: expected one such header, got 0"):
        verify(BODY, {other: value for other, value in HEADERS.items() if other != name}, WHSEC, now=NOW)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_header_that_comes_twice_is_refused(name: str) -> None:
    twice = Headers(raw=[(key.encode(), value.encode()) for key, value in [*HEADERS.items(), (name, HEADERS[name])]])

    with pytest.raises(SignatureInvalid, match=f"{name}: expected one such header, got 2"):
        verify(BODY, twice, WHSEC, now=NOW)
    with pytest.raises(SignatureInvalid, match=f"{name}: expected one such header, got 2"):
        verify(BODY, HEADERS | {name.upper(): HEADERS[name]}, WHSEC, now=NOW)


@pytest.mark.parametrize(
    "malformed",
    [
        {"webhook-id": ""},
        {"webhook-id": "dlv 1"},
        {"webhook-id": "dlv_ä"},
        {"webhook-id": "\ud800"},
        {"webhook-id": "x" * 256},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "hello"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": f"{NOW}.0"},
        {"webhook-timestamp": f" {NOW}"},
        {"webhook-timestamp": f"{NOW}\n"},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-timestamp": "9" * 5_000},
        {"webhook-signature": ""},
        {"webhook-signature": " "},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1a,\ud800"},
        {"webhook-signature": "v1,ä"},
        {"webhook-signature": "v1,Ceo5qEr0"},
        {"webhook-signature": WRONG},
        {"webhook-signature": HEADERS["webhook-signature"].replace(" ", "\t")},
        {"webhook-signature": HEADERS["webhook-signature"].replace(" ", ",")},
        {"webhook-signature": HEADERS["webhook-signature"].replace("=", "")},
    ],
)
def test_a_malformed_header_is_refused(malformed: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        verify(BODY, HEADERS | malformed, [WHSEC, WHPK], now=NOW)


def test_a_header_that_asks_for_many_checks_is_refused() -> None:
    signatures = [*[WRONG] * 15, HEADERS["webhook-signature"].split(" ")[0]]

    verify(BODY, HEADERS | {"webhook-signature": " ".join(signatures)}, WHSEC, now=NOW)
    with pytest.raises(SignatureInvalid, match="more than 16 signatures"):
        verify(BODY, HEADERS | {"webhook-signature": " ".join([WRONG, *signatures])}, WHSEC, now=NOW)


def test_an_id_with_a_dot_cannot_pass_for_another_message() -> None:
    """`dlv_1` at NOW with this body is signed as `dlv_1.NOW` a minute later with the rest of it would be."""
    later = NOW + 60
    headers = signed(V1, body=f"{later}.{{}}".encode())
    shifted = headers | {"webhook-id": f"dlv_1.{NOW}", "webhook-timestamp": str(later)}

    with pytest.raises(SignatureInvalid, match="webhook-id: malformed"):
        verify(b"{}", shifted, WHSEC, now=later)


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_a_timestamp_within_the_tolerance_is_accepted(age: float) -> None:
    verify(BODY, HEADERS, WHSEC, now=NOW + age)


@pytest.mark.parametrize(("age", "told"), [(301, "301 s old"), (-301, "301 s ahead"), (float("nan"), "nan")])
def test_a_timestamp_beyond_the_tolerance_is_refused(age: float, told: str) -> None:
    with pytest.raises(SignatureInvalid, match=told):
        verify(BODY, HEADERS, WHSEC, now=NOW + age)


def test_the_tolerance_is_the_receivers_to_choose() -> None:
    verify(BODY, HEADERS, WHSEC, now=NOW + 3_600, tolerance=3_600)
    verify(BODY, HEADERS, WHSEC, tolerance=float("inf"))
    with pytest.raises(SignatureInvalid):
        verify(BODY, HEADERS, WHSEC, now=NOW + 1, tolerance=0)
    with pytest.raises(SignatureInvalid):
        verify(BODY, HEADERS, WHSEC, now=NOW, tolerance=float("nan"))


def test_now_is_the_clock_of_this_machine() -> None:
    verify(BODY, signed(V1, timestamp=int(time.time())), WHSEC)
    with pytest.raises(SignatureInvalid, match="s old"):
        verify(BODY, HEADERS, WHSEC)


@given(
    which=st.sampled_from(["webhook-id", "webhook-timestamp", "body"]),
    place=st.integers(min_value=0),
    flip=st.integers(min_value=1, max_value=255),
)
@settings(deadline=None)
def test_any_other_byte_in_id_timestamp_or_body_is_refused(which: str, place: int, flip: int) -> None:
    parts = {name: value.encode("latin-1") for name, value in HEADERS.items()} | {"body": BODY}
    changed = bytearray(parts[which])
    changed[place % len(changed)] ^= flip
    parts[which] = bytes(changed)
    headers = {name: parts[name].decode("latin-1") for name in HEADERS}

    with pytest.raises(SignatureInvalid):
        verify(parts["body"], headers, [WHSEC, WHPK], now=NOW, tolerance=float("inf"))


@given(
    which=st.sampled_from(["webhook-id", "webhook-timestamp", "body"]),
    place=st.integers(min_value=0),
    byte=st.binary(max_size=1),
)
@settings(deadline=None)
def test_a_byte_more_or_less_is_refused(which: str, place: int, byte: bytes) -> None:
    parts = {name: value.encode("latin-1") for name, value in HEADERS.items()} | {"body": BODY}
    whole, at = parts[which], place % len(parts[which])
    parts[which] = whole[:at] + byte + whole[at if byte else at + 1 :]
    headers = {name: parts[name].decode("latin-1") for name in HEADERS}

    with pytest.raises(SignatureInvalid):
        verify(parts["body"], headers, [WHSEC, WHPK], now=NOW, tolerance=float("inf"))


any_text = st.text(st.characters(exclude_categories=()))
any_signatures = st.lists(
    st.one_of(
        any_text, st.binary().map(lambda raw: f"v1a,{raw!r}"), st.sampled_from([WRONG, "v1a,AAAA", "v1,", "v1a,"])
    )
).map(" ".join)


@given(
    body=st.binary(),
    headers=st.dictionaries(st.one_of(st.sampled_from(list(HEADERS)), any_text), any_text),
    plausible=st.fixed_dictionaries(
        {},
        optional={
            "webhook-id": st.sampled_from(["dlv_1", "Dlv-2"]),
            "webhook-timestamp": st.sampled_from([str(NOW), "0", "9" * 12]),
            "webhook-signature": any_signatures,
        },
    ),
)
@settings(deadline=None, max_examples=500)
def test_whatever_arrives_nothing_but_signature_invalid_is_raised(
    body: bytes, headers: dict[str, str], plausible: dict[str, str]
) -> None:
    with pytest.raises(SignatureInvalid):
        verify(body, headers | plausible, [WHSEC, WHPK], now=NOW, tolerance=float("inf"))


@pytest.mark.parametrize("value", [None, b"dlv_1", 7, ["dlv_1"]])
@pytest.mark.parametrize("name", list(HEADERS))
def test_a_header_that_is_no_text_is_refused(name: str, value: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(BODY, HEADERS | {name: value}, [WHSEC, WHPK], now=NOW)


def test_headers_whose_names_are_bytes_are_refused() -> None:
    raw: Mapping[str, str] = {name.encode(): value for name, value in HEADERS.items()}  # type: ignore[misc] # pyright: ignore[reportAssignmentType]

    with pytest.raises(SignatureInvalid):
        verify(BODY, raw, WHSEC, now=NOW)


@pytest.mark.parametrize(
    "secrets",
    [
        "",
        [],
        (),
        "secret",
        [WHSEC, ""],
        "whsec_",
        WHSEC.rstrip("="),
        WHSEC[6:],
        "whpk_AAAA",
        KEY.reveal(),
        [None],
        [b"x"],
    ],
)
def test_a_secret_that_is_none_is_the_receivers_own_mistake_and_not_shown(secrets: str | Sequence[str]) -> None:
    with pytest.raises(InvalidOption) as refused:
        verify(BODY, HEADERS, secrets, now=NOW)

    assert WHSEC[6:20] not in str(refused.value)
    assert KEY.reveal()[5:20] not in str(refused.value)


def test_a_body_that_was_decoded_is_the_receivers_own_mistake() -> None:
    with pytest.raises(InvalidOption, match="raw bytes"):
        verify(BODY.decode(), HEADERS, WHSEC, now=NOW)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_an_error_shows_neither_secret_nor_signature() -> None:
    with pytest.raises(SignatureInvalid) as refused:
        verify(BODY, HEADERS, [OTHER_WHSEC, OTHER_WHPK], now=NOW)

    assert isinstance(refused.value, AsyncinferError)
    assert OTHER_WHSEC[6:12] not in str(refused.value)
    assert HEADERS["webhook-signature"][3:12] not in str(refused.value)


def run_without_extras(program: str) -> None:
    """Run it where nothing is installed but what asyncinfer itself needs."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['cryptography', 'httpcore', 'starlette', 'httpx']))\n"
    subprocess.run([sys.executable, "-c", blocked + program], check=True, timeout=60)


def test_v1_needs_no_extra() -> None:
    run_without_extras(
        f"from asyncinfer.adapters.webhook import verify\nverify({BODY!r}, {HEADERS!r}, {WHSEC!r}, now={NOW})\n"
    )


def test_v1a_without_cryptography_tells_what_to_install() -> None:
    run_without_extras(
        "from asyncinfer.adapters.webhook import verify\n"
        "from asyncinfer.errors import MissingExtra\n"
        "try:\n"
        f"    verify({BODY!r}, {HEADERS!r}, {WHPK!r}, now={NOW})\n"
        "except MissingExtra as error:\n"
        "    assert \"pip install 'asyncinfer[webhook]'\" in str(error)\n"
        "else:\n"
        "    raise AssertionError('accepted')\n"
    )
