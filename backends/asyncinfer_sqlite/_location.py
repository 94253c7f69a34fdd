"""Where a store may lie: from the URL to a path that can hold a database, or a typed refusal."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from asyncinfer.errors import InvalidOption, StoreUnusable

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "9p",
        "davfs",
        "ncpfs",
    }
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.davfs2"}
)
"""Several hosts may mount them, and neither SQLite's locks nor its log's shared memory reach across hosts."""
_MOUNTS = Path("/proc/self/mountinfo")


def path_of_url(url: str) -> Path:
    """Return the path of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raise InvalidOption on anything else."""
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not path:
        raise InvalidOption(f"store: expected sqlite:///relative.db or sqlite:////absolute.db, got {url!r}")
    if path == ":memory:":
        raise InvalidOption("store: an SQLite store is a file; for one in memory use memory://")
    if "\0" in path:
        raise InvalidOption("store: a path cannot hold a NUL character")
    return Path(path)


def prepare_file(path: Path) -> None:
    """Check that `path` can hold a store, and create it empty, for its owner only. Raise StoreUnusable."""
    folder = path.parent
    if not folder.is_dir():
        raise StoreUnusable(f"the directory {folder} does not exist: create it, or name another path")
    file_system = file_system_of(folder)
    if file_system in NETWORK_FILE_SYSTEMS:
        raise StoreUnusable(f"{path} lies on a network file system ({file_system}): use a local disk, or a Redis store")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnusable(f"the directory {folder} is not writable, and SQLite keeps its log beside the file")
    try:
        # SQLite gives its log and shared-memory files the mode of the database itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be opened for writing: {error.strerror}") from error


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that holds `folder`, as the kernel names it; empty where it does not say."""
    try:
        lines = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    # Fields: id parent major:minor root mount-point options [tags…] - type source options (proc_pid_mountinfo(5)).
    for line in lines:
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""


def free_bytes(folder: Path) -> int:
    """Return how much an ordinary user may still write there."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
