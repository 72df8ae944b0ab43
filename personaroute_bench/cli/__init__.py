"""The `bench` command: each subcommand parses, calls one library function and prints.

Exit codes: 0 done, 1 something failed while running, 2 wrong usage, 3 stopped by budget or quota
(run again to go on), 4 too many failed calls, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from personaroute_bench.cli.compare import compare
from personaroute_bench.cli.evaluate import evaluate
from personaroute_bench.cli.export import export
from personaroute_bench.cli.generate import generate
from personaroute_bench.cli.import_ import app as import_
from personaroute_bench.cli.leaderboard import app as leaderboard
from personaroute_bench.cli.ledger import ledger
from personaroute_bench.cli.materialise import materialise
from personaroute_bench.cli.merge import merge
from personaroute_bench.cli.personas import app as personas
from personaroute_bench.cli.pools import pools
from personaroute_bench.cli.publish import check_seal, publish, publish_leaderboard
from personaroute_bench.cli.report import report
from personaroute_bench.cli.route import route
from personaroute_bench.cli.routers import routers
from personaroute_bench.cli.show import show
from personaroute_bench.cli.simulate import simulate_server
from personaroute_bench.cli.submit import submit
from personaroute_bench.cli.train import train

app = typer.Typer(
    name="bench",
    help=(
        "Personalised LLM routing: make a benchmark, evaluate routers on it.\n\n"
        "Start with: bench generate --users 1000, then: bench show, then: bench evaluate"
    ),
    epilog=(
        "Exit codes: 0 done · 1 failed while running · 2 wrong usage · 3 stopped by budget or "
        "quota, run again to go on · 4 too many failed calls"
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("generate")(generate)
app.command("merge")(merge)
app.command("show")(show)
app.command("materialise")(materialise)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("report")(report)
app.command("routers")(routers)
app.command("train")(train)
app.command("route")(route)
app.command("submit")(submit)
app.add_typer(leaderboard, name="leaderboard")
app.command("publish")(publish)
app.command("publish-leaderboard")(publish_leaderboard)
app.command("check-seal")(check_seal)
app.command("ledger")(ledger)
app.command("pools")(pools)
app.add_typer(personas, name="personas")
app.add_typer(import_, name="import")
app.command("export")(export)
app.command("simulate-server")(simulate_server)


def _version(value: bool) -> None:
    if value:
        from personaroute_bench import __version__

        typer.echo(f"personaroute-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options of `bench` itself."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say what Ctrl-C did; Typer by itself ends with exit code 130 and not a word."""
    try:
        yield
    except KeyboardInterrupt:
        code = 130
    except SystemExit as stop:
        if stop.code != 130:
            raise
        code = 130
    else:
        return
    sys.stderr.write("interrupted; run the same command again to go on\n")
    raise SystemExit(code) from None


def main() -> None:
    """Run `bench`; an error that is meant for the user becomes one message and its exit code."""
    from personaroute_bench.cli.screen import say
    from personaroute_bench.errors import BenchError

    try:
        with _interruptible():
            app()
    except BenchError as error:
        say(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # `bench show | head`
        sys.stderr.close()
        raise SystemExit(0) from None
    except Exception as error:
        say("".join(traceback.format_exception(error)).rstrip(), err=True)
        say(
            f"error: unexpected {type(error).__name__}: a fault of this program, or a damaged file "
            "that it did not notice. Nothing that was paid for is lost; please report the lines "
            "above",
            err=True,
        )
        raise SystemExit(1) from None
