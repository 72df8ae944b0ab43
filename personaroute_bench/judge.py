"""The style stage of generation: ratings, choices, and a report on how far to trust them.

embedded    style measured on the text; choices follow from tastes       no call
rubric      style rated by an LLM; choices follow from tastes            Q calls a judge
direct      an LLM chooses in each persona's place                       P · Q calls a judge
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from personaroute_bench.config import RunConfig
from personaroute_bench.errors import Incomplete, TooManyFailures
from personaroute_bench.files import write_table
from personaroute_bench.hashing import digest
from personaroute_bench.judge_calls import (
    asks_a_judge,
    audit_calls,
    direct_calls,
    judge_pool,
    judged_people,
    rubric_calls,
)
from personaroute_bench.judge_facts import REPORT_USERS
from personaroute_bench.judging.ratings import (
    centred,
    embedded_ratings,
    mean_known,
    ratings_table,
)
from personaroute_bench.judging.style import STYLE_VERSION
from personaroute_bench.report import Report
from personaroute_bench.settle import LEAST_JUDGED, Asked, asking
from personaroute_bench.users.laws import STYLE_STRATEGIES, Style
from personaroute_bench.users.rewards import Bools, Floats

if TYPE_CHECKING:
    from personaroute_bench.engines import Engine
    from personaroute_bench.folder import DataFolder
    from personaroute_bench.llms.pool import Pool
    from personaroute_bench.llms.types import ChatRequest
    from personaroute_bench.plan import Plan

EMBEDDED = "embedded"


@dataclass
class Judged:
    """The style of a data set, and what its report needs beside."""

    style: Style
    judgments: pa.Table | None = None
    """Of the direct judge, or of the audit of a rubric."""
    rating_statuses: list[str] = field(default_factory=list)
    rating_costs: list[float] = field(default_factory=list)
    """USD, NaN where unknown."""
    audited: Bools | None = None
    """[REPORT_USERS at most, Q, M] what the audit's direct judge chose."""
    judges: Pool | None = None
    ratings: dict[str, Floats] = field(default_factory=dict)
    """[Q, M, D] of each rubric judge, measured against the query's average."""


@dataclass(frozen=True)
class _Stage:
    """What every way of judging is given."""

    folder: DataFolder
    plan: Plan
    run: RunConfig
    responses: pa.Table
    engine: Engine
    report: Report

    @property
    def provenance(self) -> str:
        return ", ".join(sorted(set(self.responses["provenance"].cast(pa.string()).to_pylist())))

    @property
    def query_ids(self) -> list[str]:
        return [query.query_id for query in self.plan.taskset.queries]

    @property
    def llm_ids(self) -> list[str]:
        return [llm.id for llm in self.plan.pool.llms]

    def asking(
        self, requests: Sequence[ChatRequest], judges: Pool
    ) -> AbstractContextManager[Asked]:
        return asking(self.folder, requests, judges, self.plan, self.run, self.engine, self.report)


def make_style(
    folder: DataFolder,
    plan: Plan,
    run: RunConfig,
    responses: pa.Table,
    strategies: tuple[str, ...],
    engine: Engine,
    report: Report,
) -> Judged | None:
    """Return ratings, personas and choices, or None where no strategy has to do with style.

    Writes `ratings.parquet` and, where an LLM chooses, `judgments.parquet`. Replies are in the
    ledger, so what is settled is not asked again.

    Raises:
        UsageError: an unknown or simulated judge LLM, a missing key.
        Incomplete: stopped by the budget or a quota; the same command continues.
        TooManyFailures: more calls failed than allowed.
    """
    if not set(strategies) & set(STYLE_STRATEGIES):
        return None
    stage = _Stage(folder, plan, run, responses, engine, report)
    inputs = {
        "responses": folder.sha256("responses"),
        "style": STYLE_VERSION,
        "judging": plan.data.judging,
        "personas": plan.personas.fingerprint(),
        "users": plan.data.users if plan.data.judge == "direct" else None,
    }
    if not asks_a_judge(plan, strategies):
        judged = Judged(Style(plan.personas, _embedded(stage, inputs), digest(inputs)))
    elif plan.data.judge == "rubric":
        judged = _rubric(stage, inputs)
    else:
        judged = _direct(stage, inputs)
    return judged


def _embedded(stage: _Stage, inputs: dict[str, Any]) -> Floats:
    """[Q, M, D] ratings measured on the text, from the table where it is there already."""
    from personaroute_bench.judging.rubric import ratings_array

    path = stage.folder.path / "ratings.parquet"
    if stage.folder.is_done("ratings", inputs, path):
        return ratings_array(pq.read_table(path), stage.query_ids, stage.llm_ids)
    stage.report.stage("style", "measured on the text (the embedded judge)")
    stage.folder.begin_change()
    ratings = _measured(stage)
    table = ratings_table(ratings, stage.query_ids, stage.llm_ids, EMBEDDED)
    write_table(path, table, stage.provenance)
    stage.folder.mark_done("ratings", inputs, path)
    return ratings


def _measured(stage: _Stage) -> Floats:
    return embedded_ratings(stage.responses, stage.plan.taskset.queries, len(stage.llm_ids))


def _rubric(stage: _Stage, inputs: dict[str, Any]) -> Judged:
    from personaroute_bench.judging.calls import requests_of
    from personaroute_bench.judging.rubric import ratings_array, read_ratings
    from personaroute_bench.judging.rubric import ratings_table as rubric_table

    plan, judges = stage.plan, judge_pool(stage.plan)
    calls = rubric_calls(plan, stage.responses, judges)
    stage.report.stage("judge", f"{len(calls):,} rubric calls")
    with stage.asking(requests_of(calls), judges) as asked:
        rated = list(read_ratings(calls, asked.replies))
        _settle(stage, asked.spend, asked.stopped)
    _check_failures(stage, [item.judge for item in rated], [item.status for item in rated])
    table = rubric_table(rated)
    _write(stage, "ratings", inputs, table)
    # Judges use the scale differently, so each is measured against its own averages first.
    each = {
        judge: centred(ratings_array(table, stage.query_ids, stage.llm_ids, judge=judge))
        for judge in judges.ids
    }
    ratings = mean_known(list(each.values()))
    judged = Judged(
        Style(plan.personas, ratings, digest([inputs, _content(table)])),
        rating_statuses=[item.status for item in rated],
        rating_costs=[np.nan if item.cost_usd is None else item.cost_usd for item in rated],
        judges=judges,
        ratings=each,
    )
    if plan.data.audit:
        _audit(stage, judged, judges)
        content = [judged.style.fingerprint, _content(judged.judgments)]
        judged.style = replace(judged.style, fingerprint=digest(content))
    return judged


def _direct(stage: _Stage, inputs: dict[str, Any]) -> Judged:
    from personaroute_bench.judging.direct import choices_from_judgments

    plan, judges = stage.plan, judge_pool(stage.plan)
    data = plan.data
    people = judged_people(plan)
    calls = direct_calls(plan, stage.responses, judges)
    stage.report.stage("judge", f"{len(calls):,} direct calls")
    table = _ask_directly(stage, calls, judges)
    _write(stage, "judgments", inputs, table)
    ids = [person.persona_id for person in people]
    if data.preset == "large":
        chosen = _choices_by_configuration(stage, table, ids, judges)
    else:
        chosen, _ = choices_from_judgments(
            table, ids, stage.query_ids, stage.llm_ids, ok=_ok(stage)
        )
    ratings = _measured(stage)
    if not stage.folder.is_done("ratings", inputs, stage.folder.path / "ratings.parquet"):
        measured = ratings_table(ratings, stage.query_ids, stage.llm_ids, EMBEDDED)
        _write(stage, "ratings", inputs, measured)
    style = Style(
        plan.personas,
        ratings,
        digest([inputs, _content(table)]),
        chosen=lambda start, stop: chosen[start:stop],
    )
    return Judged(style, judgments=table, judges=judges)


def _choices_by_configuration(
    stage: _Stage, table: pa.Table, persona_ids: list[str], judges: Pool
) -> Bools:
    """Return what the users of the preset ``large`` choose: each asks one judge in one wording."""
    import pyarrow.compute as pc

    from personaroute_bench.judging.direct import choices_from_judgments
    from personaroute_bench.judging.prompts import LISTWISE, load_prompt
    from personaroute_bench.users.personas import profile_of

    configurations = [
        (judge.id, load_prompt(name).sha256) for judge in judges.llms for name in LISTWISE
    ]
    mine = np.asarray([profile_of(user).judge_configuration for user in range(len(persona_ids))])
    chosen = np.zeros((len(persona_ids), len(stage.query_ids), len(stage.llm_ids)), dtype=np.bool_)
    for number, (judge, prompt) in enumerate(configurations):
        users = np.flatnonzero(mine == number)
        part = table.filter(
            pc.and_(
                pc.equal(table["judge"].cast(pa.string()), judge),
                pc.equal(table["prompt_hash"].cast(pa.string()), prompt),
            )
        )
        chosen[users], _ = choices_from_judgments(
            part,
            [persona_ids[user] for user in users],
            stage.query_ids,
            stage.llm_ids,
            ok=_ok(stage),
        )
    return chosen


def _audit(stage: _Stage, judged: Judged, judges: Pool) -> None:
    """Ask the judges directly about some (persona, query) pairs, to compare with the rubric."""
    from personaroute_bench.judging.direct import choices_from_judgments

    plan = stage.plan
    calls = audit_calls(plan, stage.responses, judges)
    stage.report.stage("judge", f"audit: {len(calls):,} direct calls")
    judged.judgments = _ask_directly(stage, calls, judges)
    judged.audited, _ = choices_from_judgments(
        judged.judgments,
        [person.persona_id for person in judged_people(plan, REPORT_USERS)],
        stage.query_ids,
        stage.llm_ids,
    )
    # An unread reply leaves its pair out; so does a query that no judge was asked about.
    count = min(plan.data.audit, len(judged.audited) * len(stage.query_ids))
    inputs = {"audit": count, "judging": plan.data.judging}
    _write(stage, "judgments", inputs, judged.judgments)


def _ask_directly(stage: _Stage, calls: Any, judges: Pool) -> pa.Table:
    from personaroute_bench.judging.calls import requests_of
    from personaroute_bench.judging.direct import read_judgments

    with stage.asking(requests_of(calls), judges) as asked:
        table = read_judgments(calls, asked.replies)
        _settle(stage, asked.spend, asked.stopped)
    _check_failures(stage, table["judge"].to_pylist(), table["status"].to_pylist())
    return table


def _check_failures(stage: _Stage, judges: list[str], statuses: list[str]) -> None:
    """Refuse judgments too many of which are errors, whichever run they failed in.

    Raises:
        TooManyFailures: names the judge and how to ask again.
    """
    limit = stage.run.max_error_rate
    for judge in dict.fromkeys(judges):
        mine = [status for name, status in zip(judges, statuses, strict=True) if name == judge]
        failed = mine.count("error")
        if len(mine) >= LEAST_JUDGED and failed > limit * len(mine):
            ledger = stage.folder.use_ledger(stage.run.ledger)
            raise TooManyFailures(
                f"{failed} of {len(mine)} replies of judge {judge!r} are errors, more than "
                f"--max-error-rate {limit} allows; see their types with: bench ledger {ledger}; "
                "mend the cause, ask them again with its --retry TYPE, and then the same command"
            )


def _settle(stage: _Stage, spend: dict[str, Any], stopped: str | None) -> None:
    stage.folder.mark_done("spend", {}, result=spend)
    if stopped is not None:
        raise Incomplete(stopped)


def _write(stage: _Stage, name: str, inputs: dict[str, Any], table: pa.Table) -> None:
    """Write a table unless it is there with the same content."""
    path = stage.folder.path / f"{name}.parquet"
    if stage.folder.is_done(name, inputs, path) and pq.read_table(path).equals(table):
        return
    stage.folder.begin_change()
    write_table(path, table, stage.provenance)
    stage.folder.mark_done(name, inputs, path)


def _content(table: pa.Table) -> str:
    """Hash what a table says, whatever its chunks are."""
    return digest(table.drop([n for n in ("reply",) if n in table.schema.names]).to_pylist())


def _ok(stage: _Stage) -> Bools:
    status = np.asarray(stage.responses["status"].cast(pa.string()).to_pylist())
    ok: Bools = (status == "ok").reshape(len(stage.query_ids), len(stage.llm_ids))
    return ok
