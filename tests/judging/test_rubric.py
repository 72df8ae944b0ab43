"""The rubric judge: each response rated once, whoever reads it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_fakes import LLM_IDS, answers, judge, judging, questions

from personaroute_bench.errors import UsageError
from personaroute_bench.judging.calls import judge_estimate
from personaroute_bench.judging.dimensions import DIMENSIONS, NAMES
from personaroute_bench.judging.rubric import (
    Rated,
    RubricCall,
    RubricOptions,
    ratings_array,
    ratings_schema,
    ratings_table,
    read_ratings,
    rubric_requests,
)
from personaroute_bench.llms.types import LLM, Reply
from personaroute_bench.schemas import RATINGS


def calls_for(
    queries: int = 4, judges: Sequence[LLM] = (judge(),), **options: Any
) -> Sequence[RubricCall]:
    asked = questions(queries)
    return rubric_requests(asked, answers(asked), judges, RubricOptions(**options))


def rate(body: dict[str, Any]) -> str:
    """Rate every answer by its LLM's place: all scales 1 for the first, up to 5."""
    shown = re.findall(r"^\[\[Answer (\d+) \w+\]\]\n(\S+) on", body["messages"][0]["content"], re.M)
    return json.dumps(
        {number: dict.fromkeys(NAMES, LLM_IDS.index(name) + 1) for number, name in shown}
    )


def rated(query_id: str, ratings: dict[str, float], judged_by: str = "j") -> Rated:
    values = np.repeat(np.array(list(ratings.values()), np.float32)[:, None], len(NAMES), axis=1)
    return Rated(judged_by, query_id, tuple(ratings), "ok", values, None)


# What is asked


def test_listwise_asks_once_a_query_in_a_shuffled_order() -> None:
    calls = calls_for(30)
    assert [call.query_id for call in calls] == [f"q{n}" for n in range(30)]
    assert all(sorted(call.shown) == sorted(LLM_IDS) for call in calls)
    assert len({call.shown for call in calls}) > 20, "30 draws out of 120 orders"
    assert [call.shown for call in calls_for(3)] == [call.shown for call in calls[:3]]
    assert [call.shown for call in calls_for(3, seed=1)] != [call.shown for call in calls[:3]]
    ((role, text),) = calls[0].request.messages
    assert role == "user"
    labelled = re.findall(r"^\[\[Answer (\d) \w+\]\]\n(.*)\n", text, re.MULTILINE)
    assert labelled == [(str(n), f"{m} on q0") for n, m in enumerate(calls[0].shown, 1)]
    assert '("1", "2", "3", "4", "5")' in text
    for dimension in DIMENSIONS:
        assert f'- {dimension.name}: 1 is "{dimension.low}", 5 is "{dimension.high}"' in text


def test_one_by_one_asks_once_a_response() -> None:
    calls = calls_for(2, (judge(0), judge(1)), mode="single")
    assert Counter((c.query_id, *c.shown, c.request.llm.id) for c in calls) == {
        (f"q{q}", llm_id, f"judge-{j}"): 1 for q in range(2) for llm_id in LLM_IDS for j in range(2)
    }
    assert calls[0].request.messages[0][1].count("[[Answer") == 1


def test_only_usable_responses_are_rated() -> None:
    asked = questions(2)
    failed = [*(("q0", llm_id) for llm_id in LLM_IDS), *(("q1", llm_id) for llm_id in LLM_IDS[1:])]
    (call,) = rubric_requests(asked, answers(asked, failed=failed), [judge()])
    assert (call.query_id, call.shown) == ("q1", LLM_IDS[:1])


def test_the_cap_has_room_for_a_whole_reply() -> None:
    for mode, k in (("listwise", 5), ("single", 1)):
        call = calls_for(1, mode=mode)[0]
        reply = {str(n): dict.fromkeys(NAMES, 5) for n in range(1, k + 1)}
        from personaroute_bench.tokens import count_tokens

        assert count_tokens(json.dumps(reply)) == call.expected_output
        assert count_tokens(json.dumps(reply, indent=2)) < call.request.max_tokens
    assert calls_for(1, max_tokens=7)[0].request.max_tokens == 7


def test_the_schema_is_closed_and_sent_only_where_it_is_wanted() -> None:
    sent = calls_for(1, judge_schema=True)[0].request.payload()["response_format"]
    schema = sent["json_schema"]["schema"]
    assert schema == ratings_schema(5)
    assert schema["required"] == ["1", "2", "3", "4", "5"]
    assert schema["properties"]["5"]["required"] == list(NAMES)
    assert schema["properties"]["5"]["properties"]["humour"]["enum"] == [1, 2, 3, 4, 5]
    assert "response_format" not in calls_for(1)[0].request.payload()


def test_a_simulated_judge_is_refused() -> None:
    with pytest.raises(UsageError, match="simulated"):
        calls_for(1, (judge(provider="simulated"),))


# Over HTTP, through the real engine


@pytest.mark.parametrize("mode", ["listwise", "single"])
def test_ratings_come_back_to_the_responses_they_are_of(mode: Any, tmp_path: Path) -> None:
    with judging(tmp_path, rate) as bench:
        calls = calls_for(6, (judge(url=bench.server.url),), mode=mode)
        summary, replies = bench.ask(calls)
        readings = list(read_ratings(calls, replies))
        assert len(bench.server.seen) == len(calls) == (6 if mode == "listwise" else 30)
        assert sum(r.cost_usd or 0.0 for r in readings) == pytest.approx(summary.spend_usd)
        again, _ = bench.ask(calls)
        assert (again.cached, again.attempts) == (len(calls), 0)
    assert {reading.status for reading in readings} == {"ok"}
    table = ratings_table(readings)
    assert table.schema.equals(RATINGS, check_metadata=True)
    assert table.num_rows == 6 * 5 * 12
    ratings = ratings_array(table, [f"q{n}" for n in range(6)], LLM_IDS)
    wanted = np.array([0.0, 0.25, 0.5, 0.75, 1.0], dtype=np.float32)[None, :, None]
    assert ratings.dtype == np.float32
    assert (ratings == np.broadcast_to(wanted, (6, 5, 12))).all()


def test_faults_and_nonsense_give_no_rating(tmp_path: Path) -> None:
    texts = {0: rate, 1: lambda body: "All are fine.", 2: rate, 3: lambda body: '{"0": {}}'}

    def number(body: dict[str, Any]) -> int:
        return int(re.findall(r"What is (\d)", body["messages"][0]["content"])[0])

    with judging(tmp_path, lambda body: texts[number(body)](body)) as bench:
        bench.server.fault_for = lambda body: "length" if number(body) == 2 else None
        calls = calls_for(4, (judge(url=bench.server.url),))
        readings = list(read_ratings(calls, bench.ask(calls)[1]))
    assert [reading.status for reading in readings] == ["ok", "unparsed", "truncated", "unparsed"]
    table = ratings_table(readings)
    assert table["rating"].null_count == 3 * 5 * 12
    ratings = ratings_array(table, ["q0", "q1", "q2", "q3"], LLM_IDS)
    assert np.isfinite(ratings[0]).all() and np.isnan(ratings[1:]).all()


def test_replies_to_other_calls_are_refused() -> None:
    calls = calls_for(2)
    swapped = [(calls[1].request, Reply("ok", "{}")), (calls[0].request, Reply("ok", "{}"))]
    with pytest.raises(ValueError, match="the reply to 'q1' came for the call 'q0'"):
        list(read_ratings(calls, swapped))


# Tables and arrays


def test_rows_are_a_judge_response_and_dimension() -> None:
    reading = rated("q", {"a": 0.25, "b": 1.0})
    reading.values[1, 3] = np.nan
    rows = ratings_table([reading]).to_pylist()
    assert [(row["llm_id"], row["dimension"]) for row in rows] == [
        (llm_id, name) for llm_id in ("a", "b") for name in NAMES
    ]
    assert rows[3]["rating"] == 0.25
    assert rows[12 + 3] == {
        "query_id": "q", "llm_id": "b", "judge": "j", "dimension": "steps", "rating": None,
    }  # fmt: skip


def test_several_judges_are_averaged_over_those_that_rated() -> None:
    one, other = rated("q", {"a": 0.0, "b": 0.5}, "one"), rated("q", {"b": 1.0, "a": 0.5}, "other")
    one.values[0, 0] = np.nan
    table = ratings_table([one, other, rated("elsewhere", {"a": 1.0})])
    both = ratings_array(table, ["q", "unknown"], ["b", "a"])
    assert both[0, 0].tolist() == [0.75] * 12
    assert both[0, 1].tolist() == [0.5] + [0.25] * 11
    assert np.isnan(both[1]).all()
    alone = ratings_array(table, ["q"], ["a"], judge="one")
    assert np.isnan(alone[0, 0, 0]) and (alone[0, 0, 1:] == 0).all()


def test_nothing_rated_is_an_empty_table() -> None:
    table = ratings_table([])
    assert table.num_rows == 0 and table.schema.equals(RATINGS)
    assert np.isnan(ratings_array(table, ["q"], ["a"])).all()
    assert ratings_array(table, [], []).shape == (0, 0, 12)


def test_what_it_costs_does_not_depend_on_users() -> None:
    (listwise,) = judge_estimate(calls_for(40))
    (single,) = judge_estimate(calls_for(40, mode="single"))
    assert (listwise.calls, single.calls) == (40, 200)
    assert listwise.output_expected == 40 * calls_for(1)[0].expected_output
    assert listwise.usd_expected is not None and single.usd_expected is not None
    assert listwise.usd_expected < single.usd_expected
