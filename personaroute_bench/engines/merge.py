"""`bench merge`: the shards of an array become one data set."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.engines.shard_note import SHARDS, ShardNote, shard_folders
from personaroute_bench.errors import Incomplete, UsageError
from personaroute_bench.folder import DataFolder, differences
from personaroute_bench.generate import Generated, generate
from personaroute_bench.hashing import shard_of
from personaroute_bench.llms.ledger import Ledger
from personaroute_bench.llms.ledger_merge import merge_ledger
from personaroute_bench.plan import make_plan
from personaroute_bench.report import Report

_PATHS = ("pool", "tasks", "responses", "personas", "judge_pool")
_MERGED = ".merged-shards"


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge."""

    directory: Path
    shards: int
    generated: Generated | None
    """The whole data set; None where shards are missing and were allowed to."""
    missing: tuple[str, ...] = ()
    """Shards that are not there or not finished."""


def merge_shards(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    partial: bool = False,
    run: RunConfig | None = None,
    report: Report | None = None,
) -> Merged:
    """Merge the shards of an array and complete the data set; asks nothing.

    Args:
        sources: folders of shards, or of data sets that hold some.
        out: the data set's folder; None: the source, where it is the only one and holds shards.
        partial: merge what is there although shards are missing or not finished.
        run: its ledger and error rate are used.
        report: told of progress.

    Raises:
        UsageError: a shard is missing, not finished, given twice or of another division.
        ConfigMismatch: the shards are not of one data set.
        Incomplete: judges are to be asked now.
    """
    report = report or Report()
    target = _target(sources, out)
    notes = [ShardNote.read(path) for path in _found(sources)]
    missing = check_shards_belong(notes)
    if missing and not partial:
        raise UsageError(
            f"{', '.join(missing)}; run what is missing with bench generate --shard I/"
            f"{notes[0].shard.of}, or merge what is there with --partial"
        )
    data = _configuration(notes[0])
    run = _only_merging(run or RunConfig())
    plan = make_plan(data, run, report)
    changed = differences(notes[0].defining, plan.defining)
    if changed:
        raise UsageError(
            f"the files that shard {notes[0].shard} was made from have changed since:\n"
            + "\n".join(f"  {line}" for line in changed[:12])
            + "\nPut them back as they were"
        )
    report.stage("merge", f"{len(notes)} of {notes[0].shard.of} shards")
    with DataFolder.open(target, plan.defining) as folder:
        shutil.rmtree(target / _MERGED, ignore_errors=True)
        with Ledger(folder.use_ledger(run.ledger)) as ledger:
            for note in notes:
                _check_keys(note)
            for note in notes:
                merge_ledger(ledger, note.ledger, folder.dataset_id)
        # In one step, so that a merge that is killed does not find some of them missing.
        if any(note.folder.parent == target / SHARDS for note in notes):
            (target / SHARDS).rename(target / _MERGED)
            shutil.rmtree(target / _MERGED, ignore_errors=True)
    if missing:
        return Merged(target, len(notes), None, tuple(missing))
    try:
        return Merged(target, len(notes), generate(data, target, run=run, report=report))
    except Incomplete as error:
        raise Incomplete(f"{len(notes)} shards are merged into {target}; {error}") from error


def check_shards_belong(notes: Sequence[ShardNote]) -> list[str]:
    """Check that shards are parts of one data set, none twice; return what is missing, in words.

    Raises:
        UsageError: a shard is given twice, or they are not of one array.
        ConfigMismatch: they are not of one data set.
    """
    first = notes[0]
    by_number: dict[int, list[ShardNote]] = defaultdict(list)
    for note in notes:
        if note.shard.of != first.shard.of:
            raise UsageError(
                f"{first.folder} is shard {first.shard} and {note.folder} shard {note.shard}: they "
                "divide the calls in two ways, so that some are in both; give shards of one array"
            )
        note.check_same(first)
        if note.stage != first.stage:
            raise UsageError(
                f"shard {first.shard} has asked for {first.stage} and shard {note.shard} for "
                f"{note.stage}; run the whole array again"
            )
        by_number[note.shard.number].append(note)
    for number, mine in by_number.items():
        if len(mine) > 1:
            places = " and ".join(str(note.folder) for note in mine)
            raise UsageError(f"shard {number}/{first.shard.of} is given twice: {places}")
    of = first.shard.of
    absent = [f"{number}/{of}" for number in range(1, of + 1) if number not in by_number]
    unfinished = [str(note.shard) for note in notes if not note.finished]
    return [
        f"{_listed(shards)} {verb}"
        for shards, verb in ((absent, "missing"), (unfinished, "not finished"))
        if shards
    ]


def _listed(shards: Sequence[str]) -> str:
    shown = ", ".join(shards[:20])
    more = f" and {len(shards) - 20} more" if len(shards) > 20 else ""
    return (
        f"shard{'s' if len(shards) > 1 else ''} {shown}{more} {'are' if len(shards) > 1 else 'is'}"
    )


def _found(sources: Sequence[str | Path]) -> list[Path]:
    """Return the shards' folders.

    Raises:
        UsageError: a source holds none.
    """
    found: dict[Path, None] = {}
    for source in map(Path, sources):
        here = [source] if (source / "shard.json").is_file() else shard_folders(source)
        if not here:
            raise UsageError(
                f"{source} holds no shards; give the folder of the data set that bench generate "
                "--shard wrote to, or the shards' own folders; where they are merged already, "
                "bench generate with the options of the shards goes on"
            )
        found |= dict.fromkeys(path.resolve() for path in here)
    return list(found)


def _target(sources: Sequence[str | Path], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out).resolve()
    if len(sources) == 1 and not (Path(sources[0]) / "shard.json").is_file():
        return Path(sources[0]).resolve()
    raise UsageError("give the folder of the data set with --out, since the shards lie elsewhere")


def _configuration(note: ShardNote) -> DataConfig:
    """Return the configuration, with its files found from here.

    Raises:
        UsageError: it is not one of this version.
    """
    known = {field.name for field in fields(DataConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in note.configuration.items()
    }
    if not known.issuperset(values):
        raise UsageError(
            f"{note.folder} is of version {note.version} and has options that this one does not "
            f"know: {', '.join(sorted(values.keys() - known))}; merge with that version"
        )
    for name in _PATHS:
        there = Path(note.working_folder) / str(values.get(name))
        if values.get(name) is not None and not Path(values[name]).exists() and there.is_file():
            values[name] = str(there)
    return DataConfig(**values)


def _only_merging(run: RunConfig) -> RunConfig:
    return RunConfig(ledger=run.ledger, max_error_rate=run.max_error_rate, ask=False,
                     allow_unknown_cost=True)  # fmt: skip


def _check_keys(note: ShardNote) -> None:
    """Refuse a ledger that holds other shards' calls.

    Raises:
        UsageError: it holds one, or there is no ledger.
        LedgerInUse: the shard is still at work.
    """
    if not note.ledger.is_file():
        raise UsageError(f"{note.folder} has no ledger; run shard {note.shard} again")
    with Ledger(note.ledger) as ledger:
        for (key,) in ledger.query("SELECT key FROM calls"):
            if shard_of(key, note.shard.of) != note.shard.number - 1:
                raise UsageError(
                    f"{note.ledger} holds calls of other shards than {note.shard}; give the folder "
                    "that the shard was run into"
                )
