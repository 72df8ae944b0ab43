"""Every outcome has its documented decision, and no header or body can do harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.llms.retry import Decision, RetryPolicy, decide, retry_after_seconds
from personaroute_bench.llms.types import RawReply, WireError

GOOD = b'{"choices": [{"message": {"content": "hi"}}]}'
POLICY = RetryPolicy()


def reply(status: int, body: bytes = b"{}", retry_after: str | None = None) -> RawReply:
    return RawReply(status, body, 0.1, retry_after)


@pytest.mark.parametrize(
    ("outcome", "action", "kind"),
    [
        (reply(200, GOOD), "settle", "ok"),
        (reply(200, b"<html>"), "retry", "transient"),
        (reply(200, b'{"choices": []}'), "retry", "transient"),
        (reply(200, b'{"choices": [{"text": "no message"}]}'), "retry", "transient"),
        (reply(200, b"[" * 100_000), "retry", "transient"),
        (reply(200, b'{"error": {"code": 429, "message": "slow down"}}'), "retry", "rate_limit"),
        (reply(200, b'{"error": {"code": 400}}'), "settle", "permanent"),
        (reply(200, b'{"error": {"code": true}}'), "retry", "transient"),
        (reply(429), "retry", "rate_limit"),
        (reply(429, b'{"error": {"code": "insufficient_quota"}}'), "stop", "quota"),
        (reply(429, b"Limit reached on requests per day (RPD): 1000"), "stop", "quota"),
        (
            reply(429, b"Limit reached on tokens per minute (TPM): quota 1000"),
            "retry",
            "rate_limit",
        ),
        (reply(402), "stop", "quota"),
        *((reply(status), "retry", "transient") for status in (408, 409, 425, 500, 502, 503, 504)),
        (reply(529), "retry", "transient"),
        *((reply(status), "settle", "permanent") for status in (400, 404, 413, 422, 405, 301)),
        (reply(401), "stop", "auth"),
        (reply(403), "stop", "auth"),
        (reply(403, b'{"error": {"message": "Input was flagged"}}'), "settle", "permanent"),
        (WireError("timeout", "late", True), "retry", "transient"),
        (WireError("connection", "refused", False), "retry", "transient"),
    ],
)
def test_first_attempt(outcome: RawReply | WireError, action: str, kind: str) -> None:
    decision = decide(outcome, 1)
    assert (decision.action, decision.kind) == (action, kind)


@pytest.mark.parametrize("outcome", [reply(429), reply(503), WireError("timeout", "late", True)])
def test_the_last_attempt_gives_up_but_does_not_settle(outcome: RawReply | WireError) -> None:
    assert decide(outcome, 5).action == "retry"
    assert decide(outcome, 6).action == "give_up"


def test_garbage_is_asked_three_times_and_then_settles() -> None:
    assert [decide(reply(200, b"?"), n).action for n in (1, 2, 3)] == ["retry", "retry", "settle"]
    once = RetryPolicy(max_attempts=1)
    assert decide(reply(200, b"?"), 1, once) == Decision("settle", "permanent")


def test_back_off_doubles_up_to_its_ceiling_with_full_jitter() -> None:
    policy = RetryPolicy(max_attempts=99, backoff_s=1.0, backoff_max_s=10.0)
    almost = [decide(reply(500), n, policy, uniform=lambda: 1.0).wait_s for n in (1, 2, 3, 4, 5)]
    assert almost == [1.0, 2.0, 4.0, 8.0, 10.0]
    assert decide(reply(500), 3, policy, uniform=lambda: 0.25).wait_s == 1.0
    assert decide(reply(429), 1, policy, uniform=lambda: 1.0).wait_s == 4.0
    assert decide(reply(500), 98, policy, uniform=lambda: 1.0).wait_s == 10.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("inf", 120.0),
        ("1e300", 120.0),
        ("soon", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:16:50 -0000", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 120.0),
        ("Thu, 99 Jan 1970 00:16:50 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, 1000.0, 120.0) == seconds


def test_retry_after_is_never_undercut() -> None:
    waits = [
        decide(reply(429, b"", "20"), 1, uniform=lambda u=u: u).wait_s for u in (0.0, 0.5, 0.999)
    ]
    assert waits[0] == 20.0
    assert all(20.0 <= wait <= 22.0 for wait in waits)


@given(
    st.integers(0, 999),
    st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), lambda inner:
        st.lists(inner) | st.dictionaries(st.sampled_from(["error", "choices", "code"]), inner),
        max_leaves=8).map(lambda value: json.dumps(value).encode()),
    st.none() | st.text(max_size=40) | st.floats().map(str),
    st.integers(1, 50),
)  # fmt: skip
def test_total_and_bounded(status: int, body: bytes, header: str | None, attempt: int) -> None:
    decision = decide(reply(status, body, header), attempt, now=0.0)
    assert 0.0 <= decision.wait_s <= 1.1 * POLICY.retry_after_max_s
    assert decision.wait_s == 0.0 or decision.action in ("retry", "give_up")
    if attempt >= POLICY.max_attempts:
        assert decision.action != "retry"
