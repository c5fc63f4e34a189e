"""Sends many requests with aiohttp and prints the results, like `inflight-conformance --load`.

aiohttp.ClientSession resends a GET on its own when a reused connection is closed. This is part of
what is compared, so it stays on.
"""

import argparse
import asyncio
import collections
import json
import ssl

import aiohttp


async def load(options):
    context = ssl.create_default_context(cafile=options.root_certificate)
    connector = aiohttp.TCPConnector(limit=options.limit, ssl=context)
    body = b"a body" if options.method == "POST" else None
    lost, examples = collections.Counter(), []

    async def send(session, number):
        url = f"{options.load}/{number}"
        try:
            request = session.request(options.method, url, data=body, proxy=options.proxy)
            async with request as response:
                await response.read()
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            lost[type(error).__name__] += 1
            examples.append(repr(error))

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(send(session, number) for number in range(options.requests)))
    answered = options.requests - lost.total()
    line = {"cell": "aiohttp", "answered": answered, "lost": lost, "examples": examples[:3]}
    print(json.dumps(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", required=True)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--proxy")
    parser.add_argument("--root-certificate")
    asyncio.run(load(parser.parse_args()))
