"""A loopback endpoint that keeps its own books, and misbehaves in one request of twenty."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aiohttp import web
from loopback import Loopback, completion

FAULTS = ("500", "429:0.1", "hang", "cut", "cut_body", "garbage", "missing_usage", "slow_body")
UNBILLED = ("500", "429:0.1")
"""Errors that say so: nobody bills them. Whatever else went wrong on the way is charged."""
TELLS_NO_PRICE = ("hang", "cut", "cut_body", "garbage", "missing_usage")
"""Faults after which the client cannot know what it was charged."""
WORDS = ("river", "stone", "bread", "letter", "window", "market", "winter", "garden")


@dataclass(frozen=True, slots=True)
class Served:
    """One request as the server saw and charged it; its number stands in the reply's id."""

    model: str
    prompt: str
    fault: str | None
    charged: Fraction
    """USD."""


def answer(body: Mapping[str, Any]) -> str:
    """Return 10 to 40 words that follow from the model and the prompt."""
    told = f"{body['model']} {body['messages'][-1]['content']}".encode()
    seed = hashlib.sha256(told).digest()
    return " ".join(WORDS[seed[n % 32] % len(WORDS)] for n in range(10 + seed[0] % 31))


def price_of(
    usage: Mapping[str, int], prices: Mapping[str, tuple[int, int]], model: str
) -> Fraction:
    """Return what a completion costs, exactly; prices are whole USD per million tokens."""
    low, high = prices[model]
    return Fraction(usage["prompt_tokens"] * low + usage["completion_tokens"] * high, 10**6)


class BillingServer(Loopback):
    """Answers, and writes down every request and its price.

    Args:
        prices: model to (input, output) price.
        fault_rate: share of requests with a fault.
        seed: of faults and delays.
    """

    def __init__(self, prices: Mapping[str, tuple[int, int]], fault_rate: float, seed: int) -> None:
        super().__init__(keep=False)
        self._prices, self._rate = prices, fault_rate
        self._random = random.Random(seed)
        self.served: list[Served] = []

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = json.loads(await request.content.read())
        except (ConnectionError, ValueError):  # the client was killed while it sent
            return web.Response()
        faulty = self._random.random() < self._rate
        fault = self._random.choice(FAULTS) if faulty else None
        good = completion(body, answer(body))
        charged = (
            Fraction(0)
            if fault in UNBILLED
            else price_of(good["usage"], self._prices, body["model"])
        )
        good["id"] = f"chatcmpl-{len(self.served)}"
        self.served.append(Served(body["model"], body["messages"][-1]["content"], fault, charged))
        await asyncio.sleep(self._random.uniform(0.005, 0.05))
        if fault == "missing_usage":
            del good["usage"]
        if fault in (None, "missing_usage"):
            return web.json_response(good)
        if fault == "slow_body":
            return await self._slow(request, json.dumps(good).encode())
        return await self._fail(str(fault), request, body)

    async def _slow(self, request: web.BaseRequest, raw: bytes) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Content-Length": str(len(raw))}
        )
        try:
            await response.prepare(request)
            for start in range(0, len(raw), 100):
                await asyncio.sleep(0.1)
                await response.write(raw[start : start + 100])
        except ConnectionError:
            pass
        return response
