"""The document of public keys."""

from __future__ import annotations

import base64

import msgspec

from asyncinfer.adapters.webhook import PrivateKey, PublicKey, jwks

X_OF_RFC_8037 = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_a_key_is_listed_as_rfc_8037_has_it() -> None:
    """Appendices A.2 (the public key) and A.3 (its thumbprint) of RFC 8037."""
    key = PublicKey(base64.urlsafe_b64decode(X_OF_RFC_8037 + "="))

    assert msgspec.json.decode(msgspec.json.encode(jwks([key]))) == {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": X_OF_RFC_8037,
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "alg": "EdDSA",
                "use": "sig",
            }
        ]
    }


def test_the_public_key_of_rfc_8037_is_that_of_its_private_one() -> None:
    """Appendix A.1 of RFC 8037."""
    private = PrivateKey(base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))

    assert jwks([private.public()]).keys[0].x == X_OF_RFC_8037


def test_keys_stand_in_their_order_and_once() -> None:
    current, previous = PrivateKey.new().public(), PrivateKey.new().public()

    document = jwks([current, previous, current])

    assert [key.x for key in document.keys] == [jwks([key]).keys[0].x for key in (current, previous)]
    assert len({key.kid for key in document.keys}) == 2


def test_without_keys_the_document_is_empty() -> None:
    assert msgspec.json.encode(jwks([])) == b'{"keys":[]}'
