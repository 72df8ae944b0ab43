"""Rates, adaptive concurrency and fairness, on a clock that the tests set."""

from __future__ import annotations

import math

import pytest
from engine_fakes import make_llm, make_request
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.llms.limits import Endpoint, Job, Lanes, TokenBucket, token_estimate


def taken(lanes: Lanes, now: float = 0.0) -> Job:
    job = lanes.pick(now)
    assert isinstance(job, Job)
    return job


def test_bucket_bursts_for_six_seconds_and_then_keeps_the_rate() -> None:
    bucket = TokenBucket(60)
    for _ in range(6):
        assert bucket.ready_at(1, 0.0) == 0.0
        bucket.take(1, 0.0)
    assert bucket.ready_at(1, 0.0) == pytest.approx(1.0)
    bucket.take(1, 1.0)
    assert bucket.ready_at(1, 1.0) == pytest.approx(2.0)


def test_bucket_lets_an_oversized_call_through_once_full_and_is_then_in_debt() -> None:
    bucket = TokenBucket(600)
    assert bucket.ready_at(300, 0.0) == 0.0
    bucket.take(300, 0.0)
    assert bucket.ready_at(60, 0.0) == pytest.approx(30.0)
    bucket.take(-200, 0.0)
    assert bucket.ready_at(60, 0.0) == pytest.approx(10.0)


@given(
    st.floats(0.5, 600.0),
    st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.1, 5.0)), min_size=1, max_size=60),
)
def test_bucket_never_exceeds_its_rate(per_minute: float, calls: list[tuple[float, float]]) -> None:
    bucket, now, sent = TokenBucket(per_minute), 0.0, 0.0
    capacity = max(1.0, per_minute / 10)
    for pause, amount in calls:
        now = bucket.ready_at(amount, now + pause)
        bucket.take(amount, now)
        sent += amount
        allowed = capacity + now * per_minute / 60 + max(0.0, amount - capacity)
        assert sent <= allowed * (1 + 1e-6) + 1e-6


def test_a_burst_of_rejections_shrinks_an_endpoint_once() -> None:
    endpoint = Endpoint(32)
    for _ in range(20):
        endpoint.rejected(started=1.0, now=2.0, wait_s=0.0)
    assert endpoint.limit == 24.0
    endpoint.rejected(started=2.5, now=3.0, wait_s=0.0)
    assert endpoint.limit == 18.0


def test_an_endpoint_never_shrinks_below_one_nor_grows_above_the_maximum() -> None:
    endpoint = Endpoint(4)
    for second in range(50):
        endpoint.rejected(started=second + 0.5, now=second + 1, wait_s=0.0)
    assert endpoint.limit == 1.0
    for _ in range(100):
        endpoint.succeeded()
    assert endpoint.limit == 4.0


def test_an_endpoint_gets_one_place_back_per_round_of_successes() -> None:
    endpoint = Endpoint(100)
    endpoint.rejected(1.0, 2.0, 0.0)
    for _ in range(80):
        endpoint.succeeded()
    assert 76.0 < endpoint.limit < 76.2


def test_a_pause_is_kept_and_never_shortened() -> None:
    endpoint = Endpoint(4)
    endpoint.rejected(1.0, 2.0, wait_s=30.0)
    endpoint.rejected(1.0, 3.0, wait_s=1.0)
    assert endpoint.ready_at(3.0) == 32.0
    assert endpoint.ready_at(40.0) == 40.0


def test_the_llm_with_the_fewest_in_flight_goes_next() -> None:
    lanes = Lanes(8)
    llms = [make_llm(n) for n in range(3)]
    for llm in llms:
        for number in range(9):
            lanes.add(make_request(llm, number), f"{llm.id}-{number}")
    jobs = [taken(lanes) for _ in range(8)]
    assert [job.request.llm.id for job in jobs[:6]] == ["llm0", "llm1", "llm2"] * 2
    assert lanes.pick(0.0) == math.inf, "the endpoint's eight places are taken"
    lanes.release(jobs[2])  # llm2 answers, the others hang
    assert taken(lanes).request.llm.id == "llm2"
    assert (lanes.in_flight, lanes.pending) == (8, 27 - 9)


def test_a_retry_waits_for_its_time_and_then_goes_first() -> None:
    lanes = Lanes(2)
    llm = make_llm()
    for number in range(3):
        lanes.add(make_request(llm, number), str(number))
    first = taken(lanes)
    lanes.release(first, retry_at=5.0)
    second = taken(lanes, 1.0)
    assert second.key == "1"
    lanes.release(second)
    assert taken(lanes, 5.0) is first
    lanes.release(first, retry_at=9.0)
    lanes.release(taken(lanes, 5.0))
    assert lanes.pick(6.0) == 9.0
    assert taken(lanes, 9.0) is first
    assert lanes.pending == 0


def test_rate_limits_hold_one_llm_and_not_the_others() -> None:
    lanes = Lanes(100)
    slow, quick = make_llm(0, requests_per_minute=60.0), make_llm(1)
    for number in range(20):
        lanes.add(make_request(slow, number), f"s{number}")
        lanes.add(make_request(quick, number), f"q{number}")
    keys = []
    while isinstance(job := lanes.pick(0.0), Job):
        keys.append(job.key)
    assert sum(key[0] == "s" for key in keys) == 6
    assert sum(key[0] == "q" for key in keys) == 20
    assert job == pytest.approx(1.0)


def test_tokens_are_estimated_and_then_corrected() -> None:
    lanes = Lanes(100)
    llm = make_llm(tokens_per_minute=1200.0)
    for number in range(3):
        lanes.add(make_request(llm, number, max_tokens=118), str(number))
    assert token_estimate(make_request(llm, 0, max_tokens=118)) == 120
    job = taken(lanes)
    chance = lanes.pick(0.0)
    assert chance == pytest.approx(6.0)
    lanes.used(job, 60, 0.0)
    assert lanes.pick(0.0) == pytest.approx(3.0)


def test_endpoints_are_shared_by_url_and_key_only() -> None:
    lanes = Lanes(1)
    lanes.add(make_request(make_llm(0, api_key_env="A")), "a")
    lanes.add(make_request(make_llm(1, api_key_env="A")), "b")
    lanes.add(make_request(make_llm(2, api_key_env="B")), "c")
    assert {taken(lanes).key, taken(lanes).key} == {"a", "c"}
    assert lanes.pick(0.0) == math.inf


@pytest.mark.parametrize("per_minute", [6.0, 60.0, 3_000.0])
@pytest.mark.parametrize("parts", [2, 3, 16])
def test_parts_of_a_rate_ask_no_faster_than_the_whole(per_minute: float, parts: int) -> None:
    """So many processes that ask all the time, each with its part, against one with all of it."""
    buckets = [TokenBucket(per_minute, parts) for _ in range(parts)]
    burst = max(1.0, 0.1 * per_minute)
    sent = 0
    for second in range(180):
        for bucket in buckets:
            while bucket.ready_at(1, float(second)) <= second:
                bucket.take(1, float(second))
                sent += 1
        assert sent <= burst + per_minute * second / 60 + 1e-6 * sent
    assert sent >= 0.9 * per_minute * 3 - parts
