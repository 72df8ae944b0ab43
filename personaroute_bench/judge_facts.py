"""What a data set says of its judge: for the manifest, the card and the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.interactions import ResponseGrid
from personaroute_bench.users.laws import Style, judged_choices

if TYPE_CHECKING:
    from personaroute_bench.judge import Judged
    from personaroute_bench.plan import Plan

# The report looks at so many users; its intervals say how much that leaves open.
REPORT_USERS = 300


def judge_facts(plan: Plan, grid: ResponseGrid, judged: Judged) -> dict[str, Any]:
    """Report on the judge, from the first users: JSON values, and the sentences under ``lines``."""
    from personaroute_bench.judging.report import judge_report
    from personaroute_bench.judging.verdicts import CallCounts

    users = min(plan.data.users, REPORT_USERS)
    direct = plan.data.judge == "direct"
    style = judged.style
    names = archetypes(plan, users)
    judges = judged.judges.llms if judged.judges is not None else ()
    result = judge_report(
        plan.data.judge,
        judged_choices(plan.data, grid, style, users),
        grid.ok,
        grid.query_ids.tolist(),
        grid.llm_ids.tolist(),
        judgments=judged.judgments,
        lengths=grid.completion_tokens,
        families={llm.id: llm.family for llm in plan.pool.llms},
        judge_families={llm.id: llm.family for llm in judges},
        rating_calls=(
            CallCounts.count(judged.rating_statuses, np.asarray(judged.rating_costs))
            if judged.rating_statuses
            else None
        ),
        ratings=style.ratings,
        each_rating=judged.ratings,
        performance=grid.performance,
        labels=names,
        again=None if direct else judged_choices(plan.data, grid, style, users, repeat=1),
        audited=judged.audited,
        train=grid.split != "test",
        seed=plan.data.seed,
    )
    facts = {"users": users, **result.as_json(), "lines": result.lines()}
    if not direct:
        facts["taste_oracle"] = share = taste_oracle(plan, grid, style, users)
        facts["lines"].append(
            f"within reach: who knew every taste and rating exactly, but not the chance in each "
            f"choice, would get {100 * share:.1f} % of the held-out choices; the oracle's 100 % "
            "includes that chance, and so does the headroom"
        )
    return facts


def style_source(judge: str) -> dict[str, Any]:
    """Say where the style in mixed rewards comes from."""
    if judge == "rubric":
        return {"kind": "rubric", "lines": ["style: rated by an LLM (the rubric judge)"]}
    return {"kind": "embedded", "lines": ["style: measured on the text (embedded), no LLM judged"]}


def taste_oracle(plan: Plan, grid: ResponseGrid, style: Style, users: int) -> float:
    """Return the share of test choices that tastes and ratings alone decide, of the first users."""
    test = grid.split == "test"
    made = judged_choices(plan.data, grid, style, users)[:, test].astype(np.float64)
    foreseen = judged_choices(plan.data, grid, style, users, noise_scale=0.0)[:, test]
    made /= np.maximum(made.sum(axis=-1, keepdims=True), 1)
    share = (made * foreseen).sum(axis=-1) / np.maximum(foreseen.sum(axis=-1), 1)
    return float(share[foreseen.any(axis=-1)].mean())


def archetypes(plan: Plan, users: int) -> list[str] | None:
    """Return the kind of person of each user; None for imported texts, which have none."""
    people = plan.personas.compose(plan.data.preset, plan.data.seed, 0, users)
    names = [person.archetype for person in people]
    return None if None in names else [str(name) for name in names]
