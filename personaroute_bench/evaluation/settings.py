"""Settings: who is known when a router learns, and who asks when it is tested.

| setting | `fit` sees | `adapt` is given | requests |
|---|---|---|---|
| general, drift | all training rows | – | test queries of all users |
| new-user | users that are not held out | k queries of each new user | of the new users |
| new-llm | LLMs that are not held out | k rows of each new LLM | all LLMs are candidates |
| cross-task | all tasks but one, for each in turn | – | of the task left out |

Every setting asks for test queries only, so no test outcome is ever in a history or a support.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.evaluation.bootstrap import check_draws
from personaroute_bench.evaluation.feedback import FEEDBACKS, among, keep, newcomer, tell
from personaroute_bench.evaluation.history import TIERS, History, make_history, make_support
from personaroute_bench.hashing import hash_uniform, index_uniform

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.benchmark import Benchmark, Interactions, Ints, Strings
    from personaroute_bench.evaluation.clock import Timekeeper
    from personaroute_bench.evaluation.results import Plan

Setting = Literal["general", "new-user", "new-llm", "cross-task", "drift"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
FEW_SHOT = ("new-user", "new-llm")
DEFAULT_SHOTS = 10
# What is held out does not change with the repetition, so that repetitions can be averaged.
HELD_OUT_SEED = 0
_KIND = {"new-user": "user", "new-llm": "LLM", "cross-task": "task"}


@dataclass(frozen=True, eq=False)
class Fold:
    """One training and what is asked after it; all are indices into the benchmark's tables."""

    users: Ints
    """Whose past `fit` is told."""
    llms: Ints
    """[M] the candidates: those that `fit` knows, then the new ones, so that an index into
    ``history.llm_ids`` is the same LLM in ``support.llm_ids`` and in ``requests.candidates``."""
    known: int
    """How many of them `fit` knows."""
    left_out: int
    """The task that `fit` is told nothing of; -1: none."""
    asking: Ints
    """[U] users of the requests."""
    test: Ints
    """[Q] queries of the requests."""
    new_users: Ints
    """Users whom the support is about; none of them in `users`."""

    def view(self, benchmark: Benchmark, known: bool = False) -> Benchmark:
        """Return the data set with these LLMs, or only the known ones, in this order."""
        llms = self.llms[: self.known] if known else self.llms
        if np.array_equal(llms, np.arange(len(benchmark.llm_ids))):
            return benchmark
        return replace(
            benchmark,
            llms=benchmark.llms.take(llms),
            performance=benchmark.performance[:, llms],
            cost_usd=benchmark.cost_usd[:, llms],
            cost=benchmark.cost[:, llms],
            status=benchmark.status[:, llms],
            memory={},
        )


def check_plan(plan: Plan) -> None:
    """Raise UsageError for the first option that makes no sense."""
    allowed: dict[str, Sequence[str]] = {
        "setting": SETTINGS,
        "feedback": FEEDBACKS,
        "tier": TIERS,
    }
    for what, known in allowed.items():
        value = getattr(plan, what)
        if value not in known:
            raise UsageError(f"unknown {what} {value!r}{did_you_mean(str(value), list(known))}")
    least = {"seeds": 1, "interactions_per_user": 1, "shots": 0, "history_users": 1}
    for what, smallest in least.items():
        value = getattr(plan, what)
        if value is not None and value < smallest:
            raise UsageError(f"{what} is {value}; give {smallest} or more")
    check_draws(plan.bootstrap_draws)
    if plan.setting == "drift" and plan.strategy != "drift":
        raise UsageError(
            f"setting 'drift' is of strategy 'drift'; the rewards of {plan.strategy!r} do not "
            "change over time"
        )
    fits: dict[str, tuple[bool, Sequence[str]]] = {
        "shots": (plan.shots is not None, FEW_SHOT),
        "held_out": (bool(plan.held_out), (*FEW_SHOT, "cross-task")),
        "retention": (plan.retention, (*FEW_SHOT, "cross-task")),
    }
    for what, (given, settings) in fits.items():
        if given and plan.setting not in settings:
            raise UsageError(
                f"{what} does not apply to setting {plan.setting!r}; it is for "
                f"{', '.join(settings)}"
            )
    if not 0 < plan.confidence < 1:
        raise UsageError(f"confidence is {plan.confidence}; give a number between 0 and 1")


def make_folds(benchmark: Benchmark, plan: Plan) -> tuple[list[Fold], list[str]]:
    """Return the folds of a setting, and the ids of what is held out.

    Without ``plan.held_out``, new-user holds out a third of the users and new-llm half of the
    LLMs, those whose ids hash smallest; cross-task takes every task that has test queries. Users
    who share a persona are held out together, so there may be a few more than a third.

    Raises:
        UsageError: an unknown id, or nothing is left to learn from.
    """
    U, M = len(benchmark.user_ids), len(benchmark.llm_ids)
    test, none = benchmark.split_queries("test"), np.zeros(0, dtype=np.int64)
    users, llms = np.arange(U), np.arange(M)
    general = Fold(users, llms, M, -1, users, test, none)
    if plan.setting == "new-user":
        new = _held_out(plan, benchmark.user_ids, max(1, round(U / 3)), _personas(benchmark))
        known = np.setdiff1d(users, new)
        return [replace(general, users=known, asking=new, new_users=new)], _ids(
            benchmark.user_ids, new
        )
    if plan.setting == "new-llm":
        new = _held_out(plan, benchmark.llm_ids, max(1, M // 2))
        order = np.concatenate([np.setdiff1d(llms, new), new])
        return [replace(general, llms=order, known=M - len(new))], _ids(benchmark.llm_ids, new)
    if plan.setting == "cross-task":
        tested = np.unique(benchmark.task_of_query[test])
        chosen = _held_out(plan, benchmark.task_ids, 0) if plan.held_out else tested
        trained = np.unique(benchmark.task_of_query[benchmark.split_queries("train")])
        for task in chosen.tolist():
            if task not in tested or not len(np.setdiff1d(trained, [task])):
                raise UsageError(
                    f"task {str(benchmark.task_ids[task])!r} cannot be left out: it has no test "
                    "queries, or no other task has training queries; cross-task needs two tasks"
                )
        return [
            replace(general, left_out=task, test=test[benchmark.task_of_query[test] == task])
            for task in chosen.tolist()
        ], _ids(benchmark.task_ids, chosen)
    return [general], []


def learning_from(folds: Sequence[Fold], count: int | None) -> list[Fold]:
    """Return the folds with the past of no more than so many users, drawn by their numbers."""
    if count is None:
        return list(folds)
    found = []
    for fold in folds:
        draw = index_uniform(HELD_OUT_SEED, "evaluation/history-users", fold.users)
        found.append(replace(fold, users=np.sort(fold.users[np.argsort(draw)[:count]])))
    return found


def trained_on_all(folds: Sequence[Fold], benchmark: Benchmark) -> Fold:
    """Return the fold of the fully trained twin: the same requests, nothing held out."""
    M = len(benchmark.llm_ids)
    return replace(
        folds[0],
        users=np.arange(len(benchmark.user_ids)),
        llms=np.arange(M),
        known=M,
        left_out=-1,
        test=np.sort(np.concatenate([fold.test for fold in folds])),
        new_users=np.zeros(0, dtype=np.int64),
    )


@dataclass(frozen=True)
class Teacher:
    """Tells routers the past, fold by fold and seed by seed: the same to each of them."""

    benchmark: Benchmark
    plan: Plan
    parts: Mapping[str, Interactions]
    """train, and validation where there is one."""
    responses: pa.Table
    """To the queries of the parts."""
    clock: Timekeeper | None

    def history(self, fold: Fold, seed: int) -> History:
        """Return what `fit` is given."""
        train, validation = self.parts["train"], self.parts.get("validation")
        return make_history(
            fold.view(self.benchmark, known=True),
            self._known(train, fold),
            None if validation is None else self._known(validation, fold),
            self.responses,
            feedback=self.plan.feedback,
            tier=self.plan.tier,
            interactions_per_user=self.plan.interactions_per_user,
            seed=seed,
            clock=self.clock,
        )

    def support(self, fold: Fold, seed: int) -> History | None:
        """Return what `adapt` is given; None in settings without support.

        The rows of k shots are among those of k + 1 shots.
        """
        if self.plan.shots is None:
            return None
        if len(fold.new_users):
            return self._of_new_users(fold, self.plan.shots, seed)
        if fold.known < len(fold.llms):
            return self._of_new_llms(fold, self.plan.shots, seed)
        return None

    def _of_new_users(self, fold: Fold, shots: int, seed: int) -> History:
        part = _pick(self.parts["train"], fold.new_users, fold.llms)
        users, queries = self._ids(part)
        kept = keep(users, queries, shots, seed)
        columns = kept.any(axis=0)
        part, kept, queries = select_queries(part, columns), kept[:, columns], queries[columns]
        told = tell(part, kept, users, queries, feedback=self.plan.feedback, seed=seed)
        return make_support(
            fold.view(self.benchmark),
            part,
            told,
            self.responses,
            feedback=self.plan.feedback,
            tier=self.plan.tier,
            clock=self.clock,
        )

    def _of_new_llms(self, fold: Fold, shots: int, seed: int) -> History:
        part = self.parts["train"]
        M, known = len(fold.llms), fold.known
        tried = newcomer(*self._ids(part), M - known, shots, seed)
        rows, columns = (tried >= 0).any(axis=1), (tried >= 0).any(axis=0)
        part = select_queries(_pick(part, part.users[rows], fold.llms), columns)
        tried = tried[np.ix_(rows, columns)]
        kept, first = tried >= 0, np.where(tried >= 0, known + tried, -1)
        newcomers = first[:, :, None] == np.arange(M)
        # A user who tries a new LLM compares it with all the known ones.
        shown = newcomers | (kept[:, :, None] & (np.arange(M) < known))
        users, queries = self._ids(part)
        told = tell(
            part,
            kept,
            users,
            queries,
            feedback=self.plan.feedback,
            seed=seed,
            shown=shown,
            first=first,
        )
        return make_support(
            fold.view(self.benchmark),
            part,
            told,
            self.responses,
            feedback=self.plan.feedback,
            tier=self.plan.tier,
            clock=self.clock,
            disclosed=shown.any(axis=0),
        )

    def _known(self, part: Interactions, fold: Fold) -> Interactions:
        part = _pick(part, fold.users, fold.llms[: fold.known])
        if fold.left_out < 0:
            return part
        return select_queries(part, self.benchmark.task_of_query[part.queries] != fold.left_out)

    def _ids(self, part: Interactions) -> tuple[Strings, Strings]:
        return self.benchmark.user_ids[part.users], self.benchmark.query_ids[part.queries]


def _pick(part: Interactions, users: Ints, llms: Ints) -> Interactions:
    """Return the rows of some users and the columns of some LLMs, as if there were no others."""
    if not np.array_equal(part.users, users):
        part = select_users(part, np.isin(part.users, users))
    M = part.reward.shape[-1]
    if np.array_equal(llms, np.arange(M)):
        return part
    if len(llms) < M:
        part = among(part, np.isin(np.arange(M), llms))
    return replace(part, reward=part.reward[:, :, llms], chosen=part.chosen[:, :, llms])


def select_users(part: Interactions, rows: Any) -> Interactions:
    """Return the rows of some users; rows [U] is a mask."""
    if rows.all():
        return part
    return replace(part, users=part.users[rows], reward=part.reward[rows], chosen=part.chosen[rows])


def select_queries(part: Interactions, queries: Any) -> Interactions:
    """Return the columns of some queries; queries [Q] is a mask."""
    if queries.all():
        return part
    return replace(
        part,
        queries=part.queries[queries],
        reward=part.reward[:, queries],
        chosen=part.chosen[:, queries],
    )


def _personas(benchmark: Benchmark) -> Ints | None:
    """Return [U] the number of each user's persona, -1 for who has none; None without personas."""
    if "persona_id" not in benchmark.users.column_names:
        return None
    codes = benchmark.users["persona_id"].combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _held_out(plan: Plan, ids: Strings, count: int, group: Ints | None = None) -> Ints:
    """Return sorted indices of what is held out: the ids asked for, or by hash.

    Args:
        plan: has the setting, and the ids that are asked for.
        ids: of all users, LLMs or tasks.
        count: how many are held out by hash.
        group: [len(ids)] numbers; who has the number of one that is held out by hash is, too.
            Negative: in no group.
    """
    kind, place = _KIND[plan.setting], {name: i for i, name in enumerate(ids.tolist())}
    if plan.held_out:
        for name in plan.held_out:
            if name not in place:
                hint = did_you_mean(name, list(place)[:50])
                raise UsageError(f"--held-out names an unknown {kind} {name!r}{hint}")
        chosen = sorted({place[name] for name in plan.held_out})
    else:
        stream = f"evaluation/{plan.setting}"
        order = sorted(
            place.values(), key=lambda i: hash_uniform(HELD_OUT_SEED, stream, str(ids[i]))
        )
        chosen = sorted(order[:count] if group is None else _whole_groups(order, group, count))
    if len(chosen) >= len(ids) and kind != "task":
        raise UsageError(
            f"setting {plan.setting!r} holds out {len(chosen)} of {len(ids)} {kind}s and leaves "
            "none to learn from; hold out fewer, or generate a larger data set"
        )
    return np.asarray(chosen, dtype=np.int64)


def _whole_groups(order: Sequence[int], group: Ints, count: int) -> list[int]:
    """Take from the start of an order, each with the rest of its group, until there are enough."""
    members: dict[int, list[int]] = {}
    for i in order:
        members.setdefault(int(group[i]), []).append(i)
    taken: dict[int, None] = {}
    for i in order:
        if len(taken) >= count:
            break
        taken |= dict.fromkeys(members[int(group[i])] if group[i] >= 0 else [i])
    return list(taken)


def _ids(ids: Strings, index: Ints) -> list[str]:
    names: list[str] = ids[index].tolist()
    return names
