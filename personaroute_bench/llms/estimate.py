"""What a run would ask and cost, before it asks anything (`--dry-run`).

Assumptions, all of them on the side of the reader's purse:

=========  ==================================  ===================================
figure     prompt tokens                       output tokens a call
=========  ==================================  ===================================
low        offline tokenizer                   a quarter of the expected
expected   offline tokenizer                   256, or what the caller expects
high       the same and a quarter more         the cap that is sent
=========  ==================================  ===================================

256 is about the mean over 58,423 recorded responses of 35 LLMs (see docs/pools.md). A quarter
more prompt allows for tokenizers with smaller vocabularies. Retries and refused calls are not in
it; neither is the discount for cached prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from personaroute_bench.llms.prices import cost_of, output_cap
from personaroute_bench.llms.types import LLM, ChatRequest
from personaroute_bench.tokens import count_message_tokens

EXPECTED_OUTPUT_TOKENS = 256
LOW_SHARE = 0.25
PROMPT_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class LLMEstimate:
    """One LLM's share of a run. Money in USD, None where a price is unknown."""

    llm_id: str
    calls: int
    """Calls to make, settled ones not counted."""
    settled: int
    """Calls whose answer is in the ledger already; they cost nothing more."""
    prompt_tokens: int
    output_low: int
    output_expected: int
    output_high: int | None
    """None where a request sends no cap on output tokens."""
    usd_low: float | None
    usd_expected: float | None
    usd_high: float | None


@dataclass(slots=True)
class _Tally:
    llm: LLM
    calls: int = 0
    settled: int = 0
    prompt: int = 0
    low: int = 0
    expected: int = 0
    high: int | None = 0
    seen: set[str] = field(default_factory=set)

    def estimate(self) -> LLMEstimate:
        def usd(prompt: float, output: int | None) -> float | None:
            return cost_of(self.llm, prompt_tokens=math.ceil(prompt), completion_tokens=output)

        return LLMEstimate(
            llm_id=self.llm.id,
            calls=self.calls,
            settled=self.settled,
            prompt_tokens=self.prompt,
            output_low=self.low,
            output_expected=self.expected,
            output_high=self.high,
            usd_low=usd(self.prompt, self.low),
            usd_expected=usd(self.prompt, self.expected),
            usd_high=usd(self.prompt * PROMPT_MARGIN, self.high),
        )


def estimate(
    requests: Iterable[ChatRequest],
    settled: Container[str] | None = None,
    expected_output_tokens: Callable[[ChatRequest], float] | None = None,
) -> list[LLMEstimate]:
    """Estimate calls, tokens and money per LLM; makes no call.

    Args:
        requests: all calls of the run; the same call twice counts once.
        settled: ledger keys that have their answer already.
        expected_output_tokens: output tokens to expect of a call; None takes 256. The cap that
            the request sends bounds it in any case.

    Returns:
        One estimate per LLM, in the order in which the requests first name them.
    """
    tallies: dict[str, _Tally] = {}
    counted: dict[tuple[tuple[str, str], ...], int] = {}
    for request in requests:
        tally = tallies.setdefault(request.llm.id, _Tally(request.llm))
        key = request.key()
        if key in tally.seen:
            continue
        tally.seen.add(key)
        if settled is not None and key in settled:
            tally.settled += 1
            continue
        if request.messages not in counted:  # every LLM is asked the same queries
            counted[request.messages] = count_message_tokens(request.messages)
        cap = output_cap(request)
        expected = EXPECTED_OUTPUT_TOKENS
        if expected_output_tokens is not None:
            expected = math.ceil(expected_output_tokens(request))
        expected = expected if cap is None else min(expected, cap)
        tally.calls += 1
        tally.prompt += counted[request.messages]
        tally.low += math.ceil(expected * LOW_SHARE)
        tally.expected += expected
        tally.high = None if cap is None or tally.high is None else tally.high + cap
    return [tally.estimate() for tally in tallies.values()]
