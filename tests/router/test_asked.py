"""Asked: targets and losses by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from personaroute_bench.router.asked import Asked, past_and_scale, task_places  # noqa: E402
from personaroute_bench.router.records import Past  # noqa: E402
from trained_routers import people, told  # noqa: E402

from personaroute_bench.errors import BenchError  # noqa: E402


def past_of(values: list[list[float]]) -> Past:
    """One query, and what each user told of the responses to it."""
    past = Past.of(told(people()))
    table = np.asarray(values, np.float32)[:, None]
    m = table.shape[-1]
    first = past.of_queries(slice(0, 1))
    return dataclasses.replace(
        first,
        values=table,
        user_ids=first.user_ids[: len(table)],
        llm_ids=first.llm_ids[:m],
        content=first.content[:, :m],
        cost_usd=first.cost_usd[:, :m],
        ok=first.ok[:, :m],
    )


def test_rewards_are_above_the_mean_of_what_was_told() -> None:
    asked = Asked.of(past_of([[1.0, 2.0, 6.0], [4.0, np.nan, 2.0]]), slice(None), 2, 2.0)
    expected = torch.tensor([[[-1.0, -0.5, 1.5]], [[0.5, 0.0, -0.5]]])
    torch.testing.assert_close(asked.target, expected)
    assert asked.told.tolist() == [[[True] * 3], [[True, False, True]]]
    # what does not differ within a query is not an error
    right = 100 + expected
    assert asked.loss(right, linear=True) == 0
    wrong = right.clone()
    wrong[0, 0, 0] += 3  # 2 above, the others 1 below
    torch.testing.assert_close(asked.loss(wrong, linear=True), torch.tensor((4 + 1 + 1) / 5))


def test_choices_are_among_what_was_told() -> None:
    asked = Asked.of(past_of([[0.0, 1.0, 0.0], [0.5, np.nan, 0.5]]), slice(None), 2, None)
    logits = torch.tensor([[[0.0, 0.0, 0.0]], [[0.0, 50.0, 0.0]]])
    expected = (np.log(3) + np.log(2)) / 2
    assert float(asked.loss(logits, linear=False)) == pytest.approx(expected)


def test_nothing_told_is_no_loss() -> None:
    asked = Asked.of(past_of([[np.nan, np.nan]]), slice(None), 2, 1.0)
    logits = torch.ones(1, 1, 2, requires_grad=True)
    for linear in (True, False):
        loss = asked.loss(logits, linear=linear)
        loss.backward()
        assert float(loss.detach()) == 0
        assert torch.isfinite(logits.grad).all()


def test_scale_is_of_rewards_only() -> None:
    past, scale = past_and_scale(told(people()))
    centred = past.values - past.values.mean(axis=-1, keepdims=True)
    assert scale == pytest.approx(centred.std(), rel=1e-4)
    for feedback in ("choice", "pairwise"):
        assert past_and_scale(told(people(), feedback=feedback))[1] is None
    with pytest.raises(BenchError, match="tells nothing"):
        past_and_scale(told(people(failures=1.0)))


def test_unknown_tasks_have_a_place() -> None:
    assert task_places(np.asarray([0, -1, 1, 7]), 2).tolist() == [0, 2, 1, 2]
