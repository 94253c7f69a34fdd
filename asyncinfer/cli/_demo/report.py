"""What the demo prints at its end: the types of file, the attempts that were repeated, the proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asyncinfer import Attempt
from asyncinfer.cli._demo.over_http import name_of
from asyncinfer.cli._demo.proof import Proof
from asyncinfer.cli._demo.screen import kinds_table
from asyncinfer.cli._demo.second_process import Killed
from asyncinfer.cli._job_tables import table_of

SHOWN = 20
"""Jobs of each sort that are named; the counts are of all."""


def print_report(console: Console, proof: Proof, killed: Killed) -> None:
    """Print types, repeats, and each claim with whether it holds."""
    console.print(kinds_table(Counter(proof.kinds)))
    if proof.repeats:
        console.print(_repeats(proof, killed))
    console.print("Read from the store, with every manager closed and the second process dead:")
    for holds, claim in _claims(proof, killed):
        console.print(
            Text.assemble(("  ok    ", "green") if holds else ("  WRONG ", "bold red"), claim), soft_wrap=True
        )
    for job_id, what in _offenders(proof)[:SHOWN]:
        console.print(Text(f"        {job_id}: {what}", style="red"), soft_wrap=True)


def _claims(proof: Proof, killed: Killed) -> list[tuple[bool, str]]:
    there = proof.by_worker.get(killed.worker, 0)
    here = sum(proof.by_worker.values()) - there
    of_killed = sum(repeat.lost.worker == killed.worker for repeat in proof.repeats)
    return [
        (
            not proof.lost and not proof.unexpected,
            f"{len(proof.lost)} lost: {proof.submitted:,} jobs were submitted, {proof.found:,} are in the store",
        ),
        (
            not proof.wrong,
            f"every job succeeded exactly once: {proof.succeeded_once:,} of {proof.found:,}"
            f" ({here:,} in this process, {there:,} in the second one before its end)",
        ),
        (
            proof.is_interrupted and not proof.not_repeated,
            f"{len(proof.repeats)} attempts were repeated: {of_killed} of the killed process, which was running"
            f" {len(killed.held)} at that instant",
        ),
        (proof.is_answered, _over_http(proof)),
        (proof.is_told, _by_webhooks(proof)),
    ]


def _over_http(proof: Proof) -> str:
    asked = proof.asked
    if asked.why:
        return f"not asked over HTTP: {asked.why}"
    told = f"asked over HTTP: {name_of(asked)} is {asked.label} (job {asked.job_id})"
    return told if proof.is_answered else f"{told}, but the store does not say so"


def _by_webhooks(proof: Proof) -> str:
    told = proof.told
    if told.why:
        return f"webhooks: not sent: {told.why}"
    claim = f"webhooks: {proof.found - len(proof.untold):,} of {proof.found:,} jobs told, each signature verified"
    refused = f"{told.refused:,} requests were refused" if told.refused else ""
    return "; ".join(part for part in (claim, refused, told.unsettled) if part)


def _repeats(proof: Proof, killed: Killed) -> Table:
    table = table_of("repeated job", "attempt", "next attempt", "after the kill")
    for repeat in proof.repeats[:SHOWN]:
        lost = "killed" if repeat.lost.worker == killed.worker else str(repeat.lost.outcome)
        table.add_row(
            Text(repeat.job_id, no_wrap=True),
            f"{repeat.lost.number} {lost}",
            "none" if repeat.next is None else f"{repeat.next.number} {repeat.next.outcome}",
            _after(repeat.next, killed),
        )
    if len(proof.repeats) > SHOWN:
        table.add_row(f"and {len(proof.repeats) - SHOWN} more")
    return table


def _after(attempt: Attempt | None, killed: Killed) -> str:
    return "" if attempt is None else f"{(attempt.started_at - killed.at) / 1000:.2f} s"


def _offenders(proof: Proof) -> list[tuple[str, str]]:
    return [
        *((job_id, "submitted, and not in the store") for job_id in proof.lost),
        *((job_id, "in the store, and not submitted") for job_id in proof.unexpected),
        *((job_id, "interrupted, and not run again") for job_id in proof.not_repeated),
        *((one.job_id, one.why) for one in proof.wrong),
        *((job_id, "its receiver was not told by one webhook, with this result") for job_id in _untold(proof)),
    ]


def _untold(proof: Proof) -> Sequence[str]:
    return [] if proof.told.why else proof.untold
