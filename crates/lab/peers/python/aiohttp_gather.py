"""aiohttp as its documentation recommends: one ClientSession, asyncio.gather, a limit on the connector."""

import asyncio
import atexit

import aiohttp

import protocol


class Client:
    """An event loop and a session, which all turns share."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.session = None
        self.limit = None
        # An unclosed session prints a warning for each of its connections.
        atexit.register(lambda: self.run(self.close()))

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    async def session_with_limit(self, limit):
        if self.limit != limit:
            await self.close()
            # The other contenders also keep idle connections for 90 s.
            connector = aiohttp.TCPConnector(limit=limit, keepalive_timeout=90)
            self.session, self.limit = aiohttp.ClientSession(connector=connector), limit
        return self.session

    async def close(self):
        if self.session is not None:
            await self.session.close()


async def get(session, url):
    async with session.get(url) as response:
        return response.status, await response.read()


def pages(arguments):
    client = Client()

    async def fetch(urls, limit):
        session = await client.session_with_limit(limit)
        return await asyncio.gather(*(get(session, url) for url in urls))

    return protocol.page_turn(arguments, lambda urls, limit: client.run(fetch(urls, limit)))


def requests(arguments):
    client = Client()
    url = f"{arguments.origin}/bytes/12"

    async def verified(session):
        status, body = await get(session, url)
        protocol.verify("/bytes/12", status, body, protocol.TWELVE)

    async def turn(iterations):
        session = await client.session_with_limit(int(arguments.limit))
        meter = protocol.Meter()
        await asyncio.gather(*(verified(session) for _ in range(iterations)))
        ms = meter.read()
        each = {"cpu": ms["cpu"] * 1e3 / iterations, "rate": iterations / ms["wall"] * 1e3}
        return iterations, each

    return lambda _, iterations: client.run(turn(iterations))


def heartbeat(arguments):
    client = Client()
    url = f"{arguments.origin}/page/0?delay_ms={arguments.delay_ms}"

    async def turn():
        session = await client.session_with_limit(100)
        stop = asyncio.Event()
        ticking = asyncio.create_task(protocol.heartbeat(stop))
        # Start the heartbeat, so that its first gap starts before the request, as in the workers in Rust.
        await asyncio.sleep(0)
        status, body = await asyncio.create_task(get(session, url))
        stop.set()
        gap = await ticking
        protocol.verify("page 0", status, body, protocol.page(0))
        return gap

    def turns(_, iterations):
        gaps = [client.run(turn()) for _ in range(iterations)]
        return iterations, {"gap": sum(gaps) / iterations}

    return turns


if __name__ == "__main__":
    protocol.main(
        lambda: protocol.python(f"aiohttp {aiohttp.__version__}"),
        {"pages": pages, "requests": requests, "heart": heartbeat},
    )
