"""What a shard of an array says of itself: ``shards/03-of-16/shard.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench import __version__
from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.files import read_json, write_json
from personaroute_bench.folder import differences
from personaroute_bench.hashing import digest

if TYPE_CHECKING:
    from personaroute_bench.plan import Plan

SHARDS = "shards"
"""Folder of the shards, in the data set's."""
NOTE = "shard.json"
FORMAT = 1
RESPONSES = "responses"
JUDGMENTS = "judgments"
_FIELDS: dict[str, type] = {
    "number": int, "of": int, "stage": str, "finished": bool, "configuration": dict,
    "defining": dict, "personas": str, "working_folder": str, "version": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of an array, for instance 3 of 16."""

    number: int
    """From 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """Name of its folder; sorts by number."""
        return f"{self.number:0{len(str(self.of))}d}-of-{self.of}"


@dataclass(frozen=True)
class ShardNote:
    """A shard on disk, beside its ledger."""

    folder: Path
    shard: Shard
    stage: str
    """What its array asks: ``responses`` or ``judgments``."""
    finished: bool
    """Whether all its calls have ended."""
    configuration: Mapping[str, Any]
    """DataConfig as JSON values."""
    defining: Mapping[str, Any]
    personas: str
    """Fingerprint of the personas."""
    working_folder: str
    """Where relative paths of the configuration start."""
    version: str

    @classmethod
    def of_plan(cls, folder: Path, shard: Shard, stage: str, plan: Plan) -> ShardNote:
        """Return the note of a shard that is about to begin."""
        return cls(
            folder, shard, stage, False, plan.data.as_json(), plan.defining,
            plan.personas.fingerprint(), str(Path.cwd()), __version__,
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> ShardNote:
        """Read a shard's note.

        Raises:
            UsageError: there is none, or it is damaged or of another version.
        """
        path = folder / NOTE
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            found = value.get("format") if isinstance(value, dict) else value
            raise UsageError(
                f"{path} is of format {found!r}, this version reads {FORMAT}; run the shard again "
                "with this version"
            )
        if not all(isinstance(value.get(name), kind) for name, kind in _FIELDS.items()):
            raise UsageError(f"{path} is damaged; run its shard again: its ledger is kept")
        fields = {name: value[name] for name in _FIELDS if name not in ("number", "of")}
        return cls(folder=folder, shard=Shard(value["number"], value["of"]), **fields)

    def write(self) -> None:
        """Write the note."""
        values = {name: getattr(self, name) for name in _FIELDS if name not in ("number", "of")}
        write_json(self.folder / NOTE, {"format": FORMAT, **asdict(self.shard), **values})

    @property
    def ledger(self) -> Path:
        """The shard's own ledger."""
        return self.folder / "ledger.sqlite"

    @property
    def dataset_id(self) -> str:
        """Names the data set in the shards' ledgers; the merged one has its own."""
        return digest(self.defining)[:32]

    def check_same(self, other: ShardNote) -> None:
        """Raise unless both are shards of one data set.

        Raises:
            ConfigMismatch: names what differs.
        """
        sides = [
            {"defining": note.defining, "asked for": note.configuration, "personas": note.personas}
            for note in (self, other)
        ]
        differing = differences(*sides)
        if differing:
            shown = "\n".join(f"  {line}" for line in differing[:12])
            raise ConfigMismatch(
                f"{self.folder} is a shard of another data set than {other.shard} is to be:\n"
                f"{shown}\nGive all shards the same options, or another --out"
            )


def shard_folders(path: Path) -> list[Path]:
    """Return the folders of the shards in a data set's folder, sorted."""
    return sorted(note.parent for note in (path / SHARDS).glob(f"*/{NOTE}"))
