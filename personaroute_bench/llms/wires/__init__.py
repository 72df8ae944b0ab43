"""Wires: the ways a request reaches a provider, one file each.

=============  ==============================================  ==========================
wire           speaks to                                       chosen
=============  ==============================================  ==========================
aiohttp        any OpenAI-compatible endpoint                  default of provider openai
openai         the same, through OpenAI's SDK                  ``--client openai``
litellm        every other provider, through litellm           any other provider
simulated      the simulated LLMs, in this process             provider simulated
=============  ==============================================  ==========================

No wire retries, follows redirects, or reads a reply. Every wire replaces the key by
``[redacted]`` where a server repeats it, since replies are stored verbatim.
"""

from __future__ import annotations

from typing import Literal

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.llms.pool import api_key
from personaroute_bench.llms.types import LLM, Wire

Client = Literal["aiohttp", "openai", "litellm"]
CLIENTS: tuple[Client, ...] = ("aiohttp", "openai", "litellm")


def scrub(body: bytes, key: str | None) -> bytes:
    """Return the bytes with every occurrence of the key replaced."""
    secret = key.encode() if key else b""
    return body.replace(secret, b"[redacted]") if len(secret) >= 8 and secret in body else body


class WirePool:
    """Gives each LLM its wire; LLMs of one endpoint and key share one connection pool.

    Args:
        client: the wire for provider ``openai``; None takes aiohttp. ``litellm`` is always the
            wire of the providers that only it can speak to.
        concurrency: most connections of one wire.

    Raises:
        UsageError: there is no such client.
    """

    def __init__(self, client: Client | None = None, concurrency: int = 32):
        if client is not None and client not in CLIENTS:
            raise UsageError(f"--client {client!r} is unknown{did_you_mean(client, CLIENTS)}")
        self._client: Client = client or "aiohttp"
        self._concurrency = concurrency
        self._wires: dict[tuple[str | None, ...], Wire] = {}

    def wire_for(self, llm: LLM) -> Wire:
        """Return the wire of an LLM, made on first use.

        Raises:
            UsageError: the wire's package is not installed, or its key cannot be sent.
        """
        kind = llm.provider
        if kind != "simulated":
            kind = self._client if kind == "openai" else "litellm"
        place = (kind, llm.provider, llm.base_url, llm.api_key_env)
        if place not in self._wires:
            self._wires[place] = self._make(kind, llm)
        return self._wires[place]

    async def close(self) -> None:
        """Close all wires; safe to call twice."""
        wires, self._wires = list(self._wires.values()), {}
        for wire in wires:
            await wire.close()

    def _make(self, kind: str, llm: LLM) -> Wire:
        if kind == "simulated":
            from personaroute_bench.llms.simulated import SimulatedWire

            return SimulatedWire()
        if kind == "litellm":
            from personaroute_bench.llms.wires.litellm_wire import LitellmWire

            return LitellmWire(llm.provider, llm.base_url, api_key(llm))
        if llm.base_url is None:
            raise UsageError(f"LLM {llm.id!r} has provider openai, but no base_url")
        if kind == "openai":
            from personaroute_bench.llms.wires.openai_wire import OpenAIWire

            return OpenAIWire(llm.base_url, api_key(llm))
        from personaroute_bench.llms.wires.aiohttp_wire import AiohttpWire

        return AiohttpWire(llm.base_url, api_key(llm), self._concurrency)


def make_wire(llm: LLM, client: Client | None = None, concurrency: int = 32) -> Wire:
    """Return a wire of its own for one LLM; a run over many uses `WirePool`."""
    return WirePool(client, concurrency).wire_for(llm)
