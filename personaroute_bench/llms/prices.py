"""What a call cost, what it can cost at most, and where prices come from.

All prices are USD per million tokens, all costs USD as float. The parts of a cost are summed with
`math.fsum` and divided by a million once. Unknown is None and never becomes zero.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.pool import Pool
from personaroute_bench.llms.types import LLM, ChatRequest

# What a chat template may add that the caller never sees: role markers, and the system message
# that some templates insert themselves (a date, a knowledge cut-off).
_REQUEST_OVERHEAD = 256
_MESSAGE_OVERHEAD = 16

# Sellers whose endpoint speaks OpenAI's protocol, by host, as litellm's table names them.
_SELLERS = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together_ai",
    "api.together.ai": "together_ai",
    "api.deepinfra.com": "deepinfra",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
}


def cost_of(
    llm: LLM,
    *,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    cached_tokens: int | None = None,
) -> float | None:
    """Return the cost of a call in USD from the tokens that were used.

    Args:
        llm: holds the prices.
        prompt_tokens: all input tokens, cached ones included.
        completion_tokens: all output tokens as billed, reasoning included.
        cached_tokens: the part of `prompt_tokens` that costs `cached_input_price`.

    Returns:
        USD >= 0, or None where a price or a count that matters is unknown.
    """
    cached = min(cached_tokens or 0, prompt_tokens or 0)
    fresh = None if prompt_tokens is None else prompt_tokens - cached
    cached_price = llm.input_price if llm.cached_input_price is None else llm.cached_input_price
    parts = (
        _part(fresh, llm.input_price),
        _part(cached, cached_price) if cached else 0.0,
        _part(completion_tokens, llm.output_price),
    )
    known = [part for part in parts if part is not None]
    return math.fsum(known) / 1e6 if len(known) == len(parts) else None


def max_cost_of(request: ChatRequest) -> float | None:
    """Return an upper bound in USD of one call, for reserving money before it is made.

    Input: no tokenizer over bytes gives more tokens than bytes, so the bytes of all messages and
    further fields, plus 256 a request and 16 a message for the chat template, bound the prompt.
    Output: the cap that is sent (`max_tokens` or `max_completion_tokens`, whichever is larger).

    Returns:
        USD >= 0; None where a price is unknown, or where no cap is sent.
    """
    llm = request.llm
    size = sum(
        len(content) if content.isascii() else len(content.encode("utf-8", "surrogatepass"))
        for _, content in request.messages
    )
    size += _REQUEST_OVERHEAD + _MESSAGE_OVERHEAD * len(request.messages)
    for fields in (request.response_format, llm.parameters):
        if fields:
            size += len(json.dumps(dict(fields)))
    prices = (llm.input_price, llm.cached_input_price)
    dearest = None if prices[0] is None else max(price for price in prices if price is not None)
    parts = (_part(size, dearest), _part(output_cap(request), llm.output_price))
    if parts[0] is None or parts[1] is None:
        return None
    return math.fsum((parts[0], parts[1])) / 1e6


def output_cap(request: ChatRequest) -> int | None:
    """Return the cap on output tokens that the request sends; None where it sends none."""
    parameters = request.llm.parameters
    caps = (
        parameters.get("max_tokens", request.llm.max_tokens or request.max_tokens),
        parameters.get("max_completion_tokens"),
    )
    return max((cap for cap in caps if type(cap) is int), default=None)


def resolve_prices(pool: Pool, allow_unknown: bool = False) -> Pool:
    """Fill in prices that the pool leaves open, from the table that litellm carries on disk.

    Only an exact entry of the same seller counts, never a size class or a similar name; litellm
    itself is not imported and nothing is downloaded. `price_source` says which version it was.

    Raises:
        UsageError: a price stays unknown and `allow_unknown` is false; names the LLMs.
    """
    llms = tuple(_priced(llm) for llm in pool.llms)
    unknown = [llm.id for llm in llms if llm.input_price is None or llm.output_price is None]
    if unknown and not allow_unknown:
        raise UsageError(
            f"pool {pool.name!r} has no price for {', '.join(unknown)}; give input_price and "
            "output_price (USD per million tokens; 0 only where the call is really free), or "
            "allow it with --allow-unknown-cost"
        )
    return replace(pool, llms=llms)


def _part(tokens: int | None, price: float | None) -> float | None:
    """Return millionths of a USD. What is free costs 0, however many tokens it took."""
    if price == 0:
        return 0.0
    return None if tokens is None or price is None else tokens * price


def _priced(llm: LLM) -> LLM:
    """Take both prices from litellm's table where the pool has neither."""
    if llm.input_price is not None or llm.output_price is not None:
        return llm
    seller = llm.provider
    if seller == "openai":
        seller = _SELLERS.get((urlsplit(llm.base_url or "").hostname or "").lower(), "")
    version, table = litellm_prices()
    for key in (f"{seller}/{llm.model}", llm.model):
        entry = table.get(key)
        if not isinstance(entry, dict) or entry.get("litellm_provider") != seller:
            continue
        prices = [entry.get(f"{kind}_cost_per_token") for kind in ("input", "output")]
        if all(_is_price(price) for price in prices):
            cached = entry.get("cache_read_input_token_cost")
            return replace(
                llm,
                input_price=_per_million(prices[0]),
                output_price=_per_million(prices[1]),
                cached_input_price=_per_million(cached) if _is_price(cached) else None,
                price_source=f"litellm {version}",
            )
    return llm


def _is_price(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _per_million(price: Any) -> float:
    # 1.5e-07 × 1e6 is not quite 0.15 in binary; twelve places are more than any price list has.
    return round(float(price) * 1e6, 12)


@functools.cache
def litellm_prices() -> tuple[str, dict[str, Any]]:
    """Return litellm's version and its bundled price table; empty where it is not installed."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return "", {}
    path = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", {}
    return importlib.metadata.version("litellm"), table if isinstance(table, dict) else {}
