"""Record what a program asks of the kernel, with strace, and read it back as the steps that a disk sees."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

_TRACED = (
    "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,ftruncate,truncate,"
    "fallocate,unlink,unlinkat,rename,renameat,renameat2,link,linkat,copy_file_range,sendfile"
)
_LONGEST = 16 * 1024 * 1024
"""Bytes of one write that strace keeps."""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)", re.DOTALL)
_DESCRIPTOR = re.compile(r"^(-?\w+)<([^>]*)>(\(deleted\))?")
_TEXT = re.compile(r'"([^"]*)"')


class Created(Struct, frozen=True):
    """A name was opened with O_CREAT: it may or may not have been there."""

    path: str


class Written(Struct, frozen=True):
    """Bytes were written at an offset, or at the end where it is None."""

    path: str
    offset: int | None
    data: bytes


class Truncated(Struct, frozen=True):
    """A file was given a size."""

    path: str
    size: int


class Synced(Struct, frozen=True):
    """fsync or fdatasync of a file or a directory has returned."""

    path: str


class Unlinked(Struct, frozen=True):
    """A name is gone."""

    path: str


Step = Created | Written | Truncated | Synced | Unlinked


def record(command: Sequence[str], trace: Path, *, timeout: float) -> None:
    """Run a program to its end under strace. Raise RuntimeError with its words when it, or strace, fails."""
    strace = shutil.which("strace")
    if strace is None:
        raise RuntimeError("this test needs strace. Type: sudo apt-get install -y strace")
    recorded = [strace, "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(_LONGEST), "-e", f"trace={_TRACED}"]
    done = subprocess.run(
        [*recorded, "-o", str(trace), *command], capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command} under strace ended with {done.returncode}: {done.stderr}")


def read_steps(trace: Path, folder: Path) -> Iterator[Step]:
    """Iterate over the steps below `folder`, each at the instant when its call returned."""
    # strace escapes every byte of a path as \xNN, so this is how the folder looks there.
    marks = "".join(f"\\x{byte:02x}" for byte in str(folder).encode())
    begun: dict[str, str] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            unfinished = _UNFINISHED.match(line.rstrip("\n"))
            if unfinished is not None:
                if marks in line:
                    begun[unfinished[1]] = unfinished[3]
                continue
            resumed = _RESUMED.match(line)
            if resumed is not None:
                start = begun.pop(resumed[1], None)
                if start is not None:
                    yield from _step(resumed[2], start + resumed[3], int(resumed[4]))
            elif marks in line:
                whole = _LINE.match(line)
                if whole is not None:
                    yield from _step(whole[2], whole[3], int(whole[4]))


def _step(call: str, arguments: str, answer: int) -> Iterator[Step]:
    if answer < 0:
        return
    if call in ("openat", "open", "creat"):
        if "O_CREAT" in arguments or call == "creat":
            yield Created(_texts(arguments)[0].decode())
        return
    if call in ("unlink", "unlinkat"):
        yield Unlinked(_texts(arguments)[0].decode())
        return
    if call.startswith("rename"):
        # The database renames nothing; its neighbours in the folder are of no interest here.
        return
    descriptor = _DESCRIPTOR.match(arguments)
    if descriptor is None:
        raise RuntimeError(f"a call that this reader does not know: {call}({arguments[:200]})")
    if descriptor[3]:
        return
    path = _unescape(descriptor[2]).decode()
    if call in ("fsync", "fdatasync"):
        yield Synced(path)
    elif call == "ftruncate":
        yield Truncated(path, int(arguments.rsplit(",", 1)[1]))
    elif call == "pwrite64":
        yield Written(path, int(arguments.rsplit(",", 1)[1]), _texts(arguments)[0][:answer])
    elif call == "write":
        yield Written(path, None, _texts(arguments)[0][:answer])
    else:
        raise RuntimeError(f"a call that this reader does not know: {call}({arguments[:200]})")


def _texts(arguments: str) -> list[bytes]:
    return [_unescape(text) for text in _TEXT.findall(arguments)]


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
