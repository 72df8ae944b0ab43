"""`bench show`."""

from __future__ import annotations

from pathlib import Path

import typer

from personaroute_bench.cli.screen import say


def show(
    directory: Path = typer.Argument(Path("personaroute-data"), help="Folder of the data set."),
    examples: int = typer.Option(3, help="Queries to show whose best LLM differs between users."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Show what is in a data set: tasks, LLMs, users, headroom, and queries that divide users."""
    import json

    from personaroute_bench.benchmark import Benchmark
    from personaroute_bench.cli.screen import print_dataset, print_table
    from personaroute_bench.describe import describe

    benchmark = Benchmark.load(directory)
    facts = describe(benchmark, examples=examples)
    if as_json:
        say(json.dumps({"manifest": benchmark.manifest, **facts}, indent=2))
        return
    print_dataset(directory, benchmark.manifest)
    print_table(
        "\nTasks",
        ("task", "metric", "train", "validation", "test", "source"),
        [
            (task["task_id"], task["metric"], *(str(n) for n in task["queries"]), task["source"])
            for task in facts["tasks"]
        ],
    )
    users = facts["users"]
    line = f"\nUsers: {users['count']:,}, population {users['population']}"
    weights = users["performance_weight"]
    if weights is not None:
        line += (
            f"; performance weight α from {weights['low']:.2f} to {weights['high']:.2f}, "
            f"median {weights['median']:.2f}"
        )
    say(line)
    for example in facts["examples"]:
        say(f"\n{example['query_id']} ({example['strategy']}): {example['query']}")
        for choice in example["choices"]:
            say(
                f"  {100 * choice['users']:5.1f} % of users: {choice['llm_id']} "
                f"(performance {choice['performance']:.2f}, ${choice['cost_usd']:.2g})"
            )
