"""`bench publish`, `bench publish-leaderboard`, `bench check-seal`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from personaroute_bench.cli.screen import say

if TYPE_CHECKING:
    from personaroute_bench.publishing.publish import Published

_REPO_ID = typer.Option(..., "--repo-id", metavar="ORG/NAME", help="Its name on the Hub.")
_PRIVATE = typer.Option(False, "--private", help="A new repository is seen by its owners only.")
_DRY_RUN = typer.Option(False, "--dry-run", help="Check and show everything; send nothing.")
_QUIET = typer.Option(False, "--quiet", help="No progress.")


def publish(
    directory: Path = typer.Argument(Path("personaroute-data"), help="Folder of the data set."),
    repo_id: str = _REPO_ID,
    private: bool = _PRIVATE,
    tag: str | None = typer.Option(None, "--tag", metavar="NAME", help="Name of this version."),
    allow_licence: list[str] = typer.Option(
        [],
        "--allow-licence",
        metavar="LICENCE",
        help="Publish texts of tasks with this licence, as it stands in the table of tasks: you "
        "vouch for it. Repeatable.",
    ),
    without_text: bool = typer.Option(
        False,
        "--without-text",
        help="Leave out queries, references and responses whose licence forbids passing them on.",
    ),
    seal: bool = typer.Option(
        False,
        "--seal",
        help="Withhold test responses, performance and rewards, users' weights and the seed; "
        "publish their salted hashes.",
    ),
    open_: bool = typer.Option(
        False, "--open", help="Reveal what was sealed, with the salt that proves it unchanged."
    ),
    dry_run: bool = _DRY_RUN,
    out: Path | None = typer.Option(
        None, "--out", metavar="DIR", help="Also write what is published into this new folder."
    ),
    quiet: bool = _QUIET,
) -> None:
    """Publish a data set to the Hub: tables, card, Croissant metadata, manifest.

    One commit: the repository shows all of it or nothing, and the same command continues after an
    interruption. A card that is there is merged, not overwritten. The token is HF_TOKEN, or that
    of hf auth login.

    bench publish personaroute-data --repo-id my-name/routing-data --dry-run
    """
    from personaroute_bench.errors import UsageError
    from personaroute_bench.publishing.publish import publish as run

    if seal and open_:
        raise UsageError("--seal withholds and --open reveals; give one of them")
    how: Literal["whole", "sealed", "opened"] = "sealed" if seal else "opened" if open_ else "whole"
    done = run(
        directory,
        repo_id,
        private=True if private else None,
        tag=tag,
        allowed_licences=allow_licence,
        without_text=without_text,
        how=how,
        dry_run=dry_run,
        out=out,
        on_progress=None if quiet else lambda line: say(line, err=True),
    )
    _print(done)
    if done.without_text:
        say(f"Published without texts: {', '.join(done.without_text)}")
    if done.seal is not None:
        _print_seal(directory, done)
    if done.commit is not None:
        say(f"\nLoad it: bench evaluate {repo_id}{f'@{tag}' if tag else ''}")


def publish_leaderboard(
    folder: Path = typer.Argument(..., help="Folder of the page, with index.html."),
    repo_id: str = _REPO_ID,
    private: bool = _PRIVATE,
    dry_run: bool = _DRY_RUN,
    quiet: bool = _QUIET,
) -> None:
    """Publish a leaderboard's page to a static Space of the Hub."""
    from personaroute_bench.publishing.publish import publish_leaderboard as run

    _print(
        run(
            folder,
            repo_id,
            private=True if private else None,
            dry_run=dry_run,
            on_progress=None if quiet else lambda line: say(line, err=True),
        )
    )


def check_seal(
    directory: str = typer.Argument(..., help="Folder, or ORG/NAME on the Hub."),
) -> None:
    """Recompute the salted hashes of a data set that was sealed and is now open."""
    from personaroute_bench.errors import BenchError
    from personaroute_bench.publishing.pull import local_folder
    from personaroute_bench.publishing.seal import SEAL, check_opening, read_seal

    folder = local_folder(directory)
    wrong = check_opening(folder)
    if wrong:
        raise BenchError(
            f"{directory} is not what was sealed:\n" + "\n".join(f"  {line}" for line in wrong)
        )
    seal = read_seal(folder / SEAL)
    say(
        f"{len(seal['withheld'])} files and the seed are as they were sealed on "
        f"{seal['sealed_at']}, if {SEAL} is the one published then: compare it with the copy of "
        "that time."
    )


def _print(done: Published) -> None:
    from personaroute_bench.cli.screen import clean, print_table

    title = f"Would publish to {done.url}" if done.commit is None else f"Published: {done.url}"
    print_table(
        clean(title),
        ("file", "bytes"),
        [
            *((name, f"{size:,}") for name, size in done.files.items()),
            *((name, "deleted") for name in done.deleted),
            ("together", f"{sum(done.files.values()):,}"),
        ],
    )
    if done.commit is None:
        say("\nDry run: nothing was sent.")
    elif not done.changed:
        say(f"\nAll of it was there already, verified; commit {done.commit}")
    else:
        say(f"\nVerified; commit {done.commit}")


def _print_seal(directory: Path, done: Published) -> None:
    from personaroute_bench.publishing.seal import SALT

    assert done.seal is not None
    if "salt" in done.seal:
        say(f"Opened; sealed on {done.seal['sealed_at']}. Check it: bench check-seal")
        return
    say(f"\nSealed: {', '.join(done.seal['withheld'])} and the seed")
    if (directory / SALT).is_file():
        say(f"Keep {directory / SALT} safe and secret: without it nobody can open the seal.")
    for weakness in done.seal["weaknesses"]:
        say(f"warning: the seal is weak: {weakness}", err=True)
