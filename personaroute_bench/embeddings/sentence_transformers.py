"""Embeddings by a sentence-transformers model, on this machine (extra `sentence-transformers`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.embeddings.base import unit_rows
from personaroute_bench.errors import UsageError


class SentenceTransformersEmbedder:
    """Embeds with the model of that name on the Hub, or in a local folder.

    The model is loaded at the first text. Its weights are what must stay the same for a new query
    to embed as the old ones did: keep a copy, or pin a revision as ``MODEL@REVISION``.
    """

    def __init__(self, model: str):
        self.name = f"sentence-transformers:{model}"
        self._model_name, _, self._revision = model.partition("@")
        self._model: Any = None

    def fingerprint(self) -> dict[str, Any]:
        """Return the model and its revision."""
        return {
            "embedder": "sentence-transformers",
            "model": self._model_name,
            "revision": self._revision or None,
        }

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, d], rows of unit length; a blank text gives zeros.

        Raises:
            UsageError: the extra is not installed, or the model cannot be loaded.
        """
        vectors = np.asarray(
            self._load().encode(list(texts), show_progress_bar=False), np.float32
        ).reshape(len(texts), -1)
        blank = [not text.strip() for text in texts]
        return unit_rows(np.where(np.reshape(blank, (-1, 1)), 0.0, vectors))

    def _load(self) -> Any:
        if self._model is not None:
            return self._model
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UsageError(
                f"embedder {self.name!r} needs an extra: "
                "pip install 'personaroute-bench[sentence-transformers]'"
            ) from error
        try:
            self._model = SentenceTransformer(self._model_name, revision=self._revision or None)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot load {self.name!r}: {str(error).splitlines()[0][:300]}; give a model of "
                "the Hub (connect once to fetch it) or a local folder"
            ) from error
        return self._model
