from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.llms import prices
from personaroute_bench.llms.pool import Pool
from personaroute_bench.llms.prices import cost_of, max_cost_of, resolve_prices
from personaroute_bench.llms.types import LLM, ChatRequest
from personaroute_bench.tokens import count_message_tokens

PRICED = LLM(
    id="m", name="M", model="m", provider="openai", base_url="https://api.openai.com/v1",
    input_price=2.0, output_price=10.0,
)  # fmt: skip
OPEN = replace(PRICED, input_price=None, output_price=None)


def test_cost_by_hand() -> None:
    # 1,000 × $2 + 500 × $10 a million
    assert cost_of(PRICED, prompt_tokens=1000, completion_tokens=500) == 0.007


def test_cached_tokens_have_their_own_price() -> None:
    llm = replace(PRICED, cached_input_price=0.5)
    both = {"prompt_tokens": 1000, "completion_tokens": 500}
    # 400 × $2 + 600 × $0.5 + 500 × $10
    assert cost_of(llm, **both, cached_tokens=600) == pytest.approx(0.0061)
    assert cost_of(PRICED, **both, cached_tokens=600) == pytest.approx(0.007)
    free = replace(PRICED, cached_input_price=0.0)
    assert cost_of(free, **both, cached_tokens=5000) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("llm", "prompt", "completion"),
    [
        (OPEN, 1, 1),
        (replace(PRICED, input_price=None), 1, 1),
        (PRICED, None, 1),
        (PRICED, 1, None),
    ],
)
def test_unknown_money_is_none(llm: LLM, prompt: int | None, completion: int | None) -> None:
    assert cost_of(llm, prompt_tokens=prompt, completion_tokens=completion) is None


def test_a_free_llm_costs_nothing_however_much_it_said() -> None:
    free = replace(PRICED, input_price=0.0, output_price=0.0)
    assert cost_of(free, prompt_tokens=None, completion_tokens=None) == 0.0


def test_upper_bound_by_hand() -> None:
    request = ChatRequest(PRICED, (("user", "é" * 10),), max_tokens=100)
    # (20 bytes + 16 + 256) × $2 + 100 × $10
    assert max_cost_of(request) == pytest.approx((292 * 2 + 100 * 10) / 1e6)


@given(st.lists(st.text(), min_size=1, max_size=4), st.integers(1, 10_000))
def test_the_bound_holds_for_any_text(contents: list[str], cap: int) -> None:
    messages = tuple(("user", content) for content in contents)
    used = cost_of(PRICED, prompt_tokens=count_message_tokens(messages), completion_tokens=cap)
    bound = max_cost_of(ChatRequest(PRICED, messages, max_tokens=cap))
    assert used is not None
    assert bound is not None
    assert used <= bound


@pytest.mark.parametrize(
    ("changes", "cap"),
    [
        ({}, 100),
        ({"max_tokens": 7}, 7),
        ({"parameters": {"max_tokens": 50}}, 50),
        ({"parameters": {"max_completion_tokens": 900}}, 900),
        ({"parameters": {"max_tokens": None, "max_completion_tokens": 30}}, 30),
        ({"parameters": {"max_tokens": None}}, None),
    ],
)
def test_the_cap_is_the_one_that_is_sent(changes: dict[str, Any], cap: int | None) -> None:
    request = ChatRequest(replace(PRICED, **changes), (("user", "x"),), max_tokens=100)
    assert prices.output_cap(request) == cap
    assert (max_cost_of(request) is None) == (cap is None)


def test_further_fields_count_into_the_bound() -> None:
    plain = ChatRequest(PRICED, (("user", "x"),), max_tokens=1)
    schema = replace(plain, response_format={"type": "json_schema", "text": "y" * 1000})
    low, high = max_cost_of(plain), max_cost_of(schema)
    assert low is not None
    assert high is not None
    assert high > low + 1000 * 2 / 1e6


def test_no_price_no_bound() -> None:
    assert max_cost_of(ChatRequest(OPEN, (("user", "x"),), max_tokens=1)) is None


TABLE = {
    "m": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08,
    },
    "groq/m": {
        "litellm_provider": "groq", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
    },
    "odd": {"litellm_provider": "openai", "input_cost_per_token": math.nan},
}  # fmt: skip


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "litellm_prices", lambda: ("1.2.3", TABLE))


@pytest.mark.usefixtures("table")
def test_prices_from_litellms_table() -> None:
    (llm,) = resolve_prices(Pool("p", (OPEN,))).llms
    assert (llm.input_price, llm.output_price, llm.cached_input_price) == (0.15, 0.6, 0.075)
    assert llm.price_source == "litellm 1.2.3"
    groq = replace(OPEN, provider="groq", base_url=None)
    assert resolve_prices(Pool("p", (groq,))).llms[0].input_price == 1.0


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "llm",
    [
        replace(OPEN, base_url="https://example.org/v1"),  # another seller of the same name
        replace(OPEN, base_url="http://127.0.0.1:8000/v1"),
        replace(OPEN, model="m-70b"),
        replace(OPEN, model="odd"),
        replace(OPEN, provider="deepinfra", base_url=None),
        replace(OPEN, input_price=1.0),  # half a price is not completed from another list
    ],
)
def test_nothing_is_guessed(llm: LLM) -> None:
    assert resolve_prices(Pool("p", (llm,)), allow_unknown=True).llms == (llm,)
    with pytest.raises(UsageError, match=r"no price for m;.*--allow-unknown-cost"):
        resolve_prices(Pool("p", (llm,)))


@pytest.mark.usefixtures("table")
def test_the_pools_own_price_stands() -> None:
    free = replace(OPEN, input_price=0.0, output_price=0.0)
    assert resolve_prices(Pool("p", (PRICED, free))).llms == (PRICED, free)


def test_the_real_table_reads_without_importing_litellm() -> None:
    version, table = prices.litellm_prices()
    if not version:
        pytest.skip("the extra [litellm] is not installed")
    assert table["gpt-4o-mini"]["litellm_provider"] == "openai"
