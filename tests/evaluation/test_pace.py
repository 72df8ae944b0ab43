from __future__ import annotations

from personaroute_bench.evaluation.pace import Pace, duration


def test_each_router_takes_as_long_as_it_took_before() -> None:
    now = [0.0]
    pace = Pace([("slow", 2), ("fast", 2), ("new", 1)], clock=lambda: now[0])
    assert pace.seconds_left() is None  # nothing is known
    now[0] = 100.0
    assert pace.step("slow") == "1 of 5, about 7 min left"  # 4 more like it
    now[0] = 102.0
    assert pace.step("fast") == "2 of 5, about 3 min left"
    assert pace.seconds_left() == 100 + 2 + 51  # the new one as long as the others on average
    pace.drop("new")
    assert pace.seconds_left() == 102
    now[0] = 202.0
    pace.step("slow")
    now[0] = 204.0
    assert pace.step("fast") == "4 of 4"


def test_times_are_rounded_for_people() -> None:
    assert [duration(x) for x in (0.1, 59.6, 89, 91, 5400, 9000)] == [
        "1 s", "60 s", "89 s", "2 min", "1 h 30 min", "2 h 30 min",
    ]  # fmt: skip
