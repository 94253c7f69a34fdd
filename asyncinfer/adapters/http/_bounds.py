"""What one request may ask for before anything of it is parsed."""

from __future__ import annotations

from msgspec import Struct

from asyncinfer._limits import MIB
from asyncinfer.adapters.http._problems import problem
from asyncinfer.errors import InvalidOption


class Bounds(Struct, frozen=True, kw_only=True):
    """Bounds of a request. A body may also have no more bytes than the manager's limits need (`Limits.input_bytes`)."""

    headers: int = 100
    """Header lines."""
    header_bytes: int = 32 * 1024
    """All names and values of the headers together."""
    body_seconds: float = 30.0
    """For the whole body to arrive, the waits for room to read it included."""
    bodies_bytes: int = 16 * MIB
    """Bytes of bodies above 64 KiB that are read and worked on at once; what goes beyond waits unread.

    Each byte of it costs about four of memory. One body may always go on, however large.
    """
    wait_seconds: float = 60.0
    """The longest long-poll; a request for more gets this."""
    keep_alive_seconds: float = 15.0
    """Between two comments in an event stream that has nothing to tell."""
    send_seconds: float = 30.0
    """How long a reader of an event stream may take no byte before it is dropped; it resumes by id."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise InvalidOption(f"Bounds.{name}: expected a positive number, got {getattr(self, name)!r}")

    def check_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise a Problem when there are too many or too large ones."""
        if len(headers) > self.headers:
            raise problem("headers-too-large", f"at most {self.headers} headers are read")
        if sum(len(name) + len(value) for name, value in headers) > self.header_bytes:
            raise problem("headers-too-large", f"at most {self.header_bytes} bytes of headers are read")
