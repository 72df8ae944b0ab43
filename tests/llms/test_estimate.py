from __future__ import annotations

from dataclasses import replace

from personaroute_bench.llms.estimate import LLMEstimate, estimate
from personaroute_bench.llms.types import LLM, ChatRequest

A = LLM(
    id="a", name="A", model="a", provider="openai", base_url="http://localhost/v1",
    input_price=1.0, output_price=10.0,
)  # fmt: skip
B = replace(A, id="b", model="b", input_price=None)


def ask(llm: LLM, prompt: str, **fields: int) -> ChatRequest:
    return ChatRequest(llm, (("user", prompt),), **{"max_tokens": 1000} | fields)  # type: ignore[arg-type]


def test_by_hand() -> None:
    # "Hello world" is 2 tokens, a message 4, the reply 3: 9 a call.
    first, second = ask(A, "Hello world"), ask(A, "Hello, hello")
    (got,) = estimate([first, second, first], settled={second.key()})
    assert got == LLMEstimate(
        llm_id="a",
        calls=1,
        settled=1,
        prompt_tokens=9,
        output_low=64,
        output_expected=256,
        output_high=1000,
        usd_low=(9 + 640) / 1e6,
        usd_expected=(9 + 2560) / 1e6,
        usd_high=(12 + 10_000) / 1e6,  # 9 × 1.25 is 11.25, a whole token more
    )


def test_unknown_prices_stay_unknown_and_llms_stay_apart() -> None:
    a, b = estimate([ask(A, "x"), ask(B, "x")])
    assert (a.llm_id, b.llm_id) == ("a", "b")
    assert a.usd_high is not None
    assert (b.usd_low, b.usd_expected, b.usd_high) == (None, None, None)
    assert b.calls == 1


def test_the_cap_bounds_what_is_expected() -> None:
    (got,) = estimate([ask(A, "x", max_tokens=10)])
    assert (got.output_low, got.output_expected, got.output_high) == (3, 10, 10)


def test_the_callers_expectation_is_taken() -> None:
    (got,) = estimate([ask(A, "x"), ask(A, "y")], expected_output_tokens=lambda request: 99.5)
    assert (got.output_low, got.output_expected, got.output_high) == (50, 200, 2000)


def test_without_a_cap_the_high_figure_is_unknown() -> None:
    endless = replace(A, parameters={"max_tokens": None})
    (got,) = estimate([ask(endless, "x")])
    assert (got.output_high, got.usd_high) == (None, None)
    assert got.usd_expected is not None


def test_nothing_to_ask() -> None:
    assert estimate([]) == []
    (got,) = estimate([ask(A, "x")], settled={ask(A, "x").key()})
    assert (got.calls, got.usd_high) == (0, 0.0)
