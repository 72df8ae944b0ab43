"""The default embedder: hashed words, digits and signs. No download, no fitted state.

A vocabulary or a projection that was fitted to one data set would have to be carried along for
ever, and would say nothing of words that it never met. Hashing has neither trouble: MurmurHash3
puts each word in its place, the same in every version and on every machine, and a test pins exact
values. docs/tasks.md has the measurements behind the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.embeddings.base import unit_rows

DIMENSION = 512
# Words of any length, each digit, and each punctuation mark: signs tell code and mathematics.
TOKEN_PATTERN = r"[^\W\d_]+|\d|[^\w\s]"


class HashingEmbedder:
    """Signed feature hashing of words, digits and signs (Weinberger et al., arXiv 0902.2206).

    Where the features that share a place add up to n, log(1 + |n|) with the sign of n stays, so
    that a long passage is not all "the". The parameters serve benchmarks/embedders.py; a data
    set always has the defaults.
    """

    def __init__(
        self,
        dimension: int = DIMENSION,
        *,
        ngrams: tuple[int, int] = (1, 1),
        analyzer: str = "word",
        token_pattern: str = TOKEN_PATTERN,
        sublinear: bool = True,
    ):
        self.name = f"hashing-{dimension}"
        self.dimension = dimension
        self._sublinear = sublinear
        self._ngrams = ngrams
        self._settings: dict[str, Any] = {
            "n_features": dimension,
            "analyzer": analyzer,
            "ngram_range": ngrams,
            "token_pattern": token_pattern,
            "lowercase": True,
            "strip_accents": None,
            "stop_words": None,
            "alternate_sign": True,
            "binary": False,
            "norm": None,
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON value of all that decides a vector."""
        settings = {**self._settings, "ngram_range": list(self._ngrams)}
        return {"embedder": "hashing", "version": 1, "sublinear": self._sublinear, **settings}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, dimension], rows of unit length; a text without words gives zeros."""
        from sklearn.feature_extraction.text import HashingVectorizer

        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        counts = HashingVectorizer(**self._settings, dtype=np.float64).transform(texts)
        if self._sublinear:
            counts.data = np.sign(counts.data) * np.log1p(np.abs(counts.data))
        return unit_rows(counts.toarray())
