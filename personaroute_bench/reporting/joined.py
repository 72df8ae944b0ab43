"""Results joined again with what they were made from: the data set and the committed choices.

Nothing is shown of another data set or of other choices: the test outcomes must have the hash that
the results name, and so must the choices of every router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.choices import choices_digest
from personaroute_bench.evaluation.metrics import ZERO_RANGE, Outcomes, charge, score
from personaroute_bench.evaluation.predictions import read_predictions
from personaroute_bench.evaluation.results import BOOTSTRAP_SEED, Plan
from personaroute_bench.evaluation.settings import check_plan, make_folds
from personaroute_bench.evaluation.standing import paired_key
from personaroute_bench.evaluation.texts import printable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Doubles, Floats, Ints, Strings
    from personaroute_bench.reporting.results import Result, Row

# The column of the users table by which users are put in order, and what it is.
ORDER = {
    "multi_cost_efficiency": ("performance_weight", "α, the weight of performance"),
    "mixed": ("mixed_performance_weight", "α, the weight of performance"),
    "llm_judge": ("style_performance_weight", "the weight of right answers beside style"),
}
CASCADE = "cascade"


@dataclass(frozen=True, eq=False)
class Joined:
    """One result with its outcomes and choices. U users, Q test queries, M LLMs."""

    result: Result
    benchmark: Benchmark
    users: Ints
    """[U] indices into the users table."""
    queries: Ints
    """[Q] indices into the queries table."""
    outcomes: Outcomes
    choices: Mapping[str, list[Ints]]
    """By router, one [U, Q] a seed; of the routers whose files are there."""
    missing: Mapping[str, str]
    """Routers that have results, but whose choices are not there, and why not."""

    @cached_property
    def llm_ids(self) -> Strings:
        """[M] ids."""
        return self.benchmark.llm_ids

    @cached_property
    def user_ids(self) -> Strings:
        """[U] ids."""
        return self.benchmark.user_ids[self.users]

    @cached_property
    def charged(self) -> Floats:
        """[U, Q, M] rewards, the worst one where a response failed."""
        return charge(self.outcomes.reward)

    def per_user(self, row: Row) -> Doubles | None:
        """[U] oracle-normalised reward of each user; NaN for who has no range.

        None where the choices are not there, or where the reward does not follow from them alone:
        a cascade also pays for the answers that it bought on the way.
        """
        if row.name not in self.choices or row.protocol == CASCADE:
            return None
        rewards = [score(self.outcomes, choice).reward for choice in self.choices[row.name]]
        return user_normalised(
            np.mean(rewards, axis=0), self.outcomes.chance, self.outcomes.best.astype(np.float64)
        )

    def shares(self, row: Row) -> Doubles | None:
        """[U, M] share of a user's queries that go to each LLM, over all seeds."""
        if row.name not in self.choices:
            return None
        return llm_shares(self.choices[row.name], len(self.llm_ids))

    @cached_property
    def by_cost(self) -> Ints:
        """[M] LLMs, cheapest mean response first, unknown costs last."""
        cost = self.outcomes.cost_usd
        known = np.isfinite(cost)
        total = np.where(known, cost, 0).sum(axis=0)
        count = known.sum(axis=0)
        mean = np.divide(total, count, out=np.full(len(total), np.inf), where=count > 0)
        return np.argsort(mean, kind="stable")

    @cached_property
    def taste(self) -> tuple[Doubles, str] | None:
        """[U] the number by which users are put in order, and its meaning; None without one."""
        column, meaning = ORDER.get(self.result.strategy, ("", ""))
        table = self.benchmark.users
        if column not in table.column_names:
            return None
        values = table[column].to_numpy()[self.users].astype(np.float64)
        return (values, meaning) if np.isfinite(values).all() else None


def join(result: Result, benchmark: Benchmark, folders: Sequence[Path]) -> Joined | None:
    """Join a result with its data set and choices; None where the data set is another one.

    Args:
        result: to be joined.
        benchmark: the data set, or another.
        folders: of choices; those of this result are found by their hash.

    Raises:
        BenchError: the data set is damaged.
    """
    plan = Plan(
        strategy=result.strategy,
        setting=result.setting,
        feedback=result.feedback,  # type: ignore[arg-type]  # checked below
        tier=result.tier,  # type: ignore[arg-type]
        interactions_per_user=result.interactions_per_user,
        seeds=result.seeds,
        bootstrap_draws=0,
        confidence=result.confidence,
        shots=result.shots,
        held_out=result.held_out,
    )
    try:
        check_plan(plan)
        benchmark.check_strategy(plan.strategy)
        folds, _ = make_folds(benchmark, plan)
    except UsageError:
        return None  # another data set has other strategies, users and tasks
    users = folds[0].asking
    queries = np.sort(np.concatenate([fold.test for fold in folds]))
    part = benchmark.interactions(plan.strategy, "test")
    cells = np.ix_(users, np.searchsorted(part.queries, queries))
    outcomes = Outcomes.of(
        part.reward[cells],
        part.chosen[cells],
        benchmark.performance[queries],
        benchmark.cost_usd[queries],
    )
    ids = benchmark.user_ids[users], benchmark.query_ids[queries], benchmark.llm_ids
    if paired_key(outcomes, ids, 0, BOOTSTRAP_SEED)["outcomes_sha256"] != result.outcomes:
        return None
    choices: dict[str, list[Ints]] = {}
    missing: dict[str, str] = {}
    for row in result.routers:
        if row.metrics:
            found = _read_choices(row, folders, ids)
            if isinstance(found, str):
                missing[row.name] = found
            else:
                choices[row.name] = found
    return Joined(result, benchmark, users, queries, outcomes, choices, missing)


def _read_choices(
    row: Row, folders: Sequence[Path], ids: tuple[Strings, Strings, Strings]
) -> list[Ints] | str:
    """Return the choices of every seed, from the first folder that has them; else why not."""
    if not row.files:
        return "the run was made without --choices"
    # A name of the results is a stranger's: it may not lead out of the folder.
    if any(Path(file).name != file for file in row.files):
        return "the name of its choices file is none"
    why = "there is no file of its choices"
    for folder in folders:
        read: dict[str, Ints] = {}
        try:
            for file in {file for file in row.files if (folder / file).is_file()}:
                read[file] = read_predictions(folder / file, *ids)[0]
        except UsageError as error:
            why = printable(str(error))[:300]
            continue
        if len(read) < len(set(row.files)):
            continue
        found = [read[file] for file in row.files]
        digests = {file: choices_digest(choice, *ids) for file, choice in read.items()}
        if all(digests[f] == d for f, d in zip(row.files, row.digests, strict=True)):
            return found
        why = "the file of its choices holds others: their SHA-256 is not that of the results"
    return why


def user_normalised(reward: Doubles, chance: Doubles, oracle: Doubles) -> Doubles:
    """[U] ``(R_u − chance_u) / (oracle_u − chance_u)``; NaN for a user without a range.

    Args:
        reward, chance, oracle: [U, Q], NaN in the same places.
    """
    seen = np.isfinite(reward)
    count = np.maximum(seen.sum(axis=1), 1)
    own, low, high = (
        np.where(seen, x, 0).sum(axis=1, dtype=np.float64) / count for x in (reward, chance, oracle)
    )
    result: Doubles = np.full(len(reward), np.nan)
    np.divide(own - low, high - low, out=result, where=high - low > ZERO_RANGE)
    return result


def llm_shares(choices: list[Ints], candidates: int) -> Doubles:
    """[U, M] share of each user's requests for which an LLM was chosen; one [U, Q] a seed.

    Rows sum to 1, less the share of invalid choices.
    """
    users = len(choices[0])
    counts = np.zeros(users * candidates)
    for choice in choices:
        valid = choice >= 0
        cell = np.arange(users)[:, None] * candidates + choice
        counts += np.bincount(cell[valid], minlength=users * candidates)
    requests = sum(choice.shape[1] for choice in choices)
    shares: Doubles = counts.reshape(users, candidates) / max(requests, 1)
    return shares
