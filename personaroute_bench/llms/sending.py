"""One attempt: how it is sent, and how the ledger is told what became of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from personaroute_bench.errors import BenchError
from personaroute_bench.llms.ledger_writer import GroupCommit
from personaroute_bench.llms.limits import Job
from personaroute_bench.llms.retry import Decision
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, Reply, Wire, WireError

_UNSENT = WireError("connection", "not sent", maybe_billed=False)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt under way."""

    job: Job
    number: int
    """Its id in the ledger."""
    reserved: float | None
    """USD."""
    started: float = 0.0
    """The loop's time."""
    outcome: RawReply | WireError = _UNSENT


class Sender:
    """Sends each request over the wire of its LLM, once.

    The wires are opened for the LLMs that have something to ask, and closed at the end.
    """

    def __init__(self, wire_for: Callable[[LLM], Wire], timeout_s: float):
        self._wire_for = wire_for
        self._timeout_s = timeout_s
        self._wires: dict[str, Wire] = {}

    def open(self, llms: Iterable[LLM]) -> None:
        """Make the wires of these LLMs, inside the running event loop.

        Raises:
            UsageError: a wire's package is not installed, or its key cannot be sent.
        """
        for llm in llms:
            self._wires[llm.id] = self._wire_for(llm)

    async def send(self, request: ChatRequest) -> RawReply | WireError:
        """Return what came back, or why nothing did.

        Raises:
            BenchError: no call of this run can be sent.
        """
        try:
            return await self._wires[request.llm.id].send(request, self._timeout_s)
        except WireError as error:
            return error
        except BenchError:
            raise
        except Exception as error:
            # A library's own words may hold a header, and with it a key: keep the type only.
            return WireError("connection", f"{type(error).__name__} inside the client", True)

    async def close(self) -> None:
        """Close all wires, whatever one of them says to that."""
        for wire in {id(wire): wire for wire in self._wires.values()}.values():
            with contextlib.suppress(Exception):
                await wire.close()


def no_reply(error: WireError) -> Reply:
    """Return the reply of a call that got none; it costs nothing if it surely was not billed."""
    cost = None if error.maybe_billed else 0.0
    return Reply("error", "", error_type=error.kind, error_message=str(error), cost_usd=cost)


def note(
    writer: GroupCommit,
    key: str,
    number: int,
    outcome: RawReply | WireError,
    reply: Reply,
    decision: Decision,
) -> None:
    """Tell the ledger what became of an attempt."""
    failed = reply.status == "error"
    writer.judged(
        number,
        state="replied" if isinstance(outcome, RawReply) else "lost",
        kind=decision.kind,
        error_kind=(reply.error_type or "error") if failed else None,
        error_message=reply.error_message if failed else None,
        cost_usd=reply.cost_usd,
        settles=key if decision.action == "settle" else None,
    )
