from __future__ import annotations

import numpy as np
import pytest

from personaroute_bench.users.populations import draw_weights, users_table


@pytest.mark.parametrize("preset", ["paper", "default"])
def test_the_first_thousand_of_two_thousand_are_the_thousand(preset: str) -> None:
    small, large = users_table(preset, 7, 1000), users_table(preset, 7, 2000)  # type: ignore[arg-type]
    assert large.slice(0, 1000).equals(small)
    assert len(set(large["user_id"].to_pylist())) == 2000


def test_the_papers_nine_users() -> None:
    alpha, beta = draw_weights("paper", 3, 0, 9)
    assert alpha == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert alpha + beta == pytest.approx(np.ones(9))


def test_ranges() -> None:
    paper, _ = draw_weights("paper", 0, 9, 20_000)
    default, _ = draw_weights("default", 0, 0, 20_000)
    assert 0.2 <= paper.min() < 0.21 and 0.99 < paper.max() < 1
    assert 0 <= default.min() < 0.01 and 0.99 < default.max() < 1
    assert abs(default.mean() - 0.5) < 0.01


def test_seeds_differ() -> None:
    assert (draw_weights("default", 0, 0, 50)[0] != draw_weights("default", 1, 0, 50)[0]).all()
