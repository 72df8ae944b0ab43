from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from personaroute_bench.interchange.embedding_text import (
    print_embedding,
    read_embedding,
    read_embeddings,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[[ 0.0123 -0.4     0.    ]]", [0.0123, -0.4, 0]),
        ("[[1. -2.\n  3.e-05]]", [1, -2, 3e-5]),
        ("[0.5, 1]", [0.5, 1]),
        ("0.", [0]),
    ],
)
def test_reads_what_numpy_prints(text: str, values: list[float]) -> None:
    np.testing.assert_array_equal(read_embedding(text), np.float32(values))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[]]", "no number"),
        ("[[0.1 ... 0.2]]", "cut short"),
        ("[[0.1 nan]]", "not finite"),
        ("[[1e99]]", "not finite"),
        ("[[__import__('os')]]", "could not convert"),
    ],
)
def test_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_embedding(text)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="embedding 1 has 1 values, the first has 2"):
        read_embeddings(["[[1 2]]", "[[1]]"])


@given(
    arrays(
        np.float32,
        st.integers(1, 9),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_what_is_printed_reads_back_and_is_json_once_commas_are_in(vector: np.ndarray) -> None:
    text = print_embedding(vector)
    np.testing.assert_array_equal(read_embedding(text), vector)
    np.testing.assert_array_equal(np.float32(json.loads(", ".join(text.split()))[0]), vector)
