"""The style stage of generation: ratings, choices, and a report on how far to trust them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from personaroute_bench.benchmark import index_of
from personaroute_bench.config import RunConfig
from personaroute_bench.files import sha256_file, write_table
from personaroute_bench.hashing import digest
from personaroute_bench.interactions import ResponseGrid
from personaroute_bench.judging.dimensions import NAMES
from personaroute_bench.judging.style import STYLE_VERSION, measure_style, standardise_within_query
from personaroute_bench.report import Report
from personaroute_bench.schemas import RATINGS
from personaroute_bench.users.laws import STYLE_STRATEGIES, Style, judged_choices
from personaroute_bench.users.rewards import Floats

if TYPE_CHECKING:
    from personaroute_bench.folder import DataFolder
    from personaroute_bench.plan import Plan

EMBEDDED = "embedded"
# The report on the judge looks at so many users; its intervals say how much that leaves open.
REPORT_USERS = 300


def make_style(
    folder: DataFolder,
    plan: Plan,
    run: RunConfig,
    responses: pa.Table,
    strategies: tuple[str, ...],
    report: Report,
) -> Style | None:
    """Return ratings and personas, or None where no strategy has to do with style.

    Writes `ratings.parquet`; done once for the same responses and judge.
    """
    if not set(strategies) & set(STYLE_STRATEGIES):
        return None
    path = folder.path / "ratings.parquet"
    inputs = {
        "responses": sha256_file(folder.path / "responses.parquet"),
        "style": STYLE_VERSION,
        **plan.data.judging,
    }
    query_ids = [query.query_id for query in plan.taskset.queries]
    llm_ids = [llm.id for llm in plan.pool.llms]
    if folder.is_done("ratings", inputs, path):
        ratings = read_ratings(path, query_ids, llm_ids)
    else:
        report.stage("style", "ratings by the embedded judge")
        folder.begin_change()
        ratings = embedded_ratings(responses, plan)
        write_table(path, ratings_table(ratings, query_ids, llm_ids, EMBEDDED))
        folder.mark_done("ratings", inputs)
    fingerprint = digest([inputs, plan.personas.fingerprint()])
    return Style(plan.personas, ratings, fingerprint)


def embedded_ratings(responses: pa.Table, plan: Plan) -> Floats:
    """Measure the style dimensions on the text itself: [Q, M, D] in [0, 1], NaN unless ok."""
    shape = (len(plan.taskset.queries), len(plan.pool.llms))
    texts = responses["response"].to_pylist()
    asked = [query.query for query in plan.taskset.queries for _ in plan.pool.llms]
    ok = np.asarray(responses["status"].cast(pa.string()).to_pylist()) == "ok"
    raw = measure_style(texts, asked).reshape(*shape, len(NAMES))
    return standardise_within_query(raw, ok.reshape(shape))


def ratings_table(
    ratings: Floats, query_ids: list[str], llm_ids: list[str], judge: str
) -> pa.Table:
    """Return ratings [Q, M, D] as the `ratings` table."""
    queries, llms, dimensions = ratings.shape
    flat = ratings.reshape(-1)

    def codes(values: np.ndarray[Any, Any], names: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), pa.array(names))

    return pa.Table.from_arrays(
        [
            codes(np.repeat(np.arange(queries), llms * dimensions), query_ids),
            codes(np.tile(np.repeat(np.arange(llms), dimensions), queries), llm_ids),
            codes(np.zeros(flat.size), [judge]),
            codes(np.tile(np.arange(dimensions), queries * llms), list(NAMES)),
            pa.array(flat, mask=np.isnan(flat)),
        ],
        schema=RATINGS,
    )


def read_ratings(path: Any, query_ids: list[str], llm_ids: list[str]) -> Floats:
    """Read the `ratings` table back as [Q, M, D], the mean over judges."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    place = (
        index_of(table["query_id"], pa.array(query_ids), "ratings.query_id"),
        index_of(table["llm_id"], pa.array(llm_ids), "ratings.llm_id"),
        index_of(table["dimension"], pa.array(list(NAMES)), "ratings.dimension"),
    )
    values = table["rating"].to_numpy()
    known = ~np.isnan(values)
    shape = (len(query_ids), len(llm_ids), len(NAMES))
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, tuple(p[known] for p in place), values[known])
    np.add.at(count, tuple(p[known] for p in place), 1)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)


def judge_facts(plan: Plan, grid: ResponseGrid, style: Style) -> dict[str, Any]:
    """Report on the judge, from the first users: JSON values, and the sentences under ``lines``."""
    from personaroute_bench.judging.report import judge_report

    users = min(plan.data.users, REPORT_USERS)
    draw = plan.personas.draw(plan.data.preset, plan.data.seed, 0, users)
    result = judge_report(
        plan.data.judge,
        judged_choices(plan.data, grid, style, users),
        grid.ok,
        grid.query_ids.tolist(),
        grid.llm_ids.tolist(),
        lengths=grid.completion_tokens,
        families={llm.id: llm.family for llm in plan.pool.llms},
        ratings=style.ratings,
        performance=grid.performance,
        labels=draw.archetype.astype(str).tolist(),
        again=judged_choices(plan.data, grid, style, users, repeat=1),
        train=grid.split != "test",
        seed=plan.data.seed,
    )
    return {"users": users, **result.as_json(), "lines": result.lines()}
