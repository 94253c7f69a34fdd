"""Follow a job over HTTP, lose the stream, resume it by the id of the last event."""

import json
from collections.abc import Iterator

import httpx
from http_app import app
from local_server import serving

from asyncinfer.client import Client
from asyncinfer.wire import OutputEvent

TOKEN = "token-of-ann"


def follow(url: str, last_id: str = "", *, until: str = "") -> str:
    """Print the events behind `last_id`, until one says `until`; return the id of the last one."""
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {TOKEN}", "Last-Event-ID": last_id}
    with httpx.stream("GET", url, headers=headers) as stream:
        if stream.status_code == 204:
            print("nothing is left")
        for message in messages(stream.iter_lines()):
            last_id = message.get("id", last_id)
            told = told_by(message)
            print(message.get("id", "-"), message["event"], *told)
            if until in told:
                break
    return last_id


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield the messages of an event stream as their fields. A comment is a field without a name."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "" and "event" in fields:
            yield fields
            fields = {}
        elif name:
            fields[name] = value


def told_by(message: dict[str, str]) -> list[str]:
    """Return what is worth showing of a message's data."""
    data = json.loads(message["data"])
    match message["event"]:
        case "status":
            return [data["status"]]
        case "output":
            return [data["value"]]
        case "done":
            return [data["job"]["status"], " ".join(data["job"]["output"])]
        case _:
            return []


def main() -> None:
    with serving(app) as server, Client(f"{server}/inference", token=TOKEN) as client:
        job = client.submit("tell", {"story": "once upon a time"})

        url = f"{server}/inference/v1/jobs/{job.id}/events"
        last_id = follow(url, until="upon")
        print("the stream is cut")
        last_id = follow(url, last_id)
        follow(url, last_id)

        # The client does all of this by itself.
        print("the client:", [event.value for event in job.events() if isinstance(event, OutputEvent)])


if __name__ == "__main__":
    main()
