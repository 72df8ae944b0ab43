"""bench evaluate: score routers on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from personaroute_bench.cli.generate import EngineChoice
from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.evaluation.pair_results import PairEvaluation
    from personaroute_bench.evaluation.results import Evaluation

# The one bundled router that spends money, and so has options of its own.
PROMPT_LLM = "prompt-llm"


def evaluate(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="[DIR]",
            help="The data set that bench generate made, or ORG/NAME of one on the Hub.",
        ),
    ] = Path("personaroute-data"),
    strategy: Annotated[
        Optional[str],  # noqa: UP045 - read at run time by Typer
        typer.Option(help="Whose rewards count; needed only if the data set has several."),
    ] = None,
    router: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help="A bundled router (random, cheapest, smallest, largest, best-single, "
            "best-per-task, best-per-user, best-per-user-task, user-blind-oracle, oracle) or the "
            "import path of your own, for instance my_router:MyRouter in this folder. Repeatable; "
            "without it, all of these. Learned ones (knn, personalized, …): see bench routers.",
        ),
    ] = None,
    router_pool: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="POOL",
            help="For prompt-llm, which pays an LLM for every decision: the pool file, or the "
            "name of a bundled pool, that holds the LLM. Without these options it asks nothing.",
        ),
    ] = None,
    router_llm: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="For prompt-llm: the LLM of that pool that decides."),
    ] = None,
    router_max_cost: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            metavar="USD",
            help="For prompt-llm: the most its calls may cost, over all runs with one ledger.",
        ),
    ] = None,
    router_ledger: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="For prompt-llm: keeps what was asked, answered and paid, so that the same "
            "command goes on and pays nothing twice; ./router-ledger.sqlite without it.",
        ),
    ] = None,
    predictions: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="Choices made elsewhere: Parquet, CSV or JSONL with user_id, query_id, llm_id. "
            "Repeatable.",
        ),
    ] = None,
    setting: Annotated[
        str,
        typer.Option(
            help="Who is new when routers are tested: general (known users and LLMs), new-user, "
            "new-llm, cross-task (each task left out in turn) or drift (tastes that change)."
        ),
    ] = "general",
    shots: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            metavar="K",
            min=0,
            help="new-user, new-llm: so many interactions of each new user or LLM are shown "
            "before the test, the same to every router; 10 without it.",
        ),
    ] = None,
    held_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="ID",
            help="new-user, new-llm, cross-task: what is new, instead of a third of the users, "
            "half of the LLMs, each task. Repeatable.",
        ),
    ] = None,
    retention: Annotated[
        bool,
        typer.Option(
            "--retention",
            help="Also train each router on all there is, and show what few shots keep of it.",
        ),
    ] = False,
    feedback: Annotated[
        Literal["full", "choice", "pairwise"],
        typer.Option(
            help="What the history tells: rewards of all candidates, only the one each user took, "
            "or which of two was better."
        ),
    ] = "full",
    interactions_per_user: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=1, help="Training queries a user; all without it."),
    ] = None,
    tier: Annotated[
        Literal["T0", "T1", "T2", "T3"],
        typer.Option(
            help="What is known of a user: T0 an id without a past, T1 with its past, T2 also the "
            "persona's text, T3 also the weights of the reward."
        ),
    ] = "T1",
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many repetitions to average.")
    ] = 1,
    choices: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Write each router's choices there as NAME.parquet."),
    ] = None,
    json: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write all results there as JSON."),
    ] = None,
    latency: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Also ask N requests one at a time, after the choices: p50, p95 (from 20) and p99 "
            "(from 100) of the decision time, in --json.",
        ),
    ] = 0,
    time_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="For routers by import path: from import to last answer, each seed. What is not "
            "answered by then counts as invalid.",
        ),
    ] = 3600.0,
    memory_limit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            metavar="GIB",
            help="For routers by import path: memory of the router and all it starts; any "
            "without it.",
        ),
    ] = None,
    router_reads: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            metavar="PATH",
            help="For routers by import path: a file or folder, such as weights, that they may "
            "read besides Python code. Repeatable.",
        ),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option(
            "--in-process",
            help="Run routers by import path in this process: with the network, keys and every "
            "file, and without limits. Their rows say unsealed.",
        ),
    ] = False,
    users: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            metavar="N", min=1, help="Evaluate on the first N users of the data set only."
        ),
    ] = None,
    history_users: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            metavar="N",
            min=1,
            help="Let routers learn from N of the users only; requests are of all. For routers "
            "that need their history whole.",
        ),
    ] = None,
    stream: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--stream/--no-stream",
            help="Read interactions block by block of users, in memory that does not grow with "
            "them, or all at once. Default: by blocks from 50 million interactions.",
        ),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Bootstrap draws of the intervals, 100 or more; 0: none."
        ),
    ] = 1000,
    engine: Annotated[
        EngineChoice,
        typer.Option(help="local: this process; dask: bundled routers on a cluster's workers."),
    ] = EngineChoice.local,
    scheduler: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="ADDRESS",
            help="Your own Dask scheduler, one that you trust. Default: workers on this machine.",
        ),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", help="Dask workers to start, or to wait for."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table, no progress.")] = False,
) -> None:
    """Score routers on the test split, under the sealed protocol.

    A folder of bench import holds pairs of real people; there, routers answer which of two.

    Routers learn from the training and validation splits and answer the test requests; their
    choices are hashed before the test outcomes are read. The exit code is 0 if every router that
    was asked for has a result, 1 if one of them raised, 2 if an option or file is wrong.
    """
    from personaroute_bench.cli.screen import ScreenReport
    from personaroute_bench.config import RunConfig
    from personaroute_bench.engines import open_engine
    from personaroute_bench.errors import UsageError
    from personaroute_bench.evaluation.isolation import Limits
    from personaroute_bench.evaluation.pairs import holds_pairs
    from personaroute_bench.evaluation.pairwise import evaluate_pairs
    from personaroute_bench.evaluation.runner import evaluate as run
    from personaroute_bench.files import check_writable
    from personaroute_bench.publishing.pull import local_folder

    if json is not None:
        check_writable(json, "--json")
    directory = local_folder(directory)
    tell = None if quiet else lambda line: say(line, err=True)
    asked = {
        "--router-pool": ("pool", router_pool),
        "--router-llm": ("llm", router_llm),
        "--router-max-cost": ("max_cost", router_max_cost),
        "--router-ledger": ("ledger", router_ledger),
    }
    named = {option: pair for option, pair in asked.items() if pair[1] is not None}
    if named and PROMPT_LLM not in (router or ()):
        raise UsageError(
            f"{', '.join(named)}: for the router {PROMPT_LLM} only; add --router {PROMPT_LLM}"
        )
    limits = Limits(time_limit, memory_limit, tuple(router_reads or ()), in_process)
    limits.check()
    places = RunConfig(engine=engine.value, scheduler=scheduler, workers=workers)
    if holds_pairs(directory):
        for option, given in {
            "--router prompt-llm": PROMPT_LLM in (router or ()),
            "--strategy": strategy is not None,
            "--predictions": bool(predictions),
            "--setting": setting != "general",
            "--feedback": feedback == "choice",
            "--interactions-per-user": interactions_per_user is not None,
            "--tier": tier != "T1",
            "--shots": shots is not None,
            "--held-out": bool(held_out),
            "--retention": retention,
            "--latency": latency > 0,
            "--engine": engine != EngineChoice.local,
            "--users": users is not None,
            "--history-users": history_users is not None,
            "--stream": stream is not None,
        }.items():
            if given:
                raise UsageError(
                    f"{option} does not apply to {directory}, which holds pairs of real people "
                    "(docs/preferences.md); leave it out"
                )
        _report(
            evaluate_pairs(
                directory,
                router or (),
                seeds=seeds,
                choices_dir=choices,
                bootstrap_draws=draws,
                limits=limits,
                on_progress=tell,
            ),
            json,
        )
        return
    own = {PROMPT_LLM: {**dict(named.values()), "progress": not quiet}} if named else None
    with open_engine(places, ScreenReport(quiet=quiet)) as where:
        results = run(
            directory,
            router or (),
            strategy=strategy,
            setting=setting,
            shots=shots,
            held_out=held_out or (),
            retention=retention,
            feedback=feedback,
            interactions_per_user=interactions_per_user,
            tier=tier,
            seeds=seeds,
            choices_dir=choices,
            predictions=predictions or (),
            settings=own,
            timed_requests=latency,
            bootstrap_draws=draws,
            limits=limits,
            users=users,
            history_users=history_users,
            stream=stream,
            engine=where,
            on_progress=tell,
        )
    _report(results, json)


def _report(results: Evaluation | PairEvaluation, json: Path | None) -> None:
    """Print and write results; exit code 1 where a router that was asked for failed."""
    results.print()  # first, so that a full disk does not take the table too
    for name in results.failed:
        say(f"\nrouter {name} failed:\n{results.traces[name]}", err=True)
    if json is not None:
        results.write(json)
    if results.failed:
        raise typer.Exit(1)
