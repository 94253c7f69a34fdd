"""`asyncinfer token`, and the file that it writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from asyncinfer.adapters.http import BearerTokens
from asyncinfer.cli._tokens import tokens_in
from asyncinfer.errors import InvalidOption
from tests.cli.conftest import Asyncinfer

HASH = "ab" * 32


def test_a_token_is_printed_with_its_line(asyncinfer: Asyncinfer) -> None:
    _, token, _, line = asyncinfer("token", "ann").stdout.splitlines()

    assert line.split() == ["ann", BearerTokens.hash(token.strip())]
    assert len(token.strip()) > 40


def test_a_file_gets_lines_and_keeps_those_it_has(asyncinfer: Asyncinfer, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"ann {HASH}")

    token = asyncinfer("token", "bob of sales", "--tokens-file", "tokens").stdout.strip()

    assert (tmp_path / "tokens").read_text() == f"ann {HASH}\nbob of sales {BearerTokens.hash(token)}\n"
    assert repr(tokens_in(tmp_path / "tokens")) == "<BearerTokens of 2>"


def test_a_new_file_is_its_makers_alone(asyncinfer: Asyncinfer, tmp_path: Path) -> None:
    asyncinfer("token", "ann", "--tokens-file", "tokens")

    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600


@pytest.mark.parametrize("owner", ["", " ann", "#ann", "an\nn", "a" * 256])
def test_an_owner_that_no_line_can_hold_is_refused(asyncinfer: Asyncinfer, owner: str) -> None:
    done = asyncinfer("token", owner)

    assert (done.returncode, done.stdout) == (1, "")


def test_a_file_that_cannot_be_written_is_told(asyncinfer: Asyncinfer) -> None:
    done = asyncinfer("token", "ann", "--tokens-file", "no/such/folder/tokens")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_comments_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"# who\n\n  ann\t {HASH.upper()}  \n")

    assert repr(tokens_in(tmp_path / "tokens")) == "<BearerTokens of 1>"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ann hush-hush", "line 1"),
        (f"{HASH}", "line 1"),
        (f"ann {HASH}\nbob {HASH}", "line 2"),
        ("# nobody\n", "names nobody"),
        ("ann \udcff", "UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_and_not_shown(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "tokens").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(InvalidOption, match=words) as caught:
        tokens_in(tmp_path / "tokens")

    assert "hush-hush" not in str(caught.value)
    assert HASH not in str(caught.value)
