"""FrugalGPT: ask a cheap LLM first, score its answer, and ask the next one where it is too low.

"FrugalGPT: How to Use Large Language Models While Reducing Cost and Improving Performance"
(arXiv 2305.05176): a list of at most three LLMs, a scorer g(query, answer) and a threshold for
every LLM but the last. Every call is paid, those whose answer is thrown away too. The paper
fine-tunes DistilBERT; here a ridge regression on the stored embedding of the query, hashed words of
the answer, its length and its price stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from personaroute_bench.evaluation.cascade import Bought, Step
from personaroute_bench.evaluation.protocol import History, Requests

from .answer_scorer import AnswerScorer, answer_features
from .means import Doubles, Ints
from .past import Bools, past_of
from .tastes import Moments, Scaling, moments, ridge_of

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 3
# Thresholds to try: quantiles of the scores of each LLM's past answers.
QUANTILES = np.linspace(0.1, 0.9, 9)
GROUPS = 10
# Strengths of the priors on a user's own weights and likings, see tastes.py.
STRENGTHS = (10.0, 30.0)


@dataclass(frozen=True, eq=False)
class Chain:
    """A list of LLMs and the thresholds between them."""

    llms: tuple[int, ...]
    thresholds: tuple[float, ...]
    """The answer of llms[i] is kept where its score is no less than thresholds[i]."""

    def worth(self, worth: Doubles, cost: Doubles, score: Doubles) -> float:
        """Return what it earns on Q queries after every call is paid.

        Args:
            worth: [Q, M] of each answer to the user.
            cost: [Q, M] what a call takes from the user's reward where it is not the last.
            score: [Q, M] of each answer; -inf where the response failed.
        """
        open_ = np.ones(len(worth), dtype=np.bool_)
        paid, total = np.zeros(len(worth)), 0.0
        for m, threshold in zip(self.llms, (*self.thresholds, -np.inf), strict=True):
            stop = open_ & (score[:, m] >= threshold)
            total += float((worth[stop, m] - paid[stop]).sum())
            open_ &= ~stop
            paid += cost[:, m]
        return total


class FrugalGpt:
    """A cascade of at most three LLMs with a scorer of answers, the same for all users.

    List and thresholds: all lists and a grid of thresholds are tried on past queries, with scores
    from other folds; how long a list may be is what earns most in folds that were left out of
    that. What an answer is worth, and what a call costs, is inferred from what users told of past
    answers (`tastes`): a router is not told how cost enters rewards.
    """

    personal: ClassVar[bool] = False
    note = "a ridge regression on embeddings and hashed words stands in for the tuned DistilBERT"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> None:
        """Learn the scorer, infer what users weigh, choose list and thresholds.

        Raises:
            BenchError: the past tells nothing.
        """
        past = past_of(history)
        self.llm_ids = list(past.llm_ids)
        self.users = {name: i for i, name in enumerate(past.user_ids)}
        folds = past.folds()
        features = _past_features(history)
        facts = past.content[..., 0]
        self.scorer = AnswerScorer.fit(features, facts, past.ok, folds)
        score = np.where(past.ok, self.scorer.out_of_fold, -np.inf)
        self.scaling = Scaling.of(past.content)
        content = self.scaling(past.content)
        found = moments(past.values, content, past.ok)
        self.common = found.common()
        tastes = self.common[None]
        self.group = np.zeros(len(self.users) + 1, dtype=np.int64)
        if self.personal:
            own = self._own(found)
            self.centres, self.group[:-1] = _clusters(own, self.seed)
            self.group[-1] = len(self.centres)  # strangers are taken for everybody
            tastes = self.common + np.concatenate([self.centres, np.zeros((1, own.shape[1]))])
        self.chains = [
            _best_chain(*self._prices(taste, content), score, past.order, folds) for taste in tastes
        ]

    def adapt(self, support: History) -> None:
        """Put new users into the group they are nearest to; new LLMs enter no list."""
        if not self.personal:
            return
        past = past_of(support, empty=True)
        names = support.llm_ids.tolist()
        columns = [names.index(name) for name in self.llm_ids]
        strange = [i for i, name in enumerate(past.user_ids) if name not in self.users]
        content = self.scaling(past.content[:, columns])
        values = past.values[strange][..., columns]
        own = self._own(moments(values, content, past.ok[:, columns]))
        told = np.isfinite(values).any(axis=(1, 2))
        apart = ((own[:, None] - self.centres) ** 2).sum(axis=-1)
        group = np.where(told, apart.argmin(axis=1), len(self.centres))
        self.users |= {past.user_ids[i]: len(self.users) + k for k, i in enumerate(strange)}
        self.group = np.concatenate([self.group[:-1], group, self.group[-1:]])

    def step(self, requests: Requests, bought: Bought) -> Step:
        """Buy the next LLM of the list, or stop where the last answer is good enough."""
        place = {name: i for i, name in enumerate(requests.candidates.tolist())}
        rows = np.asarray([self.users.get(str(n), -1) for n in requests.user_ids], np.int64)
        group = self.group[rows][requests.user_index]
        done = bought.llms.shape[1]
        following, threshold = np.full((2, len(self.chains)), np.nan)
        for g, chain in enumerate(self.chains):
            if done < len(chain.llms):
                following[g] = place.get(self.llm_ids[chain.llms[done]], -1)
            if 0 < done <= len(chain.llms):
                threshold[g] = (*chain.thresholds, -np.inf)[done - 1]
        if not done:
            return Step(following[group].astype(np.int64), np.zeros(len(group), np.bool_))
        score = self._scores(requests, bought)
        last = np.isnan(following[group])
        stop = last | (score[:, -1] >= threshold[group])
        # Of a list that has come to its end the last answer is given, if it is one.
        best = np.where(np.isfinite(score[:, -1]), done - 1, score.argmax(axis=1))
        answer = np.take_along_axis(bought.llms, best[:, None], axis=1)[:, 0]
        buy = np.where(last, 0.0, following[group]).astype(np.int64)
        return Step(np.where(stop, answer, buy), stop)

    def _scores(self, requests: Requests, bought: Bought) -> Doubles:
        """[n, r] scores of what each request has bought, -inf where the response failed."""
        known = {name: m for m, name in enumerate(self.llm_ids)}
        used, where = np.unique(bought.rows, return_inverse=True)
        answers = bought.responses.take(used)
        query = {name: q for q, name in enumerate(requests.query_ids.tolist())}
        q = np.asarray([query[name] for name in answers["query_id"].to_pylist()], np.int64)
        m = np.asarray([known[name] for name in answers["llm_id"].to_pylist()], np.int64)
        features = answer_features(answers, requests.embeddings[q])
        ok = np.asarray(answers["status"].to_pylist(), dtype=np.str_) == "ok"
        score = np.where(ok, self.scorer(features, m), -np.inf)
        return score[where.reshape(bought.rows.shape)]

    def _own(self, found: Moments) -> Doubles:
        """[U, K + M] how users depart from what is common."""
        M = len(self.llm_ids)
        ridge = ridge_of(STRENGTHS, len(self.common) - M, M)
        return found.departures(self.common, ridge)

    def _prices(self, taste: Doubles, content: Doubles) -> tuple[Doubles, Doubles]:
        """Return what answers are worth to a taste [K + M], and what calls cost it, [Q, M] each.

        Worth is only known up to what all candidates of a query share, which decides nothing.
        """
        K = content.shape[-1]
        worth = content @ taste[:K] + taste[K:]
        # Content is performance, cost, and then style; nobody likes to pay.
        return worth, np.maximum(-taste[1], 0.0) * content[..., 1]


class FrugalGptPersonal(FrugalGpt):
    """A cascade with a list and thresholds of its own for every group of similar users.

    Groups: k-means of what users were inferred to weigh, at most `GROUPS`.
    """

    personal: ClassVar[bool] = True


def _past_features(history: History) -> Doubles:
    """[Q, M, F] of all past answers, training and validation; a missing answer has none."""
    held = history.validation
    parts = [history] if held is None else [history, held]
    return np.concatenate([_features(part) for part in parts])


def _features(history: History) -> Doubles:
    from personaroute_bench.evaluation.clock import places

    table: pa.Table = history.responses
    names = history.query_ids.tolist(), history.llm_ids.tolist()
    q, m = (
        places(table[column], {name: i for i, name in enumerate(ids)})
        for column, ids in zip(("query_id", "llm_id"), names, strict=True)
    )
    found = answer_features(table, history.embeddings[q])
    features = np.zeros((len(names[0]), len(names[1]), found.shape[1]))
    features[q, m] = found
    return features


def _clusters(own: Doubles, seed: int) -> tuple[Doubles, Ints]:
    """Return the centres [G, P] of groups of users, and [U] whose group is which."""
    from sklearn.cluster import KMeans

    count = min(GROUPS, len(np.unique(own, axis=0)))
    found = KMeans(count, n_init=4, random_state=seed).fit(own)
    return np.asarray(found.cluster_centers_, np.float64), np.asarray(found.labels_, np.int64)


def _best_chain(
    worth: Doubles, cost: Doubles, score: Doubles, order: Ints, folds: list[Bools]
) -> Chain:
    """Return the best chain, as long as pays on queries that it was not chosen on."""
    length = 1
    if folds:
        earned = np.zeros(LONGEST)
        for held in folds:
            chains = _best_of_each_length(worth[~held], cost[~held], score[~held], order)
            earned += [chain.worth(worth[held], cost[held], score[held]) for chain in chains]
        # Of equally good lengths the shortest; 10⁻⁹ is rounding.
        length = 1 + int(np.flatnonzero(earned >= earned.max() - 1e-9)[0])
    return _best_of_each_length(worth, cost, score, order)[length - 1]


def _best_of_each_length(
    worth: Doubles, cost: Doubles, score: Doubles, order: Ints
) -> tuple[Chain, Chain, Chain]:
    """Return the best chains of at most one, two and three LLMs for Q queries."""
    Q = len(worth)
    finite = np.where(np.isfinite(score), score, np.nan)
    blank = ~np.isfinite(score).any(axis=0)
    cuts = np.nanquantile(np.where(blank, 0.0, finite), QUANTILES, axis=0).T  # [M, T]
    kept = (score[:, :, None] >= cuts).transpose(1, 2, 0)  # [M, T, Q]
    left = ~kept
    single = worth.sum(axis=0)
    first = int(order[single[order].argmax()])
    one = Chain((first,), ())
    if worth.shape[1] == 1:
        return one, one, one
    two, three = (float(single[first]), one), (float(single[first]), one)
    stay = np.einsum("atq,qa->at", kept, worth)  # what a keeps is worth
    for b in order.tolist():
        # after b with its threshold t: [T, Q, M] worth of going on to c
        others = [c for c in order.tolist() if c != b]
        go_on = worth[:, others] - cost[:, [b]]  # [Q, M - 1]
        rest = kept[b][:, :, None] * worth[:, [b]] + left[b][:, :, None] * go_on
        rest = rest.transpose(1, 0, 2).reshape(Q, -1)
        for a in order.tolist():
            if a == b:
                continue
            missed = left[a].astype(np.float64)
            pair = stay[a] + missed @ (worth[:, b] - cost[:, a])
            t = int(pair.argmax())
            if pair[t] > two[0]:
                two = float(pair[t]), Chain((a, b), (float(cuts[a, t]),))
            base = stay[a] - missed @ cost[:, a]
            triple = (base[:, None] + missed @ rest).reshape(len(missed), len(QUANTILES), -1)
            triple[:, :, [i for i, c in enumerate(others) if c == a]] = -np.inf
            i, j, k = np.unravel_index(int(triple.argmax()), triple.shape)
            if triple[i, j, k] > three[0]:
                thresholds = float(cuts[a, i]), float(cuts[b, j])
                three = float(triple[i, j, k]), Chain((a, b, others[k]), thresholds)
    return one, two[1], max(two, three, key=lambda found: found[0])[1]
