"""The text of secrets and keys, and that nothing shows them."""

from __future__ import annotations

import base64
import copy
import os
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncinfer.adapters.webhook import PrivateKey, PublicKey, Secret
from asyncinfer.errors import InvalidOption

PAIR_OF_SVIX = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
"""svix/svix-webhooks, server/svix-server/src/worker.rs, test_asymmetric_key_signing: the seed and its public key."""
SEED_OF_SVIX = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
PUBLIC_OF_SVIX = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
URL_UNSAFE = b"\xfb\xef\xbe" * 10 + b"\xff\xff"
"""Bytes whose base64 is nothing but + and /, and a padding."""


def test_a_new_secret_is_whsec_and_the_padded_base64_of_32_bytes() -> None:
    text = Secret.new().reveal()

    assert text.startswith("whsec_")
    assert len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) == 32


def test_no_two_new_secrets_are_equal() -> None:
    assert Secret.new() != Secret.new()


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_as_it_was_written(key: bytes) -> None:
    assert Secret.parse(Secret(key).reveal()) == Secret(key)


def test_equal_secrets_have_one_hash() -> None:
    assert len({Secret(b"k" * 32), Secret(b"k" * 32)}) == 1


def test_a_secret_is_not_its_text() -> None:
    secret = Secret.new()

    assert secret != secret.reveal()


def test_a_secret_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        setattr(Secret.new(), "key", b"x" * 32)  # noqa: B010 - a type checker refuses the assignment already


def test_a_copy_of_a_secret_is_equal() -> None:
    secret = Secret.new()

    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == secret


def test_the_hint_is_the_end_of_the_text() -> None:
    secret = Secret.new()

    assert len(secret.hint) == 4
    assert secret.reveal().endswith(secret.hint)


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{!r:>80}".format])
def test_nothing_that_shows_a_secret_shows_more_than_its_hint(shown: Callable[[Secret], str]) -> None:
    secret = Secret.new()

    text = shown(secret)

    assert secret.reveal()[6:-4] not in text
    assert repr(secret.key)[2:-1] not in text
    assert secret.hint in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begin with whsec_"),
        (base64.b64encode(b"k" * 32).decode(), "begin with whsec_"),
        ("WHSEC_" + base64.b64encode(b"k" * 32).decode(), "begin with whsec_"),
        ("whsk_" + base64.b64encode(b"k" * 32).decode(), "begin with whsec_"),
        ("whsec_" + base64.b64encode(b"k" * 32).decode().rstrip("="), "padding"),
        ("whsec_" + base64.urlsafe_b64encode(URL_UNSAFE).decode(), "URL-safe"),
        ("whsec_" + base64.b64encode(b"k" * 32).decode() + "\n", "white space"),
        ("whsec_ " + base64.b64encode(b"k" * 32).decode(), "white space"),
        ("whsec_" + base64.b64encode(b"k" * 32).decode()[:-2] + "t=", "not base64"),
        ("whsec_" + "ä" * 44, "not base64"),
        ("whsec_" + "\ud800" * 44, "not base64"),
        ("whsec_", "24 to 64 bytes, got 0"),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "24 to 64 bytes, got 23"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "24 to 64 bytes, got 65"),
    ],
)
def test_another_text_is_refused_and_not_shown(text: str, told: str) -> None:
    with pytest.raises(InvalidOption, match=told) as refused:
        Secret.parse(text)

    assert text[6:] not in str(refused.value) or not text[6:]
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("key", [b"", b"k" * 23, b"k" * 65])
def test_a_secret_of_another_size_cannot_be_made(key: bytes) -> None:
    with pytest.raises(InvalidOption, match=f"got {len(key)}"):
        Secret(key)


@given(st.text())
def test_any_text_is_a_secret_or_an_invalid_option(text: str) -> None:
    with pytest.raises(InvalidOption):
        Secret.parse("whsec_!" + text)


def test_a_private_key_is_read_as_it_was_written() -> None:
    key = PrivateKey.new()

    assert PrivateKey.parse(key.reveal()) == key
    assert PrivateKey.new() != key
    assert len({key, PrivateKey(key.seed)}) == 1


def test_a_private_key_is_read_as_standard_webhooks_and_as_svix_write_it() -> None:
    assert PrivateKey.parse(f"whsk_{PAIR_OF_SVIX}") == PrivateKey.parse(f"whsk_{SEED_OF_SVIX}")


def test_the_public_key_of_a_private_one_is_the_known_one() -> None:
    public = PrivateKey.parse(f"whsk_{SEED_OF_SVIX}").public()

    assert str(public) == f"whpk_{PUBLIC_OF_SVIX}"
    assert PublicKey.parse(f"whpk_{PUBLIC_OF_SVIX}") == public


def test_a_pair_whose_halves_do_not_belong_together_is_refused() -> None:
    pair = PrivateKey.new().seed + PrivateKey.new().public().raw

    with pytest.raises(InvalidOption, match="second half"):
        PrivateKey.parse(f"whsk_{base64.b64encode(pair).decode()}")


def test_a_private_key_is_not_shown() -> None:
    key = PrivateKey.new()

    assert key.reveal()[5:9] not in f"{key} {key!r}"


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65])
def test_keys_of_another_size_are_refused(size: int) -> None:
    text = base64.b64encode(os.urandom(size)).decode()

    with pytest.raises(InvalidOption, match=f"32 bytes, got {size}"):
        PrivateKey.parse(f"whsk_{text}")
    with pytest.raises(InvalidOption, match=f"32 bytes, got {size}"):
        PublicKey.parse(f"whpk_{text}")


def test_a_private_key_is_no_public_one() -> None:
    with pytest.raises(InvalidOption, match="begin with whpk_"):
        PublicKey.parse(PrivateKey.new().reveal())
