from __future__ import annotations

import importlib.util
import sys

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.scoring.registry import score
from personaroute_bench.tasks.gym import ReasoningGym

MISSING = importlib.util.find_spec("reasoning_gym") is None
needs_gym = pytest.mark.skipif(MISSING, reason="needs the extra reasoning-gym")


def test_without_the_package_the_message_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(UsageError, match=r"pip install 'personaroute-bench\[reasoning-gym\]'"):
        ReasoningGym().load(seed=0)


def test_unknown_task_and_number() -> None:
    with pytest.raises(UsageError, match="did you mean 'gym_syllogism'"):
        ReasoningGym().load(seed=0, task_ids=["gym_sylogism"])
    with pytest.raises(UsageError, match="at least 1"):
        ReasoningGym().load(seed=0, queries_per_task=0)


@needs_gym
def test_puzzles_are_stable_unique_and_score_one() -> None:
    few = ReasoningGym().load(seed=3, queries_per_task=4)
    many = {q.query_id: q for q in ReasoningGym().load(seed=3, queries_per_task=30).queries}
    assert len(few.tasks) == 9
    assert all(many[query.query_id] == query for query in few.queries)
    assert len({(q.task_id, q.query) for q in many.values()}) == len(many) == 270
    for query in many.values():
        assert score(query.metric, query.ground_truth or "", query.ground_truth) == 1.0
    assert ReasoningGym().fingerprint()["source"] == "reasoning-gym"
