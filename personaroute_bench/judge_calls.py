"""What judges are asked, for a plan and its responses: the calls, made when they are taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import UsageError
from personaroute_bench.judge_facts import REPORT_USERS
from personaroute_bench.users.laws import STYLE_STRATEGIES

if TYPE_CHECKING:
    import pyarrow as pa

    from personaroute_bench.judging.direct import JudgeCall
    from personaroute_bench.llms.pool import Pool
    from personaroute_bench.llms.types import ChatRequest
    from personaroute_bench.plan import Plan
    from personaroute_bench.users.personas import Persona


def asks_a_judge(plan: Plan, strategies: Collection[str]) -> bool:
    """Whether an LLM is asked to judge for these strategies.

    A direct judge only says what llm_judge needs; mixed goes by the style of the text.
    """
    if plan.data.judge == "embedded" or not set(strategies) & set(STYLE_STRATEGIES):
        return False
    return plan.data.judge == "rubric" or "llm_judge" in strategies


def judge_requests(plan: Plan, responses: pa.Table) -> list[Sequence[ChatRequest]]:
    """Return all that the judges of a plan are asked, audit included."""
    from personaroute_bench.judging.calls import requests_of

    judges = judge_pool(plan)
    if plan.data.judge == "direct":
        return [requests_of(direct_calls(plan, responses, judges))]
    asked = [requests_of(rubric_calls(plan, responses, judges))]
    if plan.data.audit:
        asked.append(requests_of(audit_calls(plan, responses, judges)))
    return asked


def rubric_calls(plan: Plan, responses: pa.Table, judges: Pool) -> Any:
    """Return the calls that rate each response."""
    from personaroute_bench.judging.rubric import RubricOptions, rubric_requests

    options = RubricOptions(seed=plan.data.seed, judge_schema=plan.data.judge_schema)
    return rubric_requests(plan.taskset.queries, responses, judges.llms, options)


def direct_calls(plan: Plan, responses: pa.Table, judges: Pool) -> Any:
    """Return the calls that have a judge choose in each persona's place."""
    from personaroute_bench.judging.direct import direct_requests

    people, queries = judged_people(plan), plan.taskset.queries
    return direct_requests(people, queries, responses, judges.llms, direct_options(plan))


def audit_calls(plan: Plan, responses: pa.Table, judges: Pool) -> list[JudgeCall]:
    """Return the direct calls about some (persona, query) pairs, to compare a rubric with."""
    from personaroute_bench.judging.audit_pairs import audit_pairs
    from personaroute_bench.judging.direct import direct_requests

    data, width = plan.data, len(plan.pool.llms)
    people, queries = judged_people(plan, REPORT_USERS), plan.taskset.queries
    ids = [person.persona_id for person in people], [query.query_id for query in queries]
    calls: list[JudgeCall] = []
    for person, query in audit_pairs(*ids, data.audit, data.seed):
        # The responses of one query stand together, so a slice is all that the call needs.
        answers = responses.slice(query * width, width)
        calls += direct_requests(
            [people[person]], [queries[query]], answers, judges.llms, direct_options(plan)
        )
    return calls


def judged_people(plan: Plan, most: int | None = None) -> list[Persona]:
    """Return the persona of each user, or of the first ones."""
    data = plan.data
    users = data.users if most is None else min(data.users, most)
    return plan.personas.compose(data.preset, data.seed, 0, users)


def judge_pool(plan: Plan) -> Pool:
    """Return the judge LLMs.

    Raises:
        UsageError: an unknown pool or LLM, or a price that is not known.
    """
    from personaroute_bench.llms.pool import load_pool
    from personaroute_bench.llms.prices import resolve_prices
    from personaroute_bench.plan import pool_name
    from personaroute_bench.users.personas import JUDGE_CONFIGURATIONS

    data = plan.data
    pool = resolve_prices(load_pool(data.judge_pool or pool_name(data), data.judge_llms))
    if (
        data.preset == "large"
        and data.judge == "direct"
        and 2 * len(pool.llms) != JUDGE_CONFIGURATIONS
    ):
        raise UsageError(
            f"--preset large has {JUDGE_CONFIGURATIONS} judge configurations, two wordings for "
            f"each of three judge LLMs; got --judge-llm {list(pool.ids)}"
        )
    return pool


def direct_options(plan: Plan) -> Any:
    """Return how the direct judge is asked."""
    from personaroute_bench.judging.direct import DirectOptions
    from personaroute_bench.judging.prompts import LISTWISE

    data = plan.data
    return DirectOptions(
        seed=data.seed,
        both_orders=data.both_orders,
        repeats=data.repeats,
        judge_schema=data.judge_schema,
        mode="listwise" if data.pairs is None else "pairwise",
        pairs=data.pairs or None,
        prompts=LISTWISE if data.preset == "large" else (),
    )
