"""What to do after an attempt: one typed decision, and how long to wait.

The only retry loop of the project; every SDK behind a `Wire` has its own switched off, since two
loops multiply. The rules:

outcome                                       kind        action
200 with a completion                         ok          settle
200 without one (garbage, no choices)         transient   retry, the third time settle as malformed
429                                           rate_limit  retry, after Retry-After if it is given
402, 429 of a day's or an account's quota     quota       stop the run; it continues another day
408, 409, 425, every 5xx, cut, time-out       transient   retry
401, 403                                      auth        stop the run, naming the LLM and variable
403 of a moderation filter, every other 4xx   permanent   settle as that row's error

A call that is still failing after the last attempt is given up, not settled: the next run asks it
again. Some gateways answer 200 with an ``error`` object that carries the real status; that status
decides then.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from personaroute_bench.llms.types import RawReply, WireError

Action = Literal["settle", "retry", "give_up", "stop"]
Kind = Literal["ok", "rate_limit", "transient", "permanent", "auth", "quota"]

_TRANSIENT = frozenset({408, 409, 425})
# A minute's limit must not look like a day's: "quota" alone is not enough, some providers use the
# word for both.
_QUOTA = re.compile(
    rb"insufficient[ _-](?:quota|credits?|balance|funds)|billing_hard_limit|per[ _-]?day|daily",
    re.IGNORECASE,
)
_MODERATION = re.compile(rb"moderation|flagged|content[ _-](?:filter|policy)", re.IGNORECASE)
_PEEK = 16_384
_FINAL: dict[Kind, Action] = {
    "ok": "settle",
    "permanent": "settle",
    "auth": "stop",
    "quota": "stop",
}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; seconds throughout."""

    max_attempts: int = 6
    malformed_attempts: int = 3
    """A 200 without a completion may have been billed, so it is asked less often."""
    backoff_s: float = 0.5
    """First ceiling of the exponential back-off; a rate limit starts four times higher."""
    backoff_max_s: float = 60.0
    retry_after_max_s: float = 120.0
    """Ceiling on what a server may ask for: no header can stall a run for hours."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows an attempt.

    ``settle``: final, never asked again. ``retry``: ask again after ``wait_s`` seconds.
    ``give_up``: no attempts left; the next run asks again. ``stop``: end the whole run.
    """

    action: Action
    kind: Kind
    wait_s: float = 0.0


SETTLED = Decision("settle", "ok")


def decide(
    outcome: RawReply | WireError,
    attempt: int,
    policy: RetryPolicy = RetryPolicy(),
    *,
    now: float | None = None,
    uniform: Callable[[], float] = random.random,
) -> Decision:
    """Judge the outcome of an attempt; total: no bytes make it raise.

    Args:
        outcome: what the wire returned or raised.
        attempt: how often the call was asked in this run, this time included; from 1.
        policy: limits on attempts and waiting.
        now: Unix time, for Retry-After dates; None reads the clock.
        uniform: source of jitter in [0, 1).
    """
    kind = "transient" if isinstance(outcome, WireError) else _kind_of_reply(outcome)
    if kind == "malformed":
        if attempt >= min(policy.malformed_attempts, policy.max_attempts):
            return Decision("settle", "permanent")
        kind = "transient"
    if kind in _FINAL:
        return Decision(_FINAL[kind], kind)
    asked = None
    if isinstance(outcome, RawReply):
        now = time.time() if now is None else now
        asked = retry_after_seconds(outcome.retry_after, now, policy.retry_after_max_s)
    if attempt >= policy.max_attempts:
        # The wait still matters: a rate limit pauses the endpoint for the other calls.
        return Decision("give_up", kind, asked or 0.0)
    return Decision("retry", kind, _wait(kind, attempt, policy, asked, uniform))


def retry_after_seconds(value: str | None, now: float, ceiling: float) -> float | None:
    """Return the wait that a Retry-After header asks for (seconds or HTTP date).

    Args:
        value: the header, verbatim and untrusted.
        now: Unix time.
        ceiling: the longest wait that is honoured, in seconds.

    Returns:
        Seconds in (0, ceiling], or None where the header says nothing usable.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    if math.isnan(seconds) or seconds <= 0:
        return None
    return min(seconds, ceiling)


def _wait(
    kind: Kind,
    attempt: int,
    policy: RetryPolicy,
    asked: float | None,
    uniform: Callable[[], float],
) -> float:
    """Return seconds until the next attempt: as asked, else exponential with full jitter."""
    if asked is not None:
        # Never earlier than asked; up to a tenth later, so that all do not return at once.
        return asked * (1 + 0.1 * uniform())
    base = policy.backoff_s * (4 if kind == "rate_limit" else 1)
    return min(policy.backoff_max_s, base * 2.0 ** min(attempt - 1, 60)) * uniform()


def _kind_of_reply(reply: RawReply) -> Kind | Literal["malformed"]:
    """Classify a reply; a 200 may hold a completion, an error of its own, or garbage."""
    if not 200 <= reply.http_status < 300:
        return _kind(reply.http_status, reply.body)
    hidden = _status_inside(reply.body)
    if hidden is None:
        return "malformed"
    return "ok" if hidden == 200 else _kind(hidden, reply.body)


def _kind(status: int, body: bytes) -> Kind:
    """Classify an HTTP error status; the body only tells quotas and filters apart."""
    if status == 402 or (status == 429 and _QUOTA.search(body[:_PEEK])):
        return "quota"
    if status == 429:
        return "rate_limit"
    if status in _TRANSIENT or status >= 500 or status < 200:
        return "transient"
    if status == 403 and _MODERATION.search(body[:_PEEK]):
        return "permanent"
    return "auth" if status in (401, 403) else "permanent"


def _status_inside(body: bytes) -> int | None:
    """Return 200 for a completion, the status of an enclosed error, or None for garbage."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and isinstance(first.get("message"), dict):
        return 200
    error = value.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return code
    return None
