"""What every embedder offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns query text into vectors; a new query embeds as the old ones did."""

    @property
    def name(self) -> str:
        """What the column `embedder` of the `queries` table says."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return the JSON value of all that decides a vector; no key is in it."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            float32 [n, d], rows of unit length; a text without content gives a row of zeros.
        """
        ...


def unit_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scale rows to unit length, in float64; rows of zeros stay zeros. Shape [n, d]."""
    exact = np.asarray(vectors, np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = np.divide(
        exact, length, out=np.zeros_like(exact), where=length > 0
    )
    return scaled.astype(np.float32)
