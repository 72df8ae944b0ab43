"""Query embeddings: a default without download, and two that know more.

`make_embedder` takes ``hashing``, ``sentence-transformers:MODEL`` or ``endpoint:MODEL``.
"""

from __future__ import annotations

from personaroute_bench.embeddings.base import Embedder, unit_rows
from personaroute_bench.errors import UsageError, did_you_mean

__all__ = ["Embedder", "make_embedder", "unit_rows"]

_KINDS = ("hashing", "sentence-transformers", "endpoint")


def make_embedder(spec: str) -> Embedder:
    """Return the embedder that a specification names; nothing is loaded or asked yet.

    Raises:
        UsageError: an unknown kind, a model missing or given where there is none.
    """
    kind, _, model = spec.partition(":")
    if kind == "hashing" and not model:
        from personaroute_bench.embeddings.hashing import HashingEmbedder

        return HashingEmbedder()
    if kind == "sentence-transformers" and model:
        from personaroute_bench.embeddings.sentence_transformers import SentenceTransformersEmbedder

        return SentenceTransformersEmbedder(model)
    if kind == "endpoint" and model:
        from personaroute_bench.embeddings.endpoint import EndpointEmbedder

        return EndpointEmbedder(model)
    if kind in _KINDS:
        remedy = "it takes no model" if kind == "hashing" else f"write {kind}:MODEL"
        raise UsageError(f"embedder {spec!r}: {remedy}")
    raise UsageError(
        f"unknown embedder {spec!r}{did_you_mean(kind, _KINDS)}; give hashing, "
        "sentence-transformers:MODEL or endpoint:MODEL"
    )
