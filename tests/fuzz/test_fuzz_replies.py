"""What LLMs and their servers send back: read without fail, and never as more than it says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from outcome import attempt, fuzzed
from shapes import ODD_TEXTS, damaged, deep, json_files, odd_texts

from personaroute_bench.embeddings.endpoint import EndpointEmbedder
from personaroute_bench.errors import BenchError
from personaroute_bench.judging.parsing import parse_choice, parse_ratings
from personaroute_bench.judging.prompts import PROMPTS, load_prompt
from personaroute_bench.llms.reply import ERROR_TYPES, read_reply, redact
from personaroute_bench.llms.retry import RetryPolicy, decide, retry_after_seconds
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply
from personaroute_bench.scoring.registry import metric_names, score

LLM_ = LLM(
    id="acme/a", name="A", model="acme/a", provider="openai", base_url="http://127.0.0.1:9/v1",
    input_price=1.0, output_price=2.0,
)  # fmt: skip
REQUEST = ChatRequest(LLM_, (("user", "What is 6 × 7?"),), 10)
GOOD: dict[str, Any] = {
    "id": "x", "model": "acme/a", "system_fingerprint": None,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "42", "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    "error": {"message": "no", "code": 503, "type": "server"},
}  # fmt: skip
bodies = st.one_of(json_files(GOOD), json_files({k: v for k, v in GOOD.items() if k != "error"}))
statuses = st.sampled_from((0, 100, 199, 200, 204, 301, 400, 401, 402, 403, 404, 413, 429, 500, 599,
                            999, -1))  # fmt: skip


@fuzzed
@given(bodies, statuses, st.booleans())
def test_every_reply_is_read(body: bytes, status: int, estimate: bool) -> None:
    raw = RawReply(status, body, 0.1, None)
    reply = attempt(read_reply, REQUEST, raw, estimate_usage=estimate)
    assert reply.status in ("ok", "truncated", "refused", "empty", "error")
    assert (reply.status == "error") == (reply.error_type is not None)
    assert reply.error_type is None or reply.error_type in ERROR_TYPES
    assert reply.cost_usd is None or (math.isfinite(reply.cost_usd) and reply.cost_usd >= 0)
    if reply.status == "ok":
        assert reply.text.strip() and reply.cost_usd is not None
    reply.text.encode("utf-8")  # what is read can be written
    for shown in (reply.error_message, reply.resolved_model, reply.finish_reason):
        assert shown is None or (len(shown) <= 320 and "\x1b" not in shown)
    assert reply == read_reply(REQUEST, raw, estimate_usage=estimate)
    decision = attempt(decide, raw, 1, RetryPolicy(), uniform=lambda: 0.5)
    assert math.isfinite(decision.wait_s) and decision.wait_s >= 0


@fuzzed
@given(st.one_of(odd_texts, st.sampled_from(("1e400", "-5", "Wed, 21 Oct 9999 99:28:00 GMT"))))
@example("9" * 5000)
@example("Thu, 01 Jan 0001 00:00:00 +2359")
def test_no_retry_after_waits_for_ever(header: str) -> None:
    wait = attempt(retry_after_seconds, header, 1e9, 60.0)
    assert wait is None or 0 < wait <= 60


@fuzzed
@given(
    st.one_of(
        json_files({"choice": [3], "reason": "x"}),
        json_files({"1": {"length": 3}, "Answer 2": {"length": 5}}),
        damaged(b'I take **Answer 2**, since <think>1</think> {"choice": [2]}'),
        odd_texts.map(lambda text: text.encode("utf-8", "replace")),
    ),
    st.integers(1, 12),
)
@example(deep().encode(), 3)
@example(b'{"choice": 1e999}', 3)
@example(("{" * 50_000).encode(), 3)
@example(b"Answer " * 7_000, 10)
def test_every_judgement_is_read(raw: bytes, k: int) -> None:
    text = raw.decode("utf-8", "replace")
    choice = attempt(parse_choice, text, k)
    assert all(1 <= pick <= k for pick in choice.picks)
    assert (choice.status == "ok") == bool(choice.picks)
    ratings = attempt(parse_ratings, text, k)
    if ratings is not None:
        assert ratings.shape[0] == k
        known = ratings[~np.isnan(ratings)]
        assert len(known) and (known >= 0).all() and (known <= 1).all()


@fuzzed
@given(st.sampled_from(PROMPTS), odd_texts, st.lists(odd_texts, min_size=2, max_size=2))
@example("direct-a", "{{ cycler.__init__.__globals__.os.system('true') }}", ["{% include 'x' %}"])
def test_texts_stand_in_a_prompt_as_they_are(name: str, query: str, answers: list[str]) -> None:
    values = {"persona": query, "dimensions": [], "keys": "x"}
    prompt = load_prompt(name)
    if name == "rubric-single":
        answers = answers[:1]
    rendered = attempt(prompt.render, query, answers, **values)
    for text in (query, *answers):
        assert text in rendered


@fuzzed
@given(odd_texts, odd_texts, st.sampled_from(sorted(metric_names())))
def test_every_answer_is_scored(answer: str, truth: str, metric: str) -> None:
    result = attempt(score, metric, answer, truth)
    if not isinstance(result, BenchError):
        assert result is None or (math.isfinite(result) and 0 <= result <= 1)


@fuzzed
@given(st.one_of(*(st.just(text) for text in ODD_TEXTS), st.text()))
def test_what_a_server_says_is_one_clean_line(text: str) -> None:
    line = attempt(redact, text)
    assert len(line) <= 300
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)
    line.encode("utf-8")


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> EndpointEmbedder:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    return EndpointEmbedder("any")


@fuzzed
@given(
    json_files({"data": [{"index": 0, "embedding": [1.0, 0.5]}, {"index": 1, "embedding": [0, 1]}]})
)
def test_every_embedding_is_read(embedder: EndpointEmbedder, content: bytes) -> None:
    vectors = attempt(embedder._read, content, 2)
    if not isinstance(vectors, BenchError):
        assert vectors.shape[0] == 2 and np.isfinite(vectors).all()
