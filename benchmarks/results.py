"""Every figure of docs/results.md, with one command that says how long it takes and resumes.

    python benchmarks/results.py [--only GLOB …] [--seeds N] [--jobs N] [--work DIR]
    python benchmarks/results.py --list             # cells, state and expected seconds
    python benchmarks/results.py --page-only        # docs/results.md from benchmarks/results/
    python benchmarks/results.py --smoke            # a plan of seconds, page beside its figures

Cells are run in the order of their importance, each on one core. Their choices stay under --work;
figures join those kept in benchmarks/results/figures.json, from which alone the page is made. A
condition (all routers in one setting on one data set) measured anew replaces the kept one.
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
    parser.add_argument(
        "--only",
        metavar="GLOB",
        nargs="+",
        help="only cells whose names match, see --list; those of the first pattern come first",
    )
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
            cells = chosen(plan, options.only)
            if not cells:
                parser.error(f"no cell matches --only {' '.join(options.only)}; see --list")
            if options.list:
                return show(plan, cells, work, kept)
            if not options.figures_only:
                from results_lib.run import run_cells

                failed = run_cells(plan, cells, work, options.jobs)
                if failed:
                    print(f"{failed} cells failed; the same command tries them again")
            if options.cells_only:
                return 0
            from results_lib.extras import run_extras
            from results_lib.figures import write_figures

            if not (options.figures_only or options.only):
                run_extras(plan, work, kept)
            sys.stdout.writelines(f"{line}\n" for line in write_figures(plan, work, kept))
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


def show(plan, cells, work, folder) -> int:  # type: ignore[no-untyped-def]
    """Print cells with their state and expected seconds: done here, or kept in the folder."""
    from results_lib.cells import finished
    from results_lib.kept import is_kept, is_older, read_rows, standing
    from results_lib.plan import Clock, duration

    clock = Clock(plan)
    done = {cell.name: finished(work, cell) for cell in cells}
    kept = standing(read_rows(folder))
    for cell in cells:
        if done[cell.name]:
            clock.learn(cell, done[cell.name]["seconds"])
    for cell in cells:
        state, note = "done" if done[cell.name] else "", ""
        if is_kept(cell, kept):
            state = state or "kept"
            note = f"  kept of {kept[cell.name]['commit']}"
            note += ", its code has changed" if is_older(cell.router, kept[cell.name]) else ""
        print(f"{state:4} {clock.expect(cell):7.0f} s  {cell.seeds} seeds  {cell.name}{note}")
    todo = [cell for cell in cells if not done[cell.name]]
    total = duration(clock.total(todo))
    standing_here = sum(is_kept(cell, kept) for cell in cells)
    print(
        f"{len(cells)} cells: {len(cells) - len(todo)} done here, figures of {standing_here} kept; "
        f"about {total} of one core for what is not done here"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
