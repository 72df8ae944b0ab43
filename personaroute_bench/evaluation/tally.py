"""What is added up of one run's choices, block by block of users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import regret
from personaroute_bench.evaluation.choices import INVALID
from personaroute_bench.evaluation.groups import METRICS, NORMALISED
from personaroute_bench.evaluation.metrics import (
    SCORES,
    Outcomes,
    Summed,
    charge,
    score,
    user_ratios,
)
from personaroute_bench.evaluation.shuffle import permutation_p, tested_users
from personaroute_bench.evaluation.streamed_scores import (
    FirstLook,
    Groups,
    Means,
    averaged,
    counted,
)

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.run import Run


class Tally:
    """What is added up of one run; each [u, Q] of a block is seen once and forgotten."""

    def __init__(self, run: Run, look: FirstLook) -> None:
        U, Q, M = look.shape
        self.run, self.shape, self.seeds = run, (U, Q), len(run.choices)
        self.counts = [counted(choice, M) for choice in run.choices]
        self.means = Means((U, Q))
        self.of_seed = [Means((U, Q)) for _ in run.choices]
        self.ratios = [[0.0, 0] for _ in range(self.seeds + 1)]
        """Sum and number of users' normalised rewards: averaged over the seeds, then of each."""
        self.invalid = [0] * self.seeds
        self.regret = np.full(U, np.nan)
        self.worse = np.full(U, np.nan)
        tested = len(tested_users(U))
        self.exchanged = np.zeros((tested, tested))
        self.groups: dict[str, Groups] = {}

    def __getitem__(self, metric: str) -> Summed:
        return self.means[metric]

    def add(self, start: int, stop: int, outcomes: Outcomes) -> dict[str, Doubles]:
        """Score a block of users; return its scores [u, Q], averaged over the seeds."""
        each = []
        for seed, choice in enumerate(self.run.choices):
            block = choice[start:stop].astype(np.int64)
            scores = score(outcomes, block)
            each.append({metric: getattr(scores, metric) for metric in SCORES})
            self.of_seed[seed].add(each[-1])
            self._normalised(1 + seed, each[-1]["reward"], outcomes)
            self.invalid[seed] += int(((block == INVALID) & outcomes.scored).sum())
        values = averaged(each)
        self._normalised(0, values["reward"], outcomes)
        reward, values["user_sensitivity"] = self._shuffled(start, stop, outcomes)
        values["shuffled_gain"] = values["reward"] - reward
        self.means.add(values)
        self.regret[start:stop] = regret.user_mean(values["regret"])
        return values

    def add_groups(
        self, name: str, names: Sequence[str], group: Ints, values: Any, outcomes: Outcomes
    ) -> None:
        """Add a block to means by group of rows."""
        wanted = {metric: values[metric] for metric in METRICS if metric != NORMALISED}
        self.groups.setdefault(name, Groups(names)).add(group, wanted, outcomes)

    def normalised(self, number: int = 0) -> tuple[float | None, int]:
        """Return the oracle-normalised reward, and the users left out; 0 is of all seeds."""
        total, count = self.ratios[number]
        return (total / count if count else None), self.shape[0] - int(count)

    def p_value(self) -> float | None:
        """Return that of the permutation test; see `shuffle.Shuffled`."""
        if self.shape[0] < 2:
            return None
        return permutation_p(self.exchanged) if self["user_sensitivity"].sum > 0 else 1.0

    def _normalised(self, number: int, reward: Doubles, outcomes: Outcomes) -> None:
        ratios = user_ratios(reward, outcomes.chance, outcomes.best)
        self.ratios[number][0] += float(ratios.sum())
        self.ratios[number][1] += len(ratios)

    def _shuffled(self, start: int, stop: int, outcomes: Outcomes) -> tuple[Doubles, Doubles]:
        """Return [u, Q] the reward, and how often another LLM is chosen, among other users."""
        U, shape = self.shape[0], outcomes.best.shape
        if U < 2:
            return np.full(shape, np.nan), np.full(shape, np.nan)
        M = outcomes.reward.shape[-1]
        values = with_invalid(outcomes)
        reward, differs = np.zeros((2, *shape))
        query = np.arange(shape[1])[None, :]
        for choice, count in zip(self.run.choices, self.counts, strict=True):
            block = choice[start:stop].astype(np.int64)
            pick = np.where(block >= 0, block, M)
            own = np.take_along_axis(values, pick[:, :, None], axis=-1)[:, :, 0]
            total = np.einsum("uqm,qm->uq", values, count)
            reward += (total - own) / (U - 1) / self.seeds
            differs += (U - count[query, pick]) / (U - 1) / self.seeds
        scored = outcomes.scored
        return np.where(scored, reward, np.nan), np.where(scored, differs, np.nan)

    def exchange(self, tested: Ints, rows: Ints, values: Doubles) -> None:
        """Note what some tested users would earn with the choices of each tested user.

        Args:
            tested: all of them, indices into the users.
            rows: [t] places of some among them.
            values: [t, Q, M + 1] their rewards, those of an invalid choice behind.
        """
        flat = np.nan_to_num(values).reshape(len(rows), -1)
        for choice in self.run.choices:
            block = choice[tested].astype(np.int64)
            picked = np.zeros((len(tested), *values.shape[1:]))
            pick = np.where(block >= 0, block, values.shape[-1] - 1)
            np.put_along_axis(picked, pick[:, :, None], 1.0, axis=-1)
            self.exchanged[rows] += flat @ picked.reshape(len(tested), -1).T


def with_invalid(outcomes: Outcomes) -> Doubles:
    """[u, Q, M + 1] rewards, failures charged; the last candidate is an invalid choice."""
    parts = [charge(outcomes.reward), outcomes.worst[:, :, None]]
    return np.concatenate(parts, axis=-1).astype(np.float64)
