"""`bench simulate-server`."""

from __future__ import annotations

import typer

from personaroute_bench.cli.screen import say


def simulate_server(
    port: int = typer.Option(8000, help="Port on 127.0.0.1; 0 takes a free one."),
    seed: int = typer.Option(0, help="Seed of the queries that will be asked."),
    tasks: str = typer.Option("embedded", help="Where the queries come from, as in generate."),
    queries_per_task: int = typer.Option(60, help="Queries a task, as in generate."),
    delay: float = typer.Option(
        0.0, help="Share of each LLM's simulated latency to really wait: 0 none, 1 all of it."
    ),
) -> None:
    """Serve the ten simulated LLMs as an OpenAI-compatible endpoint on loopback.

    For trying the full HTTP path without a key. In another terminal:

        bench generate --pool simulated-http --out over-http
    """
    from personaroute_bench.llms.simulated_server import serve
    from personaroute_bench.tasks.sources import source_for

    taskset = source_for(tasks).load(seed=seed, queries_per_task=queries_per_task, task_ids=None)
    serve(
        taskset.queries,
        seed=seed,
        port=port,
        delay=delay,
        on_ready=lambda url: say(f"SIMULATED LLMs at {url} (Ctrl-C ends it)"),
    )
