"""The routes of webhooks: they answer where `create_app` was given a sender, and 404 elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncinfer import wire
from asyncinfer.adapters.http import _deliveries, _webhooks
from asyncinfer.adapters.http._operation import CURSOR, INSTANT, Gives, Method, Operation, Parameter

_JOB = Parameter("id", "path", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "The job.")
_WEBHOOK = Parameter("id", "path", {"type": "string", "pattern": "^wh_[A-Za-z0-9_-]{1,61}$"}, "The receiver.")
_DELIVERY = Parameter("id", "path", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "The delivery.")
_LIMIT = Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, "How many; default 50.")
_STATUS = Parameter("status", "query", {"enum": list(_deliveries.STATUSES)}, "Of these alone.")
_KNOWN: tuple[wire.ProblemSlug, ...] = ("not-found", "validation")
_TAKES: tuple[wire.ProblemSlug, ...] = (
    *_KNOWN,
    "request-timeout",
    "payload-too-large",
    "unsupported-media-type",
    "webhook-url-rejected",
)

WEBHOOKS: Mapping[str, Mapping[Method, Operation]] = {
    "/v1/jobs/{id}/deliveries": {
        "GET": Operation(
            id="listDeliveriesOfJob",
            handler=_deliveries.of_job,
            says="The webhook deliveries of a job.",
            parameters=(_JOB,),
            gives={200: Gives("All of them.", wire.DeliveryList)},
            problems=("not-found", "job-not-found", "job-expired", "validation"),
        )
    },
    "/v1/webhooks": {
        "POST": Operation(
            id="registerWebhook",
            handler=_webhooks.register,
            says="Register a receiver of webhooks.",
            takes=wire.RegisterWebhook,
            gives={201: Gives("It, with its secret: shown here only.", wire.WebhookEndpoint, ("Location",))},
            problems=(*_TAKES, "too-many-webhooks"),
        ),
        "GET": Operation(
            id="listWebhooks",
            handler=_webhooks.find,
            says="Your registered receivers.",
            gives={200: Gives("All of them.", wire.WebhookEndpointList)},
            problems=_KNOWN,
        ),
    },
    "/v1/webhooks/{id}": {
        "GET": Operation(
            id="getWebhook",
            handler=_webhooks.get,
            says="One receiver.",
            parameters=(_WEBHOOK,),
            gives={200: Gives("It.", wire.WebhookEndpoint)},
            problems=_KNOWN,
        ),
        "PATCH": Operation(
            id="changeWebhook",
            handler=_webhooks.change,
            says="Change a receiver; enable it again.",
            parameters=(_WEBHOOK,),
            takes=wire.ChangeWebhook,
            gives={200: Gives("It, as it is now.", wire.WebhookEndpoint)},
            problems=(*_TAKES, "webhook-not-proven"),
        ),
        "DELETE": Operation(
            id="deleteWebhook",
            handler=_webhooks.delete,
            says="Forget a receiver; what is pending for it is not sent.",
            parameters=(_WEBHOOK,),
            gives={204: Gives("It is forgotten.")},
            problems=_KNOWN,
        ),
    },
    "/v1/webhooks/{id}/verify": {
        "POST": Operation(
            id="verifyWebhook",
            handler=_webhooks.verify,
            says="Ask a receiver whether it wants webhooks; it is enabled when it does.",
            parameters=(_WEBHOOK,),
            gives={200: Gives("It is proven.", wire.WebhookEndpoint)},
            problems=(*_KNOWN, "webhook-not-proven", "webhook-not-signed"),
        )
    },
    "/v1/webhooks/{id}/rotate-secret": {
        "POST": Operation(
            id="rotateWebhookSecret",
            handler=_webhooks.rotate,
            says="Give a receiver a new secret; the old one signs too for a day.",
            parameters=(_WEBHOOK,),
            gives={200: Gives("It, with its new secret: shown here only.", wire.WebhookEndpoint)},
            problems=_KNOWN,
        )
    },
    "/v1/webhooks/{id}/test": {
        "POST": Operation(
            id="testWebhook",
            handler=_webhooks.test,
            says="Send a signed `webhook.test`, once.",
            parameters=(_WEBHOOK,),
            gives={200: Gives("How it went.", wire.DeliveryAttempt)},
            problems=(*_KNOWN, "webhook-not-signed"),
        )
    },
    "/v1/webhooks/{id}/recover": {
        "POST": Operation(
            id="recoverWebhook",
            handler=_webhooks.recover,
            says="Send again what came to nothing at a receiver in a time.",
            parameters=(_WEBHOOK,),
            takes=wire.Recover,
            gives={202: Gives("How many.", wire.Recovered)},
            problems=tuple(slug for slug in _TAKES if slug != "webhook-url-rejected"),
        )
    },
    "/v1/deliveries": {
        "GET": Operation(
            id="listDeliveries",
            handler=_deliveries.find,
            says="The log of your webhooks' deliveries, newest first.",
            parameters=(
                Parameter("job", "query", _JOB.schema, "Of this job."),
                Parameter("endpoint", "query", _WEBHOOK.schema, "To this registered receiver."),
                _STATUS,
                Parameter("since", "query", INSTANT, "Not made before this instant."),
                Parameter("until", "query", INSTANT, "Not made after this instant."),
                _LIMIT,
                Parameter("after", "query", CURSOR, "The `next_cursor` of a page."),
            ),
            gives={200: Gives("A page.", wire.DeliveryList)},
            problems=_KNOWN,
        )
    },
    "/v1/deliveries/{id}": {
        "GET": Operation(
            id="getDelivery",
            handler=_deliveries.get,
            says="One delivery, with the log of its attempts.",
            parameters=(_DELIVERY,),
            gives={200: Gives("It.", wire.Delivery)},
            problems=_KNOWN,
        )
    },
    "/v1/deliveries/{id}/redeliver": {
        "POST": Operation(
            id="redeliver",
            handler=_deliveries.redeliver,
            says="Send a delivery again, with the same id and body.",
            parameters=(_DELIVERY,),
            gives={202: Gives("It will be.", wire.Delivery)},
            problems=_KNOWN,
        )
    },
    "/.well-known/jwks.json": {
        "GET": Operation(
            id="getKeys",
            handler=_webhooks.jwks,
            says="The public keys of webhooks' ed25519 signatures.",
            gives={200: Gives("A JSON Web Key Set (RFC 7517).", Any)},
            problems=("not-found",),
            is_public=True,
        )
    },
}
