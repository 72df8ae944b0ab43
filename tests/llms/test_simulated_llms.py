from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from statistics import mean
from typing import Any

import pytest

from personaroute_bench.llms.pool import load_pool
from personaroute_bench.llms.simulated import SimulatedLLMs, SimulatedWire, item_for
from personaroute_bench.llms.simulated_traits import DISCRIMINATION, FAMILIES, TRAITS
from personaroute_bench.llms.simulated_writing import Voice, write, wrong_numbers
from personaroute_bench.llms.types import LLM, ChatRequest
from personaroute_bench.scoring.registry import score
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.source import EmbeddedTasks
from personaroute_bench.tasks.types import Query
from personaroute_bench.tokens import count_message_tokens, count_tokens

REAL = re.compile(
    r"gpt|llama|claude|gemini|mistral|mixtral|qwen|openai|anthropic|google|meta\b|deepseek|gemma",
    re.IGNORECASE,
)
TASKSET = EmbeddedTasks().load(seed=1, queries_per_task=100)
LLMS = SimulatedLLMs.for_queries(TASKSET.queries, 1)


def read(raw: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(raw)
    return body


def ask(model: str, prompt: str, llms: SimulatedLLMs = LLMS, **more: Any) -> dict[str, Any]:
    reply = llms.complete(model, [("user", prompt)], **more)
    assert reply.http_status == 200
    return read(reply.body)


def text_of(body: dict[str, Any]) -> str:
    return body["choices"][0]["message"]["content"] or ""


@pytest.fixture(scope="module")
def replies() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (model, query.query_id): ask(model, query.prompt)
        for query in TASKSET.queries
        for model in TRAITS
    }


def mean_score(replies: dict[Any, Any], model: str, task_id: str) -> float:
    scores = [
        score(query.metric, text_of(body), query.ground_truth)
        for query in TASKSET.queries
        if query.task_id == task_id
        and (body := replies[model, query.query_id])["choices"][0]["finish_reason"] == "stop"
        and text_of(body)
    ]
    return mean(scores)


def test_pool_and_traits_name_the_same_ten_llms() -> None:
    pool = load_pool("simulated")
    assert [llm.id for llm in pool.llms] == [llm.model for llm in pool.llms] == list(TRAITS)
    assert len(pool.llms) == 10
    for llm in pool.llms:
        assert llm.provider == llm.price_source == "simulated"
        assert llm.description.startswith("Simulated.")
        assert not REAL.search(f"{llm.id} {llm.name} {llm.description} {llm.family}")
        assert llm.input_price is not None and llm.output_price is not None
        assert 0 < llm.input_price <= llm.output_price


def test_the_pool_over_http_differs_in_nothing_but_the_way() -> None:
    here, http = load_pool("simulated").llms, load_pool("simulated-http").llms
    url = "http://127.0.0.1:8000/v1"
    assert http == tuple(replace(llm, provider="openai", base_url=url) for llm in here)


def test_no_text_claims_to_be_a_real_llm(replies: dict[Any, dict[str, Any]]) -> None:
    for body in replies.values():
        assert not REAL.search(text_of(body)), text_of(body)
        assert body["system_fingerprint"] == "simulated"


def test_the_body_is_a_chat_completion_whose_usage_follows_the_text() -> None:
    query = TASKSET.queries[0]
    body = ask("sim/summit-pro", query.prompt)
    usage = body["usage"]
    assert body["object"] == "chat.completion"
    assert body["model"] == "sim/summit-pro"
    assert usage["completion_tokens"] == count_tokens(text_of(body)) > 0
    assert usage["prompt_tokens"] == count_message_tokens([("user", query.prompt)])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_same_request_same_reply_and_other_seed_sample_or_temperature_another() -> None:
    prompts = [query.prompt for query in TASKSET.queries[::10]]
    again = SimulatedLLMs.for_queries(TASKSET.queries, 1)
    other = SimulatedLLMs(again._items, 2)

    def texts(llms: SimulatedLLMs, **more: Any) -> list[str]:
        return [text_of(ask("sim/marble-70b", prompt, llms, **more)) for prompt in prompts]

    first = texts(LLMS)
    assert first == texts(again) == texts(again, temperature=None)
    assert LLMS.complete("sim/marble-70b", [("user", prompts[0])]) == again.complete(
        "sim/marble-70b", [("user", prompts[0])]
    )
    for changed in (
        texts(other),
        texts(LLMS, sample=1),
        texts(LLMS, sample=2),
        texts(LLMS, temperature=0.7),
    ):
        assert sum(a != b for a, b in zip(first, changed, strict=True)) > len(first) / 2


def test_a_reply_does_not_depend_on_which_other_queries_are_known() -> None:
    few = SimulatedLLMs.for_queries(TASKSET.queries[:3], 1)
    prompt = TASKSET.queries[2].prompt
    assert ask("sim/ember-8b", prompt, few) == ask("sim/ember-8b", prompt)


def test_scores_follow_the_abilities(replies: dict[Any, Any]) -> None:
    maths, reading = "math_word_problems", "passage_qa"
    assert mean_score(replies, "sim/cobalt-9b", maths) > mean_score(
        replies, "sim/tarn-moe-47b", maths
    )
    for task_id in FAMILIES:
        assert mean_score(replies, "sim/summit-pro", task_id) > mean_score(
            replies, "sim/ember-8b", task_id
        )
    assert mean_score(replies, "sim/quill-medium", "multi_doc_summary") > mean_score(
        replies, "sim/marble-70b", "multi_doc_summary"
    )
    assert mean_score(replies, "sim/reed-12b", reading) > mean_score(
        replies, "sim/cobalt-9b", reading
    )
    assert 0.85 < mean_score(replies, "sim/basalt-ultra", maths) <= 1.0


def test_the_item_response_model_gives_the_chance_it_states() -> None:
    # sigma(1.3 * (ability - difficulty)) by hand, against 1,500 draws.
    item = EmbeddedTasks().items(1, "math_word_problems", 1)[0]
    traits = TRAITS["sim/ember-8b"]
    ability = traits.ability("sim/ember-8b", "math_word_problems", item.kind)
    expected = 1 / (1 + 2.718281828 ** (-DISCRIMINATION * (ability - item.difficulty)))
    hits = mean(
        Voice("sim/ember-8b", traits, Draws(number, "irt")).knows(item) for number in range(1500)
    )
    assert abs(hits - expected) < 0.04


def test_right_calculations_are_right_and_wrong_ones_plausible() -> None:
    seen = {True: 0, False: 0}
    for item in EmbeddedTasks().items(1, "math_word_problems", 100):
        voice = Voice("sim/tarn-moe-47b", TRAITS["sim/tarn-moe-47b"], Draws(1, item.query.query))
        text = write(item, voice)
        right = score("GSM8K", text, item.query.ground_truth) == 1.0
        seen[right] += 1
        if right:
            assert item.answer in text
        else:
            assert re.search(r"\d", text)
    assert seen[True] > 30
    assert seen[False] > 15


def test_lengths_and_styles_differ(replies: dict[Any, Any]) -> None:
    def style(model: str, pattern: str) -> float:
        texts = [text_of(body) for (name, _), body in replies.items() if name == model]
        return mean(bool(re.search(pattern, text)) for text in texts)

    words = {
        model: mean(len(text_of(b).split()) for (name, _), b in replies.items() if name == model)
        for model in TRAITS
    }
    assert words["sim/ember-8b"] > 2.5 * words["sim/reed-12b"]
    assert words["sim/thimble-mini"] > words["sim/summit-pro"] > words["sim/quill-medium"]
    assert style("sim/ember-8b", "!") > 0.5
    assert style("sim/lantern-72b", "!") < 0.02
    assert style("sim/cobalt-9b", r"\\\(") > 0.15
    assert style("sim/reed-12b", r"\\\(") == 0.0
    assert style("sim/thimble-mini", r"(?m)^## ") > 0.04 > style("sim/basalt-ultra", r"(?m)^## ")
    assert style("sim/tarn-moe-47b", r", (as far as|though I may|it seems)") > 0.2
    assert style("sim/ember-8b", "[\U0001f300-\U0001faff✨]") > 0.1
    # One LLM does not always write alike.
    assert 0.1 < style("sim/lantern-72b", r"(?m)^1\. ") < 0.9


def test_statuses_occur_and_are_said_in_the_body() -> None:
    prompts = [query.prompt for query in TASKSET.queries]
    kinds = {"refused": 0, "empty": 0, "length": 0}
    for sample in range(4):
        for prompt in prompts:
            quill = ask("sim/quill-medium", prompt, sample=sample)["choices"][0]
            kinds["refused"] += quill["message"]["refusal"] is not None
            if quill["message"]["refusal"]:
                assert quill["message"]["content"] is None
            reed = ask("sim/reed-12b", prompt, sample=sample)
            if text_of(reed) == "":
                kinds["empty"] += 1
                assert reed["usage"]["completion_tokens"] == 0
            ember = ask("sim/ember-8b", prompt, sample=sample)
            if ember["choices"][0]["finish_reason"] == "length":
                kinds["length"] += 1
                assert 1000 < ember["usage"]["completion_tokens"] <= 1024
    assert all(1 <= count <= 60 for count in kinds.values()), kinds


def test_max_tokens_cuts_the_text() -> None:
    prompt = TASKSET.queries[5].prompt
    whole = text_of(ask("sim/thimble-mini", prompt))
    body = ask("sim/thimble-mini", prompt, max_tokens=7)
    assert body["choices"][0]["finish_reason"] == "length"
    assert whole.startswith(text_of(body))
    assert body["usage"]["completion_tokens"] == 7


def query_of(truth: str | None, metric: str, query_id: str, prompt: str = "") -> Query:
    text = f"Question {query_id}: which of the wooden boats sank first in the great storm?"
    return Query(query_id, "own", text, prompt or text, truth, metric)


@pytest.mark.parametrize(
    ("truth", "metric"),
    [("B", "em_mc"), ("42", "num_em"), ("a #### 17", "GSM8K"), ("the red boat", "f1_score")],
)
def test_other_queries_are_answered_from_their_ground_truth(truth: str, metric: str) -> None:
    queries = [query_of(truth, metric, f"q{number}") for number in range(60)]
    llms = SimulatedLLMs.for_queries(queries, 0)
    scores = [
        score(metric, text_of(ask("sim/summit-pro", query.prompt, llms)), truth)
        for query in queries
    ]
    assert 0.5 < mean(scores) <= 1.0
    assert min(scores) < max(scores)


def test_a_json_answer_is_given_where_the_prompt_asks_for_one() -> None:
    prompt = 'Reply in JSON with the fields "reasoning" and "answer". Which letter?'
    query = query_of("C", "em", "q1", prompt)
    answer = json.loads(
        text_of(ask("sim/lantern-72b", prompt, SimulatedLLMs.for_queries([query], 0)))
    )
    assert set(answer) == {"reasoning", "answer"}


def test_an_embedded_id_with_another_text_is_not_taken_for_the_embedded_item() -> None:
    query = query_of("yes", "f1_score", "passage_qa-00000")
    assert item_for(query, 1).answer == "yes"
    embedded = EmbeddedTasks().items(1, "passage_qa", 1)[0]
    assert item_for(embedded.query, 1) == embedded


@pytest.mark.parametrize("prompt", ["", "?", "Tell me more {topic} {0} %s", "\ud800 x", "木" * 50])
def test_any_prompt_is_answered_and_the_answer_says_that_it_is_simulated(prompt: str) -> None:
    body = ask("sim/quill-medium", prompt, SimulatedLLMs({}))
    assert "simulated" in text_of(body) or body["choices"][0]["message"]["refusal"]


def test_wrong_numbers_are_never_the_right_one() -> None:
    assert wrong_numbers("no digits") == ()
    assert wrong_numbers("12 km") == ("11 km", "13 km", "22 km", "25 km")
    assert "0" not in wrong_numbers("0")


def test_wire_sends_what_the_llms_write_and_knows_its_models() -> None:
    query = TASKSET.queries[3]
    wire = SimulatedWire.for_queries(TASKSET.queries, 1)
    llm = LLM(id="mine", name="Mine", model="sim/ember-8b", provider="simulated")
    request = ChatRequest(llm, (("user", query.prompt),), max_tokens=1024)
    raw = asyncio.run(wire.send(request, 1.0))
    assert read(raw.body) == ask("sim/ember-8b", query.prompt)
    assert 0.1 < raw.latency_s < 60
    unknown = ChatRequest(
        LLM(id="x", name="x", model="sim/none", provider="simulated"), (("user", "?"),), 10
    )
    raw = asyncio.run(wire.send(unknown, 1.0))
    assert raw.http_status == 404
    assert read(raw.body)["error"]["code"] == "model_not_found"
    asyncio.run(wire.close())
