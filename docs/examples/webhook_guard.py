"""Where webhooks may go, by default, with a private network, through a proxy: these URLs need no look-up."""

import asyncio

from asyncinfer.adapters.webhook import Guard, UrlRejected

# --8<-- [start:guards]
public = Guard()  # what a WebhookSender has when it is given none
private = Guard(allowed_networks=["10.20.0.0/16", "fd12:3456::/48"], ports=[443, 9443])
# --8<-- [end:guards]
# --8<-- [start:proxied]
proxied = Guard(egress_proxy="http://user:password@proxy.internal:3128")
# --8<-- [end:proxied]
urls = [
    "https://93.184.216.34/hook",
    "http://93.184.216.34/hook",
    "https://93.184.216.34:9443/hook",
    "https://10.20.0.7/hook",
    "https://10.30.0.7/hook",
    "https://[fd12:3456::7]/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://127.1/hook",
    "https://localhost/hook",
    "https://ann:secret@93.184.216.34/hook",
]


async def judged(guard: Guard, url: str) -> str:
    try:
        await guard.check(url)
    except UrlRejected as rejected:
        return rejected.kind
    return "yes"


async def main() -> None:
    print(f"{'':42} public     private    proxied")
    for url in urls:
        print(
            f"{url:42}", *[f"{await judged(guard, url):10}" for guard in (public, private)], await judged(proxied, url)
        )


asyncio.run(main())
