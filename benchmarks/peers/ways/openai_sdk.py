"""OpenAI's SDK: one AsyncOpenAI, a semaphore, and the aiohttp transport its README recommends.

README of openai-python, "With aiohttp": "By default, the async client uses httpx for HTTP
requests. However, for improved concurrency performance you may also use aiohttp".
"""

from __future__ import annotations

import asyncio

from common import KEY, MAX_TOKENS, MODEL, Order, order, tell
from openai import AsyncOpenAI, DefaultAioHttpClient


async def ask(told: Order) -> list[str | None]:
    limit = asyncio.Semaphore(told.concurrency)
    async with AsyncOpenAI(
        base_url=told.url, api_key=KEY, http_client=DefaultAioHttpClient()
    ) as client:

        async def one(prompt: str) -> str | None:
            async with limit:
                answer = await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=MAX_TOKENS,
                    temperature=0.0,
                )
            return answer.choices[0].message.content

        return await asyncio.gather(*(one(prompt) for prompt in told.prompts()))


if __name__ == "__main__":
    told = order()
    tell(asyncio.run(ask(told)))
