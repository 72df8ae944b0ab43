"""The wire over OpenAI's own SDK (2 or 3), for those who want exactly its behaviour.

With version 2 its default transport slows down under concurrency, so aiohttp's is taken where
the package ``httpx-aiohttp`` is there.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from personaroute_bench.llms.types import ChatRequest, RawReply, WireError
from personaroute_bench.llms.wires import scrub

if TYPE_CHECKING:
    import openai

# Causes of the SDK's connection errors, by name, since its HTTP library is another one in version
# 3. httpx-aiohttp calls every lost connection a ConnectTimeout: the aiohttp error behind it tells.
_REFUSED = frozenset({"ClientConnectorError", "ClientConnectorDNSError", "ConnectionRefusedError"})
_CUT = frozenset({"ServerDisconnectedError", "ClientOSError", "ConnectionResetError"})
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})


class OpenAIWire:
    """Sends through ``AsyncOpenAI`` with retries, redirects and environment proxies off."""

    def __init__(self, base_url: str, key: str | None):
        self._base_url = base_url
        self._key = key
        self._client: openai.AsyncOpenAI | None = None

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        """Send one request, once. See `Wire.send`."""
        import openai

        client = self._client or self._open()
        body = request.payload()
        model, messages = body.pop("model"), body.pop("messages")
        start = perf_counter()
        try:
            # The SDK's own limit is per read; this one is for the whole call.
            async with asyncio.timeout(timeout_s):
                answer = await client.chat.completions.with_raw_response.create(
                    model=model,
                    messages=messages,
                    extra_body=body,
                    extra_headers=None if self._key else {"Authorization": openai.Omit()},
                    timeout=timeout_s,
                )
            status, content, headers = answer.status_code, answer.content, answer.headers
        except openai.APIStatusError as error:
            response = error.response
            status, content, headers = response.status_code, response.content, response.headers
        except openai.APIConnectionError as error:  # time-outs are among them
            raise _lost(error, self._base_url) from error
        except TimeoutError as error:
            raise WireError(
                "timeout", f"no reply from {self._base_url} within {timeout_s:g} s", True
            ) from error
        return RawReply(
            http_status=status,
            body=scrub(content, self._key),
            latency_s=perf_counter() - start,
            retry_after=headers.get("retry-after"),
        )

    async def close(self) -> None:
        """Close the client; a later call opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> openai.AsyncOpenAI:
        import openai

        # What the SDK would take from the environment belongs to OpenAI, not to this endpoint.
        headers: dict[str, Any] = {
            "OpenAI-Organization": openai.Omit(),
            "OpenAI-Project": openai.Omit(),
        }
        options: dict[str, Any] = {"follow_redirects": False, "trust_env": False}
        try:
            http_client = openai.DefaultAioHttpClient(**options)
        except RuntimeError:  # httpx-aiohttp is not installed
            http_client = openai.DefaultAsyncHttpxClient(**options)
        self._client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._key or "none",
            default_headers=headers,
            max_retries=0,
            http_client=http_client,
        )
        return self._client


def _lost(error: openai.APIConnectionError, base_url: str) -> WireError:
    """Return the error of a call without a reply, and whether it can have been billed."""
    import openai

    causes, cause = [type(error).__name__], error.__cause__
    while cause is not None:
        causes.append(type(cause).__name__)
        cause = cause.__cause__
    message = f"{base_url}: {causes[-1]}"
    if not _REFUSED.isdisjoint(causes):
        return WireError("connection", message, maybe_billed=False)
    if not _CUT.isdisjoint(causes):
        return WireError("connection", message, maybe_billed=True)
    maybe_billed = _NEVER_SENT.isdisjoint(causes)
    if isinstance(error, openai.APITimeoutError):
        return WireError("timeout", message, maybe_billed)
    return WireError("connection", message, maybe_billed)
