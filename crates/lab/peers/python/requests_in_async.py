"""The mistake: `requests`, which blocks, inside `async def`.

It looks like a gather and is none: each call holds the event loop until its page is there, so the
pages come one after another and nothing else runs meanwhile.
"""

import asyncio

import requests

import protocol


async def get(url):
    response = requests.get(url)
    return response.status_code, response.content


def pages(arguments):
    loop = asyncio.new_event_loop()

    async def fetch(urls):
        return await asyncio.gather(*(get(url) for url in urls))

    return protocol.page_turn(arguments, lambda urls, _: loop.run_until_complete(fetch(urls)))


def heart(arguments):
    loop = asyncio.new_event_loop()
    url = f"{arguments.origin}/page/0?delay_ms={arguments.delay_ms}"

    async def turn():
        stop = asyncio.Event()
        beating = asyncio.create_task(protocol.heart(stop))
        # Its first gap begins before the page is asked for, as with ours.
        await asyncio.sleep(0)
        status, body = await asyncio.create_task(get(url))
        stop.set()
        gap = await beating
        protocol.verify("page 0", status, body, protocol.page(0))
        return gap

    def turns(_, iterations):
        gaps = [loop.run_until_complete(turn()) for _ in range(iterations)]
        return iterations, {"gap": sum(gaps) / iterations}

    return turns


if __name__ == "__main__":
    protocol.main(
        lambda: protocol.python(f"requests {requests.__version__}"),
        {"pages": pages, "heart": heart},
    )
