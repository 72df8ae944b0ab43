"""The data sets that submissions answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.benchmark import MANIFEST, Benchmark
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.files import sha256_file
from personaroute_bench.publishing.seal import SALT, SEAL, read_seal

from .submission import check_time
from .track import Asked

if TYPE_CHECKING:
    from personaroute_bench.evaluation.metrics import Outcomes

    from .track import Track


@dataclass(eq=False)
class DataSet:
    """One data set of a board."""

    name: str
    """Of its folder."""
    benchmark: Benchmark
    manifest_sha256: str
    dataset_id: str | None
    was_sealed: bool = False
    opened: str | None = None
    """When a sealed one was opened; None: it is sealed still, or never was."""
    _asked: dict[Track, Asked] = field(default_factory=dict)
    _outcomes: dict[tuple[Any, ...], Outcomes] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path, opened: str | None = None) -> DataSet:
        """Read a data set's folder.

        Args:
            directory: the folder.
            opened: when it was opened, where its seal does not say so.

        Raises:
            UsageError: there is no complete data set with rewards.
        """
        benchmark = Benchmark.load(directory)
        if not benchmark.strategies:
            raise UsageError(
                f"{directory} holds no strategy with rewards; the board is for data sets of "
                "bench generate"
            )
        seals = [directory / name for name in (SEAL, SALT) if (directory / name).is_file()]
        for seal in seals:
            opened = read_seal(seal).get("opened_at", opened)
        name = benchmark.manifest.get("dataset_id")
        return cls(
            name=printable(directory.resolve().name)[:80],
            benchmark=benchmark,
            manifest_sha256=sha256_file(directory / MANIFEST),
            dataset_id=None if name is None else str(name),
            was_sealed=bool(seals) or opened is not None,
            opened=None if opened is None else check_time(opened, "--opened"),
        )

    def sealed(self, asked: Asked) -> bool:
        """Whether the test outcomes are not public yet.

        The author's own folder has them all the same; they are not used before the opening.
        """
        return (self.was_sealed and self.opened is None) or not asked.has_outcomes()

    @property
    def provenance(self) -> str:
        """live, recorded or simulated; ``mixed`` for several, ``unknown`` for none."""
        found = self.benchmark.manifest.get("provenance")
        names = [found] if isinstance(found, str) else list(found or [])
        if len(names) > 1:
            return "mixed"
        return str(names[0]) if names else "unknown"

    @property
    def population(self) -> str:
        """Names of the laws that the users' weights are drawn from."""
        if "population" not in self.benchmark.users.column_names:
            return "unknown"
        names = self.benchmark.users["population"].unique().to_pylist()
        return ", ".join(sorted(str(name) for name in names))

    def asked(self, track: Track) -> Asked:
        """Return the requests of a track, found once."""
        if track not in self._asked:
            self._asked[track] = Asked.of(self.benchmark, track)
        return self._asked[track]

    def outcomes(self, asked: Asked) -> Outcomes:
        """Return the test outcomes of a track, those of the last one kept."""
        key = (asked.track.strategy, asked.users.tobytes(), asked.queries.tobytes())
        if key not in self._outcomes:
            self._outcomes = {key: asked.outcomes()}
        return self._outcomes[key]


def load_all(directories: Sequence[Path], opened: str | None = None) -> list[DataSet]:
    """Read several data sets.

    Raises:
        UsageError: one of them is none, or two are the same.
    """
    data = [DataSet.load(directory, opened) for directory in directories]
    seen: dict[str, str] = {}
    for one in data:
        if one.manifest_sha256 in seen:
            raise UsageError(
                f"--data {one.name} and {seen[one.manifest_sha256]} are the same data set; give one"
            )
        seen[one.manifest_sha256] = one.name
    return data
