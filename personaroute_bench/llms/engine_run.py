"""One run of the engine: its plan, its workers, its account.

As many workers as calls may be in flight. Each takes the next call from the lanes, reserves its
money, writes down that it is about to be asked, asks, and writes down the verbatim reply. With a
200 in hand it goes on to the next call at once: one transaction then holds the reply and the note
of the call that follows, and the reply is read after that, while the server works. Any other
outcome is read first, since it may be a reason not to ask on. All of it happens in one thread,
the event loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.llms.budget import Budget
from personaroute_bench.llms.failures import Tallies, refused_key
from personaroute_bench.llms.keys import key_and_canonical
from personaroute_bench.llms.ledger import CHUNK, Ledger, chunks
from personaroute_bench.llms.ledger_writer import GroupCommit
from personaroute_bench.llms.limits import Job, Lanes
from personaroute_bench.llms.options import EngineOptions, RunSummary, Stopped
from personaroute_bench.llms.prices import max_cost_of
from personaroute_bench.llms.progress import Progress, money
from personaroute_bench.llms.reply import read_reply
from personaroute_bench.llms.retry import SETTLED, Decision, RetryPolicy, decide
from personaroute_bench.llms.sending import Attempt, Sender, no_reply, note
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, Reply, Wire, WireError
from personaroute_bench.llms.waiting import Resting

GRACE_S = 5.0
"""How long calls in flight may still settle after Ctrl-C; a second Ctrl-C does not wait."""
_TICK_S = 0.25
_RATE_TICKS = 40
# Characters of requests that planning keeps as JSON for sending; beyond, JSON is made again.
_HELD = 32 * 2**20


class Run:
    """The state of one `run_calls`."""

    def __init__(
        self,
        ledger: Ledger,
        wire_for: Callable[[LLM], Wire],
        dataset_id: str,
        options: EngineOptions,
        on_progress: Callable[[Progress], None] | None,
    ):
        self._ledger = ledger
        self._sender = Sender(wire_for, options.timeout_s)
        self._dataset_id = dataset_id
        self._options = options
        self._on_progress = on_progress
        self._policy = RetryPolicy(max_attempts=options.max_attempts, backoff_s=options.backoff_s)
        self._lanes = Lanes(options.concurrency, options.parts)
        self._unread = 0
        self._tallies = Tallies(options.max_error_rate)
        self._total = self._cached = self._attempts = 0
        self._ticks: deque[tuple[float, int]] = deque(maxlen=_RATE_TICKS)
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._bill: asyncio.Future[None] | None = None
        self._run_id = ledger.start_run(dataset_id)
        self._budget = Budget(None)
        self._earlier = 0.0
        self.stopped: Stopped | None = None
        self.message = ""
        self.fatal: Exception | None = None

    async def main(self, requests: Iterable[ChatRequest]) -> None:
        """Plan, let the workers work, and write what is left to write."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._writer = GroupCommit(self._ledger, self._run_id, self._dataset_id, self._loop)
        self._resting = Resting(self._loop)
        self._budget_turn = asyncio.Lock()
        self._plan(requests)
        self._open_budget()
        try:
            self._sender.open(self._lanes.llms)
            self._tick()
            await self._work()
        finally:
            self._resting.close()
            if self._ticker is not None:
                self._ticker.cancel()
            await self._sender.close()
        self._flush()
        while self._unread:  # a stop leaves replies that came just before it
            await asyncio.sleep(0)
        self._flush()
        self._report()

    def _flush(self) -> None:
        try:
            self._writer.flush()
        except BenchError as error:
            self._fail(error)

    async def _work(self) -> None:
        number = min(self._options.concurrency, self._lanes.pending)
        workers = [asyncio.create_task(self._worker()) for _ in range(number)]
        if not workers:
            return
        try:
            await asyncio.wait(workers)
        except asyncio.CancelledError:
            # Ctrl-C: what is in flight is paid for, so it gets a moment to arrive.
            self._stop("interrupted")
            _, late = await asyncio.wait(workers, timeout=GRACE_S)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            left = self._total - self._cached - self._tallies.all.finished
            self.message = (
                f"interrupted with {left:,} of {self._total:,} calls still to do, "
                f"{money(self._budget.spent)} spent; run the same command again to go on"
            )

    def interrupt(self) -> None:
        """Stop as Ctrl-C does; for other threads."""
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing to stop
                self._loop.call_soon_threadsafe(self._task.cancel)

    def end(self) -> None:
        """Close the run in the ledger; an error of the file itself was raised before."""
        with contextlib.suppress(BenchError):
            self._ledger.finish_run(self._run_id, self.stopped)

    # Planning

    def _plan(self, requests: Iterable[ChatRequest]) -> None:
        """Queue the calls that are neither settled nor answered already."""
        unjudged = self._ledger.unjudged()
        seen: set[str] = set()
        room = _HELD
        for chunk in chunks(requests, CHUNK):
            fresh: dict[str, tuple[ChatRequest, str]] = {}
            for request in chunk:
                key, canonical = key_and_canonical(request)
                if key not in seen:
                    seen.add(key)
                    fresh[key] = (request, canonical)
            settled = self._ledger.settled(list(fresh))
            for key, (request, canonical) in fresh.items():
                if key in settled or (
                    key in unjudged and self._settles(request, key, unjudged[key])
                ):
                    self._cached += 1
                else:
                    room -= len(canonical)
                    self._lanes.add(request, key, canonical if room >= 0 else None)
        self._total = len(seen)
        self._writer.flush()

    def _settles(self, request: ChatRequest, key: str, stored: tuple[int, RawReply]) -> bool:
        """Judge a reply that a killed run had stored; tell whether it settles the call."""
        number, raw = stored
        reply = self._read(request, raw)
        decision = decide(raw, 1, self._policy)
        note(self._writer, key, number, raw, reply, decision)
        return decision.action == "settle"

    def _open_budget(self) -> None:
        """Start the account from the ledger, and refuse what it could not keep."""
        options = self._options
        unpriced = [r.llm.id for r in self._lanes.first_requests() if max_cost_of(r) is None]
        if unpriced and not options.allow_unknown_cost:
            raise UsageError(
                f"no price is known of {', '.join(sorted(unpriced))}: give input_price and "
                "output_price (USD per million tokens) in the pool file, or accept an unknown "
                "bill with --allow-unknown-cost"
            )
        spend = self._ledger.spend(self._dataset_id)
        if options.max_cost is not None and spend.unbounded:
            raise UsageError(
                f"--max-cost {options.max_cost} cannot be kept: {spend.unbounded} earlier calls "
                f"of this data set in {self._ledger.path} have an unknown cost; leave --max-cost "
                "out, or start another data set"
            )
        self._earlier = spend.known_usd
        self._budget = Budget(
            options.max_cost, spent=spend.known_usd, unknown_upper_bound=spend.unknown_usd
        )

    # Working

    async def _worker(self) -> None:
        try:
            while (taken := await self._next()) is not None:
                await self._call(*taken)
        except Exception as error:
            self._fail(error)

    async def _next(self) -> tuple[Job, float | None] | None:
        """Return the next call and the money reserved for it; None when all is done."""
        while self.stopped is None:
            taken = self._lanes.pick(self._loop.time())
            if isinstance(taken, Job):
                self._resting.wake()  # perhaps a second call may go as well
                reserved = max_cost_of(taken.request)
                if await self._afford(taken, reserved):
                    return taken, reserved
                self._lanes.release(taken)
            elif self._lanes.pending or self._lanes.in_flight:
                await self._resting.rest(until=taken)
            else:
                self._resting.wake_all()
                return None
        return None

    async def _afford(self, job: Job, reserved: float | None) -> bool:
        """Reserve money for a call; wait, in order of arrival, until bills leave room for it."""
        if not self._budget_turn.locked() and self._budget.reserve(reserved):
            return True
        async with self._budget_turn:
            while self.stopped is None:
                if self._budget.reserve(reserved):
                    return True
                if self._budget.outstanding == 0:
                    self._stop(
                        "budget",
                        f"--max-cost {self._options.max_cost} is reached: the next call (LLM "
                        f"{job.request.llm.id!r}) may cost up to {money(reserved or 0.0)}, and "
                        f"{money(self._budget.left or 0.0)} is left; run the same command with a "
                        "higher --max-cost to go on",
                    )
                else:
                    self._bill = self._loop.create_future()
                    await self._bill
        return False

    async def _call(self, job: Job, reserved: float | None) -> None:
        """Make one attempt, from the note that it is sent to the note of what came back."""
        job.attempt += 1
        new, job.canonical, canonical = job.attempt == 1, None, job.canonical
        number = self._writer.begin(job.request, job.key, reserved, new=new, canonical=canonical)
        attempt = Attempt(job, number, reserved)
        try:
            await self._writer.committed()
            self._attempts += 1
            attempt.started = self._loop.time()
            outcome = attempt.outcome = await self._sender.send(job.request)
            if isinstance(outcome, RawReply):
                self._writer.answered(number, outcome)
            saved = self._writer.committed()
            if isinstance(outcome, RawReply) and outcome.http_status == 200:
                self._unread += 1
                self._lanes.vacate(job)
                saved.add_done_callback(partial(self._saved, attempt))
                return
            await saved
            await asyncio.sleep(0)  # in turn with the others, so that failures do not count first
        except BaseException:
            self._close(attempt, None)
            raise
        self._settle(attempt)

    def _saved(self, attempt: Attempt, saved: asyncio.Future[None]) -> None:
        """Read a reply that is on disk, after the calls that were waiting have been sent."""
        try:
            saved.result()
            self._loop.call_soon(self._settle_later, attempt)
        except BenchError as error:
            self._unread -= 1
            self._close(attempt, None)
            self._fail(error)

    def _settle_later(self, attempt: Attempt) -> None:
        self._unread -= 1
        try:
            self._settle(attempt)
        except Exception as error:
            self._fail(error)

    def _settle(self, attempt: Attempt) -> None:
        """Read what came back, note what became of the attempt, and act on it."""
        job, outcome = attempt.job, attempt.outcome
        cost: float | None = None
        retry_at: float | None = None
        try:
            reply = self._read(job.request, outcome)
            cost = reply.cost_usd
            # What reads as a completion needs no second look at its bytes.
            done = reply.status != "error" and reply.prompt_tokens is not None
            decision = SETTLED if done else decide(outcome, job.attempt, self._policy)
            note(self._writer, job.key, attempt.number, outcome, reply, decision)
            retry_at = self._follow(job, reply, decision, attempt.started)
        finally:
            self._close(attempt, cost, retry_at)

    def _close(self, attempt: Attempt, cost: float | None, retry_at: float | None = None) -> None:
        """Settle an attempt's money, and free its place."""
        self._budget.settle(attempt.reserved, cost)
        self._lanes.release(attempt.job, retry_at=retry_at)
        self._bill_arrived()
        self._resting.wake()

    def _read(self, request: ChatRequest, outcome: RawReply | WireError) -> Reply:
        if isinstance(outcome, WireError):
            return no_reply(outcome)
        return read_reply(request, outcome, estimate_usage=self._options.estimate_usage)

    def _follow(self, job: Job, reply: Reply, decision: Decision, started: float) -> float | None:
        """Act on a decision; return when the call is to be asked again, None for never."""
        now = self._loop.time()
        llm, endpoint = job.request.llm, job.lane.endpoint
        if decision.kind == "rate_limit":
            endpoint.rejected(started, now, decision.wait_s)
        elif decision.kind == "ok":
            endpoint.succeeded()
            if reply.prompt_tokens is not None and reply.completion_tokens is not None:
                self._lanes.used(job, reply.prompt_tokens + reply.completion_tokens, now)
        if decision.action == "retry":
            return now + decision.wait_s if self.stopped is None else None
        if decision.kind == "auth":
            self._fail(refused_key(llm))
        elif decision.kind == "quota":
            self._stop(
                "quota",
                f"the quota of LLM {llm.id!r} is used up: {reply.error_message or 'no details'}; "
                "run the same command again when it is renewed",
            )
        else:
            too_many = self._tallies.add(llm, reply)
            if too_many is not None:
                self._fail(too_many)
        return None

    # Stopping

    def _fail(self, error: Exception) -> None:
        if self.fatal is None:
            self.fatal = error
        self._stop("errors", str(error))

    def _stop(self, reason: Stopped, message: str = "") -> None:
        """Let no further call begin; those in flight settle."""
        if self.stopped is None:
            self.stopped = reason
            self.message = message
        self._bill_arrived()
        self._resting.wake_all()

    def _bill_arrived(self) -> None:
        if self._bill is not None and not self._bill.done():
            self._bill.set_result(None)

    # Telling

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(_TICK_S, self._tick)
        self._report()

    def _report(self) -> None:
        self._ticks.append((self._loop.time(), self._tallies.all.finished))
        if self._on_progress is None:
            return
        try:
            self._on_progress(self._progress())
        except Exception as error:
            self._fail(error)

    def _progress(self) -> Progress:
        (then, before), (now, finished) = self._ticks[0], self._ticks[-1]
        rate = (finished - before) / (now - then) if now > then else 0.0
        done = self._cached + finished
        return Progress(
            done=done,
            total=self._total,
            cached=self._cached,
            failed=self._tallies.all.failed,
            spend_usd=self._budget.spent,
            reserved_usd=self._budget.reserved,
            unknown_usd=self._budget.unknown,
            rate=rate,
            seconds_left=(self._total - done) / rate if rate > 0 else None,
        )

    def summary(self) -> RunSummary:
        """Return what the run did."""
        return RunSummary(
            total=self._total,
            cached=self._cached,
            finished=self._tallies.all.finished,
            failed=self._tallies.all.failed,
            attempts=self._attempts,
            spend_usd=self._budget.spent - self._earlier,
            total_spend=self._ledger.spend(self._dataset_id),
            errors=self._tallies.errors(),
            stopped=self.stopped,
            message=self.message,
        )
