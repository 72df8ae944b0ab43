"""The whole report: simulated judges with a known fault, and choices whose figures are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.judging.choice import choose, gumbel_noise, persona_utility, style_utility
from personaroute_bench.judging.choice_figures import choice_figures
from personaroute_bench.judging.report import CallCounts, judge_report
from personaroute_bench.judging.verdicts import Verdicts
from personaroute_bench.schemas import JUDGMENTS

LLMS = ["acme/a", "acme/b", "other/c", "other/d"]
FAMILIES = {"acme/a": "Acme", "acme/b": "Acme", "other/c": "Other", "other/d": "Other"}
QUERIES = [f"q{i}" for i in range(30)]
PERSONAS = [f"u{i}" for i in range(10)]
Pick = Callable[[str, str, list[str]], list[str]]


def asking(**changes: Any) -> dict[str, Any]:
    row = {
        "persona_id": "u0",
        "query_id": "q0",
        "judge": "acme/judge",
        "prompt_hash": "0123456789ab",
        "mode": "listwise",
        "order_id": 0,
        "repeat": 0,
        "pair": 0,
        "shown": LLMS,
        "chosen": LLMS[:1],
        "status": "ok",
        "reply": "1",
        "cost_usd": 0.01,
    }
    return {**row, **changes}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=JUDGMENTS)


def judged(
    pick: Pick, *, judge: str = "acme/judge", repeats: int = 1, both: bool = False, seed: int = 0
) -> list[dict[str, Any]]:
    """Ask a simulated judge about every persona and query, in an order shuffled each time."""
    rng = np.random.default_rng(seed)
    rows = []
    for persona in PERSONAS:
        for query in QUERIES:
            for repeat in range(repeats):
                shown = rng.permutation(LLMS).tolist()
                for order in range(1 + both):
                    chosen = pick(persona, query, shown)
                    rows.append(
                        asking(
                            persona_id=persona,
                            query_id=query,
                            judge=judge,
                            order_id=order,
                            repeat=repeat,
                            shown=shown,
                            chosen=chosen,
                            status="ok" if chosen else "unparsed",
                        )
                    )
                    shown = shown[::-1]
    return rows


def choices_of(rows: list[dict[str, Any]]) -> np.ndarray:
    """[U, Q, M] of the first asking in the first order."""
    chosen = np.zeros((len(PERSONAS), len(QUERIES), len(LLMS)), dtype=bool)
    for row in rows:
        if row["order_id"] == row["repeat"] == 0:
            cell = chosen[PERSONAS.index(row["persona_id"]), QUERIES.index(row["query_id"])]
            cell[[LLMS.index(llm) for llm in row["chosen"]]] = True
    return chosen


def report(rows: list[dict[str, Any]], **options: Any) -> Any:
    ok = np.ones((len(QUERIES), len(LLMS)), dtype=bool)
    return judge_report(
        "direct",
        choices_of(rows),
        ok,
        QUERIES,
        LLMS,
        judgments=table(rows),
        families=FAMILIES,
        draws=100,
        **options,
    )


def test_a_judge_that_names_the_first_answer_is_found_out() -> None:
    rows = judged(lambda _persona, _query, shown: shown[:1], repeats=2, both=True)
    result = report(rows)
    (judge,) = result.judges
    assert judge.position.matters and judge.position.shares == (1.0, 0.0, 0.0, 0.0)
    assert judge.position.choices == 600  # the shuffled orders, not their reverses
    assert judge.orders.pairs == 600 and judge.orders.same == 0.0 and judge.orders.same_place == 1.0
    assert judge.retest.low < 0.05  # the orders differ, and so do the choices
    shares = list(result.choices.win_shares.values())
    assert max(abs(share - 1 / 4) for share in shares) < 0.09  # uniform over LLMs
    assert any("the order shown matters" in line for line in result.lines())


def test_a_judge_that_reads_is_not_accused() -> None:
    def best(persona: str, query: str, shown: list[str]) -> list[str]:
        return [LLMS[(int(persona[1:]) * 7 + int(query[1:])) % 4]]

    (judge,) = report(judged(best, repeats=3, both=True)).judges
    assert not judge.position.matters and judge.position.p_value > 0.01
    assert judge.orders.same == 1.0 and judge.orders.same_place == 0.0
    assert judge.retest.method == "Fleiss" and judge.retest.items == 600
    assert judge.retest.kappa == 1.0


def test_unparsed_replies_are_counted_and_chosen_by_nobody() -> None:
    def sometimes(persona: str, query: str, shown: list[str]) -> list[str]:
        return [] if persona == "u3" else ["acme/a"]

    rows = judged(sometimes)
    rows[0]["cost_usd"] = None
    result = report(rows)
    assert result.calls.statuses == {"ok": 270, "unparsed": 30}
    assert result.calls.unknown_cost == 1 and result.calls.cost_usd == pytest.approx(2.99)
    assert (result.choices.chosen, result.choices.pairs) == (270, 300)
    assert result.judges[0].position.choices == 270
    lines = result.lines()
    assert (
        "acme/judge: 300 calls, 270 ok, 30 unparsed (10.0 %); 2.9900 USD and the unknown cost "
        "of 1 calls" in lines
    )
    assert any("a choice for 270 of 300 (persona, query) pairs (90.0 %)" in line for line in lines)
    nothing = CallCounts.count(["error"], np.array([np.nan]))
    assert nothing.cost_usd is None and nothing.sentence().endswith("; cost unknown")


def test_own_family_against_other_judges() -> None:
    def acme(_persona: str, query: str, _shown: list[str]) -> list[str]:
        return ["acme/a" if int(query[1:]) % 10 < 8 else "other/c"]

    def other(_persona: str, query: str, _shown: list[str]) -> list[str]:
        return ["acme/a" if int(query[1:]) % 10 < 3 else "other/c"]

    rows = judged(acme) + judged(other, judge="third/judge")
    result = report(rows, judge_families={"acme/judge": "acme", "third/judge": "Third"})
    first, second = result.judges
    assert (first.name, second.name) == ("acme/judge", "third/judge")
    family = first.own_family
    assert (family.family, family.basis, family.choices) == ("acme", "other judges", 300)
    assert (family.share, family.expected) == (pytest.approx(0.8), pytest.approx(0.3))
    assert family.low > 0.25 and family.high < 0.75
    assert second.own_family is None  # no candidate is of its family
    (pair,) = result.between
    assert pair.agreement.observed == pytest.approx(0.5) and pair.agreement.items == 300
    assert result.all_judges is None
    assert any(
        line.startswith("acme/judge and third/judge agree on 50.0 %") for line in result.lines()
    )
    # Alone, it is compared with the share of its family's answers.
    (alone,) = report(judged(acme), judge_families={"acme/judge": "acme"}).judges
    assert alone.own_family.basis == "frequency" and alone.own_family.expected == 0.5
    unknown = report(judged(acme))
    assert unknown.judges[0].own_family is None and "own family" in unknown.not_measured


def test_prompts_and_modes_are_judges_of_their_own() -> None:
    rows = [
        asking(),
        asking(prompt_hash="ffff00001111"),
        asking(mode="pairwise", shown=LLMS[:2], pair=0),
        asking(mode="pairwise", shown=LLMS[2:], chosen=["other/c"], pair=1),
    ]
    verdicts = Verdicts.read(table(rows), QUERIES, LLMS)
    assert verdicts.judges == (
        "acme/judge prompt 01234567 listwise",
        "acme/judge prompt 01234567 pairwise",
        "acme/judge prompt ffff0000 listwise",
    )
    assert verdicts.judge_llms == ("acme/judge",) * 3
    together = verdicts.match("judge", np.ones(4, dtype=bool))
    # What was asked about other answers is not compared.
    assert together.choices.any(axis=2).tolist() == [[True, False, True]]
    result = report(rows)
    assert [pair.agreement.items for pair in result.between] == [0, 1, 0]
    assert result.all_judges.items == 1
    assert sum(" agree on " in line for line in result.lines()) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([asking(), asking(shown=["acme/a", "acme/a"])], "row 1 .* shows one LLM twice"),
        ([asking(shown=LLMS[1:])], "row 0 .* chooses an LLM that it does not show"),
        ([asking(chosen=[])], "row 0 .* has status ok but no choice"),
        ([asking(status="unparsed")], "has a choice although its status is not ok"),
        ([asking(), asking(reply="again")], "hold one key .* twice"),
    ],
)
def test_contradictions_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Verdicts.read(table(rows), QUERIES, LLMS)


def test_unknown_ids_and_missing_columns_are_refused() -> None:
    with pytest.raises(BenchError, match=r"judgments\.shown names 'acme/z'"):
        Verdicts.read(table([asking(shown=["acme/a", "acme/z"])]), QUERIES, LLMS)
    with pytest.raises(BenchError, match=r"judgments\.query_id names 'q99'"):
        Verdicts.read(table([asking(query_id="q99")]), QUERIES, LLMS)
    with pytest.raises(UsageError, match="no column 'shown'"):
        Verdicts.read(table([asking()]).drop_columns(["shown"]), QUERIES, LLMS)


def test_a_table_in_parts_is_read_as_one() -> None:
    rows = judged(lambda _persona, _query, shown: [max(shown)])
    parts = pa.concat_tables([table(rows[250:]), table(rows[:7]), table([]), table(rows[7:250])])
    whole = Verdicts.read(table(rows[250:] + rows[:250]), QUERIES, LLMS)
    read = Verdicts.read(parts, QUERIES, LLMS)
    for name in ("persona", "query", "places", "chosen", "status", "cost_usd"):
        np.testing.assert_array_equal(getattr(read, name), getattr(whole, name))
    assert read.places[0, LLMS.index(rows[250]["shown"][2])] == 2


def test_an_empty_table_gives_an_empty_report() -> None:
    result = report([])
    assert result.judges == () and result.choices.chosen == 0
    json.dumps(result.as_json(), allow_nan=False)
    assert len(result.lines()) > 1


def test_choice_figures_by_hand() -> None:
    # Two users, four queries of which the first two train; the third LLM failed on query 3.
    chosen = np.array(
        [
            [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]],
            [[0, 1, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]],
        ],
        dtype=bool,
    )
    ok = np.ones((4, 3), dtype=bool)
    ok[3, 2] = False
    train = np.array([1, 1, 0, 0], dtype=bool)
    result = choice_figures(chosen, ok, ["a", "b", "c"], train)
    assert (result.users, result.queries, result.pairs, result.chosen) == (2, 4, 8, 7)
    assert result.ties == 1
    assert result.win_shares == pytest.approx({"a": 3.5 / 7, "b": 3.5 / 7, "c": 0})
    # a takes 3 of the first user's 4 choices, b 2.5 of the second's 3.
    assert result.dominated == 1.0 and result.dominated_by == {"a": 1, "b": 1}
    assert result.held_out == 3 and result.best_single_llm == "a"
    assert result.best_single == pytest.approx((1 + 0 + 0.5) / 3)
    assert result.best_per_user == pytest.approx((1 + 0 + 0.5) / 3)
    assert result.user_blind_oracle == pytest.approx((1.5 + 1) / 3)
    assert result.oracle == pytest.approx((1 + 1 + 0.5) / 3)
    assert result.random == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)


def test_the_reason_is_given_where_one_llm_takes_nearly_everything() -> None:
    chosen = np.zeros((20, 10, 3), dtype=bool)
    chosen[:, :, 0] = True
    chosen[:5, :, 0], chosen[:5, :, 2] = False, True
    ok = np.ones((10, 3), dtype=bool)
    ratings = np.full((10, 3, 12), 0.5, dtype=np.float32)
    ratings[:, 0, 0], ratings[:, 0, 7] = 0.8, 0.3
    performance = np.tile(np.float32([0.9, 0.5, 0.4]), (10, 1))
    result = choice_figures(chosen, ok, ["a", "b", "c"], None, ratings, performance)
    assert result.dominated == 1.0 and result.dominated_by == {"a": 15, "c": 5}
    assert result.reason is not None
    for part in (
        "a is the one for 15 of 20",
        "75.0 % of all",
        "0.90, 0.60 on average",
        "+0.30 in length, -0.20 in humour",
    ):
        assert part in result.reason
    assert any(line.startswith("why one LLM wins so often: a is") for line in result.lines())
    blind = choice_figures(chosen, ok, ["a", "b", "c"])
    assert blind.reason is not None and blind.reason.endswith("or none were given")
    few = np.zeros((20, 10, 3), dtype=bool)
    few[:, np.arange(10), np.arange(10) % 3] = True
    few[:2] = chosen[:2]  # a tenth of the users is not more than a tenth
    tenth = choice_figures(few, ok, ["a", "b", "c"])
    assert tenth.dominated == 0.1 and tenth.reason is None


def embedded() -> tuple[dict[str, Any], dict[str, Any]]:
    """Choices of the embedded judge: four kinds of taste over made-up ratings."""
    rng = np.random.default_rng(0)
    users, ok = 40, rng.random((len(QUERIES), len(LLMS))) < 0.95
    ratings = rng.uniform(0, 1, (*ok.shape, 12)).astype(np.float32)
    ratings[~ok] = np.nan
    performance = rng.uniform(0, 1, ok.shape).astype(np.float32)
    taste = np.eye(12)[np.arange(users) % 4]
    style = style_utility(ratings, taste)
    weight = np.full(users, 0.2)

    def asked(repeat: int) -> np.ndarray:
        noise = gumbel_noise(0, np.arange(users), QUERIES, LLMS, 0.1, repeat)
        return choose(persona_utility(performance, style, weight, ok, noise))

    arrays = {"chosen": asked(0), "ok": ok, "query_ids": QUERIES, "llm_ids": LLMS}
    extra = {
        "again": asked(1),
        "ratings": ratings,
        "performance": performance,
        "lengths": rng.uniform(50, 500, ok.shape),
        "labels": [f"kind {number % 4}" for number in range(users)],
    }
    return arrays, extra


def test_the_embedded_judge_gets_what_applies() -> None:
    arrays, extra = embedded()
    result = judge_report("embedded", **arrays, **extra, draws=100)
    assert result.judges == () and result.calls is None
    assert "nothing is shown in an order" in result.not_measured["position"]
    pairs = 40 * int(arrays["ok"].any(axis=1).sum())
    assert result.retest.items == pairs and 0.5 < result.retest.kappa < 0.99
    assert result.length.choices == pairs and result.length.low < 0.5 < result.length.high
    assert result.separability.above_chance and result.separability.labels == 4
    assert result.choices.best_per_user > result.choices.best_single
    assert result.choices.oracle > result.choices.user_blind_oracle > result.choices.random
    assert result.rated == 1.0
    text = "\n".join(result.lines())
    assert "no LLM judged" in text and "position: not applicable" in text
    value = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert value["separability"]["above_chance"] is True
    assert value["choices"]["win_shares"].keys() == set(LLMS)
    assert judge_report("embedded", **arrays, **extra, draws=100) == result  # same seed, same rows


def test_the_audit_of_a_rubric() -> None:
    arrays, extra = embedded()
    audited = np.zeros_like(arrays["chosen"])
    audited[:4, :20] = arrays["chosen"][:4, :20]
    audited[0, :20] = np.roll(audited[0, :20], 1, axis=1)
    spent = CallCounts.count(["ok", "unparsed"], np.array([0.5, 0.25]))
    result = judge_report(
        "rubric", **arrays, **extra, audited=audited, rating_calls=spent, draws=100
    )
    assert result.audited.agreement.items == int(audited.any(axis=-1).sum())
    assert result.audited.agreement.observed == pytest.approx(0.75, abs=0.01)
    assert result.audited.other_persona < 0.6
    assert result.audited.agreement.low < result.audited.agreement.kappa
    assert "calls: 2 calls, 1 ok, 1 unparsed (50.0 %); 0.7500 USD" in result.lines()
    assert "ratings keep no record" in result.not_measured["position"]


def test_what_was_not_given_is_said_to_be_missing() -> None:
    arrays, extra = embedded()
    bare = judge_report("direct", **arrays, draws=10)
    assert bare.not_measured.keys() == {
        "position, orders, repeats",
        "length",
        "separability of personas",
    }
    silent = arrays["chosen"].copy()
    silent[5] = False
    result = judge_report(
        "rubric",
        **{**arrays, "chosen": silent},
        ratings=extra["ratings"],
        labels=extra["labels"],
        draws=10,
    )
    assert "user 5 has no choice" in result.not_measured["separability of personas"]
    with pytest.raises(UsageError, match=r"lengths has the shape \(30, 3\)"):
        judge_report("embedded", **arrays, lengths=np.ones((30, 3)))
    with pytest.raises(UsageError, match="again has the shape"):
        judge_report("embedded", **arrays, again=arrays["chosen"][:3])


def test_length_of_a_direct_judge_counts_what_it_was_shown() -> None:
    def longest(_persona: str, _query: str, shown: list[str]) -> list[str]:
        return [max(shown)]

    lengths = np.tile([10.0, 20.0, 40.0, 80.0], (len(QUERIES), 1))
    (judge,) = report(judged(longest), lengths=lengths).judges
    assert judge.length.longer == 1.0 and judge.length.choices == 300
    pairs = [
        asking(query_id=query, mode="pairwise", pair=pair, shown=shown, chosen=[max(shown)])
        for query in QUERIES[:5]
        for pair, shown in enumerate((["acme/a", "acme/b"], ["other/d", "other/c"]))
    ]
    (judge,) = report(pairs, lengths=lengths).judges
    assert judge.length.longer == 1.0 and judge.length.choices == 10
