"""The parts of the page that show users: how they fare, who is sent where, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.evaluation.texts import printable
from personaroute_bench.evaluation.verdict import LEVEL
from personaroute_bench.reporting import plots
from personaroute_bench.reporting.examples import find_examples
from personaroute_bench.reporting.joined import CASCADE
from personaroute_bench.reporting.numbers import percent
from personaroute_bench.reporting.results import Figure

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Ints
    from personaroute_bench.reporting.joined import Joined
    from personaroute_bench.reporting.page import Album
    from personaroute_bench.reporting.results import Result, Row

MOST_GROUPS = 20
MOST_MAPS = 3
MOST_SPREADS = 30
ORACLE = "oracle"


def by_user(
    result: Result, joined: Joined | None, album: Album, routers: Sequence[str], examples: int
) -> dict[str, Any]:
    """Return `spread`, `maps`, `examples`, and `wanted`: what is to be given for those missing."""
    found: dict[str, Any] = {"spread": None, "maps": [], "examples": None, "wanted": []}
    if joined is None or not joined.choices:
        found["wanted"] = [_wanted(result, joined)]
        return found
    found["wanted"] = [
        f"{name} is not shown by user: {why}" for name, why in joined.missing.items()
    ]
    rows = [row for row in result.routers if row.name in joined.choices]
    found["spread"] = _spread(joined, rows, album)
    shown = shown_by_user(rows, routers)
    oracle = [row for row in rows if row.name == ORACLE and row not in shown]
    found["maps"] = [_map(joined, row, album) for row in [*shown, *oracle]]
    personal = [row for row in shown if (row["user_sensitivity"].mean or 0) > 0]
    if examples and personal:
        found["examples"] = _examples(joined, personal[0], examples)
    return found


def shown_by_user(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the routers whose choices are shown user by user.

    Those named; or else, of those asked for that treat users differently, the ones that lose most
    when users are shuffled, those that show it first; or else the best one.
    """
    if names:
        return [row for name in names for row in rows if row.name == name]
    asked = [row for row in rows if row.asked_for and not row.control] or [
        row for row in rows if not row.control
    ]
    personal = [row for row in asked if (row["user_sensitivity"].mean or 0) > 0]
    personal.sort(key=lambda row: -(row["shuffled_gain"].mean or 0))
    sure = [row for row in personal if row.p_value is not None and row.p_value < LEVEL]
    return sure[:MOST_MAPS] or personal[:1] or asked[:1]


def _wanted(result: Result, joined: Joined | None) -> str:
    what = "how users fare, who is sent where and examples"
    written = any(row.files for row in result.routers)
    if not written:
        return (
            f"{result.path}: for {what}, run bench evaluate again with --choices DIR, then bench "
            "report with --choices DIR and --data, the data set's folder"
        )
    if joined is None:
        return (
            f"{result.path}: for {what}, give --data, the folder of its data set"
            f"{f' (it was {result.directory!r})' if result.directory else ''}, and --choices, the "
            "folder that bench evaluate --choices wrote"
        )
    return f"{result.path}: for {what}, give --choices, the folder that bench evaluate wrote"


def _spread(joined: Joined, rows: Sequence[Row], album: Album) -> dict[str, Any] | None:
    values: dict[str, Doubles] = {}
    left_out: list[str] = []
    for row in rows:
        of_user = joined.per_user(row)
        if of_user is None or not np.isfinite(of_user).any():
            left_out.append(row.name)
        elif len(values) < MOST_SPREADS:
            values[row.name] = of_user
    if not values:
        return None
    table = [
        (name, [f"{quantile:z.2f}" for quantile in plots.spread(of_user)])
        for name, of_user in values.items()
    ]
    label = (
        f"Spread of users' oracle-normalised rewards for {len(values)} routers, from the 5th to "
        "the 95th of a hundred users. All figures are in the table below."
    )
    some = next(iter(values.values()))
    return {
        "drawing": album.add("users", plots.draw_users(values, album.prefix, label)),
        "rows": table,
        "left_out": left_out,
        "cascades": any(row.protocol == CASCADE for row in rows),
        "without_range": int((~np.isfinite(some)).sum()),
    }


def _map(joined: Joined, row: Row, album: Album) -> dict[str, Any]:
    shares = joined.shares(row)
    assert shares is not None, "only routers whose choices are there are shown"
    columns = joined.by_cost
    order, how = _order(joined, shares)
    groups = np.array_split(order, min(MOST_GROUPS, len(order)))
    names = [_group_name(joined, group) for group in groups]
    grid = np.stack([shares[group].mean(axis=0) for group in groups])[:, columns]
    llms = [printable(str(name)) for name in joined.llm_ids[columns]]
    label = (
        f"Which LLMs {row.name} sends {len(joined.users)} users to, in {len(groups)} rows of "
        "users. All figures are in the table below."
    )
    total = shares.mean(axis=0)[columns]
    return {
        "name": row.name,
        "control": row.control,
        "how": how,
        "grouped": len(groups) < len(order),
        "llms": llms,
        "rows": [
            (name, [percent(Figure(float(share)))[0] for share in of_group])
            for name, of_group in zip(names, grid, strict=True)
        ],
        "total": [percent(Figure(float(share)))[0] for share in total],
        "drawing": album.add("choices", plots.draw_shares(grid, names, llms, album.prefix, label)),
    }


def _order(joined: Joined, shares: Doubles) -> tuple[Ints, str]:
    """[U] users, alike ones beside one another, and by what."""
    if joined.taste is not None:
        values, meaning = joined.taste
        return np.argsort(values, kind="stable"), f"by {meaning}, from low to high"
    place = np.empty(len(joined.by_cost))
    place[joined.by_cost] = np.arange(len(place))
    return (
        np.argsort(shares @ place, kind="stable"),
        "by how dear the LLMs are that they are sent to: the users table has no weight to go by",
    )


def _group_name(joined: Joined, group: Ints) -> str:
    first = printable(str(joined.user_ids[group[0]]))
    if joined.taste is None:
        return first if len(group) == 1 else f"{len(group)} users, {first} …"
    values = joined.taste[0][group]
    if len(group) == 1:
        return f"{first} ({values[0]:.2f})"
    return f"{values.min():.2f} to {values.max():.2f} ({len(group)} users)"


def _examples(joined: Joined, row: Row, count: int) -> dict[str, Any]:
    losses = count // 3
    good, bad = find_examples(joined, row, count - losses, losses)
    gain = row["shuffled_gain"]
    return {
        "name": row.name,
        "good": good,
        "bad": bad,
        "gain": gain,
        "p": row.p_value,
        "taste": any(side.taste for one in [*good, *bad] for side in one.sides),
    }
