"""The direct judge: what is asked, over a real engine and HTTP, and what becomes of the replies."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_fakes import LLM_IDS, answers, judge, judging, people, questions

from personaroute_bench.errors import UsageError
from personaroute_bench.judging.calls import ESTIMATE_SAMPLE, judge_estimate, requests_of
from personaroute_bench.judging.direct import (
    DirectOptions,
    JudgeCall,
    choice_schema,
    choices_from_judgments,
    direct_requests,
    read_judgments,
)
from personaroute_bench.judging.prompts import load_prompt
from personaroute_bench.llms.types import LLM, Reply
from personaroute_bench.schemas import JUDGMENTS


def calls_for(
    persons: int = 2, queries: int = 3, judges: Sequence[LLM] = (judge(),), **options: Any
) -> Sequence[JudgeCall]:
    asked = questions(queries)
    return direct_requests(people(persons), asked, answers(asked), judges, DirectOptions(**options))


def table_of(calls: Sequence[JudgeCall], texts: Sequence[str | Reply]) -> pa.Table:
    replies = [Reply("ok", text) if isinstance(text, str) else text for text in texts]
    return read_judgments(
        calls, [(call.request, reply) for call, reply in zip(calls, replies, strict=True)]
    )


def judgments(*rows: tuple[str, str, list[str], list[str]], **same: Any) -> pa.Table:
    """Parsed judgments from (persona, query, shown, chosen)."""
    base = {
        "judge": "j", "prompt_hash": "h", "mode": "listwise", "order_id": 0, "repeat": 0,
        "pair": 0, "status": "ok", "reply": "", "cost_usd": 0.1, **same,
    }  # fmt: skip
    made = [base | {"persona_id": p, "query_id": q, "shown": s, "chosen": c} for p, q, s, c in rows]
    plain = {
        f.name: f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in JUDGMENTS
    }
    return pa.table(
        {name: pa.array([row[name] for row in made], kind) for name, kind in plain.items()}
    ).cast(JUDGMENTS)


# What is asked


def test_a_call_has_the_persona_as_system_prompt_and_the_answers_as_shown() -> None:
    call = calls_for()[0]
    (system, persona), (user, text) = call.request.messages
    assert (system, persona, user) == ("system", "You are person 0.", "user")
    assert sorted(call.shown) == sorted(LLM_IDS)
    assert "What is 0?" in text and "Solve" not in text
    labelled = re.findall(r"^\[\[Answer (\d) \w+\]\]\n(.*)\n", text, re.MULTILINE)
    assert labelled == [(str(n), f"{m} on q0") for n, m in enumerate(call.shown, 1)]
    assert call.prompt_hash == load_prompt("direct-a").sha256
    assert call.request.response_format is None


def test_every_persona_query_judge_wording_order_and_repeat_is_asked_once() -> None:
    judges = (judge(0), judge(1))
    calls = calls_for(2, 3, judges, prompts=("direct-a", "direct-b"), both_orders=True, repeats=2)
    assert len(calls) == 2 * 3 * 2 * 2 * 2 * 2
    hashes = [load_prompt(name).sha256 for name in ("direct-a", "direct-b")]
    wanted = itertools.product(
        ("p0", "p1"), ("q0", "q1", "q2"), ("judge-0", "judge-1"), hashes, (0, 1), (0, 1)
    )
    key = [
        (c.persona_id, c.query_id, c.request.llm.id, c.prompt_hash, c.order_id, c.repeat)
        for c in calls
    ]
    assert sorted(key) == sorted(wanted)
    assert len({call.request.key() for call in calls}) == len(calls)
    assert all(call.request.sample == call.repeat for call in calls)


def test_the_order_is_the_same_for_all_judges_and_another_for_everything_else() -> None:
    calls = calls_for(
        3, 4, (judge(0), judge(1)), prompts=("direct-a", "direct-b"), both_orders=True, repeats=2
    )
    orders: dict[tuple[Any, ...], set[tuple[str, ...]]] = {}
    for c in calls:
        orders.setdefault((c.persona_id, c.query_id, c.repeat, c.order_id), set()).add(c.shown)
    assert all(len(shown) == 1 for shown in orders.values())
    first = {key[:3]: next(iter(shown)) for key, shown in orders.items() if key[3] == 0}
    for (*rest, order), shown in orders.items():
        if order == 1:
            assert next(iter(shown)) == first[rest[0], rest[1], rest[2]][::-1]
    assert len(set(first.values())) > 15, "24 draws out of 120 orders"


def test_more_personas_queries_repeats_or_a_lost_answer_leave_the_order_as_it_was() -> None:
    def orders(calls: Sequence[JudgeCall]) -> dict[tuple[str, str, int], tuple[str, ...]]:
        return {(c.persona_id, c.query_id, c.repeat): c.shown for c in calls}

    few, many = orders(calls_for(2, 3)), orders(calls_for(4, 6, repeats=3))
    assert few.items() <= many.items()
    assert orders(calls_for(2, 3, seed=1)) != few
    asked = questions(3)
    lost = direct_requests(
        people(2), asked, answers(asked, failed=[("q1", "omega")]), [judge()], DirectOptions()
    )
    for key, shown in orders(lost).items():
        without = tuple(m for m in few[key] if key[1] != "q1" or m != "omega")
        assert shown == without


def test_calls_are_built_when_taken_and_slices_are_too() -> None:
    calls = calls_for(1000, 200)
    assert len(calls) == 200_000
    assert calls[199_999].persona_id == "p999"
    assert calls[-1] == calls[199_999]
    assert [c.persona_id for c in calls[200:800:200]] == ["p1", "p2", "p3"]
    assert len(calls[100:]) == 199_900
    assert requests_of(calls)[5] == calls[5].request
    with pytest.raises(IndexError):
        calls[200_000]


def test_failed_responses_are_not_shown_and_one_answer_is_no_question() -> None:
    asked = questions(3)
    failed = [("q0", "omega"), *(("q1", llm_id) for llm_id in LLM_IDS[1:])]
    calls = direct_requests(
        people(1), asked, answers(asked, failed=failed), [judge()], DirectOptions()
    )
    assert [(c.query_id, len(c.shown)) for c in calls] == [("q0", 4), ("q2", 5)]
    assert "omega" not in calls[0].shown


def test_a_persona_of_several_users_is_asked_once() -> None:
    one, two = people(2)
    asked = questions(2)
    calls = direct_requests([one, two, one], asked, answers(asked), [judge()])
    assert Counter(c.persona_id for c in calls) == {"p0": 2, "p1": 2}
    with pytest.raises(UsageError, match="two personas are called 'p0'"):
        direct_requests([one, replace(two, persona_id="p0")], asked, answers(asked), [judge()])


def test_the_schema_is_sent_only_where_it_is_wanted() -> None:
    call = calls_for(judge_schema=True)[0]
    sent = call.request.payload()["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == choice_schema(5)
    assert choice_schema(2)["properties"]["choice"]["items"]["enum"] == [1, 2]
    assert call.request.key() != calls_for()[0].request.key()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": ("direct-pairwise",)}, "does not fit listwise judging; take direct-a or"),
        ({"mode": "pairwise", "prompts": ("direct-a",)}, "take direct-pairwise"),
        ({"repeats": 0}, "--repeats must be at least 1, got 0"),
        ({"mode": "pairwise", "pairs": 0}, "number of pairs must be at least 1"),
        ({"pairs": 3}, "needs pairwise judging"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DirectOptions(**options)


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ((), "no judge LLM"),
        ((judge(), judge()), "'judge-0' is given twice"),
        ((judge(provider="simulated"),), "is simulated and cannot read"),
    ],
)
def test_judges_that_cannot_be(judges: tuple[LLM, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calls_for(judges=judges)


# Pairs


@given(st.integers(2, 9))
@settings(deadline=None)
def test_all_pairs_are_every_pair_once(k: int) -> None:
    asked, ids = questions(1), [f"m{n}" for n in range(k)]
    calls = direct_requests(
        people(1), asked, answers(asked, ids), [judge()], DirectOptions(mode="pairwise")
    )
    pairs = [tuple(sorted(call.shown)) for call in calls]
    assert sorted(pairs) == sorted(itertools.combinations(ids, 2))
    assert [call.pair for call in calls] == list(range(len(calls)))
    first = Counter(call.shown[0] for call in calls)
    assert max(first.values()) - min(first[m] for m in ids) <= 1


def test_k_pairs_show_every_answer_twice_once_in_front() -> None:
    calls = calls_for(1, 1, mode="pairwise", pairs=5)
    assert Counter(call.shown[0] for call in calls) == dict.fromkeys(LLM_IDS, 1)
    assert Counter(call.shown[1] for call in calls) == dict.fromkeys(LLM_IDS, 1)
    assert calls[0].prompt_hash == load_prompt("direct-pairwise").sha256


def test_more_pairs_orders_and_repeats_keep_the_pairs_there_were() -> None:
    few = calls_for(2, 2, mode="pairwise", pairs=3)
    many = calls_for(2, 2, mode="pairwise", both_orders=True, repeats=4)
    assert {call.request.key() for call in few} <= {call.request.key() for call in many}
    for one, other in zip(many[::2], many[1::2], strict=True):
        assert one.shown == other.shown[::-1]
    duels: dict[tuple[str, str, int], set[tuple[str, ...]]] = {}
    for call in many:
        key = (call.persona_id, call.query_id, call.pair)
        duels.setdefault(key, set()).add(tuple(sorted(call.shown)))
    assert all(len(pair) == 1 for pair in duels.values()), "a repeat asks about the same two"
    turned = [call.shown[0] for call in many[::2]]
    assert len(set(turned)) == 5


# What becomes of the replies


def test_replies_become_judgments_with_the_shuffling_undone() -> None:
    calls = calls_for(1, 6)
    texts: list[str | Reply] = [
        '{"choice": [2]}',
        '{"choice": [5, 1]}',
        "Answer 6",
        Reply("refused", "I would rather not.", cost_usd=0.25),
        Reply("error", "", error_type="timeout"),
        Reply("truncated", '{"choice": [1]}'),
    ]
    table = table_of(calls, texts)
    assert table.schema.equals(JUDGMENTS, check_metadata=True)
    rows = table.to_pylist()
    assert [row["status"] for row in rows] == [
        "ok", "ok", "unparsed", "refused", "error", "truncated",
    ]  # fmt: skip
    assert rows[0]["chosen"] == [calls[0].shown[1]]
    assert rows[1]["chosen"] == [calls[1].shown[0], calls[1].shown[4]]
    assert [row["chosen"] for row in rows[2:]] == [[], [], [], []]
    assert [row["shown"] for row in rows] == [list(call.shown) for call in calls]
    assert rows[3]["reply"] == "I would rather not."
    assert [row["cost_usd"] for row in rows] == [None, None, None, 0.25, None, None]


def test_taking_one_of_two_equal_texts_is_taking_both() -> None:
    asked = questions(1)
    twins = ("acme/small", "omega")
    table = answers(asked, text=lambda q, m: "the same" if m in twins else f"{m} on {q}")
    (call,) = direct_requests(people(1), asked, table, [judge()])
    for place, llm_id in enumerate(call.shown, 1):
        (row,) = table_of([call], [f"Answer {place}"]).to_pylist()
        assert sorted(row["chosen"]) == (sorted(twins) if llm_id in twins else [llm_id])


def test_no_calls_give_an_empty_table() -> None:
    table = read_judgments([], [])
    assert table.num_rows == 0
    assert table.schema.equals(JUDGMENTS)
    chosen, known = choices_from_judgments(table, ["p0"], ["q0"], ["a", "b"])
    assert not chosen.any() and not known.any()


def test_many_judgments_are_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("personaroute_bench.judging.direct._BATCH", 7)
    calls = calls_for(4, 5)
    table = table_of(calls, ['{"choice": [1]}'] * 20)
    assert table["persona_id"].to_pylist() == [call.persona_id for call in calls]
    assert table["chosen"].to_pylist() == [[call.shown[0]] for call in calls]


def test_replies_to_other_calls_are_refused() -> None:
    calls = calls_for(1, 2)
    swapped = [(calls[1].request, Reply("ok", "1")), (calls[0].request, Reply("ok", "1"))]
    with pytest.raises(ValueError, match="the reply to 'p0/q1' came for the call 'p0/q0'"):
        read_judgments(calls, swapped)
    with pytest.raises(ValueError, match="zip"):
        read_judgments(calls, swapped[:0])


def listed(chosen: np.ndarray[Any, Any], llm_ids: Sequence[str]) -> list[list[list[str]]]:
    return [[[m for m, is_in in zip(llm_ids, q, strict=True) if is_in] for q in p] for p in chosen]


def test_votes_are_brought_to_one_choice() -> None:
    abc = ["a", "b", "c"]
    table = judgments(
        ("p", "agree", abc, ["b"]), ("p", "agree", abc[::-1], ["b"]),
        ("p", "differ", abc, ["a"]), ("p", "differ", abc[::-1], ["c"]),
        ("p", "majority", abc, ["a"]), ("p", "majority", abc, ["c"]), ("p", "majority", abc, ["c"]),
        ("p", "split", abc, ["a", "b"]), ("p", "split", abc, ["b"]),
        ("p", "tie", abc, ["a", "b", "c"]),
        ("x", "agree", abc, ["a"]),
    )  # fmt: skip
    queries = ["agree", "differ", "majority", "split", "tie", "never asked"]
    chosen, known = choices_from_judgments(table, ["p", "x", "p"], queries, abc)
    wanted = [["b"], ["a", "c"], ["c"], ["b"], ["a", "b", "c"], []]
    assert listed(chosen, abc) == [wanted, [["a"], [], [], [], [], []], wanted]
    assert known.tolist() == [[True] * 5 + [False], [True] + [False] * 5, [True] * 5 + [False]]
    # Another order of ids is the same choice.
    turned, _ = choices_from_judgments(table, ["p"], queries[::-1], ["c", "b", "a"])
    assert (turned[0, ::-1, ::-1] == chosen[0]).all()


def test_unparsed_judgments_have_no_vote() -> None:
    table = pa.concat_tables(
        [
            judgments(("p", "q0", ["a", "b"], ["a"])),
            judgments(("p", "q0", ["b", "a"], []), ("p", "q1", ["a", "b"], []), status="unparsed"),
            judgments(("p", "q0", ["b", "a"], []), status="refused"),
        ]
    )
    chosen, known = choices_from_judgments(table, ["p"], ["q0", "q1"], ["a", "b"])
    assert listed(chosen, ["a", "b"]) == [[["a"], []]]
    assert known.tolist() == [[True, False]]


def test_pairs_count_by_the_share_of_duels_won() -> None:
    table = judgments(
        ("p", "q", ["a", "b"], ["a"]),
        ("p", "q", ["b", "c"], ["b"]),
        ("p", "q", ["c", "a"], ["a", "c"]),
        ("p", "q", ["a", "b"], ["b"]),
        mode="pairwise",
    )
    # a: 1 + ½ + 0 of 3; b: 0 + 1 + 1 of 3; c: 0 + ½ of 2; d was in no duel.
    chosen, known = choices_from_judgments(table, ["p"], ["q"], ["a", "b", "c", "d"])
    assert listed(chosen, ["a", "b", "c", "d"]) == [[["b"]]]
    assert known.all()


def test_the_only_usable_answer_is_the_choice_where_the_grid_says_so() -> None:
    table = judgments(("p", "q0", ["a", "b"], ["b"]))
    ok = np.array([[True, True], [True, False], [False, False], [True, True]])
    chosen, known = choices_from_judgments(
        table, ["p"], ["q0", "q1", "q2", "q3"], ["a", "b"], ok=ok
    )
    assert listed(chosen, ["a", "b"]) == [[["b"], ["a"], [], []]]
    assert known.tolist() == [[True, True, False, False]]


def test_modes_do_not_mix_and_foreign_llms_are_named() -> None:
    rows = ("p", "q", ["a", "b"], ["a"])
    mixed = pa.concat_tables([judgments(rows), judgments(rows, mode="pairwise")])
    with pytest.raises(UsageError, match="modes listwise and pairwise cannot be counted together"):
        choices_from_judgments(mixed, ["p"], ["q"], ["a", "b"])
    with pytest.raises(UsageError, match="speak of LLM 'b', which is not among the candidates"):
        choices_from_judgments(judgments(rows), ["p"], ["q"], ["a", "c"])


# Over HTTP, through the real engine


def test_a_judge_that_takes_what_stands_first_is_uniform_over_llms(tmp_path: Path) -> None:
    with judging(tmp_path, lambda body: '{"choice": [1]}') as bench:
        calls = calls_for(20, 10, (judge(url=bench.server.url),))
        summary, replies = bench.ask(calls)
        table = read_judgments(calls, replies)
        assert (summary.finished, summary.failed, len(bench.server.seen)) == (200, 0, 200)
        # Prompts are priced, and every judgment knows what it cost.
        assert sum(table["cost_usd"].to_pylist()) == pytest.approx(summary.spend_usd)

        again, replies = bench.ask(calls)
        assert (again.cached, again.attempts, len(bench.server.seen)) == (200, 0, 200)
        assert read_judgments(calls, replies).equals(table)

    rows = table.to_pylist()
    assert {row["shown"].index(row["chosen"][0]) for row in rows} == {0}
    chosen, known = choices_from_judgments(
        table, [f"p{n}" for n in range(20)], [f"q{n}" for n in range(10)], LLM_IDS
    )
    assert known.all() and (chosen.sum(axis=-1) == 1).all()
    wins = chosen.sum(axis=(0, 1))
    chi_square = ((wins - 40) ** 2 / 40).sum()
    assert chi_square < 18.47, f"uniform wins exceed it once in 1,000 seeds: {wins}"


def test_in_both_orders_the_same_judge_has_no_say(tmp_path: Path) -> None:
    with judging(tmp_path, lambda body: '{"choice": [1]}') as bench:
        calls = calls_for(2, 3, (judge(url=bench.server.url),), both_orders=True)
        table = read_judgments(calls, bench.ask(calls)[1])
    chosen, _ = choices_from_judgments(table, ["p0", "p1"], ["q0", "q1", "q2"], LLM_IDS)
    assert (chosen.sum(axis=-1) == 2).all(), "a tie of first and last"


def read_like_a_judge(body: dict[str, Any]) -> str:
    """Find the answer that mentions the persona's favourite, whatever its number."""
    favourite = body["messages"][0]["content"].removeprefix("You like ")
    shown = re.findall(r"^\[\[Answer (\d+) \w+\]\]\n(.*)\n", body["messages"][1]["content"], re.M)
    return f"I prefer Answer {next(n for n, text in shown if favourite in text)}."


@pytest.mark.parametrize("mode", ["listwise", "pairwise"])
def test_a_judge_that_reads_gets_its_choice_whatever_the_order(mode: Any, tmp_path: Path) -> None:
    asked = questions(4)
    fans = [
        replace(person, text=f"You like {llm_id}")
        for person, llm_id in zip(people(5), LLM_IDS, strict=True)
    ]

    def reply(body: dict[str, Any]) -> str:
        try:
            return read_like_a_judge(body)
        except StopIteration:  # a duel of two others
            return '{"choice": [1, 2]}'

    with judging(tmp_path, reply) as bench:
        options = DirectOptions(mode=mode, both_orders=True, repeats=2)
        url = bench.server.url
        calls = direct_requests(fans, asked, answers(asked), [judge(url=url)], options)
        table = read_judgments(calls, bench.ask(calls)[1])
    assert set(table["status"].to_pylist()) == {"ok"}
    chosen, known = choices_from_judgments(
        table, [p.persona_id for p in fans], [q.query_id for q in asked], LLM_IDS
    )
    assert known.all()
    assert (chosen == np.eye(5, dtype=bool)[:, None, :]).all()


def test_faults_and_nonsense_are_statuses_not_choices(tmp_path: Path) -> None:
    texts = ["Answer 1", "Answer 0", "All are fine.", "no idea", '{"choice": 9}', "2 reasons"]
    faults = [None] * len(texts) + ["refusal", "empty", "length", "wrong_model"]

    def number(body: dict[str, Any]) -> int:
        return int(re.findall(r"What is (\d)", body["messages"][1]["content"])[0])

    with judging(tmp_path, lambda body: (texts + ["Answer 1"] * 4)[number(body)]) as bench:
        bench.server.fault_for = lambda body: faults[number(body)]
        calls = calls_for(1, 10, (judge(url=bench.server.url),))
        table = read_judgments(calls, bench.ask(calls, max_error_rate=1.0)[1])
    assert Counter(table["status"].to_pylist()) == {
        "ok": 1, "unparsed": 5, "refused": 1, "empty": 1, "truncated": 1, "error": 1,
    }  # fmt: skip
    chosen, known = choices_from_judgments(table, ["p0"], [f"q{n}" for n in range(10)], LLM_IDS)
    assert (chosen.sum(), known.sum()) == (1, 1)


def test_a_cap_stops_cleanly_and_the_rest_is_no_choice(tmp_path: Path) -> None:
    with judging(tmp_path, lambda body: "1") as bench:
        calls = calls_for(2, 10, (judge(url=bench.server.url),))
        summary, replies = bench.ask(calls, max_cost=0.005)
        table = read_judgments(calls, replies)
        assert summary.stopped == "budget"
        assert 0 < summary.finished < 20
        counts = Counter(table["status"].to_pylist())
        assert counts == {"ok": summary.finished, "skipped_budget": summary.unfinished}
        summary, replies = bench.ask(calls)
        assert summary.stopped is None
        assert len(bench.server.seen) == 20, "nothing is asked twice"


# Estimates


def test_a_small_estimate_counts_every_call() -> None:
    calls = calls_for(2, 3, (judge(0), judge(1, output_price=None)))
    first, second = judge_estimate(calls)
    assert (first.calls, second.calls) == (6, 6)
    assert first.output_expected == 6 * 8
    assert first.usd_expected == pytest.approx((first.prompt_tokens + 2 * 48) / 1e6)
    assert second.usd_expected is None


def test_a_large_estimate_is_a_sample_scaled_up() -> None:
    calls = calls_for(50, 60, (judge(0), judge(1)))
    assert len(calls) == 6_000 > ESTIMATE_SAMPLE
    sampled = judge_estimate(calls)
    assert [part.calls for part in sampled] == [3_000, 3_000]
    from personaroute_bench.llms.estimate import estimate

    exact = estimate(requests_of(calls), None, lambda request: 8)
    for one, other in zip(sampled, exact, strict=True):
        assert one.prompt_tokens == pytest.approx(other.prompt_tokens, rel=0.02)
        assert one.usd_expected == pytest.approx(other.usd_expected, rel=0.02)
        assert one.output_high == pytest.approx(3_000 * 256, abs=1)


def test_settled_calls_cost_nothing_more() -> None:
    calls = calls_for(1, 4)
    settled = {request.key() for request in requests_of(calls)[:3]}
    (part,) = judge_estimate(calls, settled)
    assert (part.calls, part.settled) == (1, 3)
    assert judge_estimate(calls[:0]) == []
