"""Not a peer but the measure: one aiohttp session and a semaphore; keeps and parses nothing."""

from __future__ import annotations

import asyncio

import aiohttp
from common import KEY, MAX_TOKENS, MODEL, Order, order, tell


async def ask(told: Order) -> list[str]:
    limit = asyncio.Semaphore(told.concurrency)
    connector = aiohttp.TCPConnector(limit=told.concurrency)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one(prompt: str) -> str:
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": MAX_TOKENS,
                "temperature": 0.0,
            }
            async with limit, session.post(f"{told.url}/chat/completions", json=body) as response:
                return (await response.read()).decode()

        return await asyncio.gather(*(one(prompt) for prompt in told.prompts()))


if __name__ == "__main__":
    told = order()
    tell(asyncio.run(ask(told)))
