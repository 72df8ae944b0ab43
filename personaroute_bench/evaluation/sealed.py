"""A sealed data set: routers can learn and choose; there is nothing yet to score the choices by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from personaroute_bench.errors import BenchError, Incomplete, UsageError
from personaroute_bench.evaluation.protocols import protocol_of

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.evaluation.results import Plan
    from personaroute_bench.evaluation.run import Run


class SealedOutcomes(Incomplete):
    """The choices are made and written; scoring waits until the data set is opened."""


def check_sealed(
    benchmark: Benchmark,
    plan: Plan,
    routers: Mapping[str, object],
    choices_dir: str | Path | None,
) -> None:
    """Raise where a sealed data set cannot give what is asked for; pass where it is not sealed.

    Raises:
        UsageError: no folder for the choices; or weights or test outcomes would be needed.
    """
    if not benchmark.sealed:
        return
    withheld = (
        f"{benchmark.directory} is sealed: its test outcomes, users' weights and seed are withheld "
        "until its author opens it"
    )
    if plan.tier == "T3":
        raise UsageError(f"{withheld}; --tier T3 would tell the weights, use T1 or T2")
    for name, router in routers.items():
        if not isinstance(router, BaseException) and protocol_of(router) != "batch":
            raise UsageError(
                f"{withheld}; router {name} learns or buys from test outcomes as it goes, leave it "
                "out"
            )
    if choices_dir is None:
        raise UsageError(
            f"{withheld}. Choices can be made now and scored then: add --choices DIR to write "
            "them, then hand them in with bench submit"
        )


def stop_if_sealed(
    benchmark: Benchmark, runs: Sequence[Run], choices_dir: str | Path | None
) -> None:
    """Say what was written, in place of scores; pass where the data set is not sealed.

    Raises:
        SealedOutcomes: the choices of at least one router are written.
        BenchError: every router failed.
    """
    if not benchmark.sealed:
        return
    lines = []
    for run in runs:
        if run.error is not None:
            lines.append(f"  {run.name}: {run.error}")
        for file, digest in zip(run.files, run.digests, strict=True):
            lines.append(f"  {run.name}: {file}, SHA-256 of the choices {digest}")
    said = "\n".join(dict.fromkeys(lines))
    if runs and all(run.error is not None for run in runs):
        raise BenchError(f"every router failed:\n{said}")
    raise SealedOutcomes(
        f"{benchmark.directory} is sealed, so there are no scores yet. The choices are committed "
        f"in {choices_dir}:\n{said}\nHand them in with: bench submit --choices FILE"
    )
