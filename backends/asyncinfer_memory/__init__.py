"""The reference store: jobs in plain dicts, every rule kept, nothing left when the process ends."""

from asyncinfer_memory._store import MemoryStore

__all__ = ["MemoryStore"]
