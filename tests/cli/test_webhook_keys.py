"""`asyncinfer webhooks signing-key`: a key in a file, and what may be shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncinfer.adapters.webhook import PrivateKey
from tests.cli.conftest import Asyncinfer


def test_a_signing_key_is_made_once_for_its_owner_alone(asyncinfer: Asyncinfer, tmp_path: Path) -> None:
    made = [asyncinfer("webhooks", "signing-key", "key") for _ in range(2)]

    file = tmp_path / "key"
    assert file.stat().st_mode & 0o777 == 0o600
    public = str(PrivateKey.parse(file.read_text().strip()).public())
    assert [(one.returncode, one.stdout, one.stderr) for one in made] == [(0, f"{public}\n", "")] * 2


@pytest.mark.parametrize(("file", "words"), [("other", "private key: expected"), ("no/key", "cannot be written")])
def test_a_file_that_is_no_key_stays_as_it_is(asyncinfer: Asyncinfer, tmp_path: Path, file: str, words: str) -> None:
    (tmp_path / "other").write_text("whsec_hush")

    done = asyncinfer("webhooks", "signing-key", file)

    assert (done.returncode, words in done.stderr, "hush" in done.stderr) == (1, True, False)
    assert (tmp_path / "other").read_text() == "whsec_hush"
