"""Every figure of docs/results.md, with one command that says how long it takes and resumes.

    python benchmarks/results.py [--only GLOB] [--seeds N] [--jobs N] [--work DIR]
    python benchmarks/results.py --list             # cells, state and expected seconds
    python benchmarks/results.py --page-only        # docs/results.md from benchmarks/results/
    python benchmarks/results.py --smoke            # a plan of seconds, page beside its figures

Cells are run in the order of their importance, each on one core. Their choices stay under --work;
figures go to benchmarks/results/figures.json, from which alone the page is made.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Parse, run cells, compute figures, write the page; return the exit code."""
    from results_lib.plan import chosen, full_plan, smoke_plan

    from personaroute_bench.errors import BenchError

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="GLOB", help="cells whose names match, see --list")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time (default 2)")
    parser.add_argument("--work", type=Path, help="data, cells, choices (default out/results)")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    parser.add_argument("--figures-only", action="store_true", help="no cells: figures and page")
    parser.add_argument("--cells-only", action="store_true", help="only run cells")
    parser.add_argument("--list", action="store_true", help="show the cells and end")
    parser.add_argument("--smoke", action="store_true", help="a plan of seconds")
    options = parser.parse_args(arguments)
    for name in ("seeds", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; give 1 or more")
    name = "smoke" if options.smoke else "results"
    work = options.work or HERE.parent / "out" / name
    kept = work if options.smoke else HERE / "results"
    page = work / "results.md" if options.smoke else HERE.parent / "docs" / "results.md"
    try:
        if not options.page_only:
            plan = smoke_plan() if options.smoke else full_plan(options.seeds)
            for what, why in plan.skipped.items():
                print(f"skipped: {what}: {why}")
            cells = list(chosen(plan, options.only))
            if not cells:
                parser.error(f"no cell matches --only {options.only!r}; see --list")
            if options.list:
                return show(plan, cells, work)
            if not options.figures_only:
                from results_lib.run import run_cells

                failed = run_cells(plan, cells, work, options.jobs)
                if failed:
                    print(f"{failed} cells failed; the same command tries them again")
            if options.cells_only:
                return 0
            if not (options.figures_only or options.only):
                from results_lib.extras import run_extras

                run_extras(plan, work, kept)
            from results_lib.figures import write_figures

            write_figures(plan, work, kept)
        from results_lib.page import write_page

        write_page(kept, page)
        print(f"wrote {page}")
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def show(plan, cells, work) -> int:  # type: ignore[no-untyped-def]
    """Print cells with their state and expected seconds."""
    from results_lib.cells import finished
    from results_lib.plan import Clock, duration

    clock = Clock(plan)
    done = {cell.name: finished(work, cell) for cell in cells}
    for cell in cells:
        if done[cell.name]:
            clock.learn(cell, done[cell.name]["seconds"])
    for cell in cells:
        state = "done" if done[cell.name] else "    "
        print(f"{state} {clock.expect(cell):7.0f} s  {cell.seeds} seeds  {cell.name}")
    todo = [cell for cell in cells if not done[cell.name]]
    total = duration(clock.total(todo))
    print(f"{len(cells)} cells, {len(cells) - len(todo)} done; about {total} of one core to go")
    return 0


if __name__ == "__main__":
    sys.exit(main())
