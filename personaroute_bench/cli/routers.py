"""`bench routers`."""

from __future__ import annotations

import typer

from personaroute_bench.cli.screen import say


def routers(
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """List the bundled routers: name, idea, paper, whether personal, what has to be installed."""
    import json
    from dataclasses import asdict

    from personaroute_bench.evaluation.facts import all_facts

    facts = all_facts()
    if as_json:
        say(json.dumps([asdict(router) for router in facts], indent=2, ensure_ascii=False))
        return
    from personaroute_bench.cli.screen import clean

    rows = [("router", "personal", "needs", "paper", "idea")]
    rows += [
        (
            router.name,
            "yes" if router.personal else "no",
            router.extra or "–",
            router.paper or "–",
            router.idea,
        )
        for router in facts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [clean(cell).ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
        say("  ".join([*cells, clean(row[4])]))
    unasked = sum(router.default for router in facts)
    say(
        f"\nbench evaluate runs the first {unasked} unless told otherwise; name any with --router. "
        "paper: an arXiv id."
    )
    needed = sorted({router.extra for router in facts if router.extra})
    if needed:
        say(
            f"needs: an extra of the package, pip install 'personaroute-bench[{','.join(needed)}]'."
        )
    for router in facts:
        if router.note:
            say(f"{router.name}: {clean(router.note)}.")
