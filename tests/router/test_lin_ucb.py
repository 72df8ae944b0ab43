"""LinUCB: the linear algebra against the definition, and what it learns from a stream."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from learned_data import THRIFTY, asked, past_with_tastes, rows_of, told
from personaroute_bench.router.lin_ucb import RIDGE, Arms, Contexts, LinUcb, LinUcbPersonal
from personaroute_bench.router.past import past_of
from small_benchmark import STRATEGY

from personaroute_bench.errors import BenchError
from personaroute_bench.evaluation.runner import evaluate

KINDS = (LinUcb, LinUcbPersonal)


def fitted(kind: Any, data: Any, **options: Any) -> Any:
    router = kind()
    router.fit(told(data, **options))
    return router


def choices(router: Any, data: Any, users: list[str] | None = None) -> np.ndarray:
    return np.asarray(router.route(asked(data, users))).reshape(-1, 16)


def rows(seed: int = 0, n: int = 40) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, n), rng.integers(0, 2, n), rng.normal(size=(n, 4)), rng.normal(size=n)


def test_the_blind_bound_is_the_definition() -> None:
    users, llms, z, values = rows()
    arms = Arms(3, 2, 4, None)
    for part in np.array_split(np.arange(40), 7):
        arms.learn(users[part], llms[part], z[part], values[part])
    x = np.random.default_rng(9).normal(size=(5, 4))
    found = arms.scores(np.zeros(5, np.int64), x, 0.7)
    for m in range(2):
        own = llms == m
        gram = RIDGE * np.eye(4) + z[own].T @ z[own]
        theta = np.linalg.solve(gram, z[own].T @ values[own])
        spread = np.einsum("ni,ij,nj->n", x, np.linalg.inv(gram), x)
        np.testing.assert_allclose(found[:, m], x @ theta + 0.7 * np.sqrt(spread))


def test_the_personal_bound_is_the_definition_after_sherman_and_morrison() -> None:
    users, llms, z, values = rows(1)
    strength = 5.0
    arms = Arms(3, 2, 4, strength)
    for part in np.array_split(np.arange(40), 3):  # several requests of one user and LLM in each
        arms.learn(users[part], llms[part], z[part], values[part])
    everybody = Arms(3, 2, 4, None)
    everybody.learn(users, llms, z, values)
    x = np.random.default_rng(9).normal(size=(4, 4))
    who = np.asarray([0, 1, 2, -1])
    found = arms.scores(who, x, 0.3)
    for n, u in enumerate(who.tolist()):
        for m in range(2):
            prior = np.linalg.solve(everybody.gram[m], everybody.cross[m])
            own = (llms == m) & (users == u)
            gram = strength * np.eye(4) + z[own].T @ z[own]
            theta = np.linalg.solve(gram, strength * prior + z[own].T @ values[own])
            bound = x[n] @ theta + 0.3 * np.sqrt(x[n] @ np.linalg.solve(gram, x[n]))
            assert found[n, m] == pytest.approx(bound)


def test_a_past_taken_in_at_once_is_one_taken_in_row_by_row() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 6, 2))
    values[rng.random(values.shape) < 0.3] = np.nan
    z = rng.normal(size=(6, 4))
    once, row_by_row = Arms(3, 2, 4, 4.0), Arms(3, 2, 4, 4.0)
    once.learn_past(z, values)
    u, q, m = np.nonzero(np.isfinite(values))
    row_by_row.learn(u, m, z[q], values[u, q, m])
    for name in ("gram", "cross", "inverse", "own"):
        np.testing.assert_allclose(getattr(once, name), getattr(row_by_row, name), atol=1e-10)


def test_room_for_others_changes_nothing_known() -> None:
    users, llms, z, values = rows(4)
    arms = Arms(3, 2, 4, 5.0)
    arms.learn(users, llms, z, values)
    before = arms.scores(np.arange(3), z[:3], 0.5)
    arms.grow(6, 3)
    np.testing.assert_allclose(arms.scores(np.arange(3), z[:3], 0.5)[:, :2], before)
    assert arms.inverse.shape == (6, 3, 4, 4)
    new = arms.scores(np.arange(3), z[:3], 0.0)
    np.testing.assert_allclose(
        np.linalg.solve(arms.gram[2], arms.cross[2]),
        np.linalg.solve(arms.gram[:2], arms.cross[:2, :, None])[..., 0].mean(axis=0),
    )
    assert np.isfinite(new).all()


def test_contexts_are_components_and_tasks() -> None:
    past = past_of(told(past_with_tastes()))
    contexts = Contexts.of(past, 2)
    z = contexts(past.embeddings, past.task)
    assert z.shape == (52, 1 + 3 + 2)
    assert (z[:, 0] == 1).all()
    np.testing.assert_allclose(z[:, 1:4].mean(axis=0), 0, atol=1e-12)
    assert (z[:, 1:4] ** 2).sum(axis=1).mean() == pytest.approx(1.0)
    np.testing.assert_array_equal(z[:, 4:].argmax(axis=1), past.task)
    alike = dataclasses.replace(past, embeddings=np.ones((52, 3)))
    assert np.isfinite(Contexts.of(alike, 2)(alike.embeddings, alike.task)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_learns_which_queries_are_for_which_llm(kind: Any) -> None:
    data = past_with_tastes()
    reward = data.memory[STRATEGY, "test"].reward
    best = reward[~THRIFTY].mean(axis=0).argmax(axis=-1)
    found = choices(fitted(kind, data), data)
    assert (found[~THRIFTY] == best).mean() > 0.9
    assert ((found == found[:1]).all()) == (kind is LinUcb)


def test_thrifty_users_get_the_cheap_llm_and_swapping_pasts_swaps_answers() -> None:
    data = past_with_tastes()
    before = choices(fitted(LinUcbPersonal, data), data)
    assert (before[THRIFTY] == 0).mean() > 0.9
    order = np.asarray([2, 1, 0, *range(3, 12)])
    memory = {
        key: dataclasses.replace(part, reward=part.reward[order], chosen=part.chosen[order])
        for key, part in data.memory.items()
    }
    after = choices(fitted(LinUcbPersonal, dataclasses.replace(data, memory=memory)), data)
    assert (before[0] != before[2]).mean() > 0.5
    assert (after[[0, 2]] == before[[2, 0]]).mean() > 0.9


def test_shuffled_identities_cost_reward() -> None:
    entries = evaluate(past_with_tastes(), [LinUcbPersonal], bootstrap_draws=100).routers
    gain = next(e for e in entries if e["asked_for"])["metrics"]["shuffled_gain"]
    assert gain["mean"] > 0.1
    assert gain["p_value"] < 0.05


def turned(data: Any, users: np.ndarray) -> Any:
    """The test split of a world in which these users have come to like LLM 3 alone."""
    part = data.memory[STRATEGY, "test"]
    reward = part.reward.copy()
    reward[users] = np.asarray([0.0, 0.0, 0.0, 1.0], np.float32)
    chosen = reward == reward.max(axis=-1, keepdims=True)
    memory = dict(data.memory)
    memory[STRATEGY, "test"] = dataclasses.replace(part, reward=reward, chosen=chosen)
    return dataclasses.replace(data, memory=memory)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_teaches_what_the_past_did_not(kind: Any, tmp_path: Any) -> None:
    """Everybody comes to like LLM 3: with a bonus that tries it, the stream shows that."""
    import pyarrow.parquet as pq

    class Curious(kind):  # type: ignore[misc]
        def fit(self, history: Any) -> None:
            super().fit(history)
            self.bonus = 3.0

    class Deaf(Curious):
        def update(self, revealed: Any) -> None: ...

    data = turned(past_with_tastes(), np.arange(12))
    options: Any = {"bootstrap_draws": 0, "interactions_per_user": 2, "choices_dir": tmp_path}
    shares = []
    for router in (Curious, Deaf):
        results = evaluate(data, [router], **options)
        entry = next(e for e in results.routers if e["asked_for"])
        rows = pq.read_table(tmp_path / entry["choices_file"]).to_pylist()
        late = [row["llm_id"] == "llm-3" for row in rows if row["block"] >= 12]
        shares.append(float(np.mean(late)))
    assert shares[0] > 0.5
    assert shares[0] > shares[1] + 0.2


def test_a_stranger_is_everybody_until_something_is_told() -> None:
    data = past_with_tastes()
    router = fitted(LinUcbPersonal, data)
    router.bonus = 0.0
    blind = fitted(LinUcb, data)
    blind.bonus = 0.0
    np.testing.assert_array_equal(
        choices(router, data, ["stranger"]), choices(blind, data, ["user-0"])
    )
    assert "stranger" not in router.users


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("feedback", ["full", "choice", "pairwise"])
def test_little_and_broken_pasts(kind: Any, feedback: Any) -> None:
    data = past_with_tastes(failures=0.4)
    results = evaluate(data, [kind], feedback=feedback, interactions_per_user=2, bootstrap_draws=0)
    entry = next(e for e in results.routers if e["asked_for"])
    assert entry["status"] == "ok"
    assert entry["invalid"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_user_one_llm_no_validation(kind: Any) -> None:
    alone = rows_of(past_with_tastes(), np.asarray([4]))
    assert (choices(fitted(kind, alone, validated=False), alone) >= 0).all()
    single = rows_of(past_with_tastes(), np.arange(12), np.asarray([2]))
    assert (choices(fitted(kind, single), single) == 0).all()
    with pytest.raises(BenchError, match="tells nothing"):
        fitted(kind, past_with_tastes(failures=1.0))


def test_adapts_to_new_users_and_llms() -> None:
    data = past_with_tastes()
    router = LinUcbPersonal()
    router.fit(told(rows_of(data, np.arange(9))))
    before = choices(router, data)
    router.adapt(told(rows_of(data, np.arange(9, 12)), validated=False, interactions_per_user=30))
    after = choices(router, data)
    assert (before[11] == 0).mean() < 0.5 < (after[11] == 0).mean()
    order = np.asarray([1, 2, 3, 0])
    late = LinUcbPersonal()
    late.fit(told(rows_of(data, np.arange(12), order[:3])))
    later = rows_of(data, np.arange(12), order)
    late.adapt(told(later, validated=False, interactions_per_user=20))
    assert (choices(late, later)[THRIFTY] == 3).mean() > 0.8


@pytest.mark.parametrize(
    ("setting", "shots"), [("new-user", 0), ("new-user", 3), ("new-llm", 3), ("cross-task", None)]
)
def test_other_settings_run(setting: str, shots: int | None) -> None:
    names = ["lin-ucb", "lin-ucb-personal", "c2mab-v", "c2mab-v-personal"]
    results = evaluate(past_with_tastes(), names, setting=setting, shots=shots, bootstrap_draws=0)
    assert results.failed == []
    assert all(e["invalid"] == 0 for e in results.routers if e["asked_for"])
