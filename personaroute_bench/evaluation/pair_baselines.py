"""Baselines for recorded choices between two answers; docs/preferences.md has their formulas.

All of them rank LLMs within a task (a data set): what is best at stories need not be at code.
They learn from training and validation together; validation alone selects strengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from personaroute_bench.evaluation.pairs import TIE, PairHistory, PairRequests

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints

# short name -> class
PAIR_ROUTERS = {
    "random": "personaroute_bench.evaluation.pair_baselines:Undecided",
    "win-rate": "personaroute_bench.evaluation.pair_baselines:WinRate",
    "bradley-terry": "personaroute_bench.evaluation.pair_baselines:BradleyTerry",
    "win-rate-per-user": "personaroute_bench.evaluation.pair_baselines:WinRatePerUser",
    "bradley-terry-per-user": "personaroute_bench.evaluation.pair_baselines:BradleyTerryPerUser",
    "majority-of-others": "personaroute_bench.evaluation.pair_baselines:MajorityOfOthers",
}
# Comparisons' worth of doubt about every LLM: half won, half lost.
PRIOR = 1.0
# Strengths of shrinkage to select from, in comparisons; the last one all but ignores users.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e6)
DEFAULT_STRENGTH = 30.0


class Undecided:
    """Chance, exactly: neither candidate is ever preferred, which counts one half."""

    def fit(self, history: PairHistory) -> None:
        """Nothing to learn."""

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] equal scores."""
        return np.zeros((len(requests), 2))


class WinRate:
    """Each LLM's share of wins in the task, a tie being half of one, shrunk to one half."""

    def fit(self, history: PairHistory) -> None:
        """Count."""
        self.score = win_rate(history.pooled())

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] shares."""
        return pick(self.score, requests)


class BradleyTerry:
    """Strengths p with P(a over b) = p_a / (p_a + p_b), by task, from everybody's comparisons.

    Bradley and Terry (1952), fitted by the minorise-maximise iteration of Hunter (2004); a tie is
    half a win for each. Every LLM has also tied once with an opponent of strength one, so that
    strengths stay finite and those of unconnected LLMs comparable.
    """

    def fit(self, history: PairHistory) -> None:
        """Fit the strengths."""
        self.score = bradley_terry(history.pooled())

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] log strengths."""
        return pick(self.score, requests)


class WinRatePerUser:
    """Each person's own share of wins, shrunk to everybody's: (wins_um + k · w_m) / (n_um + k).

    n_um counts the person's comparisons with the LLM in it, w_m is its win rate with everybody, k
    is selected on validation. A person without a past gets everybody's win rates.
    """

    def fit(self, history: PairHistory) -> None:
        """Select k, then score with training and validation."""
        self.strength = DEFAULT_STRENGTH
        checked = history.validation
        if checked is not None:
            rows = checked.outcome != TIE
            cell, user = cells(checked)[rows], checked.user[rows, None]
            results = []
            for strength in STRENGTHS:
                score = _per_user(history, strength)[user, cell]
                right = _right(score, checked.outcome[rows])
                results.append((_mean_by(right, checked.user[rows]), strength))
            self.strength = max(results)[1]
        past = history.pooled()
        # The last row is for people without a past, whom find_users calls -1.
        own, everybody = _per_user(past, self.strength), win_rate(past).ravel()
        self.score = np.concatenate([own, everybody[None, :]])
        self.history = history

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] shrunken shares."""
        user = self.history.find_users(requests.user_ids)[requests.user_index]
        scores: Doubles = self.score[user[:, None], cells(requests)]
        return scores


class BradleyTerryPerUser:
    """Everybody's log strengths, moved by what a person chose against expectation.

    θ_m + Σ (won − expected) / (Σ p(1 − p) + k) over the person's comparisons with LLM m: one
    Newton step, LLM by LLM, of a logistic regression with ridge penalty k. Unlike a share of wins
    it knows whom the LLM met. k is selected by the likelihood of the validation pairs.
    """

    def fit(self, history: PairHistory) -> None:
        """Select k, then score with training and validation."""
        self.strength = DEFAULT_STRENGTH
        checked = history.validation
        if checked is not None:
            rows = checked.outcome != TIE
            cell, user = cells(checked)[rows], checked.user[rows, None]
            sign = np.where(checked.outcome[rows] == 0, 1.0, -1.0)
            results, everybody = [], bradley_terry(history).ravel()
            for strength in STRENGTHS:
                score = _moved(history, everybody, strength)[user, cell]
                gap = sign * (score[:, 0] - score[:, 1])
                results.append((-float(np.logaddexp(0, -gap).sum()), strength))
            self.strength = max(results)[1]
        past = history.pooled()
        everybody = bradley_terry(past).ravel()
        own = _moved(past, everybody, self.strength)
        self.score = np.concatenate([own, everybody[None, :]])
        self.history = history

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] log strengths."""
        user = self.history.find_users(requests.user_ids)[requests.user_index]
        scores: Doubles = self.score[user[:, None], cells(requests)]
        return scores


class MajorityOfOthers:
    """What most other people preferred of the same two answers; Bradley-Terry where they are even.

    Stands on others' choices about the very same pair, so it shows how far agreement carries; a
    router in use meets queries that nobody has judged.
    """

    def fit(self, history: PairHistory) -> None:
        """Count votes by query and pair."""
        past = history.pooled()
        self.fallback = bradley_terry(past)
        self.history = history
        self.votes: dict[tuple[str, int, int], dict[int, int]] = {}
        ids = past.query_ids.tolist()
        vote = np.asarray([1, -1, 0])[past.outcome]
        columns = (past.user, past.query, past.candidates[:, 0], past.candidates[:, 1], vote)
        for user, query, a, b, sign in zip(*(c.tolist() for c in columns), strict=True):
            by_user = self.votes.setdefault((ids[query], a, b), {})
            by_user[user] = by_user.get(user, 0) + sign

    def route(self, requests: PairRequests) -> Doubles:
        """Return [n, 2] scores."""
        users = self.history.find_users(requests.user_ids)[requests.user_index].tolist()
        queries = requests.query_ids[requests.query_index].tolist()
        net = np.zeros(len(requests))
        for i, (user, query, pair) in enumerate(
            zip(users, queries, requests.candidates.tolist(), strict=True)
        ):
            votes = self.votes.get((query, *pair), {})
            net[i] = sum(sign for voter, sign in votes.items() if voter != user)
        majority = np.stack([net, -net], axis=1)
        return np.where(net[:, None] == 0, pick(self.fallback, requests), majority)


def cells(rows: PairHistory | PairRequests) -> Ints:
    """[n, 2] index of (task, LLM) in tables [T, M] made flat."""
    return rows.task_index[:, None] * len(rows.llm_ids) + rows.candidates


def pick(score: Doubles, requests: PairRequests) -> Doubles:
    """[n, 2] the scores [T, M] of the candidates."""
    chosen: Doubles = score.ravel()[cells(requests)]
    return chosen


def win_rate(history: PairHistory) -> Doubles:
    """[T, M] (wins + 1/2) / (comparisons + 1); one half where nothing is known."""
    shape = (len(history.task_ids), len(history.llm_ids))
    cell = cells(history).ravel()
    wins = np.bincount(cell, history.score.ravel(), minlength=shape[0] * shape[1])
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    return ((wins + PRIOR / 2) / (count + PRIOR)).reshape(shape)


def bradley_terry(history: PairHistory, rounds: int = 10_000, close: float = 1e-8) -> Doubles:
    """[T, M] log strengths; 0 where nothing is known.

    Args:
        history: the comparisons.
        rounds: at most so many iterations.
        close: stop when no log strength moves further.
    """
    shape = (len(history.task_ids), len(history.llm_ids))
    size = shape[0] * shape[1]
    cell = cells(history)
    wins = np.bincount(cell.ravel(), history.score.ravel(), minlength=size) + PRIOR / 2
    met, count = np.unique(cell, axis=0, return_counts=True)
    strength = np.ones(size)
    for _ in range(rounds):
        share = count / strength[met].sum(axis=1)
        load = np.bincount(met.ravel(), np.repeat(share, 2), minlength=size)
        fitted = wins / (load + PRIOR / (strength + 1))
        moved = np.abs(np.log(fitted / strength)).max()
        strength = fitted
        if moved < close:
            break
    return np.log(strength).reshape(shape)


def _per_user(history: PairHistory, strength: float) -> Doubles:
    """[U, T·M] shrunken shares of wins."""
    everybody = win_rate(history).ravel()
    shape = (len(history.user_ids), len(everybody))
    cell = (history.user[:, None] * shape[1] + cells(history)).ravel()
    wins = np.bincount(cell, history.score.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    return (wins + strength * everybody) / (count + strength)


def _moved(history: PairHistory, everybody: Doubles, strength: float) -> Doubles:
    """[U, T·M] everybody's log strengths [T·M] after each person's Newton step."""
    cell = cells(history)
    expected = 1 / (1 + np.exp(everybody[cell[:, 1]] - everybody[cell[:, 0]]))
    surprise = history.score[:, 0] - expected
    shape = (len(history.user_ids), len(everybody))
    place = (history.user[:, None] * shape[1] + cell).ravel()
    pull = np.bincount(place, np.stack([surprise, -surprise], axis=1).ravel(), shape[0] * shape[1])
    weight = np.bincount(place, np.repeat(expected * (1 - expected), 2), shape[0] * shape[1])
    return everybody + (pull / (weight + strength)).reshape(shape)


def _right(score: Doubles, outcome: Ints) -> Doubles:
    """[n] 1 where the preferred one of [n, 2] scores higher, 1/2 where both score alike."""
    gap = np.where(outcome == 0, 1, -1) * (score[:, 0] - score[:, 1])
    return (np.sign(gap) + 1) / 2


def _mean_by(values: Doubles, user: Ints) -> float:
    """Return the mean over users of their mean value."""
    count = np.bincount(user)
    total = np.bincount(user, values)
    return float((total[count > 0] / count[count > 0]).mean()) if len(values) else 0.0
