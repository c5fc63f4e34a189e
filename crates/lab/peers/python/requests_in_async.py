"""A common mistake: `requests`, a blocking client, inside `async def`.

The program seems to fetch the pages concurrently, but each call blocks the event loop until its page
arrives. The pages are fetched sequentially, and no other task runs during a call.
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


def heartbeat(arguments):
    loop = asyncio.new_event_loop()
    url = f"{arguments.origin}/page/0?delay_ms={arguments.delay_ms}"

    async def turn():
        stop = asyncio.Event()
        ticking = asyncio.create_task(protocol.heartbeat(stop))
        # Start the heartbeat, so that its first gap starts before the request, as in the workers in Rust.
        await asyncio.sleep(0)
        status, body = await asyncio.create_task(get(url))
        stop.set()
        gap = await ticking
        protocol.verify("page 0", status, body, protocol.page(0))
        return gap

    def turns(_, iterations):
        gaps = [loop.run_until_complete(turn()) for _ in range(iterations)]
        return iterations, {"gap": sum(gaps) / iterations}

    return turns


if __name__ == "__main__":
    protocol.main(
        lambda: protocol.python(f"requests {requests.__version__}"),
        {"pages": pages, "heart": heartbeat},
    )
