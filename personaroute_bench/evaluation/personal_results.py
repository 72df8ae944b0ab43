"""What results say about users: how regret is spread over them, and what knowing them is worth.

A figure of how users differ (worst decile, CVaR, Gini, who is harmed) is about these test
queries: its interval draws users anew, and not queries. With few queries some users stand out by
luck alone, and drawing the queries again would only add to that luck.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from personaroute_bench.evaluation import bootstrap, personalisation, regret
from personaroute_bench.evaluation.metrics import ZERO_RANGE, mean

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.evaluation.bootstrap import Statistic
    from personaroute_bench.evaluation.metrics import Outcomes

    class Scored(Protocol):
        """Scores [U, Q] of one router by name of the metric, averaged over the seeds."""

        def __getitem__(self, metric: str) -> Doubles: ...

    Drawn = Mapping[tuple[str, str], Doubles]

OVER_USERS = ("regret_worst_decile", "regret_cvar10", "regret_gini", "users_harmed")
METRICS = (*OVER_USERS, "queries_told_apart")
# Statistics of the data set rather than of a router stand under this name.
DATA = ""
RANGE, LARGEST = "range", "largest gain"
BLIND_ORACLE = "user-blind-oracle"


def statistics(
    scored: Mapping[str, Scored],
    choices: Mapping[str, Sequence[Ints]],
    outcomes: Outcomes,
    baseline: str,
) -> dict[tuple[str, str], Statistic]:
    """Return what is to be drawn, by name of the router and of the metric.

    Args:
        scored: of all routers, the controls among them.
        choices: one [U, Q] a seed, of the same routers.
        outcomes: of the test split.
        baseline: with whom a user must not be better off, or the router harms that user.
    """
    found: dict[tuple[str, str], Statistic] = {}
    found[DATA, RANGE] = bootstrap.weighted_mean(outcomes.best - outcomes.chance)
    if BLIND_ORACLE in scored:
        blind = scored[BLIND_ORACLE]["reward"]
        found[DATA, LARGEST] = bootstrap.weighted_mean(outcomes.best - blind)
    for name, values in scored.items():
        of_user = regret.user_mean(values["regret"])
        found[name, "regret_worst_decile"] = over_users(regret.worst_decile, of_user)
        found[name, "regret_cvar10"] = over_users(regret.cvar, of_user)
        found[name, "regret_gini"] = over_users(regret.gini, of_user)
        if baseline in scored:
            worse = regret.harmed(values["reward"], scored[baseline]["reward"])
            found[name, "users_harmed"] = over_users(share, worse)
        apart = np.mean([personalisation.queries_told_apart(c) for c in choices[name]], axis=0)
        found[name, "queries_told_apart"] = over_queries(share, apart)
    return found


def at_equal_weights(statistic: Statistic, users: int, queries: int) -> float | None:
    """Return the value of a statistic in the rows as they are."""
    value = float(statistic(np.ones((1, users)), np.ones((1, queries)))[0])
    return value if np.isfinite(value) else None


def best_user_blind(scored: Mapping[str, Scored], controls: Collection[str]) -> str | None:
    """Return the router of the highest reward among those that give all users the same LLMs.

    Controls do not count: they know the outcomes. None where nobody is user-blind, or where one
    user cannot be told from others.
    """
    blind: dict[str, float] = {}
    for name, values in scored.items():
        differs, reward = values["user_sensitivity"], mean(values["reward"])
        if name in controls or reward is None or mean(differs) is None:
            continue
        if mean(differs) == 0:  # shares are not negative: then each of them is 0
            blind[name] = reward
    return max(blind, key=lambda name: blind[name]) if blind else None


def gains(
    name: str,
    blind: str | None,
    scored: Mapping[str, Scored],
    outcomes: Outcomes,
    drawn: Drawn,
    confidence: float,
) -> dict[str, Any]:
    """Return what knowing users gains a router.

    Keys: `baseline`, the best user-blind router of this evaluation; `gain`, reward minus the
    baseline's; `largest`, oracle minus user-blind oracle; `share`, gain / largest; and
    `shuffled_share`, what shuffling the users costs, as a share of the way from random to the
    oracle. Each a mean and an interval, None where it is not known, or is a share of nothing.
    """
    found: dict[str, Any] = {
        "baseline": blind,
        "gain": None,
        "largest": None,
        "share": None,
    }
    values, whole = scored[name], None
    how = confidence, bootstrap.smaller(*outcomes.best.shape)
    if BLIND_ORACLE in scored:
        largest = mean(outcomes.best - scored[BLIND_ORACLE]["reward"])
        whole = (largest, drawn[DATA, LARGEST])
        found["largest"] = _told(*whole, *how)
    if blind is not None:
        lead = mean(values["reward"] - scored[blind]["reward"])
        gain = (lead, drawn[name, "reward"] - drawn[blind, "reward"])
        found["gain"] = _told(*gain, *how)
        if whole is not None:
            found["share"] = _part(gain, whole, *how)
    way = (mean(outcomes.best - outcomes.chance), drawn[DATA, RANGE])
    cost = (mean(values["shuffled_gain"]), drawn[name, "shuffled_gain"])
    found["shuffled_share"] = _part(cost, way, *how)
    return found


def _told(
    centre: float | None, samples: Doubles, confidence: float, units: int
) -> dict[str, Any] | None:
    if centre is None:
        return None
    low, high = bootstrap.interval(samples, confidence, units)
    return {"mean": centre, "low": low, "high": high}


def _part(
    part: tuple[float | None, Doubles],
    whole: tuple[float | None, Doubles],
    confidence: float,
    units: int,
) -> dict[str, Any] | None:
    """Return part / whole with its interval; None where the whole may as well be nothing."""
    least = bootstrap.interval(whole[1], confidence, units)[0]
    if part[0] is None or whole[0] is None:
        return None
    if min(whole[0], whole[0] if least is None else least) <= ZERO_RANGE:
        return None
    ratios: Doubles = np.full(len(part[1]), np.nan)
    np.divide(part[1], whole[1], out=ratios, where=whole[1] > ZERO_RANGE)
    return _told(part[0] / whole[0], ratios, confidence, units)


def share(values: Doubles, weights: Doubles) -> Doubles:
    """[b] weighted mean of what is known of values [n]; weights [b, n]."""
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    result: Doubles = np.full(len(weights), np.nan)
    np.divide(weights[:, known] @ values[known], total, out=result, where=total > 0)
    return result


def over_users(of: Any, values: Doubles) -> Statistic:
    """Return the statistic `of` of users' values [U]."""

    def statistic(of_user: Doubles, of_query: Doubles) -> Doubles:
        del of_query
        result: Doubles = of(values, of_user)
        return result

    return statistic


def over_queries(of: Any, values: Doubles) -> Statistic:
    """Return the statistic `of` of queries' values [Q]."""

    def statistic(of_user: Doubles, of_query: Doubles) -> Doubles:
        del of_user
        result: Doubles = of(values, of_query)
        return result

    return statistic
