from __future__ import annotations

import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from personaroute_bench.llms.reply import (
    ERROR_TYPES,
    MAX_MESSAGE,
    read_reply,
    redact,
    same_model,
    strip_thinking,
)
from personaroute_bench.llms.types import LLM, STATUSES, ChatRequest, RawReply, Reply

ASKED = LLM(
    id="m", name="M", model="org/model", provider="openai", base_url="http://localhost/v1",
    input_price=1.0, output_price=10.0,
)  # fmt: skip
REQUEST = ChatRequest(ASKED, (("user", "Hello world"),), max_tokens=100)
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
COST = (100 * 1 + 20 * 10) / 1e6


def body(content: Any = "Hi", **changes: Any) -> dict[str, Any]:
    """Return a completion; `message`, `choice` update inner parts, the rest the outside."""
    message = {"role": "assistant", "content": content} | changes.pop("message", {})
    choice = {"message": message, "finish_reason": "stop"} | changes.pop("choice", {})
    return {"model": "org/model", "choices": [choice], "usage": USAGE} | changes


def read(value: Any, status: int = 200, **options: bool) -> Reply:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_reply(REQUEST, RawReply(status, raw, 0.5), **options)


def test_a_good_reply() -> None:
    assert read(body()) == Reply(
        status="ok",
        text="Hi",
        prompt_tokens=100,
        completion_tokens=20,
        usage_source="provider",
        cost_usd=COST,
        latency_s=0.5,
        resolved_model="org/model",
        finish_reason="stop",
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (["a", {"type": "text", "text": "b"}, {"text": "c"}], "abc"),
        ([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "x"}], "x"),
        ([{"type": "text", "text": 3}, {"type": "output_text", "text": "y"}], "y"),
        ("  kept as it is \n", "  kept as it is \n"),
    ],
)
def test_content_may_be_parts(content: Any, text: str) -> None:
    reply = read(body(content))
    assert (reply.status, reply.text) == ("ok", text)


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        (body(choice={"finish_reason": "length"}), "truncated", "Hi"),
        (body("", choice={"finish_reason": "length"}), "truncated", ""),
        (body(choice={"finish_reason": "content_filter"}), "refused", "Hi"),
        (body(choice={"finish_reason": "SAFETY"}), "refused", "Hi"),
        (body(None, message={"refusal": "No."}), "refused", "No."),
        (body("So", message={"refusal": "No."}), "refused", "So"),
        (body(message={"refusal": None}), "ok", "Hi"),
        (body(message={"refusal": ""}), "ok", "Hi"),
        (body(None), "empty", ""),
        (body(""), "empty", ""),
        (body(" \n\t"), "empty", " \n\t"),
        (body([]), "empty", ""),
        (body(None, message={"reasoning_content": "hmm"}), "empty", ""),
        (body("<think>hmm"), "empty", "<think>hmm"),
        (body("\n<think>hmm</think>\n"), "empty", "\n<think>hmm</think>\n"),
        (body("<think>hmm", choice={"finish_reason": "length"}), "truncated", "<think>hmm"),
        (body("<think>hmm</think>42"), "ok", "<think>hmm</think>42"),
    ],
)
def test_statuses_are_billed_by_their_usage(value: Any, status: str, text: str) -> None:
    reply = read(value)
    assert (reply.status, reply.text, reply.error_type) == (status, text, None)
    assert reply.cost_usd == COST


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        (" <think>a\nb</think> c</think>d", " c</think>d"),
        ("<think>never closed", ""),
        ("a</think>b", "b"),
        ("say <think> and </think>", "say <think> and </think>"),
    ],
)
def test_strip_thinking(text: str, rest: str) -> None:
    assert strip_thinking(text) == rest


@pytest.mark.parametrize(
    ("value", "cost"),
    [
        (b"", None),
        (b"<html>busy</html>", None),
        (b"\x00\xff", None),
        (b"[" * 100_000, None),
        ([], None),
        ({}, None),
        (body(choices=[]), (100 + 200) / 1e6),
        (body(choices={}), COST),
        (body(choices=["x"]), COST),
        (body(choices=None, usage=None), None),
        (body(7), COST),
        (body({"text": "x"}), COST),
        (body(choice={"message": None}), COST),
        ({"error": {"code": True}}, None),
    ],
)
def test_what_is_no_completion_is_malformed(value: Any, cost: float | None) -> None:
    reply = read(value)
    assert (reply.status, reply.error_type, reply.text) == ("error", "malformed", "")
    assert reply.cost_usd == cost


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "120",
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": None},
        {"prompt_tokens": 5, "completion_tokens": -1},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": 5.0, "completion_tokens": 3},
        {"prompt_tokens": "5", "completion_tokens": 3},
        {"prompt_tokens": 5, "completion_tokens": 10**9},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 5, "completion_tokens": 0},
    ],
)
def test_unusable_usage_is_an_error_unless_it_may_be_estimated(usage: Any) -> None:
    reply = read(body("Hello world", usage=usage))
    assert (reply.status, reply.error_type, reply.text) == ("error", "missing_usage", "Hello world")
    assert (reply.cost_usd, reply.usage_source) == (None, "unknown")
    reply = read(body("Hello world", usage=usage), estimate_usage=True)
    assert (reply.status, reply.usage_source) == ("ok", "tokenizer")
    assert (reply.prompt_tokens, reply.completion_tokens) == (3 + 4 + 2, 2)
    assert reply.cost_usd == (9 + 20) / 1e6


def test_an_empty_answer_may_have_used_no_tokens() -> None:
    assert read(body("", usage={"prompt_tokens": 5, "completion_tokens": 0})).status == "empty"


@pytest.mark.parametrize(
    ("details", "total", "completion", "reasoning"),
    [
        ({"reasoning_tokens": 15}, 120, 20, 15),  # inside the completion, as OpenAI counts
        ({"reasoning_tokens": 15}, 135, 35, 15),  # beside it
        ({"reasoning_tokens": 50}, None, 70, 50),  # more than the completion, so beside it
        ({}, 150, 50, None),  # thoughts that only the total shows
        ({"reasoning_tokens": -4}, 120, 20, None),
        (None, 0, 20, None),
        ("x", True, 20, None),
    ],
)
def test_reasoning_is_billed(
    details: Any, total: Any, completion: int, reasoning: int | None
) -> None:
    usage = USAGE | {"total_tokens": total, "completion_tokens_details": details}
    reply = read(body(usage=usage))
    assert (reply.completion_tokens, reply.reasoning_tokens) == (completion, reasoning)
    assert reply.cost_usd == (100 + completion * 10) / 1e6


@pytest.mark.parametrize(("cached", "expected"), [(60, 60), (101, None), (True, None), ("6", None)])
def test_cached_tokens(cached: Any, expected: int | None) -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": cached}}
    llm = replace(ASKED, cached_input_price=0.1)
    raw = RawReply(200, json.dumps(body(usage=usage)).encode(), 0.5)
    reply = read_reply(replace(REQUEST, llm=llm), raw)
    assert reply.cached_tokens == expected
    saved = 0 if expected is None else 60 * 0.9 / 1e6
    assert reply.cost_usd == pytest.approx(COST - saved)


@pytest.mark.parametrize(
    "resolved",
    [
        "org/model", "ORG/Model", "model", "openai/org/model", "org/model-2024-05-13",
        "org/model-20240513", "org/model-0613", "model@20240620", "org/model@2024-06-20",
    ],
)  # fmt: skip
def test_the_same_model(resolved: str) -> None:
    assert same_model(ASKED, resolved)
    assert read(body(model=resolved)).status == "ok"


@pytest.mark.parametrize(
    "resolved",
    [
        "org/model:free", "org/model-turbo", "org/model-2024-13-45", "org/model-9999", "other",
        "xmodel", "org/mode", "other/model", "org/model-2024-05-13-x", "-0613", "org/", "/model/",
    ],
)  # fmt: skip
def test_another_model(resolved: str) -> None:
    assert not same_model(ASKED, resolved)
    reply = read(body(model=resolved))
    assert (reply.status, reply.error_type) == ("error", "model_mismatch")
    assert (reply.resolved_model, reply.text, reply.cost_usd) == (resolved, "Hi", COST)
    assert "resolves_to" in str(reply.error_message)


def test_patterns_allow_other_names() -> None:
    llm = replace(ASKED, resolves_to=("Alias-*", "org/model:free"))
    assert same_model(llm, "alias-7")
    assert same_model(llm, "org/model:free")
    assert not same_model(llm, "x-alias-7")
    assert not same_model(replace(ASKED, model="gpt-4o-2024-05-13"), "gpt-4o")


@pytest.mark.parametrize("model", [None, "", 7, ["org/model"]])
def test_a_server_may_not_name_its_model(model: Any) -> None:
    reply = read(body(model=model))
    assert (reply.status, reply.resolved_model) == ("ok", None)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad field"}, "bad_request"),
        (400, {"message": "too long", "code": "context_length_exceeded"}, "bad_request"),
        (401, {"message": "wrong", "code": "content_filter"}, "auth"),
        (402, {"message": "pay"}, "quota"),
        (403, {"message": "not yours"}, "auth"),
        (404, {"message": "no model"}, "not_found"),
        (408, {}, "timeout"),
        (413, "too much", "too_large"),
        (418, None, "bad_request"),
        (422, {"message": "no"}, "bad_request"),
        (429, {"message": "slow down"}, "rate_limit"),
        (429, {"message": "plan", "code": "insufficient_quota"}, "quota"),
        (429, {"message": "plan", "type": "insufficient_quota"}, "quota"),
        (429, {"message": "limit of 50 requests per day"}, "quota"),
        (500, {"message": "content_filter broke"}, "server_error"),
        (503, None, "server_error"),
        (529, {"message": "overloaded"}, "server_error"),
        (302, None, "bad_request"),
        (0, None, "server_error"),
    ],
)
def test_http_errors_cost_nothing(status: int, error: Any, kind: str) -> None:
    reply = read({"error": error}, status)
    assert (reply.status, reply.error_type, reply.cost_usd) == ("error", kind, 0.0)
    assert str(reply.error_message).startswith(f"HTTP {status}")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "filtered", "code": "content_filter"}),
        (400, {"message": "no", "code": "content_policy_violation"}),
        (400, {"message": "no", "code": None, "type": "content_filter"}),
        (403, {"message": "input was flagged by moderation"}),
    ],
)
def test_a_content_policy_is_a_refusal(status: int, error: Any) -> None:
    reply = read({"error": error}, status)
    assert (reply.status, reply.error_type, reply.cost_usd) == ("refused", None, 0.0)


def test_an_error_inside_a_200() -> None:
    reply = read({"error": {"code": 503, "message": "upstream"}})
    assert (reply.error_type, reply.error_message) == ("server_error", "HTTP 503: upstream")
    reply = read(body("half", choice={"finish_reason": "error", "error": {"message": "gone"}}))
    assert (reply.status, reply.error_type, reply.error_message) == (
        "error", "server_error", "gone",
    )  # fmt: skip
    assert reply.cost_usd == COST


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"error": {"message": "a\x00b\r\nc\x1b[31md"}}, "HTTP 400: a b c [31md"),
        ({"error": "plain"}, "HTTP 400: plain"),
        ({"message": "top"}, "HTTP 400: top"),
        ({"detail": [{"loc": ["body"]}]}, 'HTTP 400: [{"loc": ["body"]}]'),
        (b"<html>no</html>", "HTTP 400: <html>no</html>"),
        (b"", "HTTP 400"),
    ],
)
def test_the_providers_message_is_shown_safely(value: Any, shown: str) -> None:
    assert read(value, 400).error_message == shown


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefgh12345678", "sk-or-v1-0123abcdef", "sk-ab***********wxyz",
        "gsk_AbCdEf0123456789", "AIzaSyA0123456789abcdefghij", "Bearer eyJhbGciOi.J9",
        "hf_AbCdEfGh012345", "0123456789abcdef0123456789abcdef", "nvapi-abcdefgh-1234",
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_not_shown(secret: str) -> None:
    line = redact(f"Incorrect API key provided: {secret}. See the docs.")
    assert secret not in line
    assert "[redacted]" in line
    assert line.startswith("Incorrect API key provided: ")


def test_plain_words_are_not_redacted() -> None:
    plain = (
        "This model's maximum context length is 8192 tokens, risk-free keyword skateboarding task"
    )
    assert redact(plain) == plain


def test_lone_surrogates_are_replaced_and_pairs_joined() -> None:
    reply = read(b'{"choices": [{"message": {"content": "a\\ud800b\\ud83d\\ude00"}}], "usage": '
                 b'{"prompt_tokens": 1, "completion_tokens": 1}}')  # fmt: skip
    assert reply.text == "a\ufffdb\U0001f600"


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(),
        st.sampled_from(["length", "content_filter", "error", "org/model", "<think>"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "text", "type", "usage", "model", "error",
                 "code", "refusal", "finish_reason", "prompt_tokens", "completion_tokens",
                 "total_tokens", "completion_tokens_details", "reasoning_tokens", "detail"]
            ),
            inner, max_size=6,
        ),
    ),
    max_leaves=20,
)  # fmt: skip
LIKELY = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": st.fixed_dictionaries(
        {"content": JSON, "refusal": JSON}), "finish_reason": JSON, "error": JSON}), max_size=2)},
    optional={"usage": JSON, "model": JSON, "error": JSON},
)  # fmt: skip


@given(
    raw=st.one_of(
        st.binary(), st.one_of(JSON, LIKELY).map(lambda value: json.dumps(value).encode())
    ),
    status=st.one_of(st.just(200), st.integers(-1, 1000)),
    estimate=st.booleans(),
)
@example(raw=b'{"choices": [{"message": {"content": "\\ud800"}}]}', status=200, estimate=True)
@example(raw=b"\xff\xfe\x00\xd8", status=400, estimate=False)
def test_no_bytes_make_it_raise(raw: bytes, status: int, estimate: bool) -> None:
    reply = read_reply(REQUEST, RawReply(status, raw, 0.0), estimate_usage=estimate)
    assert reply.status in STATUSES
    assert (reply.status == "error") == (reply.error_type is not None)
    assert reply.error_type is None or reply.error_type in ERROR_TYPES
    if reply.status == "ok":
        assert reply.text.strip()
        assert reply.usage_source != "unknown"
    assert (reply.cost_usd is None) == (reply.usage_source == "unknown" and status_is_ok(reply))
    assert reply.cost_usd is None or reply.cost_usd >= 0
    for shown in (reply.text, reply.error_message, reply.resolved_model, reply.finish_reason):
        (shown or "").encode()  # every file can hold it
    shown = reply.error_message or ""
    assert len(shown) <= MAX_MESSAGE + 300
    assert not set(shown) & (set(map(chr, range(32))) | {"\x7f", "\x9b"})


def status_is_ok(reply: Reply) -> bool:
    """Tell whether a completion could have been billed: no HTTP error stands in the message."""
    return not (reply.error_message or "").startswith("HTTP ")


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_ .", max_size=400))
def test_redacted_lines_are_short(text: str) -> None:
    assert len(redact(text)) <= MAX_MESSAGE
