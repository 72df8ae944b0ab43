"""litellm: `acompletion` under a semaphore, its own client left alone.

That is faster than handing it a client or session of ours, and its price map is read from the
package rather than downloaded.
"""

from __future__ import annotations

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from common import KEY, MAX_TOKENS, MODEL, Order, order, tell


async def ask(told: Order) -> list[str | None]:
    limit = asyncio.Semaphore(told.concurrency)

    async def one(prompt: str) -> str | None:
        async with limit:
            answer = await litellm.acompletion(
                model=f"openai/{MODEL}",
                api_base=told.url,
                api_key=KEY,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=MAX_TOKENS,
                temperature=0.0,
            )
        return answer.choices[0].message.content

    return await asyncio.gather(*(one(prompt) for prompt in told.prompts()))


if __name__ == "__main__":
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    told = order()
    tell(asyncio.run(ask(told)))
