"""The default wire: one aiohttp session to one OpenAI-compatible endpoint.

The fastest of those measured, and the plainest: one POST a call, its bytes kept as they came.
"""

from __future__ import annotations

import asyncio
import json
from time import perf_counter
from typing import TYPE_CHECKING

from personaroute_bench.llms.types import ChatRequest, RawReply, WireError
from personaroute_bench.llms.wires import scrub

if TYPE_CHECKING:
    import aiohttp

MAX_BODY = 64 * 2**20
"""Bytes of one reply; a larger one is a hostile or broken server."""

_CONNECT_S = 20.0
_LARGE = 2**20  # above this, aiohttp wants a file rather than bytes


class AiohttpWire:
    """POSTs to ``BASE_URL/chat/completions``.

    Proxies of the environment are not used, redirects are returned as they are (they could carry
    the key elsewhere), cookies are dropped.
    """

    def __init__(self, base_url: str, key: str | None, concurrency: int):
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._key = key
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        """Send one request, once. See `Wire.send`."""
        import aiohttp

        session = self._session or self._open()
        timeout = self._timeouts.get(timeout_s)
        if timeout is None:
            connect = min(_CONNECT_S, timeout_s)
            timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect)
            self._timeouts[timeout_s] = timeout
        # ASCII JSON: even a lone surrogate in a query travels as an escape.
        data = json.dumps(request.payload(), allow_nan=False).encode()
        start = perf_counter()
        try:
            async with session.post(
                self._url,
                data=data if len(data) < _LARGE else _file(data),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await _read(response)
                return RawReply(
                    http_status=response.status,
                    body=scrub(body, self._key),
                    latency_s=perf_counter() - start,
                    retry_after=response.headers.get("Retry-After"),
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise WireError("timeout", f"no connection to {self._url}", False) from error
        except TimeoutError as error:
            raise WireError(
                "timeout", f"no reply from {self._url} within {timeout_s:g} s", True
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise WireError("connection", f"cannot connect: {error}", False) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            problem = str(error) or type(error).__name__
            raise WireError("connection", f"{self._url} broke off: {problem}", True) from error

    async def close(self) -> None:
        """Close the session; a later call opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Make the session inside the running event loop."""
        import aiohttp

        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            trust_env=False,
        )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body.

    Raises:
        WireError: it is larger than 64 MiB.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            raise WireError(
                "connection", f"{response.url} sent more than {MAX_BODY >> 20} MiB", True
            )
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _file(data: bytes) -> object:
    import io

    return io.BytesIO(data)
