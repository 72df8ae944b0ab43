"""A random forest that is given the users' true weights (tier T3): what knowing them would give.

Not a router of the package: nobody is told such weights. It predicts performance, cost and, for
`llm_judge`, the twelve ratings of every LLM's response from embedding and task, and then takes
what the user's own law of reward makes best of that:

    multi_cost_efficiency    α_u · ŝ − β_u · ĉ
    llm_judge                w_u · ŝ + (1 − w_u) · taste_u · (ratings^ − ½)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.judging.choice import persona_utility, style_utility
from personaroute_bench.users.rewards import cost_efficiency_rewards

Floats = NDArray[np.float32]
TREES, TREES_TO_SELECT = 200, 50
# Queries in a leaf, at least; selected on the validation split.
LEAVES = (1, 5, 20)


class ForestOfCost:
    """Weighs expected performance and cost by the user's α and β."""

    styled = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Select the leaf size on validation, then learn from both splits."""
        self.tasks, self.order = len(history.task_ids), history.tie_order
        x, y = self._inputs(history), self._targets(history)
        self.leaf = LEAVES[0]
        checked = history.validation
        if checked is not None:
            worth = []
            for leaf in LEAVES:
                self.trees = self._grow(x, y, leaf, TREES_TO_SELECT)
                score = self._scores(self._inputs(checked), checked.users)
                choice = self._best(score)[..., None]
                values = np.take_along_axis(checked.values, choice, axis=-1)
                worth.append(float(np.nanmean(values)))
            self.leaf = LEAVES[int(np.argmax(worth))]
            x = np.concatenate([x, self._inputs(checked)])
            y = np.concatenate([y, self._targets(checked)])
        self.trees = self._grow(x, y, self.leaf, TREES)

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices."""
        x = _features(requests.embeddings, requests.task_of_query, self.tasks)
        best = self._best(self._scores(x, requests.users))
        return best[requests.user_index, requests.query_index]

    def _utility(self, expected: Floats, users: Any) -> Floats:
        """Return [U, q, M] from expectations [q, M, 2 or 14]."""
        alpha, beta = (users[name].to_numpy() for name in ("performance_weight", "cost_weight"))
        return cost_efficiency_rewards(expected[..., 0], expected[..., 1], alpha, beta)

    def _scores(self, x: Floats, users: Any) -> Floats:
        expected = np.stack([tree.predict(x) for tree in self.trees], axis=1).astype(np.float32)
        return self._utility(expected, users)

    def _best(self, scores: Floats) -> NDArray[np.int64]:
        """Return the best of [..., M]; ties go to the cheaper."""
        best: NDArray[np.int64] = self.order[scores[..., self.order].argmax(axis=-1)]
        return best

    def _grow(self, x: Floats, y: Floats, leaf: int, trees: int) -> list[Any]:
        """Return one forest an LLM."""
        from sklearn.ensemble import RandomForestRegressor

        return [
            RandomForestRegressor(
                trees, min_samples_leaf=leaf, max_features=1 / 3, random_state=self.seed
            ).fit(x, y[:, m])
            for m in range(y.shape[1])
        ]

    def _inputs(self, history: History) -> Floats:
        return _features(history.embeddings, history.task_of_query, self.tasks)

    def _targets(self, history: History) -> Floats:
        """Return [Q, M, P]; a failed response counts as the worst of its query."""
        parts = [_filled(history.performance, np.fmin), _filled(history.cost, np.fmax)]
        y = np.stack(parts, axis=-1)
        if self.styled:
            if history.style is None:
                raise ValueError("the data set has no ratings; generate it with strategy llm_judge")
            y = np.concatenate([y, np.nan_to_num(history.style, nan=0.5)], axis=-1)
        return y.astype(np.float32)


class ForestOfStyle(ForestOfCost):
    """Weighs expected performance and ratings by the persona's taste."""

    styled = True

    def _utility(self, expected: Floats, users: Any) -> Floats:
        taste = np.asarray(users["taste"].to_pylist(), dtype=np.float32)
        style = style_utility(expected[..., 2:], taste)
        weight = users["style_performance_weight"].to_numpy()
        ok = np.ones(expected.shape[:2], dtype=np.bool_)
        return persona_utility(expected[..., 0], style, weight, ok)


def _features(embeddings: Floats, task: NDArray[np.int64], tasks: int) -> Floats:
    """Return [Q, D + T]."""
    return np.concatenate([embeddings, np.eye(tasks, dtype=np.float32)[task]], axis=1)


def _filled(values: Floats, worst: Any) -> Floats:
    """Return [Q, M] with NaN replaced by the worst of the query, 0 where there is none."""
    found = worst.reduce(values, axis=1, keepdims=True)
    filled: Floats = np.nan_to_num(np.where(np.isnan(values), found, values))
    return filled
