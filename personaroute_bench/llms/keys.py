"""Ledger keys of requests, and what to say of a request that has none."""

from __future__ import annotations

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.types import ChatRequest, key_of


def request_key(request: ChatRequest) -> str:
    """Return the ledger key.

    Raises:
        UsageError: the request cannot be written as JSON (NaN in parameters, broken text).
    """
    return key_and_canonical(request)[0]


def key_and_canonical(request: ChatRequest) -> tuple[str, str]:
    """Return the ledger key, and the JSON that it is of.

    Raises:
        UsageError: as `request_key`.
    """
    try:
        canonical = request.canonical()
        return key_of(canonical), canonical
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the request {request.tag!r} to LLM {request.llm.id!r} cannot be written as JSON: "
            f"{error}; mend its text, or the LLM's parameters in the pool file"
        ) from error
