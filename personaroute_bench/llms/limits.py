"""Who may be asked next: adaptive concurrency per endpoint, rate limits per LLM, fair lanes.

Everything here is plain bookkeeping over a time ``now`` that the caller passes (seconds of any
monotonic clock), so it needs no event loop and tests need no waiting.

    Lanes ── one Lane per LLM ── TokenBucket for requests/minute, one for tokens/minute
                    └── Endpoint (base_url, api_key_env): shared by the LLMs behind one key
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from personaroute_bench.llms.prices import output_cap
from personaroute_bench.llms.types import LLM, ChatRequest

_BURST_MINUTES = 0.1
_SHRINK = 0.75


class TokenBucket:
    """A rate per minute that may burst for six seconds' worth (at least one unit).

    An amount larger than the bucket waits for a full one and leaves it in debt, so that no call
    is ever too large to be sent.

    Where several processes share a rate, each has a bucket for its part of it, and of the first
    burst, so that all of them together begin no faster than one would.
    """

    def __init__(self, per_minute: float, parts: int = 1):
        self._rate = per_minute / parts / 60.0
        self._capacity = max(1.0, per_minute / parts * _BURST_MINUTES)
        self._level = max(1.0, per_minute * _BURST_MINUTES) / parts
        self._at = -math.inf

    def ready_at(self, amount: float, now: float) -> float:
        """Return the time from which `amount` may be taken; `now` if at once."""
        missing = min(amount, self._capacity) - self._filled(now)
        # A hair of slack: a wait of exactly the missing time must not fall short by rounding.
        return now if missing <= 1e-9 * self._capacity else now + missing / self._rate

    def take(self, amount: float, now: float) -> None:
        """Take `amount`; a negative amount gives back what an estimate took too much."""
        self._level = min(self._capacity, self._filled(now) - amount)
        self._at = max(now, self._at)

    def _filled(self, now: float) -> float:
        if self._level >= self._capacity:
            return self._capacity
        if self._at == -math.inf:  # a part of the first burst, from the first look on
            self._at = now
        return min(self._capacity, self._level + max(0.0, now - self._at) * self._rate)


class Endpoint:
    """Adaptive concurrency of one key at one server: additive increase, multiplicative decrease.

    It starts at the maximum that the user allows. A 429 takes a quarter of the limit away, once
    for all calls that were under way at that time (one burst is one signal), and pauses the
    endpoint; each round of successes gives one place back.
    """

    def __init__(self, maximum: int):
        self._maximum = maximum
        self._shrunk_at = -math.inf
        self.limit = float(maximum)
        self.in_flight = 0
        self.paused_until = -math.inf

    def ready_at(self, now: float) -> float:
        """Return the time from which a call may start; inf while all places are taken."""
        if self.in_flight >= int(self.limit):
            return math.inf
        return max(now, self.paused_until)

    def succeeded(self) -> None:
        """Note an answer: one place more after `limit` of them."""
        self.limit = min(self._maximum, self.limit + 1.0 / self.limit)

    def rejected(self, started: float, now: float, wait_s: float) -> None:
        """Note a 429 of a call that was sent at `started`; no call starts for `wait_s`."""
        self.paused_until = max(self.paused_until, now + wait_s)
        if started > self._shrunk_at:
            self.limit = max(1.0, self.limit * _SHRINK)
            self._shrunk_at = now


@dataclass(slots=True, eq=False)
class Job:
    """One call on its way to being settled."""

    request: ChatRequest
    key: str
    lane: Lane
    canonical: str | None = None
    """What the key is of, where it is still held from planning."""
    attempt: int = 0
    """Attempts made in this run."""
    tokens: float = 0.0
    """What the last attempt took from the bucket of tokens."""
    placed: bool = False
    """Whether it holds a place of its lane and endpoint."""


@dataclass(slots=True, eq=False)
class Lane:
    """The waiting calls of one LLM."""

    llm: LLM
    endpoint: Endpoint
    requests: TokenBucket | None
    tokens: TokenBucket | None
    waiting: deque[Job] = field(default_factory=deque)
    delayed: list[tuple[float, int, Job]] = field(default_factory=list)
    """Heap of calls that wait for their next attempt: (time, order, job)."""
    in_flight: int = 0
    turn: int = 0
    """When the lane was last served, in calls; breaks ties in favour of who waited longest."""

    def head(self, now: float) -> tuple[float, Job]:
        """Return the next call and when it is due: retries that are due first."""
        if self.delayed and (self.delayed[0][0] <= now or not self.waiting):
            return max(now, self.delayed[0][0]), self.delayed[0][2]
        return now, self.waiting[0]

    def ready_at(self, now: float) -> float:
        """Return the time from which the head may be sent; inf while the endpoint is full."""
        at, job = self.head(now)
        at = max(at, self.endpoint.ready_at(now))
        if self.requests is not None:
            at = max(at, self.requests.ready_at(1, now))
        if self.tokens is not None:
            at = max(at, self.tokens.ready_at(token_estimate(job.request), now))
        return at


class Lanes:
    """Waiting calls by LLM. The LLM with the fewest calls in flight goes next.

    So a slow LLM holds at most its fair share of the concurrency while others have work.
    """

    def __init__(self, concurrency: int, parts: int = 1):
        """Open no lane yet.

        Args:
            concurrency: calls in flight, at most.
            parts: so many processes share the LLMs' rate limits; each keeps to its part.
        """
        self._concurrency = concurrency
        self._parts = parts
        self._lanes: dict[str, Lane] = {}
        self._endpoints: dict[tuple[str | None, ...], Endpoint] = {}
        self._order = 0
        self.pending = 0
        """Calls that wait, retries included."""
        self.in_flight = 0
        """Calls taken and not released."""

    @property
    def llms(self) -> list[LLM]:
        """The LLMs that have calls."""
        return [lane.llm for lane in self._lanes.values()]

    def first_requests(self) -> list[ChatRequest]:
        """Return one waiting request per LLM."""
        return [lane.waiting[0].request for lane in self._lanes.values() if lane.waiting]

    def add(self, request: ChatRequest, key: str, canonical: str | None = None) -> None:
        """Queue a call that was not asked yet in this run; see `Job` for its parts."""
        llm = request.llm
        lane = self._lanes.get(llm.id)
        if lane is None:
            place = (llm.provider, llm.base_url, llm.api_key_env)
            lane = self._lanes[llm.id] = Lane(
                llm,
                self._endpoints.setdefault(place, Endpoint(self._concurrency)),
                _bucket(llm.requests_per_minute, self._parts),
                _bucket(llm.tokens_per_minute, self._parts),
            )
        lane.waiting.append(Job(request, key, lane, canonical))
        self.pending += 1

    def pick(self, now: float) -> Job | float:
        """Take the next call that may be sent now.

        Returns:
            The call, counted as in flight; else the time of the next chance, inf where only a
            call that comes back can give one.
        """
        best: Lane | None = None
        chance = math.inf
        for lane in self._lanes.values():
            if not (lane.waiting or lane.delayed):
                continue
            # Only a lane that would go first needs a look at its limits.
            if best is not None and (lane.in_flight, lane.turn) >= (best.in_flight, best.turn):
                continue
            at = lane.ready_at(now)
            if at <= now:
                best = lane
            elif best is None:
                chance = min(chance, at)
        if best is None:
            return chance
        return self._take(best, now)

    def release(self, job: Job, *, retry_at: float | None = None) -> None:
        """Note that a call is over; with `retry_at` it is queued again."""
        self.vacate(job)
        lane = job.lane
        self.in_flight -= 1
        if retry_at is not None:
            self._order += 1
            self.pending += 1
            heapq.heappush(lane.delayed, (retry_at, self._order, job))

    def vacate(self, job: Job) -> None:
        """Give the place of a call that is back to another one; `release` does so otherwise."""
        if job.placed:
            job.placed = False
            job.lane.in_flight -= 1
            job.lane.endpoint.in_flight -= 1

    def used(self, job: Job, tokens: int, now: float) -> None:
        """Correct the tokens that an attempt was estimated to use."""
        if job.lane.tokens is not None:
            job.lane.tokens.take(tokens - job.tokens, now)

    def _take(self, lane: Lane, now: float) -> Job:
        _, job = lane.head(now)
        if lane.waiting and job is lane.waiting[0]:
            lane.waiting.popleft()
        else:
            heapq.heappop(lane.delayed)
        if lane.requests is not None:
            lane.requests.take(1, now)
        if lane.tokens is not None:
            job.tokens = token_estimate(job.request)
            lane.tokens.take(job.tokens, now)
        self._order += 1
        lane.turn = self._order
        job.placed = True
        lane.in_flight += 1
        lane.endpoint.in_flight += 1
        self.pending -= 1
        self.in_flight += 1
        return job


def token_estimate(request: ChatRequest) -> int:
    """Return what providers charge a call with against tokens/minute before they have run it.

    A quarter of the prompt's characters, and the whole cap on output tokens.
    """
    prompt = sum(len(content) for _, content in request.messages) // 4
    return prompt + (output_cap(request) or 0)


def _bucket(per_minute: float | None, parts: int) -> TokenBucket | None:
    return None if per_minute is None else TokenBucket(per_minute, parts)
