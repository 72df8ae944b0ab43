"""PersonaRoute-Bench: benchmark and dataset toolkit for personalised LLM routing.

An independent implementation of the system that the paper "PersonalizedRouter"
(arXiv 2511.16883) describes; not the authors' release.

Importing this package imports neither torch nor litellm nor datasets; the public names
below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that defines it
_PUBLIC = {
    "BenchError": "personaroute_bench.errors",
    "Benchmark": "personaroute_bench.benchmark",
    "DataConfig": "personaroute_bench.config",
    "History": "personaroute_bench.evaluation.protocol",
    "Requests": "personaroute_bench.evaluation.protocol",
    "Router": "personaroute_bench.evaluation.protocol",
    "RunConfig": "personaroute_bench.config",
    "evaluate": "personaroute_bench.evaluation.runner",
    "generate": "personaroute_bench.generate",
    "register_metric": "personaroute_bench.scoring.registry",
}

__all__ = [
    "BenchError",
    "Benchmark",
    "DataConfig",
    "History",
    "Requests",
    "Router",
    "RunConfig",
    "__version__",
    "evaluate",
    "generate",
    "register_metric",
]

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.config import DataConfig, RunConfig
    from personaroute_bench.errors import BenchError
    from personaroute_bench.evaluation.protocol import History, Requests, Router
    from personaroute_bench.evaluation.runner import evaluate
    from personaroute_bench.generate import generate
    from personaroute_bench.scoring.registry import register_metric


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
