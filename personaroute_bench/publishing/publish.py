"""Publish a data set, or a leaderboard's page, to the Hub."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personaroute_bench.benchmark import MANIFEST
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.publishing.croissant import croissant
from personaroute_bench.publishing.hub import Hub, RepoType, check_repo_id, endpoint
from personaroute_bench.publishing.merge import merge_card
from personaroute_bench.publishing.seal import SEAL
from personaroute_bench.publishing.staging import CARD, CROISSANT, How, Staged, stage, write_staged

Say = Callable[[str], None]


@dataclass(frozen=True)
class Published:
    """What was, or in a dry run would be, published."""

    repo_id: str
    repo_type: RepoType
    url: str
    commit: str | None
    """None in a dry run."""
    changed: bool
    """False where the Hub held all of it already."""
    files: Mapping[str, int]
    """Name to bytes."""
    deleted: Sequence[str] = ()
    """Files of an earlier version that are gone."""
    without_text: Sequence[str] = ()
    """Tasks whose texts were left out."""
    seal: Mapping[str, Any] | None = None
    """As published; None for a data set that was never sealed."""


def publish(
    directory: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    tag: str | None = None,
    allowed_licences: Sequence[str] = (),
    without_text: bool = False,
    how: How = "whole",
    dry_run: bool = False,
    out: str | Path | None = None,
    on_progress: Say | None = None,
) -> Published:
    """Publish a data set to the Hub, in one commit; see docs/publishing.md.

    Args:
        directory: a complete data set.
        repo_id: ``org/name``; made where it is not there.
        private: visibility of a new repository; None: what the organisation has set.
        tag: name of this version.
        allowed_licences: licences of tasks that whoever publishes vouches for.
        without_text: leave out the texts that no licence lets be passed on.
        how: ``whole``; ``sealed`` withholds what the test decides; ``opened`` reveals it.
        dry_run: prepare and check everything, send nothing, ask nothing.
        out: a new folder that is given what is published, too.
        on_progress: is told one line a step.

    Raises:
        UsageError: a wrong value, a licence, the seal, no token; nothing was sent.
        BenchError: the Hub refused or was lost; the same call continues.
    """
    say = on_progress or (lambda line: None)
    check_repo_id(repo_id)
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as scratch:
        # A missing token is told before the work, except where none is needed.
        hub = None if dry_run else Hub.connect(repo_id)
        say("checking the folder")
        staged = stage(
            Path(directory),
            repo_id,
            Path(scratch),
            allowed_licences=allowed_licences,
            without_text=without_text,
            how=how,
            trial=dry_run and out is None,
        )
        if hub is None:
            return _dry_run(staged, out)
        head = hub.create(private=private)
        old = _manifest_of(hub, head)
        _check_history(hub, staged, old, head)
        card = hub.read(CARD, head)
        place = f"the card {hub.url}/blob/main/{CARD}"
        small = _small_files(staged, _text(card, place), place)
        if out is not None:
            write_staged(staged, small, Path(out))
        files: dict[str, Path | bytes] = {**staged.files, **small}
        gone = sorted(set(old.get("files", {})) - set(files))
        deleted = sorted(hub.present(gone, head))
        say(f"uploading {len(files)} files, {_megabytes(_sizes(files))}")
        commit = hub.commit(files, deleted, message=_message(staged, old), parent=head, say=say)
        say("verifying")
        hub.verify(files, commit)
        if tag is not None:
            hub.tag(tag, commit)
        return _published(staged, files, hub.url, commit, commit != head, deleted)


def publish_leaderboard(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    dry_run: bool = False,
    on_progress: Say | None = None,
) -> Published:
    """Publish a leaderboard's page to a static Space.

    Args:
        folder: holds index.html, as `bench leaderboard build` makes it.
        repo_id: ``org/name``; made where it is not there.
        private: visibility of a new Space.
        dry_run: send nothing.
        on_progress: is told one line a step.

    Raises:
        UsageError: no page in the folder, or files that are not part of one.
        BenchError: the Hub refused or was lost; the same call continues.
    """
    say = on_progress or (lambda line: None)
    check_repo_id(repo_id)
    page = page_files(Path(folder))
    title = repo_id.rpartition("/")[2].replace("-", " ").replace("_", " ")
    header = {
        "title": title,
        "sdk": "static",
        "app_file": "index.html",
        "tags": ["llm-routing", "leaderboard"],
    }
    body = (
        "# Leaderboard\n\nBuilt by `bench leaderboard build` of PersonaRoute-Bench: every figure "
        "on the page was computed from the routers' choices.\n"
    )
    if dry_run:
        files = {**page, CARD: merge_card(None, header, body, "").encode()}
        url = f"{endpoint()}/spaces/{repo_id}"
        return Published(repo_id, "space", url, None, True, _sizes(files))
    hub = Hub.connect(repo_id, "space")
    head = hub.create(private=private)
    place = f"the card {hub.url}/blob/main/{CARD}"
    card = merge_card(_text(hub.read(CARD, head), place), header, body, place)
    files = {**page, CARD: card.encode()}
    say(f"uploading {len(files)} files, {_megabytes(_sizes(files))}")
    commit = hub.commit(files, [], message="Update the leaderboard", parent=head, say=say)
    say("verifying")
    hub.verify(files, commit)
    return Published(repo_id, "space", hub.url, commit, commit != head, _sizes(files))


def page_files(folder: Path) -> dict[str, Path | bytes]:
    """Return the files of a page by name, without hidden ones.

    Raises:
        UsageError: there is no index.html, or a link that could lead anywhere.
    """
    if not (folder / "index.html").is_file():
        raise UsageError(
            f"{folder} has no index.html; build the page first with: bench leaderboard build"
        )
    files: dict[str, Path | bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or name.as_posix() == CARD:
            continue
        if path.is_symlink():
            raise UsageError(f"{path} is a link and is not published; put the file in its place")
        if path.is_file():
            files[name.as_posix()] = path
    return files


def _dry_run(staged: Staged, out: str | Path | None) -> Published:
    small = _small_files(staged, None, "")
    if out is not None:
        write_staged(staged, small, Path(out))
    url = f"{endpoint()}/datasets/{staged.repo_id}"
    return _published(staged, {**staged.files, **small}, url, None, True, [])


def _small_files(staged: Staged, card: str | None, place: str) -> dict[str, bytes]:
    text = merge_card(card, staged.header, staged.body, place)
    about = croissant(staged.repo_id, endpoint(), staged.manifest, staged.files, staged.tasks)
    return staged.finish(text, about)


def _manifest_of(hub: Hub, revision: str) -> dict[str, Any]:
    """Return the manifest that is published; empty where there is none.

    Raises:
        UsageError: there is a manifest.json of another kind.
    """
    data = hub.read(MANIFEST, revision)
    if data is None:
        return {}
    try:
        found = json.loads(data)
        if found["generator"]["name"] == "personaroute-bench" and isinstance(found["files"], dict):
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        f"{hub.url} holds a {MANIFEST} that bench publish did not write; give another --repo-id, "
        "or delete the file there"
    )


def _check_history(hub: Hub, staged: Staged, old: Mapping[str, Any], head: str) -> None:
    """Refuse what would overwrite others' files, or what the past makes pointless.

    Raises:
        UsageError: foreign files of the same names; sealing what was published whole; another
            seal than the folder's.
    """
    foreign = [] if old else sorted(hub.present([*staged.files, CROISSANT, SEAL], head))
    if foreign:
        raise UsageError(
            f"{hub.url} holds files that bench publish did not write and would overwrite "
            f"({', '.join(foreign[:3])}); give another --repo-id, or delete them there"
        )
    before = old.get("seal", {}).get("state")
    if staged.how == "sealed" and old and before != "sealed":
        raise UsageError(
            f"{hub.url} has published a data set whole already, and its history keeps it for "
            "everybody to read; seal under another --repo-id, before anything is published"
        )
    if staged.how == "opened" and before is None:
        raise UsageError(
            f"{hub.url} holds no sealed data set, so there is nothing to open; give the --repo-id "
            "that it was sealed under"
        )
    if staged.how == "whole" and before is not None:
        raise UsageError(
            f"{hub.url} holds a data set that was sealed; publish from the folder that it was "
            "sealed from (--open reveals it), or give another --repo-id"
        )
    if staged.seal is not None and before is not None:
        data = hub.read(SEAL, head)
        try:
            there = json.loads(data) if data is not None else {}
            same = all(there[key] == staged.seal[key] for key in ("withheld", "seed", "sealed_at"))
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise UsageError(
                f"{hub.url} holds another seal ({SEAL}) than the folder; publish from the folder "
                "that it was sealed from, or give another --repo-id"
            )


def _text(data: bytes | None, place: str) -> str | None:
    try:
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BenchError(f"{place} is not UTF-8; mend it on the Hub, then run again") from error


def _message(staged: Staged, old: Mapping[str, Any]) -> str:
    if staged.how == "opened":
        return "Open the sealed data set"
    return "Update the data set" if old else "Publish the data set"


def _published(
    staged: Staged,
    files: Mapping[str, Path | bytes],
    url: str,
    commit: str | None,
    changed: bool,
    deleted: Sequence[str],
) -> Published:
    return Published(
        staged.repo_id,
        "dataset",
        url,
        commit,
        changed,
        _sizes(files),
        tuple(deleted),
        tuple(staged.without_text),
        staged.seal,
    )


def _sizes(files: Mapping[str, Path | bytes]) -> dict[str, int]:
    return {
        name: len(data) if isinstance(data, bytes) else data.stat().st_size
        for name, data in files.items()
    }


def _megabytes(sizes: Mapping[str, int]) -> str:
    return f"{sum(sizes.values()) / 1e6:,.1f} MB"
