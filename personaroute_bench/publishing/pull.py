"""Load a data set from the Hub: into the Hub's own cache, every file compared with the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import is_inside, read_json, sha256_file
from personaroute_bench.publishing.hub import REPO_ID, endpoint, hub_errors, quiet_client
from personaroute_bench.publishing.tables import table_of

MANIFEST = "manifest.json"
_WANTED = ("*.parquet", "manifest.json", "seal.json", "croissant.json", "README.md")
_TABLES = (
    "tasks", "queries", "llms", "responses", "users", "ratings", "judgments", "pairs",
    "interactions",
)  # fmt: skip


def local_folder(place: str | Path) -> Path:
    """Return the folder of a data set; ``org/name`` or ``org/name@revision`` is fetched first.

    A folder of that name is always taken before the Hub is asked. Where a folder ``org`` is here,
    ``org/name`` is a path in it; ``org/name@main`` is then the way to ask the Hub.

    Raises:
        UsageError: neither a folder nor a data set of the Hub.
        BenchError: the Hub was lost, or what it holds is not what its manifest says.
    """
    text = str(place)
    name, _, revision = text.partition("@")
    path = Path(text)
    if path.exists() or not REPO_ID.fullmatch(name) or (path.parent.exists() and not revision):
        return path
    return pull(name, revision or None)


def pull(repo_id: str, revision: str | None = None) -> Path:
    """Fetch a data set into the Hub's cache and check it; return its folder there.

    Args:
        repo_id: ``org/name``.
        revision: a tag, branch or commit; None: the newest.

    Raises:
        UsageError: no such data set, or none of ours.
        BenchError: the Hub was lost, or what it holds is not what its manifest says.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    with hub_errors(f"cannot fetch {endpoint()}/datasets/{repo_id}"), quiet_client():
        try:
            folder = Path(
                snapshot_download(
                    repo_id,
                    repo_type="dataset",
                    revision=revision,
                    allow_patterns=list(_WANTED),
                    endpoint=endpoint(),
                )
            )
        except RevisionNotFoundError:
            raise UsageError(f"{repo_id} has no version {revision!r} on {endpoint()}") from None
        except RepositoryNotFoundError:
            raise UsageError(
                f"{repo_id!r} is neither a folder here nor a data set on {endpoint()} that you may "
                "see; correct the name, or set HF_TOKEN if it is private"
            ) from None
        except LocalEntryNotFoundError:
            raise UsageError(
                f"{repo_id!r} is no folder here, and the Hub ({endpoint()}) cannot be reached, nor "
                "does its cache hold it; correct the path, or connect once"
            ) from None
    check_pulled(folder, repo_id)
    return folder


def check_pulled(folder: Path, repo_id: str) -> None:
    """Compare every file with the manifest.

    Raises:
        UsageError: there is no manifest of ours.
        BenchError: a file is missing, another one, or not named by the manifest.
    """
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            f"{repo_id} on the Hub is no data set of PersonaRoute-Bench (it has no {MANIFEST}); "
            "see docs/publishing.md"
        )
    listed = _listed(read_json(folder / MANIFEST), repo_id)
    for name, (size, sha256) in listed.items():
        path = folder / name
        if name == "README.md":  # a card may be mended on the Hub; nothing is computed from it
            continue
        if not path.is_file() or path.stat().st_size != size or sha256_file(path) != sha256:
            raise BenchError(
                f"{repo_id}: {name} is not the file that its {MANIFEST} describes. If the copy "
                f"here is damaged, delete {folder} and run again; otherwise tell its author"
            )
    for path in folder.rglob("*.parquet"):
        name = path.relative_to(folder).as_posix()
        if table_of(name) in _TABLES and name not in listed:
            raise BenchError(
                f"{repo_id} holds {name}, which its {MANIFEST} does not name; tell its author to "
                "publish it again with bench publish"
            )


def _listed(manifest: Any, repo_id: str) -> Mapping[str, tuple[int, str]]:
    try:
        listed = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in manifest["files"].items()
        }
        manifest["strategies"].items()
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise BenchError(
            f"{repo_id}: its {MANIFEST} is damaged; tell its author to publish it again"
        ) from error
    for name in listed:
        if not is_inside(name):
            raise BenchError(f"{repo_id}: its {MANIFEST} names {name!r}, outside of the data set")
    return listed
