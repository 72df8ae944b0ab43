"""What direct judges said, as arrays: a JUDGMENTS table read, checked, and brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import UsageError
from personaroute_bench.judging.agreement import percent, renumber, set_codes

if TYPE_CHECKING:
    from personaroute_bench.users.rewards import Bools, Doubles

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CallCounts:
    """What judge calls ended in, and what they cost."""

    asked: int
    statuses: dict[str, int]
    cost_usd: float | None
    """Sum of what is known, in USD; None where nothing is."""
    unknown_cost: int
    """Calls whose cost is not known, and not in the sum."""

    @classmethod
    def count(cls, status: Sequence[str], cost_usd: Doubles) -> CallCounts:
        """Count calls by status [n]; cost_usd [n] is NaN where unknown."""
        names, counts = np.unique(np.asarray(status, dtype=np.str_), return_counts=True)
        known = np.isfinite(cost_usd)
        return cls(
            asked=len(status),
            statuses=dict(zip(names.tolist(), counts.tolist(), strict=True)),
            cost_usd=float(cost_usd[known].sum()) if known.any() else None,
            unknown_cost=int((~known).sum()),
        )

    def sentence(self) -> str:
        """Say it in words."""
        bad = ", ".join(
            f"{count:,} {name} ({percent(count / self.asked)})"
            for name, count in self.statuses.items()
            if name != "ok"
        )
        spend = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        if self.cost_usd is not None and self.unknown_cost:
            spend += f" and the unknown cost of {self.unknown_cost:,} calls"
        ok = self.statuses.get("ok", 0)
        return f"{self.asked:,} calls, {ok:,} ok" + (f", {bad}" if bad else "") + f"; {spend}"


class Matched(NamedTuple):
    """Askings that differ in one respect only."""

    choices: Bools
    """[n, R, M]; an empty choice where an asking is missing or not ok."""
    places: Ints
    """[n, R, M] where each LLM was shown, counted from 0; -1 where it was not."""
    query: Ints
    """[n]"""
    raters: Ints
    """[R] what differs: the repeats, the orders, or the indices of the judges."""


@dataclass(frozen=True, eq=False)
class Verdicts:
    """A JUDGMENTS table as arrays: n askings, M LLMs. A judge is an LLM, a prompt and a mode."""

    judges: tuple[str, ...]
    """Names to print; the prompt's hash and the mode are added where a table has several."""
    judge_llms: tuple[str, ...]
    """The LLM behind each judge."""
    judge: Ints
    """[n] index into judges."""
    persona: Ints
    """[n] numbers of personas, in no particular order."""
    query: Ints
    """[n] index into the query_ids of `read`."""
    order: Ints
    repeat: Ints
    pair: Ints
    places: Ints
    """[n, M] where each LLM was shown, counted from 0; -1 where it was not."""
    chosen: Bools
    """[n, M]; empty unless the status is ok."""
    status: NDArray[np.str_]
    cost_usd: Doubles
    """[n]; NaN where unknown."""

    @classmethod
    def read(cls, table: Any, query_ids: Sequence[str], llm_ids: Sequence[str]) -> Verdicts:
        """Read a table of the schema `schemas.JUDGMENTS`, query and LLM ids in the order given.

        Raises:
            UsageError: a column is missing, a choice was not shown, a status contradicts its
                choice, or a key stands there twice.
            BenchError: a query or an LLM that is not in the ids given.
        """
        import pyarrow as pa

        from personaroute_bench.benchmark import index_of
        from personaroute_bench.schemas import JUDGMENTS

        missing = [name for name in JUDGMENTS.names if name not in table.column_names]
        if missing:
            raise UsageError(f"the table of judgments has no column {missing[0]!r}")
        rows = table.num_rows
        words = {
            name: np.asarray(table[name].cast(pa.string()).to_pylist(), dtype=np.str_)
            for name in ("persona_id", "judge", "prompt_hash", "mode", "status")
        }
        known = pa.array(list(llm_ids), pa.string())

        def lists(name: str) -> tuple[Ints, Ints, Ints]:
            """Row, place within the row and LLM of every entry of a list column."""
            column = table[name].combine_chunks()
            if isinstance(column, pa.ChunkedArray):  # a table without rows has no chunk
                column = pa.array([], pa.list_(pa.string()))
            length = np.asarray(column.value_lengths().fill_null(0), dtype=np.int64)
            row = np.repeat(np.arange(rows), length)
            start = np.repeat(np.cumsum(length) - length, length)
            llm = index_of(column.flatten(), known, f"judgments.{name}")
            return row, np.arange(len(row)) - start, llm

        places = np.full((rows, len(llm_ids)), -1, dtype=np.int64)
        row, place, llm = lists("shown")
        places[row, llm] = place
        shown_twice = np.bincount(row, minlength=rows) != (places >= 0).sum(axis=1)
        chosen = np.zeros(places.shape, dtype=np.bool_)
        row, _, llm = lists("chosen")
        chosen[row, llm] = True
        ok = words["status"] == "ok"
        for bad, what in (
            (shown_twice, "shows one LLM twice"),
            ((chosen & (places < 0)).any(axis=1), "chooses an LLM that it does not show"),
            (ok & ~chosen.any(axis=1), "has status ok but no choice"),
            (~ok & chosen.any(axis=1), "has a choice although its status is not ok"),
        ):
            if bad.any():
                raise UsageError(
                    f"row {int(np.flatnonzero(bad)[0])} of the judgments {what}; "
                    "make the table again from the ledger (run the same command once more)"
                )
        judge, _ = renumber(words["judge"], words["prompt_hash"], words["mode"])
        first = np.unique(judge, return_index=True)[1]
        result = cls(
            judges=_names(words, first),
            judge_llms=tuple(words["judge"][first].tolist()),
            judge=judge,
            persona=renumber(words["persona_id"])[0],
            query=index_of(
                table["query_id"], pa.array(list(query_ids), pa.string()), "judgments.query_id"
            ),
            order=table["order_id"].to_numpy().astype(np.int64),
            repeat=table["repeat"].to_numpy().astype(np.int64),
            pair=table["pair"].to_numpy().astype(np.int64),
            places=places,
            chosen=chosen,
            status=words["status"],
            cost_usd=table["cost_usd"].to_numpy().astype(np.float64),
        )
        key = (result.persona, result.query, judge, result.order, result.repeat, result.pair)
        if rows and renumber(*key)[1] != rows:
            raise UsageError(
                "the judgments hold one key (persona, query, judge, prompt, mode, order, repeat, "
                "pair) twice; each asking may be listed once"
            )
        return result

    def match(self, over: str, rows: Bools) -> Matched:
        """Bring together the askings that differ only in ``over``, with a choice, among ``rows``.

        Args:
            over: ``repeat``, ``order`` or ``judge``. What was asked must be the same otherwise:
                persona, query, pair, and the set of LLMs shown (not the order between repeats,
                which is shuffled anew).
            rows: [n] askings to look at.
        """
        use = np.flatnonzero(rows & self.chosen.any(axis=1))
        same = [name for name in ("judge", "order", "repeat", "pair") if name != over]
        shown, _ = set_codes(self.places[use] >= 0)
        item, items = renumber(
            self.persona[use],
            self.query[use],
            shown,
            *(getattr(self, name)[use] for name in same),
        )
        raters, rater = np.unique(getattr(self, over)[use], return_inverse=True)
        shape = (items if len(use) else 0, len(raters), self.chosen.shape[1])
        choices, places = np.zeros(shape, np.bool_), np.full(shape, -1, np.int64)
        choices[item, rater], places[item, rater] = self.chosen[use], self.places[use]
        query = np.zeros(shape[0], np.int64)
        query[item] = self.query[use]
        several = choices.any(axis=2).sum(axis=1) > 1
        return Matched(choices[several], places[several], query[several], raters)


def _names(words: dict[str, NDArray[np.str_]], first: Ints) -> tuple[str, ...]:
    """Name judges by LLM, and by prompt and mode where the table has several."""
    hashes, modes = set(words["prompt_hash"].tolist()), set(words["mode"].tolist())
    return tuple(
        str(words["judge"][row])
        + (f" prompt {str(words['prompt_hash'][row])[:8]}" if len(hashes) > 1 else "")
        + (f" {words['mode'][row]}" if len(modes) > 1 else "")
        for row in first
    )
