"""Run `def` models in worker processes of their own: isolated, on cores of their own, ended by force when they must."""

from asyncinfer_process._process_executor import ProcessExecutor

__all__ = ["ProcessExecutor"]
