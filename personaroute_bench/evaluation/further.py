"""What results say of routers beside their scores: their users, their standing, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation import bootstrap, personal_results
from personaroute_bench.evaluation.field_results import Yardstick
from personaroute_bench.evaluation.groups import by_agreement
from personaroute_bench.evaluation.personalisation import shares, user_divergence
from personaroute_bench.evaluation.standing import KEPT, differences, pack, standings
from personaroute_bench.evaluation.verdict import verdict

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Ints
    from personaroute_bench.evaluation.bootstrap import Statistic
    from personaroute_bench.evaluation.metrics import Outcomes
    from personaroute_bench.evaluation.personal_results import Drawn, Scored


class Further:
    """Figures of all routers of an evaluation that stand on the same draws.

    Args:
        scored: of all routers that answered, the controls among them.
        choices: one [U, Q] a seed, of the same.
        outcomes: of the test split.
        controls: names of those that know the outcomes: they have no rank and are not tested.
        protocols: of the same routers; ranks are among those of one protocol, and only batch
            routers are a user-blind yardstick, since others know more.
        yardstick: LLMs to measure cost and quality by; None where that is not known.
        baseline: with whom a user must not be better off.
    """

    def __init__(
        self,
        scored: Mapping[str, Scored],
        choices: Mapping[str, Sequence[Ints]],
        outcomes: Outcomes,
        *,
        controls: Sequence[str],
        protocols: Mapping[str, str],
        yardstick: Yardstick | None,
        baseline: str,
    ) -> None:
        self.scored, self.choices, self.outcomes = scored, choices, outcomes
        self.controls, self.yardstick, self.protocols = controls, yardstick, protocols
        self.shape = outcomes.reward.shape
        self.statistics: dict[tuple[str, str], Statistic] = personal_results.statistics(
            scored, choices, outcomes, baseline
        )

    def read(self, drawn: Drawn, confidence: float) -> None:
        """Take the draws of all statistics, these and the scores, and compare the routers."""
        self.drawn, self.confidence = drawn, confidence
        tested = [name for name in self.scored if name not in self.controls]
        self.leads = differences(tested, self.scored, drawn, confidence)
        self.ranks: dict[str, dict[str, int]] = {}
        for protocol in sorted(set(self.protocols.values())):
            alike = [name for name in tested if self.protocols[name] == protocol]
            self.ranks |= standings(alike, self.scored, drawn, confidence)
        others = [name for name in tested if self.protocols[name] != "batch"]
        self.blind = personal_results.best_user_blind(self.scored, [*self.controls, *others])

    def add(self, entry: dict[str, Any]) -> None:
        """Add what there is to say of a router to its entry, which has its metrics."""
        name = entry["name"]
        U, Q, _ = self.shape
        for metric in personal_results.METRICS:
            if (name, metric) not in self.drawn:
                continue
            n = U if metric in personal_results.OVER_USERS else Q
            low, high = bootstrap.interval(self.drawn[name, metric], self.confidence, n)
            centre = self.centre(name, metric)
            entry["metrics"][metric] = {"mean": centre, "low": low, "high": high, "n": n}
        known = [value for value in self.divergence(name) if value is not None]
        mean = float(np.mean(known)) if known else None
        entry["metrics"]["user_divergence"] = {"mean": mean, "low": None, "high": None, "n": U}
        entry["rank"] = self.ranks.get(name)
        entry["differences"] = self.leads.get(name, [])
        entry["personalisation"] = personal_results.gains(
            name, self.blind, self.scored, self.outcomes, self.drawn, self.confidence
        )
        entry["by_agreement"] = self.by_agreement(name)
        entry["field"] = {}
        if self.yardstick is not None:
            entry["field"] = self.field(name, self.yardstick)
        entry["verdict"] = None if name in self.controls else verdict(entry)
        entry["draws"] = {metric: pack(self.drawn[name, metric]) for metric in KEPT}

    def centre(self, name: str, metric: str) -> float | None:
        """Return the value of one of `personal_results.METRICS` in the rows as they are."""
        U, Q, _ = self.shape
        return personal_results.at_equal_weights(self.statistics[name, metric], U, Q)

    def divergence(self, name: str) -> list[float | None]:
        """Return how far users' routing distributions are apart, one a seed."""
        return [user_divergence(shares(choice, self.shape[-1])) for choice in self.choices[name]]

    def by_agreement(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the metrics on agreed and on controversial queries."""
        return by_agreement(self.scored[name], self.outcomes)

    def field(self, name: str, yardstick: Yardstick) -> dict[str, Any]:
        """Return the scores of other benchmarks."""
        return yardstick.measure(self.choices[name], self.scored[name])
