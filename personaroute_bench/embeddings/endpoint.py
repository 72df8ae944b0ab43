"""Embeddings by an OpenAI-compatible endpoint (``POST BASE_URL/embeddings``)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.embeddings.base import unit_rows
from personaroute_bench.errors import BenchError, UsageError

BATCH = 128
DEFAULT_BASE_URL = "https://api.openai.com/v1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class EndpointEmbedder:
    """Embeds with a model behind OPENAI_BASE_URL, with the key in OPENAI_API_KEY.

    The base URL is part of the data set's configuration, the key is not and is written nowhere. A
    new query embeds as the old ones did for as long as the provider keeps the model.

    Raises:
        UsageError: the base URL is none, or a key is needed and missing.
    """

    def __init__(
        self, model: str, *, timeout_s: float = 120.0, attempts: int = 3, wait_s: float = 1.0
    ):
        self.name = f"endpoint:{model}"
        self._model = model
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._wait_s = wait_s
        self.base_url = os.environ.get("OPENAI_BASE_URL", DEFAULT_BASE_URL).rstrip("/")
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UsageError(
                f"embedder {self.name!r}: OPENAI_BASE_URL must be like https://host/v1, without "
                "user name or password"
            )
        if not os.environ.get("OPENAI_API_KEY") and parts.hostname not in _LOOPBACK:
            raise UsageError(
                f"embedder {self.name!r} at {self.base_url} needs a key; set the environment "
                "variable OPENAI_API_KEY"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return model and base URL; never the key."""
        return {"embedder": "endpoint", "model": self._model, "base_url": self.base_url}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, d], rows of unit length; a blank text is not sent and gives zeros.

        Texts go in batches of 128, one after the other; a batch that fails for a while (429, 5xx,
        no connection) is sent up to three times.

        Raises:
            BenchError: the endpoint refuses, answers something else, or cannot be reached.
        """
        kept = [place for place, text in enumerate(texts) if text.strip()]
        if not kept:
            return np.zeros((len(texts), 0), np.float32)
        vectors = asyncio.run(self._request_all([texts[place] for place in kept]))
        placed = np.zeros((len(texts), vectors.shape[1]))
        placed[kept] = vectors
        return unit_rows(placed)

    async def _request_all(self, texts: Sequence[str]) -> NDArray[np.float64]:
        import aiohttp

        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        blocks: list[NDArray[np.float64]] = []
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            for start in range(0, len(texts), BATCH):
                batch = list(texts[start : start + BATCH])
                block = self._read(await self._post(session, batch), len(batch))
                if blocks and block.shape[1] != blocks[0].shape[1]:
                    raise BenchError(
                        f"{self.name} at {self.base_url} gave vectors of {blocks[0].shape[1]} and "
                        f"of {block.shape[1]} dimensions; ask a model that keeps to one"
                    )
                blocks.append(block)
        return np.concatenate(blocks)

    async def _post(self, session: Any, batch: list[str]) -> bytes:
        import aiohttp

        body = {"model": self._model, "input": batch, "encoding_format": "float"}
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(self._wait_s * 2 ** (attempt - 1))
            try:
                async with session.post(
                    f"{self.base_url}/embeddings", json=body, allow_redirects=False
                ) as reply:
                    content: bytes = await reply.read()
                    if reply.status == 200:
                        return content
                    problem = f"HTTP {reply.status}: {_excerpt(content)}"
                    if reply.status != 429 and reply.status < 500:
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = str(error) or type(error).__name__
        raise BenchError(
            f"{self.name} at {self.base_url} did not embed {len(batch)} texts: {problem}; check "
            "OPENAI_BASE_URL, OPENAI_API_KEY and the model, and run the same command again"
        )

    def _read(self, content: bytes, expected: int) -> NDArray[np.float64]:
        """Read the vectors of one reply, in the order of their index. Shape [expected, d]."""
        try:
            items = sorted(json.loads(content)["data"], key=lambda item: item["index"])
            vectors = np.array([item["embedding"] for item in items], np.float64)
            whole = [item["index"] for item in items] == list(range(expected))
        except (ValueError, TypeError, KeyError, RecursionError):
            vectors, whole = np.zeros(0), False
        if not whole or vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise BenchError(
                f"{self.name} at {self.base_url} answered {expected} texts with something that is "
                f"not their embeddings: {_excerpt(content)}"
            )
        return vectors


def _excerpt(content: bytes) -> str:
    """Return the beginning of a reply in one line, without the key, should it be echoed."""
    text = content[:1000].decode("utf-8", "replace")
    key = os.environ.get("OPENAI_API_KEY")
    if key:
        text = text.replace(key, "[key]")
    return "".join(c if c.isprintable() else " " for c in text)[:200]
