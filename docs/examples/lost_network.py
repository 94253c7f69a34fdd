"""A phone submits and loses its network before it hears an answer. It comes back and gets its result."""

import base64
import json
import socket
import time
from urllib.parse import urlsplit

from http_app import app
from local_server import serving

from asyncinfer.client import Client

TOKEN = "token-of-ann"
PHOTO = b"a picture"


def submit_and_lose_the_network(url: str, client: Client) -> None:
    """Send the request and read no answer; once the service has the job, the connection is gone."""
    address = urlsplit(url)
    body = json.dumps({"model": "caption", "input": {"image": base64.b64encode(PHOTO).decode()}})
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST {address.path}/v1/jobs HTTP/1.1\r\nHost: phone\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: photo-7\r\nPrefer: wait=60\r\n\r\n{body}".encode()
        )
        while not list(client.jobs()):
            time.sleep(0.05)


def main() -> None:
    with serving(app) as server, Client(f"{server}/inference", token=TOKEN) as client:
        submit_and_lose_the_network(f"{server}/inference", client)
        print("the network is gone, no answer was heard")

        job = client.submit("caption", {"image": PHOTO}, idempotency_key="photo-7")
        print("back, with the same key; the job was there already:", job.is_existing)
        print("its result:", job.result(timeout=30))

        print("by its id, from anywhere:", client.job(job.id).result(timeout=30))
        record = client.job(job.id).job(with_attempts=True)
        print("jobs made:", len(list(client.jobs())), "- attempts:", len(record.attempts or ()))


if __name__ == "__main__":
    main()
