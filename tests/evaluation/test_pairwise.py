from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from personaroute_bench.benchmark import Benchmark
from personaroute_bench.cli.evaluate import evaluate as evaluate_command
from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.pair_baselines import (
    PAIR_ROUTERS,
    MajorityOfOthers,
    bradley_terry,
    win_rate,
)
from personaroute_bench.evaluation.pair_results import correctness, per_user
from personaroute_bench.evaluation.pairs import (
    PairHistory,
    PairRequests,
    load_pairs,
    make_pair_history,
    make_pair_requests,
    read_pairs,
)
from personaroute_bench.evaluation.pairwise import evaluate_pairs, read_pair_answers
from personaroute_bench.evaluation.registry import load
from personaroute_bench.evaluation.runner import evaluate
from personaroute_bench.interchange.preferences import import_preferences

LLMS = ("a", "b", "c")


def rows(people: int = 12, queries: int = 20) -> list[dict[str, Any]]:
    """Half of the people like a most and c least, the others the reverse; every fifth row ties."""
    found = []
    for u in range(people):
        for q in range(queries):
            pair = [LLMS[(q + u) % 3], LLMS[(q + u + 1) % 3]]
            best = min(pair) if u % 2 else max(pair)
            tie = (u + q) % 5 == 0
            found.append(
                {
                    "dataset": "chats",
                    "user_id": f"user-{u:02}",
                    "query_id": f"q{q:02}",
                    "query": f"Question {q}?",
                    "candidates": pair,
                    "responses": [f"{llm} {q}" for llm in pair],
                    "chosen": None if tie else best,
                    "outcome": "tie" if tie else "chosen",
                }
            )
    return found


def made(folder: Path, table: list[dict[str, Any]], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preferences.parquet"
    columns = {name: [row[name] for row in table] for name in table[0]}
    pq.write_table(pa.table(columns), path)
    import_preferences(path, folder / "people", **options)
    return folder / "people"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("pairs"), rows())


class Answers:
    """A router that answers with a function of the requests."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def fit(self, history: PairHistory) -> None:
        self.history = history

    def route(self, requests: PairRequests) -> Any:
        return self.answer(requests)


def name_of(results: Any) -> dict[str, Any]:
    return next(e for e in results.routers if e["asked_for"] and e["name"] not in PAIR_ROUTERS)


# The metric, by hand


def test_correctness_and_per_user_by_hand() -> None:
    outcome = np.asarray([0, 1, 2, 0, 1, 2])
    choice = np.asarray([0, 0, 0, 2, -1, 1])
    right = correctness(choice, outcome)
    np.testing.assert_array_equal(right, [1, 0, np.nan, 0.5, 0, np.nan])
    user = np.asarray([0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(per_user(right, user, 4), [0.5, 0.25, np.nan, np.nan])


def test_people_count_alike_and_ties_do_not(tmp_path: Path) -> None:
    # One person with three decided test pairs, others with one; the router always says "a".
    data = load_pairs(made(tmp_path, rows(people=4)))
    test = data.splits["test"]
    always = Answers(lambda requests: [0] * len(requests))
    results = evaluate_pairs(data.benchmark.directory, [always], bootstrap_draws=0)  # type: ignore[arg-type]
    shares = [
        np.mean([o == 0 for o in test.outcome[(test.user == u) & (test.outcome != 2)]])
        for u in np.unique(test.user[test.outcome != 2])
    ]
    metric = name_of(results)["metrics"]["pairwise_accuracy"]
    assert metric["mean"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert metric["people"] == len(shares)
    assert metric["pairs"] == results.data["sizes"]["decided"] == int((test.outcome != 2).sum())
    assert results.data["sizes"]["ties"] == int((test.outcome == 2).sum()) > 0
    assert metric["low"] is None


def test_random_is_one_half_exactly(people: Path) -> None:
    metric = evaluate_pairs(people, ["random"])["random"]["metrics"]["pairwise_accuracy"]
    assert (metric["mean"], metric["low"], metric["high"]) == (0.5, 0.5, 0.5)


def test_personal_baselines_win_where_people_differ(people: Path) -> None:
    results = evaluate_pairs(people)
    mean = {e["name"]: e["metrics"]["pairwise_accuracy"]["mean"] for e in results.routers}
    assert set(mean) == set(PAIR_ROUTERS)
    assert mean["win-rate-per-user"] > 0.95
    assert mean["bradley-terry-per-user"] > 0.95
    assert max(mean["win-rate"], mean["bradley-terry"]) < 0.75
    lead = results["win-rate-per-user"]["accuracy_difference"]
    assert lead["baseline"] == "bradley-terry"
    assert 0 < lead["low"] < lead["mean"] < lead["high"]
    assert results.routers[0]["name"].endswith("per-user")


def test_new_people_get_what_everybody_likes(tmp_path: Path) -> None:
    folder = made(tmp_path, rows(people=20), by="person")
    results = evaluate_pairs(folder, ["bradley-terry-per-user", "win-rate-per-user"])
    assert results.data["by"] == "person"
    for personal in ("bradley-terry-per-user", "win-rate-per-user"):
        everybody = personal.removesuffix("-per-user")
        assert results[personal]["choices_sha256"] == results[everybody]["choices_sha256"]


@pytest.mark.parametrize("name", ["win-rate-per-user", "bradley-terry-per-user"])
def test_swapping_two_peoples_pasts_swaps_the_personal_answers(people: Path, name: str) -> None:
    benchmark = load_pairs(people).benchmark
    history = make_pair_history(
        benchmark, read_pairs(benchmark, "train"), read_pairs(benchmark, "validation")
    )
    assert history.validation is not None
    swapped = replace(
        history,
        user=history.user ^ 1,
        validation=replace(history.validation, user=history.validation.user ^ 1),
    )
    asked = read_pairs(benchmark, "test").take([0])
    user = int(asked.user[0])
    answers = {}
    for told in (history, swapped):
        for one in (user, user ^ 1):
            requests = make_pair_requests(benchmark, replace(asked, user=np.asarray([one])))
            router = load(PAIR_ROUTERS[name])()
            router.fit(told)
            answers[told is swapped, one] = router.route(requests).tolist()
    assert answers[False, user] == answers[True, user ^ 1]
    assert answers[True, user] == answers[False, user ^ 1]
    assert answers[False, user] != answers[True, user]


def test_majority_of_others_never_uses_ones_own_vote() -> None:
    # Five people prefer a to b, the sixth b; each is asked again about the same pair.
    history = _history([(0, 1, 0)] * 5 + [(0, 1, 1)], users=range(6))
    router = MajorityOfOthers()
    router.fit(history)
    requests = PairRequests(
        user_ids=np.asarray([*history.user_ids, "new"]),
        query_ids=np.asarray(["q", "another"]),
        llm_ids=history.llm_ids,
        task_ids=history.task_ids,
        user_index=np.asarray([0, 5, 6, 6]),
        query_index=np.asarray([0, 0, 0, 1]),
        candidates=np.asarray([[0, 1]] * 4),
        task_of_query=np.zeros(2, dtype=np.int64),
        embeddings=np.zeros((2, 2), dtype=np.float32),
        queries=pa.table({"query": ["?", "!"]}),
        llms=history.llms,
    )
    scores = router.route(requests)
    # Four for a and one for b; five for a; all six; and nobody: strengths decide.
    np.testing.assert_array_equal(scores[:3], [[3, -3], [5, -5], [4, -4]])
    np.testing.assert_array_equal(scores[3], bradley_terry(history)[0, :2])


# Strengths


def test_bradley_terry_by_hand() -> None:
    history = _history([(0, 1, 0)] * 3 + [(0, 1, 1)])
    score = bradley_terry(history)[0]
    # Symmetric opponents of the prior: logs are opposite; the fit satisfies its own equation.
    assert score[0] == pytest.approx(-score[1], abs=1e-6)
    p, q = np.exp(score[:2])
    assert 3.5 / p == pytest.approx(4 / (p + q) + 1 / (p + 1), rel=1e-6)
    assert score[2] == pytest.approx(0)
    np.testing.assert_allclose(win_rate(history)[0], [3.5 / 5, 1.5 / 5, 0.5])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_bradley_terry_is_finite_and_turns_with_the_outcomes(games: list[Any]) -> None:
    games = [(min(a, b), max(a, b), won) for a, b, won in games if a != b] or [(0, 1, 2)]
    score = bradley_terry(_history(games))
    assert np.isfinite(score).all()
    turned = bradley_terry(_history([(a, b, (1, 0, 2)[won]) for a, b, won in games]))
    np.testing.assert_allclose(score, -turned, atol=1e-4)


def _history(games: list[tuple[int, int, int]], users: Iterable[int] = ()) -> PairHistory:
    """Comparisons (a, b, outcome) of one query, of one person unless users are given."""
    table = np.asarray(games)
    who = np.asarray([*users] or [0] * len(games))
    n = len(games)
    return PairHistory(
        user_ids=np.asarray([f"u{i}" for i in range(who.max() + 1)]),
        query_ids=np.asarray(["q"]),
        llm_ids=np.asarray(LLMS),
        task_ids=np.asarray(["t"]),
        user=who,
        query=np.zeros(n, dtype=np.int64),
        candidates=table[:, :2],
        outcome=table[:, 2],
        task_of_query=np.zeros(1, dtype=np.int64),
        embeddings=np.zeros((1, 2), dtype=np.float32),
        queries=pa.table({"query_id": ["q"]}),
        llms=pa.table({"llm_id": list(LLMS)}),
        responses=pa.table({"query_id": ["q"]}),
    )


# Answers


@pytest.mark.parametrize(
    ("answers", "expected", "problem"),
    [
        (["a", "c", "b"], [0, 1, -1], "'b' is neither 0 or 1 nor one of"),
        ([0, 1, 2], [0, 1, -1], "2 is neither"),
        (np.asarray([1, 1, 0]), [1, 1, 0], None),
        ([True, 0.0, None], [-1, -1, -1], "True is neither"),
        (np.asarray([[1.0, 2.0], [3.0, 3.0], [np.inf, 0.0]]), [1, 2, 0], None),
        (np.asarray([[1, 2], [3, 3], [9, 0]]), [1, 2, 0], None),
        (np.asarray([[1.0, np.nan], [1.0, 0.0], [0.0, 1.0]]), [-1, 0, 1], "a score is NaN"),
        (np.zeros((2, 2)), [-1, -1, -1], r"instead of \(3, 2\)"),
        (["a"], [-1, -1, -1], "1 answers to 3 requests"),
        (iter(lambda: 0, 1), [-1, -1, -1], "more than 3 answers"),
        ("abc", [-1, -1, -1], "str instead of"),
        (7, [-1, -1, -1], "int instead of"),
    ],
)
def test_answers(answers: Any, expected: list[int], problem: str | None) -> None:
    candidates = np.asarray([[0, 1], [1, 2], [0, 2]])
    choice, told = read_pair_answers(answers, candidates, np.asarray(LLMS))
    assert choice.tolist() == expected
    if problem is None:
        assert told is None
    else:
        import re

        assert told is not None
        assert re.search(problem, told)


def test_an_invalid_answer_is_wrong_and_counted(people: Path) -> None:
    results = evaluate_pairs(people, [Answers(lambda requests: ["?"] * len(requests))])
    entry = name_of(results)
    assert entry["metrics"]["pairwise_accuracy"]["mean"] == 0
    assert entry["invalid"] == results.data["sizes"]["test"]
    assert "choices invalid: '?' is neither" in entry["status"]


# The seal


def test_a_router_sees_no_test_outcome_and_cannot_write(
    people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    read: list[tuple[str, bool]] = []

    def spy(benchmark: Benchmark, split: str, *, outcomes: bool = True) -> Any:
        read.append((split, outcomes))
        return read_pairs(benchmark, split, outcomes=outcomes)

    def look(requests: PairRequests) -> list[str]:
        assert ("test", True) not in read
        for array in (requests.candidates, requests.user_index, router.history.outcome):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        one = next(iter(requests))
        assert one.candidates == tuple(requests.llm_ids[requests.candidates[0]])
        assert not hasattr(one, "response")
        seen.extend(request.candidates[0] for request in requests)
        return [request.candidates[0] for request in requests]

    monkeypatch.setattr("personaroute_bench.evaluation.pairwise.read_pairs", spy)
    router = Answers(look)
    results = evaluate_pairs(people, [router])
    assert name_of(results)["status"] == "ok"
    assert read[-1] == ("test", True)
    assert len(seen) == results.data["sizes"]["test"]
    data = load_pairs(people)
    tested = set(
        zip(data.splits["test"].user.tolist(), data.splits["test"].query.tolist(), strict=True)
    )
    history = router.history.pooled()
    names = data.benchmark.user_ids.tolist(), data.benchmark.query_ids.tolist()
    past = {
        (names[0].index(u), names[1].index(q))
        for u, q in zip(
            history.user_ids[history.user], history.query_ids[history.query], strict=True
        )
    }
    assert tested
    assert not tested & past


def test_choices_are_written_and_hashed_as_documented(people: Path, tmp_path: Path) -> None:
    results = evaluate_pairs(people, ["random", "bradley-terry"], choices_dir=tmp_path, seeds=2)
    table = pq.read_table(tmp_path / "bradley-terry.parquet")
    assert (tmp_path / "random-seed1.parquet").is_file()
    assert table.column_names == ["user_id", "query_id", "a", "b", "choice"]
    text = "".join("\x1f".join(row.values()) + "\x1e" for row in table.to_pylist())
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert results["bradley-terry"]["choices_sha256"] == [expected] * 2


# Errors and the command


def test_a_router_that_raises(people: Path) -> None:
    results = evaluate_pairs(people, [Answers(lambda requests: requests.no_such_thing)])
    [failed] = results.failed
    assert results[failed]["metrics"] == {}
    assert "AttributeError" in results[failed]["status"]
    assert "no_such_thing" in results.traces[failed]
    results.print()


def test_wrong_use(people: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown pair router 'best-single'"):
        evaluate_pairs(people, ["best-single"])
    with pytest.raises(UsageError, match="seeds 0"):
        evaluate_pairs(people, seeds=0)
    with pytest.raises(UsageError, match="holds pairs of real people and no rewards"):
        evaluate(people)
    with pytest.raises(UsageError, match="does not exist"):
        evaluate_pairs(tmp_path / "nowhere")
    single = made(tmp_path, [row for row in rows(3) if row["query_id"] == "q00"])
    with pytest.raises(UsageError, match="has no test pairs"):
        evaluate_pairs(single)


def bench(*arguments: str) -> Any:
    app = typer.Typer()
    app.command("evaluate")(evaluate_command)
    return CliRunner().invoke(app, ["--draws", "100", *arguments])


def test_bench_evaluate_on_pairs(people: Path, tmp_path: Path) -> None:
    written = tmp_path / "results.json"
    result = bench(str(people), "--json", str(written), "--quiet")
    assert result.exit_code == 0, result.output
    assert "recorded choices of 12 real people, split by query" in result.stdout
    assert result.stderr == ""
    data = json.loads(written.read_text())
    assert data["kind"] == "pairs"
    assert {entry["name"] for entry in data["routers"]} == set(PAIR_ROUTERS)
    refused = bench(str(people), "--tier", "T3")
    assert isinstance(refused.exception, UsageError)
    assert "--tier does not apply" in str(refused.exception)


def test_recorded_people_are_better_than_chance(recorded: Path, tmp_path: Path) -> None:
    import_preferences(recorded / "preferences.parquet", tmp_path / "out", datasets=["llmfao"])
    results = evaluate_pairs(tmp_path / "out", bootstrap_draws=200)
    best = results["bradley-terry"]["metrics"]["pairwise_accuracy"]
    assert best["people"] >= 70
    assert 0.5 < best["low"] < best["mean"] < best["high"] < 1
