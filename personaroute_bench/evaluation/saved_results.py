"""Results that were read back from a file, and whether two such files can be paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.texts import printable
from personaroute_bench.files import read_json

# What must agree for a comparison to be of routers and of nothing else; see `compare.compare`.
CONDITIONS = (
    "strategy",
    "setting",
    "held_out",
    "shots",
    "feedback",
    "interactions_per_user",
    "tier",
    "seeds",
)


@dataclass(frozen=True, eq=False)
class SavedResults:
    """What ``bench evaluate --json`` wrote; a stranger's word, checked where it is used."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> SavedResults:
        """Read a file.

        Raises:
            UsageError: it holds no results with draws.
        """
        data = read_json(path)
        if not isinstance(data, dict) or not isinstance(data.get("routers"), list):
            raise UsageError(f"{path} holds no results; name a file of bench evaluate --json")
        if data.get("kind") == "pairs":
            raise UsageError(
                f"{path} holds results on recorded pairs of real people, which cannot be compared "
                "over files yet; name all routers in one bench evaluate"
            )
        paired, draws = data.get("paired"), data.get("bootstrap_draws")
        known = isinstance(paired, dict) and isinstance(paired.get("outcomes_sha256"), str)
        if not known or not isinstance(draws, int) or isinstance(draws, bool):
            raise UsageError(
                f"{path} lacks the draws that a paired comparison needs; run bench evaluate --json "
                "again, with this version"
            )
        return cls(path, data)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Routers that are readable entries; what is not is no router."""
        return [
            entry
            for entry in self.data["routers"]
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        ]

    @property
    def confidence(self) -> float:
        """Of the intervals; 0.95 where the file does not say."""
        found = self.data.get("confidence")
        return found if isinstance(found, float) and 0 < found < 1 else 0.95

    @property
    def sizes(self) -> tuple[int, int]:
        """How many users and test queries; 1 and 1 where the file does not say."""
        sizes = self.data.get("sizes")
        found = [sizes.get(key) for key in ("users", "test")] if isinstance(sizes, dict) else []
        known = [min(n, 1_000_000) for n in found if isinstance(n, int) and n > 0]
        return (known[0], known[1]) if len(known) == 2 else (1, 1)

    def differing(self, other: SavedResults) -> list[str]:
        """Return in words what was not the same."""
        pairs = [(key, self.data.get(key), other.data.get(key)) for key in CONDITIONS]
        folder = [
            result.data["data"].get("manifest_sha256")
            if isinstance(result.data.get("data"), dict)
            else None
            for result in (self, other)
        ]
        pairs.append(("manifest of the data set", str(folder[0])[:12], str(folder[1])[:12]))
        return [f"{key} {_word(a)} and {_word(b)}" for key, a, b in pairs if a != b]


def check_pairable(first: SavedResults, other: SavedResults) -> None:
    """Raise UsageError where draws of the two are not of the same users and queries."""
    mine, theirs = first.data["paired"], other.data["paired"]
    if mine.get("outcomes_sha256") != theirs.get("outcomes_sha256"):
        told = "; ".join(first.differing(other)) or "the test outcomes themselves"
        raise UsageError(
            f"{first.path} and {other.path} are about different test outcomes, and no difference "
            f"between them would be the routers' ({told}). Evaluate the routers on one data set, "
            "with the same strategy and setting"
        )
    draws = first.data["bootstrap_draws"], other.data["bootstrap_draws"]
    if draws[0] != draws[1] or mine.get("draws_sha256") != theirs.get("draws_sha256"):
        how = (
            f"{draws[0]} and {draws[1]} draws"
            if draws[0] != draws[1]
            else "different random streams, probably of two versions of NumPy"
        )
        raise UsageError(
            f"the bootstraps of {first.path} and {other.path} cannot be paired: {how}; evaluate "
            "again with the same --draws and the same versions"
        )


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} held out" if value else "nothing held out"
    return "none" if value is None else printable(str(value))[:60]
