"""evaluate_pairs: the sealed protocol on recorded choices of real people.

training and validation pairs ─► router.fit ─► router.route(test pairs) ─► choices, hashed
                                                                               │
                              test outcomes, read only now ────────────────────┴─► accuracy

The metric is per-user pairwise accuracy: of a person's test pairs that did not end in a tie, the
share whose preferred LLM the router ranks higher, averaged over people.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.evaluation.bootstrap import check_draws
from personaroute_bench.evaluation.choices import Answered, choices_file, shown
from personaroute_bench.evaluation.isolation import (
    Isolation,
    Limits,
    RemoteRouter,
    isolation_of,
    released,
)
from personaroute_bench.evaluation.latency import clock_of
from personaroute_bench.evaluation.pair_baselines import PAIR_ROUTERS
from personaroute_bench.evaluation.pair_results import (
    INVALID,
    UNDECIDED,
    PairEvaluation,
    make_pair_evaluation,
)
from personaroute_bench.evaluation.pairs import (
    OUTCOMES,
    PairHistory,
    PairRequests,
    load_people,
    make_pair_history,
    make_pair_requests,
    read_pairs,
)
from personaroute_bench.evaluation.registry import (
    Contestant,
    construct,
    load_or_exit,
    resolve,
    take,
    told,
    unique,
)
from personaroute_bench.files import check_writable

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Benchmark, Ints, Strings


@dataclass
class PairRun:
    """What one router did, over all seeds."""

    name: str
    asked_for: bool
    choices: list[Ints] = field(default_factory=list)
    """One [n] a seed: 0 for a, 1 for b, 2 undecided, -1 invalid."""
    digests: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Their files' names, where they are written."""
    fit_s: list[float] = field(default_factory=list)
    route_s: list[float] = field(default_factory=list)
    problem: str | None = None
    """The first invalid answer, in words."""
    error: str | None = None
    trace: str | None = None
    isolation: dict[str, Any] | None = None
    """How the router was kept apart, see `isolation.isolation_of`."""
    ended: str | None = None
    """Why its process ended while it was asked; what it had not answered is invalid."""


def evaluate_pairs(
    directory: str | Path,
    routers: Sequence[Any] = (),
    *,
    seeds: int = 1,
    choices_dir: str | Path | None = None,
    bootstrap_draws: int = 1000,
    confidence: float = 0.95,
    limits: Limits | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PairEvaluation:
    """Score pair routers on real people's test pairs, under the sealed protocol.

    Args:
        directory: what `bench import preferences` made.
        routers: short names (`PAIR_ROUTERS`), ``module:Class``, classes or instances; the
            baselines are always shown beside.
        seeds: repetitions with seeds 0, 1, …, averaged.
        choices_dir: where to write each router's choices.
        bootstrap_draws: for the intervals, which resample people: 0 (none), or 100 or more.
        confidence: of the intervals.
        limits: what routers by import path may take; None: an hour each.
        on_progress: is told one line a step.

    Returns:
        Results; a router that raised is in them with its status and without metrics.

    Raises:
        UsageError: an option or router is wrong, or the folder holds no pairs.
    """
    if seeds < 1 or not 0 < confidence < 1:
        raise UsageError(
            f"seeds {seeds}, confidence {confidence}: give 1 or more, and a number between 0 and 1"
        )
    check_draws(bootstrap_draws)
    if choices_dir is not None:
        check_writable(Path(choices_dir), "--choices", folder=True)
    hidden = [Path(path) for path in (directory, choices_dir) if path is not None]
    with Isolation(hidden, limits or Limits()) as apart:
        contestants = _contestants(routers, apart)
        benchmark, runs = _choose(
            directory, contestants, seeds, choices_dir, on_progress or (lambda line: None)
        )
    test = read_pairs(benchmark, "test")
    return make_pair_evaluation(
        benchmark, test, runs, draws=bootstrap_draws, confidence=confidence, seeds=seeds
    )


def _choose(
    directory: str | Path,
    contestants: Sequence[Contestant],
    seeds: int,
    choices_dir: str | Path | None,
    say: Callable[[str], None],
) -> tuple[Benchmark, list[PairRun]]:
    """Let all routers fit and answer, and commit to what they answered."""
    made = construct(contestants)
    benchmark = load_people(directory)
    history = make_pair_history(
        benchmark, read_pairs(benchmark, "train"), read_pairs(benchmark, "validation")
    )
    asked = read_pairs(benchmark, "test", outcomes=False)
    if not len(asked):
        raise UsageError(
            f"{directory} has no test pairs; its people have too few queries (or it has too few "
            "people) to split: import more rows"
        )
    requests = make_pair_requests(benchmark, asked)
    say(
        f"{len(history.pooled())} past and {len(asked)} test pairs of "
        f"{len(benchmark.user_ids)} people"
    )

    runs = []
    files: set[str] = set()
    for contestant in contestants:
        run = PairRun(contestant.name, contestant.asked_for)
        runs.append(run)
        for seed in range(seeds):
            try:
                router = take(made, contestant, seed)
                bundled = contestant.name in PAIR_ROUTERS
                with released(router):
                    run.isolation = isolation_of(router, bundled=bundled)
                    choice = _run(run, router, history, requests)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit and its like end one router only
                run.error, run.trace = told(error)
                say(f"{run.name}: {run.error}")
                break
            run.choices.append(choice)
            run.digests.append(pair_choices_digest(choice, requests))
            if choices_dir is not None:
                run.files.append(choices_file(run.name, seed, files))
                files.add(run.files[-1])
                write_pair_choices(Path(choices_dir) / run.files[-1], choice, requests)
        else:
            say(f"{run.name}: fit {run.fit_s[-1]:.2f} s, routed {run.route_s[-1]:.2f} s")

    say("choices are committed; reading the test outcomes")
    return benchmark, runs


def _contestants(routers: Sequence[Any], apart: Isolation) -> list[Contestant]:
    """Return what was asked for, then the baselines that were not."""
    found: dict[str, Contestant] = {}
    for router in routers:
        if not isinstance(router, str):
            one = next(one for one in resolve([router]) if one.asked_for)
            name = unique(one.name, found)
            found[name] = Contestant(name, one.source, asked_for=True)
            continue
        if router not in PAIR_ROUTERS and ":" not in router:
            raise UsageError(
                f"unknown pair router {router!r}{did_you_mean(router, tuple(PAIR_ROUTERS))}; this "
                "data set holds pairs of real people, whose routers answer which of two "
                "(docs/preferences.md); for one of your own give MODULE:CLASS"
            )
        foreign = apart.source(router) if router not in PAIR_ROUTERS else None
        source = foreign or load_or_exit(PAIR_ROUTERS.get(router, router))
        found.setdefault(router, Contestant(router, source, asked_for=True))
    for name, path in PAIR_ROUTERS.items():
        if name not in found:
            found[name] = Contestant(name, load_or_exit(path), asked_for=not routers)
    return list(found.values())


def _run(run: PairRun, router: Any, history: PairHistory, requests: PairRequests) -> Ints:
    clock = clock_of(router)
    start = clock()
    router.fit(history)
    fitted = clock()
    answers = router.route(requests)
    choice, problem = _read(answers, requests)
    run.fit_s.append(fitted - start)
    run.route_s.append(clock() - fitted)
    run.problem = run.problem or problem
    if isinstance(router, RemoteRouter):
        run.ended = run.ended or router.ended
    return choice


def _read(answers: Any, requests: PairRequests) -> tuple[Ints, str | None]:
    if isinstance(answers, Answered):  # read where they were given: 0, 1 or undecided
        known = (answers.choice >= 0) & (answers.choice <= UNDECIDED)
        return np.where(known, answers.choice, INVALID), answers.problem
    return read_pair_answers(answers, requests.candidates, requests.llm_ids)


def read_pair_answers(answers: Any, candidates: Ints, llm_ids: Strings) -> tuple[Ints, str | None]:
    """Turn what `route` returned into choices.

    Args:
        answers: a float array [n, 2] of scores, the higher is preferred, equal is undecided; or n
            answers, each the id of one of the request's two candidates, or 0 or 1.
        candidates: [n, 2] index into llm_ids.
        llm_ids: [M]

    Returns:
        [n] 0, 1, 2 (undecided) or -1 (invalid); and the first problem in words, or None. Answers
        of the wrong number cannot be told apart, so all of them are invalid.
    """
    count = len(candidates)
    choice = np.full(count, INVALID, dtype=np.int64)
    if isinstance(answers, (str, bytes, dict)) or not isinstance(answers, Iterable):
        return choice, f"{type(answers).__name__} instead of a sequence of answers"
    if isinstance(answers, np.ndarray) and answers.ndim == 2:
        if answers.shape != (count, 2) or not np.issubdtype(answers.dtype, np.number):
            return choice, f"scores {answers.dtype} {answers.shape} instead of ({count}, 2)"
        first, second = answers[:, 0], answers[:, 1]
        known = ~np.isnan(answers).any(axis=1)
        picked = np.where(first > second, 0, np.where(second > first, 1, UNDECIDED))
        return np.where(known, picked, INVALID), None if known.all() else "a score is NaN"
    items = answers.tolist() if hasattr(answers, "tolist") else answers
    listed = list(itertools.islice(items, count + 1))
    if len(listed) != count:
        number = len(listed) if len(listed) < count else f"more than {count}"
        return choice, f"{number} answers to {count} requests"
    problem = None
    for i, (item, pair) in enumerate(zip(listed, llm_ids[candidates].tolist(), strict=True)):
        if isinstance(item, str) and item in pair:
            choice[i] = pair.index(item)
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool) and item in (0, 1):
            choice[i] = item
        elif problem is None:
            problem = f"{shown(item)} is neither 0 or 1 nor one of {pair}"
    return choice, problem


def pair_choices_digest(choice: Ints, requests: PairRequests) -> str:
    """Return the SHA-256 hex digest that commits to choices [n].

    Over the requests in order, each ``user␟query␟a␟b␟choice␞`` in UTF-8 with the separators
    U+001F and U+001E; choice is a, b, tie (undecided) or empty (invalid).
    """
    running = hashlib.sha256()
    for row in zip(*_columns(choice, requests).values(), strict=True):
        text = "\x1f".join(cell or "" for cell in row) + "\x1e"
        running.update(text.encode("utf-8", "surrogatepass"))
    return running.hexdigest()


def write_pair_choices(path: Path, choice: Ints, requests: PairRequests) -> None:
    """Write choices as Parquet: user_id, query_id, a, b, choice (a, b, tie; null: invalid)."""
    import pyarrow as pa

    from personaroute_bench.files import write_table

    columns = _columns(choice, requests)
    arrays = {
        key: pa.array(cells, pa.string()).dictionary_encode() for key, cells in columns.items()
    }
    write_table(path, pa.table(arrays), option="--choices")


def _columns(choice: Ints, requests: PairRequests) -> dict[str, list[str | None]]:
    names = [*OUTCOMES, None]  # index -1 is the last
    return {
        "user_id": requests.user_ids[requests.user_index].tolist(),
        "query_id": requests.query_ids[requests.query_index].tolist(),
        "a": requests.llm_ids[requests.candidates[:, 0]].tolist(),
        "b": requests.llm_ids[requests.candidates[:, 1]].tolist(),
        "choice": [names[picked] for picked in choice.tolist()],
    }
