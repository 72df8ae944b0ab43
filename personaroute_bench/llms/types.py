"""The values that the parts of this package hand to each other, and the one seam: `Wire`.

pool file ──► LLM ──► ChatRequest ──► Wire.send ──► RawReply ──► ledger ──► read_reply ──► Reply
                                     (aiohttp, openai, litellm, simulated)

A wire only moves bytes. It neither retries nor parses nor counts money, so that every reply is
on disk before anything can go wrong with reading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from personaroute_bench.hashing import canonical_json

Status = Literal["ok", "truncated", "refused", "empty", "error", "skipped_budget"]
STATUSES: tuple[Status, ...] = ("ok", "truncated", "refused", "empty", "error", "skipped_budget")
Provenance = Literal["live", "recorded", "simulated"]
UsageSource = Literal["provider", "tokenizer", "unknown"]

# Part of every ledger key: raise it when the meaning of a stored reply changes.
REQUEST_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LLM:
    """One candidate of a pool; the columns of the `llms` table (prices in USD per million)."""

    id: str
    name: str
    model: str
    """The provider's own model id, sent on the wire."""
    provider: str
    """``openai`` (any OpenAI-compatible endpoint), ``simulated``, or a litellm provider name."""
    base_url: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable with the key; None where no key is needed."""
    input_price: float | None = None
    output_price: float | None = None
    cached_input_price: float | None = None
    """Price of prompt tokens that the provider read from its cache; None: the input price."""
    price_source: str | None = None
    price_date: str | None = None
    description: str = ""
    family: str = ""
    parameters_billion: float | None = None
    resolves_to: tuple[str, ...] = ()
    """Patterns (fnmatch) of model ids that the provider may answer with."""
    max_tokens: int | None = None
    """Overrides the run's cap on output tokens, for instance for reasoning models."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request body, for instance ``{"reasoning_effort": "low"}``."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One logical call: everything that can change the answer, and nothing else."""

    llm: LLM
    messages: tuple[tuple[str, str], ...]
    """(role, content) pairs, in order."""
    max_tokens: int
    temperature: float | None = 0.0
    """None leaves the provider's default (some reasoning models refuse the field)."""
    response_format: Mapping[str, Any] | None = None
    sample: int = 0
    """Index of an independent repetition of the same call."""
    tag: str = ""
    """What the caller calls it, for instance ``query_id``; shown, but not part of the key."""

    def payload(self) -> dict[str, Any]:
        """Return the JSON body of an OpenAI-compatible chat completion request."""
        body: dict[str, Any] = {
            "model": self.llm.model,
            "messages": [{"role": role, "content": content} for role, content in self.messages],
            "max_tokens": self.llm.max_tokens or self.max_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.response_format is not None:
            body["response_format"] = dict(self.response_format)
        body.update(self.llm.parameters)
        # A pool takes a field away with null, for instance max_tokens where only
        # max_completion_tokens is understood.
        return {name: value for name, value in body.items() if value is not None}

    def canonical(self) -> str:
        """Return all that can change the answer as canonical JSON, which the ledger keeps.

        Not in it: the API key, prices, time limits, retries, concurrency, the tag.
        """
        return canonical_json(
            {
                "schema": REQUEST_SCHEMA,
                "provider": self.llm.provider,
                "base_url": self.llm.base_url,
                "payload": self.payload(),
                "sample": self.sample,
            }
        )

    def key(self) -> str:
        """Return the ledger key: 64 hex digits, the SHA-256 of `canonical`."""
        return key_of(self.canonical())


@dataclass(frozen=True, slots=True)
class RawReply:
    """What came back for one HTTP attempt, verbatim."""

    http_status: int
    body: bytes
    latency_s: float
    """Wall-clock seconds from sending to the last byte."""
    retry_after: str | None = None
    """The Retry-After header, verbatim."""


class WireError(Exception):
    """No reply came back: time-out, refused or cut connection. It may have been billed.

    Attributes:
        kind: ``timeout`` or ``connection``.
        maybe_billed: False where the request certainly never reached the provider.
    """

    def __init__(self, kind: Literal["timeout", "connection"], message: str, maybe_billed: bool):
        super().__init__(message)
        self.kind = kind
        self.maybe_billed = maybe_billed


def key_of(canonical: str) -> str:
    """Return the ledger key of `ChatRequest.canonical`.

    Raises:
        UnicodeEncodeError: it holds a lone surrogate.
    """
    return hashlib.sha256(canonical.encode()).hexdigest()


class Wire(Protocol):
    """The seam for providers. Implementations hold one connection pool and no other state."""

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        """Send one request, once.

        Returns:
            Whatever the server answered, error statuses included.

        Raises:
            WireError: no answer came back.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A settled call, read from its stored raw reply. Token counts are None where unknown."""

    status: Status
    text: str
    """Verbatim content of the message; empty unless there was one."""
    error_type: str | None = None
    """For status ``error``: one of the types listed in docs/statuses.md."""
    error_message: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """Output tokens as billed, reasoning included."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    usage_source: UsageSource = "unknown"
    cost_usd: float | None = None
    """None where unknown; a failed call that the provider does not bill costs 0."""
    latency_s: float | None = None
    resolved_model: str | None = None
    finish_reason: str | None = None
    simulated: bool = False
    """Whether the server said that no real LLM answered (``bench simulate-server``)."""
