from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.scoring.registry import score
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import Step, equation, worked
from personaroute_bench.tasks.embedded.source import TASKS, EmbeddedTasks, content_digest, find_item
from personaroute_bench.tasks.embedded.words import (
    FIRST_NAMES,
    SURNAMES,
    counted,
    lead_person,
    listing,
    with_article,
)

TASK_IDS = [task.task_id for task in TASKS]
SOURCE = EmbeddedTasks()


def test_default_is_sixty_queries_a_task_sorted_with_ids() -> None:
    loaded = SOURCE.load(seed=0)
    assert Counter(query.task_id for query in loaded.queries) == dict.fromkeys(TASK_IDS, 60)
    keys = [(query.task_id, query.query_id) for query in loaded.queries]
    assert keys == sorted(keys)
    assert keys[60][1] == "math_word_problems-00000"
    assert {task.metric for task in loaded.tasks} == {"f1_score", "GSM8K"}


def test_queries_of_a_seed_never_change() -> None:
    # A change of this digest changes every published data set: raise VERSION with it.
    assert content_digest(0, 40) == DIGEST


DIGEST = "9878f8048b6cca24db1c3c1175611ed3a8efa7b87f14289feebb4ddcdf9d0fe2"


def test_more_queries_keep_the_earlier_ones_and_tasks_do_not_matter_to_each_other() -> None:
    few = {query.query_id: query for query in SOURCE.load(seed=4, queries_per_task=10).queries}
    many = {query.query_id: query for query in SOURCE.load(seed=4, queries_per_task=90).queries}
    assert few.items() <= many.items()
    alone = SOURCE.load(seed=4, queries_per_task=10, task_ids=["passage_qa"])
    assert all(few[query.query_id] == query for query in alone.queries)
    assert [task.task_id for task in alone.tasks] == ["passage_qa"]


def test_another_seed_gives_other_queries() -> None:
    one = {query.query for query in SOURCE.load(seed=1).queries}
    two = {query.query for query in SOURCE.load(seed=2).queries}
    assert not one & two


@pytest.mark.parametrize("task_id", TASK_IDS)
@pytest.mark.parametrize("seed", [0, 7])
def test_no_query_twice_within_a_thousand(task_id: str, seed: int) -> None:
    items = SOURCE.items(seed, task_id, 1000)
    assert len({item.query.query.casefold() for item in items}) == 1000
    assert len({item.query.prompt for item in items}) == 1000


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_no_slot_is_left_open_and_the_layout_is_clean(task_id: str) -> None:
    for item in SOURCE.items(3, task_id, 300):
        query = item.query
        for text in (query.query, *(point.text for point in item.points)):
            assert not re.search(r"\{\w*\}", text), text
            assert "  " not in text.removeprefix("  "), text
            assert not re.search(r"\ba [aeio]\w|\ban [^aeiouhAEIOUH\W]", text), text
            assert not re.search(r"\b1 (days|hours|people|sentences|ideas)\b", text), text
        assert query.ground_truth
        assert query.prompt.startswith(query.query)


@pytest.mark.parametrize("task_id", TASK_IDS)
def test_the_ground_truth_itself_scores_one(task_id: str) -> None:
    for item in SOURCE.items(5, task_id, 120):
        truth = item.query.ground_truth or ""
        assert score(item.query.metric, truth, truth) == 1.0


_EQUATION = re.compile(r"(\d+) ([+−×÷]) (\d+) = (\d+)")
_CONSTANTS = {2, 100}


def test_worked_solutions_are_right_and_use_the_numbers_of_the_story() -> None:
    for item in SOURCE.items(11, "math_word_problems", 600):
        truth = item.query.ground_truth or ""
        known = {int(number) for number in re.findall(r"\d+", item.query.query)} | _CONSTANTS
        found = _EQUATION.findall(truth)
        assert len(found) == len(item.steps) >= 2
        for left, sign, right, result in found:
            a, b = Fraction(left), Fraction(right)
            value = {"+": a + b, "−": a - b, "×": a * b, "÷": a / b}[sign]
            assert value == int(result), truth
            assert {int(left), int(right)} <= known, truth
            known.add(int(result))
        assert truth.endswith(f"\n#### {found[-1][3]}")
        assert int(found[-1][3]) > 0


def test_hand_computed_steps_and_slip() -> None:
    steps = [Step("{eq}", 6, "*", 12), Step("{eq}", "#0", "-", 8), Step("{eq}", "#1", "*", 3)]
    assert worked(steps) == [72, 64, 192]
    assert worked(steps, 0, 10) == [82, 74, 222]
    assert equation(steps[1], [72, 64, 192], 1) == "72 − 8 = 64"
    with pytest.raises(ValueError, match="no multiple"):
        worked([Step("x", 7, "/", 2)])


def test_answers_are_spans_of_the_passage_and_traps_are_wrong() -> None:
    several = 0
    for item in SOURCE.items(2, "passage_qa", 300):
        passage = item.query.query.split("\n\nQuestion:")[0]
        told = passage.casefold()
        assert item.answer.casefold() in told
        assert item.wrong_answers
        assert item.answer not in item.wrong_answers
        assert all(wrong.casefold() in told for wrong in item.wrong_answers)
        several += passage.count("\n\n") > 0
    assert 100 < several < 280


def test_summaries_rest_on_facts_that_the_reports_tell() -> None:
    for item in SOURCE.items(2, "multi_doc_summary", 100):
        reports = item.query.query.split("\n\n")[1:]
        assert 2 <= len(reports) <= 5
        for point in item.points:
            facts = re.findall(rf"\d+|(?:{'|'.join(FIRST_NAMES)}) [A-Z]\w+", point.text)
            assert all(fact in item.query.query for fact in facts), point.text


def test_extraction_references_are_json_whose_values_stand_in_the_note() -> None:
    items = SOURCE.items(2, "instruction_following", 280)
    chosen = [item for item in items if item.kind == "extract_json"]
    assert len(chosen) == 20  # each of the fourteen kinds once in fourteen
    for item in chosen:
        values = json.loads(item.query.ground_truth or "")
        assert 3 <= len(values) <= 6
        assert all(value in item.query.query for value in values.values())


def test_kinds_take_turns() -> None:
    kinds = [item.kind for item in SOURCE.items(9, "instruction_following", 28)]
    assert len(set(kinds[:14])) == len(set(kinds[14:])) == 14
    assert kinds[:14] != kinds[14:]
    assert len({item.kind for item in SOURCE.items(9, "math_word_problems", 26)}) == 26


def test_find_item_by_id() -> None:
    item = SOURCE.items(3, "passage_qa", 8)[7]
    assert find_item(3, "passage_qa-00007") == item
    assert find_item(4, "passage_qa-00007") != item
    assert find_item(3, "gsm8k-00007") is None
    assert find_item(3, "passage_qa-7") is None


@pytest.mark.parametrize("count", [0, -3, 100_001])
def test_number_of_queries_is_checked(count: int) -> None:
    with pytest.raises(UsageError, match=r"--queries-per-task"):
        SOURCE.load(seed=0, queries_per_task=count)


def test_unknown_task_is_named_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"'passage_q'.*did you mean 'passage_qa'"):
        SOURCE.load(seed=0, task_ids=["passage_q"])
    with pytest.raises(UsageError, match="no task is chosen"):
        SOURCE.load(seed=0, task_ids=[])


@given(st.integers(0, 2**40), st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_draws_depend_on_seed_and_key_only(seed: int, key: str) -> None:
    one, two = Draws(seed, key), Draws(seed, key)
    numbers = [one.uniform() for _ in range(20)]
    assert numbers == [two.uniform() for _ in range(20)]
    assert all(0.0 <= number < 1.0 for number in numbers)
    assert Draws(seed, key, 1).uniform() != numbers[0]
    assert sorted(Draws(seed, key).shuffled(range(9))) == list(range(9))


def test_draws_are_spread_evenly() -> None:
    draws = Draws(0, "even")
    counts = Counter(draws.integer(1, 6) for _ in range(6000))
    assert set(counts) == set(range(1, 7))
    assert all(870 < count < 1130 for count in counts.values())
    normals = [draws.normal() for _ in range(4000)]
    assert abs(sum(normals) / 4000) < 0.06
    assert 0.93 < sum(value * value for value in normals) / 4000 < 1.07


def test_words() -> None:
    assert len(set(FIRST_NAMES)) == len(set(SURNAMES)) == 64
    assert len({lead_person(5, "x", index).name for index in range(4096)}) == 4096
    assert (with_article("hour"), with_article("user"), with_article("ivory box")) == (
        "an hour",
        "a user",
        "an ivory box",
    )
    assert (counted(1, "box"), counted(3, "box", "boxes")) == ("1 box", "3 boxes")
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
