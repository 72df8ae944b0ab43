"""How well the offline tokenizer agrees with cl100k on recorded responses of real LLMs.

    .venv/bin/python benchmarks/tokens.py ../shared/recorded/responses.parquet

Needs tiktoken and litellm (which carries the encoding on disk); nothing is downloaded. The
lengths in personaroute_bench/tokens.py were chosen on a random fifth of these rows.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from personaroute_bench.tokens import TOKENIZER, count_tokens


def main(path: Path) -> None:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        sys.exit("litellm is not installed; try: pip install 'personaroute-bench[litellm]'")
    tokenizers = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    import tiktoken

    table = pq.read_table(path, columns=["task_id", "query_id", "llm", "prompt", "response"])
    responses = table["response"].to_pylist()
    megabytes = sum(len(text.encode()) for text in responses) / 1e6

    start = time.perf_counter()
    ours = np.array([count_tokens(text) for text in responses])
    seconds = time.perf_counter() - start
    encoding = tiktoken.get_encoding("cl100k_base")
    start = time.perf_counter()
    theirs = np.array([len(encoding.encode_ordinary(text)) for text in responses])
    their_seconds = time.perf_counter() - start

    print(f"{TOKENIZER} against cl100k_base, {len(responses):,} responses, {megabytes:.1f} MB")
    print(f"speed: {megabytes / seconds:.1f} MB/s, tiktoken {megabytes / their_seconds:.1f} MB/s")
    print(f"\n{'group':<46}{'rows':>7}{'total':>9}{'mean |error|':>14}")
    show("all responses", ours, theirs)
    for column in ("task_id", "llm"):
        names = np.array(table[column].to_pylist())
        for name in np.unique(names):
            show(str(name), ours[names == name], theirs[names == name])
    prompts = sorted(set(table["prompt"].to_pylist()))
    show(
        "prompts (distinct)",
        np.array([count_tokens(text) for text in prompts]),
        np.array([len(encoding.encode_ordinary(text)) for text in prompts]),
    )


def show(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Print the relative error of the total, and the mean over responses of its size."""
    total = ours.sum() / theirs.sum() - 1
    each = np.mean(np.abs(ours - theirs) / np.maximum(theirs, 1))
    print(f"{name:<46}{len(ours):>7,}{total:>+9.2%}{each:>14.2%}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
