"""Who claims to be personal is, and who does not is not: for every router of the registry.

A router claims it by `personal = True` on its class. A new one is taken up here by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from honest_runs import DRAWN, EVERY, FACTS, PERSONAL, Chosen, Runs, write_tastes
from loopback import Loopback
from prompt_server import reply

# One worker makes the runs that all tests here look at.
pytestmark = pytest.mark.xdist_group("personal-claims")

BLIND = [name for name in EVERY if name not in PERSONAL]


def ran(runs: Runs, name: str, change: str = "") -> Chosen:
    """HybridLLM knows two LLMs: it is asked about the thrifty users' and the others' one."""
    pair = name.startswith("hybrid-llm")
    among = [other for other in EVERY if other.startswith("hybrid-llm") == pair]
    return runs(name, ("two-llms" if pair else "tastes") + change, among)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("claims")
    write_tastes(folder)
    with Loopback(reply) as server:
        yield Runs(folder, server)


def test_both_kinds_are_there() -> None:
    assert {"best-per-user", "explicit-utility", "personalized", "prompt-llm"} <= set(PERSONAL)
    assert {"random", "best-single", "best-per-task", "knn", "mf"} <= set(BLIND)


@pytest.mark.parametrize("name", PERSONAL)
def test_exchanging_two_pasts_exchanges_the_choices(runs: Runs, name: str) -> None:
    before = ran(runs, name).llm_ids
    after = ran(runs, name, "-exchanged").llm_ids
    assert (before[0] != before[2]).mean() > 0.2
    # An online router explores, some by lot, and learns from the choices that differ.
    alike = 0.6 if FACTS[name].protocol == "online" else 0.9
    others = [1, *range(3, 12)]
    assert (after[[0, 2]] == before[[2, 0]]).mean() > alike
    assert (after[others] == before[others]).mean() > alike


@pytest.mark.parametrize("name", PERSONAL)
def test_taking_users_for_others_costs_reward(runs: Runs, name: str) -> None:
    metrics = ran(runs, name).entry["metrics"]
    assert metrics["shuffled_gain"]["mean"] > 0.05
    assert metrics["shuffled_gain"]["p_value"] < 0.02
    assert metrics["user_sensitivity"]["mean"] > 0.1


@pytest.mark.parametrize("name", PERSONAL)
def test_without_identities_nobody_is_treated_differently(runs: Runs, name: str) -> None:
    if FACTS[name].protocol == "online":
        pytest.skip("an online router gets to know users while it is tested")
    found = runs(name, "tastes", PERSONAL, tier="T0").llm_ids
    assert (found == found[:1]).all()


@pytest.mark.parametrize("name", BLIND)
def test_who_does_not_claim_it_treats_all_alike(runs: Runs, name: str) -> None:
    run = ran(runs, name)
    after = ran(runs, name, "-exchanged").llm_ids
    np.testing.assert_array_equal(after, run.llm_ids)
    if name in DRAWN:
        assert run.entry["metrics"]["shuffled_gain"]["p_value"] > 0.02
        return
    assert (run.llm_ids == run.llm_ids[:1]).all(), "treats users differently: personal = True?"
    assert run.entry["metrics"]["shuffled_gain"]["mean"] == pytest.approx(0, abs=1e-9)
    assert run.entry["metrics"]["user_sensitivity"]["mean"] == 0
