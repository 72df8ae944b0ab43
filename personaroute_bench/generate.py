"""`bench generate`: from tasks to a personalised benchmark, stage by stage.

tasks ─► queries ─► responses ─► performance, cost ─► users ─► rewards ─► splits ─► Parquet

Each stage is a function from tables to tables that remembers a hash of its own inputs, so the
same command continues where it stopped and a larger one pays only for what is new.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.config import DataConfig, RunConfig
from personaroute_bench.engines import Engine, open_engine
from personaroute_bench.engines.shard_note import shard_folders
from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.files import read_json, write_json, write_table
from personaroute_bench.folder import MANIFEST, DataFolder, differences
from personaroute_bench.interactions import (
    ResponseGrid,
    measure_headroom,
    rows_of,
    write_interactions,
)
from personaroute_bench.judge import Judged, make_style
from personaroute_bench.judge_facts import judge_facts, style_source
from personaroute_bench.manifest import build_manifest
from personaroute_bench.plan import Plan, make_plan
from personaroute_bench.report import Report
from personaroute_bench.responses import build_table, coverage_of, grid_of
from personaroute_bench.schemas import LLMS, STRATEGIES, TASKS, queries_schema
from personaroute_bench.settle import check_error_rate, has_unsettled, settle_responses
from personaroute_bench.users.laws import STYLE_STRATEGIES, make_law
from personaroute_bench.users.personas import PersonaSource
from personaroute_bench.users.populations import user_ids, users_table
from personaroute_bench.users.user_files import users_place, write_user_files
from personaroute_bench.virtual import HEADROOM_USERS, STORED, check_form, form_of


@dataclass(frozen=True, slots=True)
class Generated:
    """A whole data set on disk."""

    directory: Path
    manifest: Mapping[str, Any]
    changed: bool
    """False where everything was there already."""


def generate(
    data: DataConfig,
    out: str | Path,
    *,
    run: RunConfig | None = None,
    report: Report | None = None,
) -> Generated:
    """Make, continue or extend a data set.

    Args:
        data: what the data set holds.
        out: its folder; the same configuration continues or extends it.
        run: concurrency, budget, ledger: what changes no row.
        report: told of progress.

    Raises:
        UsageError: a wrong value or file, or a folder of another configuration.
        Incomplete: stopped cleanly by the budget or a quota; the same call continues.
        TooManyFailures: more calls failed than ``run.max_error_rate``.
        BenchError: no space, no permission, a refused key.
    """
    run, report = run or RunConfig(), report or Report()
    report.stage("queries")
    plan = make_plan(data, run, report)
    check_shards(Path(out))
    with DataFolder.open(Path(out), plan.defining) as folder, open_engine(run, report) as engine:
        check_users(folder, data)
        form = form_asked_for(folder, data)
        check_judging(folder, plan)
        whole = folder.is_whole()
        responses = make_responses(folder, plan, run, engine, report)
        provenance = provenance_of(responses)
        write_queries(folder, plan, provenance)
        strategies = strategies_of(folder, data)
        judged = make_style(folder, plan, run, responses, strategies, engine, report)
        write_users(folder, data, strategies, plan.personas, provenance)
        grid = grid_of(responses, plan.taskset, plan.pool.llms, plan.split)
        for strategy in strategies:
            write_strategy(folder, plan, grid, strategy, judged, provenance, engine, report, form)
        if whole and folder.is_whole():
            return Generated(folder.path, read_json(folder.path / MANIFEST), changed=False)
        report.stage("manifest")
        folder.begin_change()
        judges = list(judged.judges.ids) if judged is not None and judged.judges else []
        folder.mark_done("form", {}, result=form_of(plan, folder.path, form, strategies, judges))
        return Generated(folder.path, finish(folder, plan, responses, strategies), changed=True)


def check_shards(out: Path) -> None:
    """Refuse to ask what shards of an array ask, or have asked, already.

    Raises:
        UsageError: there are shards that are not merged.
    """
    found = shard_folders(out)
    if found:
        raise UsageError(
            f"{out} holds {len(found)} shards that are not merged ({found[0].name}, …), whose "
            f"calls would be paid for again; run bench merge {out} first, with --partial if not "
            "all shards are there"
        )


def check_users(folder: DataFolder, data: DataConfig) -> None:
    """Refuse to take users away from a whole data set.

    Raises:
        UsageError: the folder holds more users than asked for.
    """
    held = folder.result("whole").get("users", 0)
    if held > data.users:
        raise UsageError(
            f"{folder.path} holds {held} users already, got --users {data.users}; ask for at least "
            f"{held}, or give another --out"
        )


def form_asked_for(folder: DataFolder, data: DataConfig) -> str:
    """Return whether interactions are to be stored or virtual: as asked, else as they are.

    Raises:
        UsageError: they cannot be virtual.
    """
    form = data.interactions or folder.result("form").get("form", STORED)
    check_form(data, form)
    return form


def check_judging(folder: DataFolder, plan: Plan) -> None:
    """Refuse to judge a folder's users anew without being told: it would undo what was paid for.

    Raises:
        ConfigMismatch: strategies with style are there, made by another judge or other personas.
    """
    now = {"judging": plan.data.judging, "personas": plan.personas.fingerprint()}
    held = folder.result("judging")
    if held and any(folder.result(f"interactions/{name}") for name in STYLE_STRATEGIES):
        changed = differences(held, now)
        if changed:
            raise ConfigMismatch(
                f"{folder.path} holds users who were judged otherwise:\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nGive the same judge options and personas, or another --out"
            )
    elif set(plan.data.strategies) & set(STYLE_STRATEGIES):
        folder.mark_done("judging", {}, result=now)


def provenance_of(responses: pa.Table) -> str:
    """Return ``simulated``, ``recorded`` or ``live``; several, with commas, where mixed."""
    return ", ".join(sorted(set(responses["provenance"].cast(pa.string()).to_pylist())))


def write_queries(folder: DataFolder, plan: Plan, provenance: str) -> None:
    """Write `tasks`, `queries` (with embeddings and split) and `llms`."""
    paths = {name: folder.path / f"{name}.parquet" for name in ("tasks", "queries", "llms")}
    if folder.is_done("queries", plan.defining, *paths.values()):
        return
    folder.begin_change()
    queries = plan.taskset.queries
    vectors = plan.embedder.embed([query.query for query in queries])
    schema = queries_schema(vectors.shape[1])
    tables = {
        "queries": pa.table(
            {
                "query_id": [query.query_id for query in queries],
                "task_id": [query.task_id for query in queries],
                "split": plan.split,
                "query": [query.query for query in queries],
                "prompt": [query.prompt for query in queries],
                "ground_truth": pa.array([query.ground_truth for query in queries], pa.string()),
                "metric": [query.metric for query in queries],
                "embedding": pa.FixedSizeListArray.from_arrays(
                    pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1]
                ),
                "embedder": [plan.embedder.name] * len(queries),
            },
            schema=schema,
        ),
        "tasks": pa.Table.from_pylist(
            [{name: getattr(task, name) for name in TASKS.names} for task in plan.taskset.tasks],
            schema=TASKS,
        ),
        "llms": pa.Table.from_pylist(
            [
                {
                    **{name: getattr(llm, name, None) for name in LLMS.names},
                    "llm_id": llm.id,
                    "parameters": llm.parameters_billion,
                }
                for llm in plan.pool.llms
            ],
            schema=LLMS,
        ),
    }
    for name, table in tables.items():
        write_table(paths[name], table, provenance)
    folder.mark_done("queries", plan.defining, *paths.values())


def make_responses(
    folder: DataFolder, plan: Plan, run: RunConfig, engine: Engine, report: Report
) -> pa.Table:
    """Return the `responses` table, asking the LLMs for what is not there yet.

    Raises:
        TooManyFailures: too many calls are settled as errors.
    """
    path = folder.path / "responses.parquet"
    done = folder.is_done("responses", plan.defining, path)
    if done:
        table = pq.read_table(path)
        if plan.recorded is not None or not has_unsettled(folder, plan, table, run):
            return table
    report.stage("responses")
    settled = settle_responses(folder, plan, run, engine, report)
    table = build_table(settled.rows, plan.taskset, plan.pool.llms, plan.data)
    if plan.recorded is None:
        check_error_rate(folder, table, run)
    if not (done and table.equals(pq.read_table(path))):
        folder.begin_change()
        write_table(path, table, provenance_of(table))
    folder.mark_done("spend", {}, result=settled.spend)
    folder.mark_done("responses", plan.defining, path)
    settled.raise_if_stopped()
    return table


def strategies_of(folder: DataFolder, data: DataConfig) -> tuple[str, ...]:
    """Return the strategies asked for and those that the folder holds already.

    All are kept in step: more users, or other responses, concern every one of them.
    """
    held = tuple(name for name in STRATEGIES if folder.result(f"interactions/{name}"))
    return tuple(name for name in STRATEGIES if name in {*held, *data.strategies})


def write_users(
    folder: DataFolder,
    data: DataConfig,
    strategies: tuple[str, ...],
    personas: PersonaSource,
    provenance: str,
) -> None:
    """Write `users`."""
    inputs = {
        "preset": data.preset,
        "seed": data.seed,
        "count": data.users,
        "strategies": list(strategies),
        "personas": personas.fingerprint(),
    }
    path = users_place(folder.path, data.users)
    if folder.is_done("users", inputs, path):
        return
    folder.begin_change()
    write_user_files(
        folder.path,
        data.users,
        lambda start, stop: users_table(
            data.preset, data.seed, stop, strategies, personas, start=start
        ),
        provenance,
    )
    folder.mark_done("users", inputs, path)


def write_strategy(
    folder: DataFolder,
    plan: Plan,
    grid: ResponseGrid,
    strategy: str,
    judged: Judged | None,
    provenance: str,
    engine: Engine,
    report: Report,
    form: str = STORED,
) -> None:
    """Write ``interactions/STRATEGY/SPLIT`` and note the headroom; virtual ones are only noted."""
    data, style = plan.data, judged.style if judged is not None else None
    inputs = {
        "responses": folder.sha256("responses"),
        "users": folder.sha256("users"),
        "strategy": strategy,
        "style": style.fingerprint if style is not None and strategy in STYLE_STRATEGIES else None,
    }
    target = folder.path / "interactions" / strategy
    stage = f"interactions/{strategy}"
    paths = [target] if form == STORED else []
    if folder.is_done(stage, inputs, *paths):
        return
    law = make_law(strategy, data, grid, style)
    folder.begin_change()
    if form == STORED:
        report.stage("interactions", strategy)
        counts, headroom = write_interactions(
            target,
            grid,
            np.asarray(user_ids(0, data.users)),
            law,
            provenance=provenance,
            engine=engine,
            on_progress=report.rows,
        )
    else:
        report.stage("interactions", f"{strategy}: virtual, nothing is stored; headroom")
        counts = rows_of(grid, data.users)
        headroom = measure_headroom(grid, min(data.users, HEADROOM_USERS), law, report.rows)
        shutil.rmtree(target, ignore_errors=True)
    result = {"rows": counts, "headroom": headroom.as_json()}
    if strategy == "llm_judge" and judged is not None:
        result["judge"] = judge_facts(plan, grid, judged)
    if strategy == "mixed":
        result["judge"] = style_source(data.judge)
    folder.mark_done(stage, inputs, *paths, result=result)


def finish(
    folder: DataFolder, plan: Plan, responses: pa.Table, strategies: tuple[str, ...]
) -> dict[str, Any]:
    """Write the card, and last the manifest."""
    from personaroute_bench.publishing.card import write_card

    coverage = coverage_of(responses, plan.pool.llms)
    facts = {
        "provenance": provenance_of(responses).split(", "),
        "interactions": folder.result("form"),
        "strategies": {name: folder.result(f"interactions/{name}") for name in strategies},
        "coverage": {"statuses": coverage.statuses, "by_llm": coverage.by_llm},
        "spend": folder.result("spend"),
        "prices": [
            {
                "llm_id": llm.id,
                "input_price": llm.input_price,
                "output_price": llm.output_price,
                "price_source": llm.price_source,
                "price_date": llm.price_date,
            }
            for llm in plan.pool.llms
        ],
    }
    write_card(folder.path, plan, facts)
    manifest = build_manifest(
        folder.path,
        configuration={
            **plan.data.as_json(),
            "strategies": list(strategies),
            "interactions": folder.result("form")["form"],
        },
        defining=plan.defining,
        dataset_id=folder.dataset_id,
        facts=facts,
    )
    folder.mark_done("whole", {}, result={"users": plan.data.users})
    write_json(folder.path / MANIFEST, manifest)
    return manifest
