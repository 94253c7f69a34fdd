"""`asyncinfer webhooks`: the commands together."""

from __future__ import annotations

import typer

from asyncinfer.cli import _webhook_deliveries, _webhook_endpoints, _webhook_keys

webhooks = typer.Typer(
    help="The registered receivers of a store's or a service's webhooks, and the log of what was delivered.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
webhooks.command("list")(_webhook_endpoints.list_endpoints)
webhooks.command("add")(_webhook_endpoints.add_endpoint)
webhooks.command("rotate")(_webhook_endpoints.rotate_secret)
webhooks.command("remove")(_webhook_endpoints.remove_endpoint)
webhooks.command("enable")(_webhook_endpoints.enable_endpoint)
webhooks.command("disable")(_webhook_endpoints.disable_endpoint)
webhooks.command("prove")(_webhook_endpoints.prove_endpoint)
webhooks.command("test")(_webhook_endpoints.try_endpoint)
webhooks.command("secret")(_webhook_endpoints.make_secret)
webhooks.command("signing-key")(_webhook_keys.make_signing_key)
webhooks.command("deliveries")(_webhook_deliveries.list_deliveries)
webhooks.command("redeliver")(_webhook_deliveries.redeliver)
webhooks.command("recover")(_webhook_deliveries.recover)
