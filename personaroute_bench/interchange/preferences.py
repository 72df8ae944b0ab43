"""`bench import preferences`: recorded human choices become a benchmark of real people.

rows ─► pairs ─► splits ─► tasks, queries, llms, responses, users, pairs ─► card, manifest

Nothing in it is simulated: users are people, responses are those that they saw, and there are
neither rewards nor weights. See docs/preferences.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.files import read_json, sha256_file, write_json
from personaroute_bench.folder import MANIFEST, DataFolder
from personaroute_bench.hashing import digest
from personaroute_bench.interchange.pair_splits import split_by_person, split_by_query
from personaroute_bench.interchange.preferences_file import Comparison, read_preferences
from personaroute_bench.interchange.preferences_tables import Pair, Tables
from personaroute_bench.schemas import SPLITS

By = Literal["query", "person"]
BYS: tuple[By, ...] = get_args(By)
# Raise it when the same file gives other tables.
IMPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Imported:
    """A whole data set of real people on disk."""

    directory: Path
    manifest: Mapping[str, Any]
    changed: bool
    """False where everything was there already."""


def import_preferences(
    path: str | Path,
    out: str | Path,
    *,
    datasets: Sequence[str] | None = None,
    by: By = "query",
    seed: int = 0,
    exclude: Sequence[str] = (),
    embedder: str = "hashing",
) -> Imported:
    """Make a benchmark of real people from a file of recorded choices.

    Args:
        path: Parquet or JSONL; its columns are in docs/preferences.md.
        out: folder of the data set; the same import again changes nothing.
        datasets: only these data sets of the file; None: all.
        by: split each person's queries (``query``), or split the people (``person``).
        seed: decides the split.
        exclude: ids of candidates to leave out, for instance a human reference, which nobody
            can route to.
        embedder: of the queries, see `personaroute_bench.embeddings`.

    Raises:
        UsageError: a wrong value, file or row, or a folder of another configuration.
        BenchError: no space, no permission.
    """
    from personaroute_bench.embeddings import make_embedder

    path, out = Path(path), Path(out)
    if by not in BYS:
        raise UsageError(f"unknown --by {by!r}{did_you_mean(by, BYS)}")
    rows = read_preferences(path, datasets)
    maker = make_embedder(embedder)
    configuration = {
        "import": "preferences",
        "file": path.name,
        "datasets": None if datasets is None else sorted(set(datasets)),
        "by": by,
        "seed": seed,
        "exclude": sorted(set(exclude)),
        "embedder": embedder,
    }
    defining = configuration | {
        "version": IMPORT_VERSION,
        "file": sha256_file(path),
        "embedder": dict(maker.fingerprint()),
    }
    _check_ids(path, rows, exclude)
    query_ids = _occasions(rows)
    pairs, merged = _pairs(rows, query_ids, frozenset(exclude))
    if not pairs:
        raise UsageError(f"{path}: no row compares two candidates that are not excluded")
    pairs = _split(pairs, by, seed)

    with DataFolder.open(out, defining) as folder:
        files = [out / f"{name}.parquet" for name in ("tasks", "queries", "llms", "responses")]
        files += [out / "users.parquet", *(out / "pairs" / f"{name}.parquet" for name in SPLITS)]
        if folder.is_whole() and all(file.is_file() for file in files):
            return Imported(out, read_json(out / MANIFEST), changed=False)
        folder.begin_change()
        tables = Tables(rows, query_ids, pairs, maker)
        tables.write(out)
        facts = tables.facts() | {
            "pairs": {"by": by, "repeats_merged": merged, "datasets": _counts(pairs, rows)}
        }
        manifest = _finish(folder, configuration, defining, facts, tables.tasks)
    return Imported(out, manifest, changed=True)


def _check_ids(path: Path, rows: Sequence[Comparison], exclude: Sequence[str]) -> None:
    """Raise where an id means two things, or an excluded one is nowhere."""
    known = sorted({name for row in rows for name in row.candidates})
    for name in exclude:
        if name not in known:
            raise UsageError(
                f"--exclude {name!r} is no candidate of {path}{did_you_mean(name, known)}"
            )
    for kind in ("user_id", "query_id"):
        home: dict[str, Comparison] = {}
        for row in rows:
            value = getattr(row, kind)
            first = home.setdefault(value, row)
            if first.dataset != row.dataset:
                raise UsageError(
                    f"{path}, row {row.row}: {kind} {value!r} of data set {row.dataset!r} stands "
                    f"in {first.dataset!r} too (row {first.row}); ids are known to be the same "
                    "only within a data set: rename them, or import one at a time with --dataset"
                )
            if kind == "query_id" and first.query != row.query:
                raise UsageError(
                    f"{path}, row {row.row}: query_id {value!r} has another text than in row "
                    f"{first.row}; give every query its own id"
                )


def _occasions(rows: Sequence[Comparison]) -> list[str]:
    """[rows] ids under which an LLM has one answer to a query.

    Where an LLM answered a query more than once, the rows of this query are told apart by their
    content: ``query_id~`` and eight hex digits of what the person saw.
    """
    answers: dict[tuple[str, str], str] = {}
    several: set[str] = set()
    for row in rows:
        for llm, text in zip(row.candidates, row.responses, strict=True):
            if answers.setdefault((row.query_id, llm), text) != text:
                several.add(row.query_id)

    def content(row: Comparison) -> str:
        seen = sorted(zip(row.candidates, row.responses, strict=True))
        return digest([list(pair) for pair in seen])[:8]

    return [
        f"{row.query_id}~{content(row)}" if row.query_id in several else row.query_id
        for row in rows
    ]


def _pairs(
    rows: Sequence[Comparison], query_ids: Sequence[str], excluded: frozenset[str]
) -> tuple[list[Pair], int]:
    """Return pairs sorted by their key, and how many verdicts were merged into another.

    Who judged the same pair twice prefers the one they chose more often; as often: a tie.
    """
    verdicts: dict[tuple[str, str, str, str], list[int]] = {}
    about: dict[str, Comparison] = {}
    for row, query_id in zip(rows, query_ids, strict=True):
        about[query_id] = row
        for a, b, verdict in row.pairs():
            if not excluded & {a, b}:
                verdicts.setdefault((row.user_id, query_id, a, b), []).append(verdict)
    pairs = []
    for (user, query_id, a, b), said in sorted(verdicts.items()):
        net = sum(said)
        outcome = "a" if net > 0 else "b" if net < 0 else "tie"
        row = about[query_id]
        pairs.append(Pair(row.dataset, user, query_id, row.query, a, b, outcome))
    return pairs, sum(map(len, verdicts.values())) - len(pairs)


def _split(pairs: Sequence[Pair], by: By, seed: int) -> list[Pair]:
    from dataclasses import replace

    users = [pair.user_id for pair in pairs]
    if by == "query":
        names = split_by_query(users, [pair.query for pair in pairs], seed)
    else:
        names = split_by_person(users, [pair.dataset for pair in pairs], seed)
    return [replace(pair, split=name) for pair, name in zip(pairs, names, strict=True)]


def _counts(pairs: Sequence[Pair], rows: Sequence[Comparison]) -> dict[str, dict[str, Any]]:
    """Return what each data set holds, as JSON values; people of one query have no test pair."""
    counts: dict[str, dict[str, Any]] = {}
    for name in sorted({pair.dataset for pair in pairs}):
        mine = [pair for pair in pairs if pair.dataset == name]
        people = {pair.user_id for pair in mine}
        tested = {pair.user_id for pair in mine if pair.split == "test"}
        counts[name] = {
            "rows": sum(row.dataset == name for row in rows),
            "people": len(people),
            "people_without_test": len(people - tested),
            "queries": len({pair.query_id for pair in mine}),
            "llms": len({llm for pair in mine for llm in (pair.a, pair.b)}),
            "pairs": len(mine),
            "ties": sum(pair.outcome == "tie" for pair in mine),
            **{split: sum(pair.split == split for pair in mine) for split in SPLITS},
        }
    return counts


def _finish(
    folder: DataFolder,
    configuration: Mapping[str, Any],
    defining: Mapping[str, Any],
    facts: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the card, and last the manifest."""
    from personaroute_bench.interchange.preferences_card import write_card
    from personaroute_bench.manifest import build_manifest

    facts = {
        "provenance": ["recorded"],
        "strategies": {},
        # Nothing was asked, so nothing was paid: this zero is known.
        "spend": {"calls": 0, "usd": 0.0, "unknown_calls": 0, "unknown_usd_at_most": 0.0},
        **facts,
    }
    write_card(folder.path, configuration, facts, tasks)
    manifest = build_manifest(
        folder.path,
        configuration=configuration,
        defining=defining,
        dataset_id=folder.dataset_id,
        facts=facts,
    )
    write_json(folder.path / MANIFEST, manifest)
    return manifest
