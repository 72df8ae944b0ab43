"""The one server that every way asks: fixed delay, and an account of what arrived.

    python benchmarks/peers/server.py --delay 0.2

Prints its base URL. POST /v1/chat/completions answers ``The answer is N.`` to a prompt that holds
``call N:``. POST /reset forgets; GET /account tells what arrived since: requests, distinct calls,
most in flight, requests elsewhere, and the seconds from the first request to the last answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from time import perf_counter

from aiohttp import web

_CALL = re.compile(rb"call (\d+):")
# Everything but the two places where calls differ, so that the server costs as little as it can.
_ANSWER = (
    '{"id":"chatcmpl-%d","object":"chat.completion","created":1767225600,"model":"llm-0",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"The answer is %d.",'
    '"refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":60,"completion_tokens":6,"total_tokens":66}}'
)


class Account:
    """What arrived since the last reset."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.elsewhere = self.in_flight = self.most = 0
        self.first = self.last = 0.0

    def told(self) -> dict[str, float]:
        return {
            "requests": self.calls.total(),
            "distinct": len(self.calls),
            "elsewhere": self.elsewhere,
            "most_in_flight": self.most,
            "seconds": self.last - self.first,
        }


async def serve(delay: float) -> None:
    """Serve until killed."""
    account = Account()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal account
        if request.path == "/reset":
            account = Account()
            return web.Response()
        if request.path == "/account":
            return web.Response(text=json.dumps(account.told()))
        arrived = perf_counter()
        found = _CALL.search(await request.content.read())
        if request.path != "/v1/chat/completions" or found is None:
            account.elsewhere += 1
            return web.Response(status=404)
        number = int(found[1])
        if not account.calls:
            account.first = arrived
        account.calls[number] += 1
        account.in_flight += 1
        account.most = max(account.most, account.in_flight)
        await asyncio.sleep(delay)
        account.in_flight -= 1
        account.last = perf_counter()
        body = (_ANSWER % (number, number)).encode()
        return web.Response(body=body, content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--delay", type=float, required=True, help="seconds a reply")
    asyncio.run(serve(parser.parse_args().delay))


if __name__ == "__main__":
    main()
