"""Embeddings printed as text, the way NumPy prints an array: ``[[ 0.0123 -0.4  0. ]]``.

The published CSVs hold them so. A value printed as ``0.`` is no JSON, so the authors' own reader
stops at it; what is printed here has digits on both sides of every point and single spaces, which
their reader and any JSON reader (once commas are put in) take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARKS = str.maketrans("[],", "   ")


def read_embedding(text: str) -> NDArray[np.float32]:
    """Read one printed vector.

    Args:
        text: numbers between any number of brackets, divided by white space or commas.

    Returns:
        float32, shape [d].

    Raises:
        ValueError: no number, an ellipsis, a word, NaN or infinity; says which.
    """
    words = text.translate(_MARKS).split()
    if not words:
        raise ValueError("it holds no number")
    if "..." in words:
        raise ValueError("it was cut short with '...' when it was printed; print it in full")
    try:
        vector = np.asarray(words).astype(np.float64)
    except ValueError as error:
        raise ValueError(str(error)) from error
    with np.errstate(over="ignore"):  # what is too large for float32 is refused just below
        short = vector.astype(np.float32)
    if not np.isfinite(short).all():
        raise ValueError("it holds a value that is not finite")
    return short


def read_embeddings(texts: Sequence[str]) -> NDArray[np.float32]:
    """Read printed vectors of one length; float32 [n, d].

    Raises:
        ValueError: as `read_embedding`, or lengths differ; says which text, counted from 0.
    """
    rows = []
    for number, text in enumerate(texts):
        try:
            rows.append(read_embedding(text))
        except ValueError as error:
            raise ValueError(f"embedding {number}: {error}") from error
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"embedding {number} has {len(rows[-1])} values, the first has {len(rows[0])}"
            )
    return np.stack(rows)


def print_embedding(vector: NDArray[np.floating[Any]]) -> str:
    """Print a vector as ``[[a b c]]``, each value as the shortest text that gives the float32."""
    return f"[[{' '.join(map(str, np.asarray(vector, dtype=np.float32)))}]]"
