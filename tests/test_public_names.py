from __future__ import annotations

import personaroute_bench


def test_all_is_sorted_and_each_name_can_be_had() -> None:
    names = personaroute_bench.__all__
    assert sorted(names) == [
        "BenchError",
        "Benchmark",
        "DataConfig",
        "History",
        "Requests",
        "Router",
        "RunConfig",
        "__version__",
        "evaluate",
        "generate",
        "register_metric",
    ]
    for name in names:
        assert getattr(personaroute_bench, name) is not None
    assert set(names) <= set(dir(personaroute_bench))
    assert not hasattr(personaroute_bench, "no_such_name")
