"""`python -m tools.reference`: make the generated blocks of every page of the documentation anew."""

from __future__ import annotations

from pathlib import Path

import asyncinfer.adapters.http
import asyncinfer.adapters.webhook
import asyncinfer.client
from asyncinfer import Attempt, GapEvent, Job, JobError, OutputEvent, Progress, ProgressEvent, ResetEvent, StatusEvent
from tools.reference import api, commands, defaults, errors, http, moves, remote_numbers, webhook
from tools.reference.blocks import Block, with_blocks

DOCS = Path(__file__).parent.parent.parent / "docs"

BLOCKS: dict[str, Block] = {
    "diagram": moves.diagram,
    "moves": moves.moves,
    "manager_defaults": defaults.manager_defaults,
    "sqlite_defaults": defaults.sqlite_defaults,
    "limits_defaults": defaults.limits_defaults,
    "queue_limits_defaults": defaults.queue_limits_defaults,
    "resources_defaults": defaults.resources_defaults,
    "memory_budget_defaults": defaults.memory_budget_defaults,
    "retention_defaults": defaults.retention_defaults,
    "retry_defaults": defaults.retry_defaults,
    "batch_defaults": defaults.batch_defaults,
    "model_defaults": defaults.model_defaults,
    "submit_defaults": defaults.submit_defaults,
    "fixed_numbers": defaults.fixed_numbers,
    "error_tree": errors.tree,
    "error_advice": errors.advice,
    "error_codes": errors.codes,
    "commands": commands.commands,
    "status_event": lambda: api.fields(StatusEvent),
    "progress_event": lambda: api.fields(ProgressEvent),
    "output_event": lambda: api.fields(OutputEvent),
    "reset_event": lambda: api.fields(ResetEvent),
    "gap_event": lambda: api.fields(GapEvent),
    "job_fields": lambda: api.fields(Job),
    "attempt_fields": lambda: api.fields(Attempt),
    "job_error_fields": lambda: api.fields(JobError),
    "progress_fields": lambda: api.fields(Progress),
    "store_contract": api.contract_of_stores,
    "outbox_contract": api.contract_of_outboxes,
    "executor_contract": api.contract_of_executors,
    "http_routes": http.routes,
    "http_operations": http.operations,
    "http_problems": http.problems,
    "http_actions": http.actions,
    "http_numbers": remote_numbers.of_http,
    "client_numbers": remote_numbers.of_client,
    **{f"wire_{name}": http.records(kinds) for name, kinds in http.RECORDS.items()},
    **{f"http_{name}": api.group(names, asyncinfer.adapters.http) for name, names in api.HTTP_GROUPS.items()},
    "webhook_schedule": webhook.schedule,
    "webhook_kinds": webhook.kinds,
    "webhook_rejected": webhook.rejected,
    "webhook_networks": webhook.refused_networks,
    "webhook_never": webhook.never_networks,
    "webhook_numbers": webhook.numbers,
    **{f"webhook_{name}": api.group(names, asyncinfer.adapters.webhook) for name, names in api.WEBHOOK_GROUPS.items()},
    **{f"client_{name}": api.group(names, asyncinfer.client) for name, names in api.CLIENT_GROUPS.items()},
    **{f"api_{name}": api.group(names) for name, names in api.GROUPS.items()},
}


def main() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text()
        after = with_blocks(before, BLOCKS)
        if after != before:
            page.write_text(after)
            print(f"made anew: {page.relative_to(DOCS)}")


if __name__ == "__main__":
    main()
