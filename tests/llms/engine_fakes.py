"""What the tests of the call engine share: a clock that jumps, a wire that obeys a script."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, WireError

Script = Callable[[ChatRequest, int], RawReply | WireError | Exception]


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting, move the loop's clock to where the wait would have ended."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("deadlock: everybody waits and nothing will happen")
            self.now += max(0.0, timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once: hours of back-off take no time at all."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def make_llm(number: int = 0, **changes: Any) -> LLM:
    """An LLM whose input is free and whose output costs 0.1 USD a token."""
    fields: dict[str, Any] = {
        "id": f"llm{number}",
        "name": f"LLM {number}",
        "model": f"model-{number}",
        "provider": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "input_price": 0.0,
        "output_price": 100_000.0,
    }
    return LLM(**(fields | changes))


def make_request(llm: LLM, number: int = 0, *, max_tokens: int = 10) -> ChatRequest:
    """A request that may cost 1 USD and costs 0.5 if it is answered by `answer`."""
    return ChatRequest(llm, (("user", f"question {number}"),), max_tokens, tag=f"q{number}")


def body(request: ChatRequest, *, tokens: int = 5) -> bytes:
    """A completion that repeats the question."""
    return json.dumps(
        {
            "model": request.llm.model,
            "choices": [
                {
                    "message": {"role": "assistant", "content": request.messages[-1][1]},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": tokens,
                "total_tokens": 3 + tokens,
            },
        }
    ).encode()


def answer(request: ChatRequest, attempt: int = 1) -> RawReply:
    """A good reply."""
    return RawReply(200, body(request), 0.5)


def failure(status: int, message: str = "no", retry_after: str | None = None) -> RawReply:
    """An HTTP error."""
    text = json.dumps({"error": {"message": message}}).encode()
    return RawReply(status, text, 0.1, retry_after)


@dataclass
class FakeWire:
    """Answers by script after `delay` seconds and notes who asked what, when."""

    script: Script = answer
    delay: float | Callable[[ChatRequest], float] = 1.0
    sent: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, LLM id, tag) of every request."""
    in_flight: int = 0
    most_in_flight: int = 0
    closed: int = 0
    on_send: Callable[[ChatRequest], None] | None = None

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        now = asyncio.get_running_loop().time()
        self.sent.append((now, request.llm.id, request.tag))
        if self.on_send is not None:
            self.on_send(request)
        attempt = self.count(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay(request) if callable(self.delay) else self.delay)
        finally:
            self.in_flight -= 1
        outcome = self.script(request, attempt)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed += 1

    def count(self, request: ChatRequest) -> int:
        """How often this request was sent so far."""
        return sum(one[1:] == (request.llm.id, request.tag) for one in self.sent)

    @property
    def tags(self) -> list[str]:
        """The tags in the order sent."""
        return [tag for _, _, tag in self.sent]
