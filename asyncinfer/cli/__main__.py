"""`python -m asyncinfer.cli` is the `asyncinfer` command."""

from asyncinfer.cli import main

main()
