"""How a command that has the store calls receivers: the options of it, which a service has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from asyncinfer.cli._webhook_keys import signers_from
from asyncinfer.cli._webhook_options import guard_from

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import Guard, Signer


class Calling(Struct, frozen=True, kw_only=True):
    """The options as they were typed; those that a command does not have are left out."""

    allow_network: list[str] | None = None
    allow_http: bool = False
    port: list[int] | None = None
    egress_proxy: str | None = None
    public_base_url: str = ""
    signing_key_file: Path | None = None
    is_signing: bool = False
    """Something is sent, so the environment may name a key too."""

    @property
    def typed(self) -> Sequence[str]:
        """The options that were typed."""
        names = [name for name in self.__struct_fields__ if name != "is_signing"]
        return ["--" + name.replace("_", "-") for name in names if getattr(self, name)]

    def guard(self) -> Guard:
        """Return who may be called. Raises InvalidOption, and MissingExtra."""
        return guard_from(self.allow_network, self.port, allow_http=self.allow_http, egress_proxy=self.egress_proxy)

    def signers(self) -> Sequence[Signer]:
        """Return what signs v1a besides. Raises InvalidOption, and MissingExtra."""
        return signers_from(self.signing_key_file) if self.is_signing else ()
