"""bench route: which LLM for this user and this query, by a trained router."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.checkpoints import Decision


def route(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of bench train.")],
    query: Annotated[
        Optional[str],  # noqa: UP045 - read at run time by Typer
        typer.Argument(metavar="[QUERY]", help="What the user asks."),
    ] = None,
    user: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="Who asks; without a past there, the average user."),
    ] = None,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID", help="The task, instead of the one predicted."),
    ] = None,
    candidates: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ID,ID,…", help="Choose among these LLMs only."),
    ] = None,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="Many at once: JSON lines with user_id, query and, if you like, task_id.",
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="With --file: where to write the choices as Parquet."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose an LLM for a user's query; no LLM is called.

    Prints the choice, every LLM's score, what performance and cost to expect, and why.
    """
    from personaroute_bench.checkpoints import dumps, load_router
    from personaroute_bench.errors import UsageError

    if (query is None) == (file is None):
        raise UsageError('give a query, as in: bench route MODEL --user ID "…"; or --file FILE')
    if out is not None and file is None:
        raise UsageError("--out is for --file; one decision is printed")
    named = None
    if candidates is not None:
        named = [name.strip() for name in candidates.split(",") if name.strip()]
    if file is not None:
        from personaroute_bench.batch_routing import read_requests, write_decisions

        texts, users, tasks = read_requests(file, user, task)
        decisions = load_router(model, device).route(texts, users, task=tasks, candidates=named)
        if out is not None:
            write_decisions(out, decisions)
            say(f"{out}: {len(decisions):,} choices")
            return
        for decision in decisions:
            say(dumps(decision.as_json()))
        return
    if user is None:
        raise UsageError("say who asks with --user ID")
    assert query is not None
    (decision,) = load_router(model, device).route(query, user, task=task, candidates=named)
    if as_json:
        say(dumps(decision.as_json()))
    else:
        _print(decision)


def _print(decision: Decision) -> None:
    performance, cost = decision.expected_performance, decision.expected_cost_usd
    expected = [
        "performance unknown" if performance is None else f"performance {performance:.2f}",
        "cost unknown" if cost is None else f"cost ${cost:.2g}",
    ]
    say(f"{decision.choice}   (expected {', '.join(expected)})")
    say(f"task: {decision.task} ({decision.task_source})")
    say(decision.why)
    width = max(len(name) for name in decision.scores)
    for name, score in decision.scores.items():
        say(f"  {name:<{width}}  {score:+.4f}")
