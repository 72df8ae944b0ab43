"""The judge report: what a judge's choices can be trusted for, in figures and in sentences.

    judgments, choices, ratings, lengths ──► judge_report ──► JudgeReport ──► as_json(), lines()

Each part says over how many it is, and `not_measured` says why another part is not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.judging import bias
from personaroute_bench.judging.agreement import DRAWS, Agreement, Audit, audit, kappa, percent
from personaroute_bench.judging.choice_figures import ChoiceFigures, blocks, choice_figures, shares
from personaroute_bench.judging.rating_agreement import RatingAgreement, rating_agreement
from personaroute_bench.judging.separability import SeparabilityReport, persona_separability
from personaroute_bench.judging.verdicts import CallCounts, Verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from personaroute_bench.users.rewards import Bools, Doubles, Floats

JudgeKind = Literal["direct", "rubric", "embedded"]
MEANING: dict[JudgeKind, str] = {
    "direct": "an LLM plays each persona and picks among the answers",
    "rubric": "an LLM rates each answer on style, and the personas' weights choose",
    "embedded": "style is measured on the text, and the personas' weights choose; no LLM judged",
}
NOT_APPLICABLE: dict[JudgeKind, dict[str, str]] = {
    "direct": {},
    "rubric": {"position": "not measured, ratings keep no record of the order shown"},
    "embedded": {
        "position": "not applicable, nothing is shown in an order",
        "calls and spend": "none, no LLM was asked",
    },
}


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """One judge: an LLM with one prompt and one mode."""

    name: str
    llm: str
    calls: CallCounts
    position: bias.PositionBias
    """From the shuffled orders only: the reversed ones are not independent of them."""
    orders: bias.OrderConsistency
    length: bias.LengthBias | None
    retest: Agreement
    """Over repeats of one question, each in an order of its own."""
    own_family: bias.FamilyPreference | None

    def lines(self) -> list[str]:
        """Say it in sentences."""
        retest = "asked again: " + self.retest.sentence("questions")
        parts = (self.length, self.own_family)
        return [
            f"{self.name}: {text}"
            for text in (
                self.calls.sentence(),
                self.position.sentence(),
                self.orders.sentence(),
                retest,
                *(part.sentence() for part in parts if part is not None),
            )
        ]


@dataclass(frozen=True, slots=True)
class JudgePair:
    """Two judges on the same questions in the same order."""

    first: str
    second: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """See `judge_report`. A part is None where `not_measured` says why, or it was not asked for."""

    kind: JudgeKind
    choices: ChoiceFigures
    calls: CallCounts | None = None
    """Of all judges together; rating calls for a rubric."""
    judges: tuple[JudgeFigures, ...] = ()
    between: tuple[JudgePair, ...] = ()
    all_judges: Agreement | None = None
    """Of more than two judges together."""
    audited: Audit | None = None
    length: bias.LengthBias | None = None
    """From the choices of all personas, where no judge saw the answers side by side."""
    retest: Agreement | None = None
    """Of the personas' own choices, asked again with new noise."""
    separability: SeparabilityReport | None = None
    between_ratings: tuple[RatingAgreement, ...] = ()
    """Of every two rubric judges."""
    rated: float | None = None
    """Share of the usable responses that have a rating on some dimension."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Part to reason."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; what has no value is null, never NaN."""
        value: dict[str, Any] = _plain(asdict(self))
        if self.separability is not None:
            value["separability"] = _plain(self.separability.as_json())
        return value

    def lines(self) -> list[str]:
        """Return the report as sentences, for the screen and the card."""
        result = [f"judge: {self.kind}, {MEANING[self.kind]}"]
        if self.calls is not None and len(self.judges) != 1:
            result.append(f"calls: {self.calls.sentence()}")
        for judge in self.judges:
            result += judge.lines()
        result += [
            f"{pair.first} and {pair.second} agree on {pair.agreement.sentence('questions')}"
            for pair in self.between
            if pair.agreement.items
        ]
        if self.all_judges is not None:
            result.append(f"all judges agree on {self.all_judges.sentence('questions')}")
        result += [pair.sentence() for pair in self.between_ratings]
        if self.rated is not None:
            result.append(f"ratings: {percent(self.rated)} of the usable responses have one")
        if self.audited is not None:
            result.append(self.audited.sentence())
        if self.length is not None:
            result.append(self.length.sentence())
        if self.retest is not None:
            pairs = "(persona, query) pairs"
            result.append(f"asked again with new noise: {self.retest.sentence(pairs)}")
        if self.separability is not None:
            found = self.separability
            sign = "told apart" if found.above_chance else "not told apart better than by chance"
            result.append(
                f"personas: {sign}; the right one of {found.labels} labels is found for "
                f"{percent(found.accuracy)} [{100 * found.low:.1f}, {100 * found.high:.1f}] of "
                f"held-out profiles of {found.users:,} users, chance {percent(found.chance)}"
            )
        result += self.choices.lines()
        return result + [f"{part}: {why}" for part, why in self.not_measured.items()]


def judge_report(
    kind: JudgeKind,
    chosen: Bools,
    ok: Bools,
    query_ids: Sequence[str],
    llm_ids: Sequence[str],
    *,
    judgments: Any = None,
    lengths: Doubles | None = None,
    families: Mapping[str, str] | None = None,
    judge_families: Mapping[str, str] | None = None,
    rating_calls: CallCounts | None = None,
    ratings: Floats | None = None,
    each_rating: Mapping[str, Floats] | None = None,
    performance: Floats | None = None,
    labels: Sequence[str] | None = None,
    again: Bools | None = None,
    audited: Bools | None = None,
    train: Bools | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> JudgeReport:
    """Report on a judge from whatever there is; only the choices are needed.

    Args:
        kind: of judge.
        chosen: [U, Q, M] every tied choice of each persona; empty where there is none.
        ok: [Q, M] true where the response is usable.
        query_ids: [Q].
        llm_ids: [M].
        judgments: JUDGMENTS table of the direct judges; for a rubric, those of the audit.
        lengths: [Q, M] of the responses, in characters or tokens; NaN where unknown.
        families: LLM id to its family, the candidates' and, where they are in the pool, the
            judges'; empty where unknown.
        judge_families: judge LLM id to its family; goes before ``families``.
        rating_calls: the calls of a rubric judge, which leave no judgments.
        ratings: [Q, M, D] style ratings, from any judge; for separability and the reason why one
            LLM wins nearly everything.
        each_rating: judge to its [Q, M, D] ratings, measured against the query's average.
        performance: [Q, M], for that reason.
        labels: [U] archetypes, or persona ids.
        again: [U, Q, M] the choices of the same personas with noise of another ``repeat``.
        audited: [U, Q, M] choices of a direct judge, empty but for the audited pairs.
        train: [Q] queries on which the best LLMs are picked, the others counting; None: halves
            drawn by the seed.
        seed: of the data set; it sets folds, halves and bootstrap.
        draws: of each bootstrap.

    Raises:
        UsageError: arrays of other shapes, or judgments that contradict themselves.
        BenchError: judgments name unknown queries or LLMs.
    """
    expected = (len(query_ids), len(llm_ids))
    _check(expected, ok=ok, lengths=lengths, performance=performance)
    _check((len(chosen), *expected), chosen=chosen, again=again, audited=audited)
    options = {"draws": draws, "seed": seed}
    reasons = dict(NOT_APPLICABLE[kind])
    found: dict[str, Any] = {}
    if judgments is not None:
        verdicts = Verdicts.read(judgments, query_ids, llm_ids)
        found["calls"] = CallCounts.count(verdicts.status.tolist(), verdicts.cost_usd)
        names = {**(families or {}), **(judge_families or {})}
        found["judges"] = tuple(
            _figures(verdicts, number, lengths, families or {}, names, llm_ids, options)
            for number in range(len(verdicts.judges))
        )
        found["between"], found["all_judges"] = _between(verdicts, options)
        if all(judge.own_family is None for judge in found["judges"]):
            reasons["own family"] = "not measured, no candidate is known to be of a judge's family"
    elif kind == "direct":
        reasons["position, orders, repeats"] = "not measured, no table of judgments was given"
    if rating_calls is not None:
        found["calls"] = rating_calls
    if audited is not None:
        found["audited"] = audit(audited, chosen, **options)
    if again is not None:
        queries = np.tile(np.arange(expected[0]), len(chosen))
        both = np.stack([chosen, again], axis=2).reshape(-1, 2, expected[1])
        found["retest"] = kappa(both, queries, **options)
    if lengths is None:
        reasons["length"] = "not measured, no lengths of responses were given"
    elif kind != "direct" or judgments is None:
        weight = sum((shares(block).sum(axis=0) for block in blocks(chosen)), np.zeros(expected))
        found["length"] = bias.length_bias(weight, lengths, ok, np.arange(expected[0]), **options)
    if ratings is not None:
        _check(expected, ratings=ratings[..., 0])
        found["rated"] = float(np.isfinite(ratings[ok]).any(axis=-1).mean()) if ok.any() else None
    found["between_ratings"] = rating_agreement(each_rating or {}, **options)
    if ratings is None or labels is None:
        reasons["separability of personas"] = "not measured, it needs style ratings and labels"
    else:
        try:
            found["separability"] = persona_separability(chosen, ratings, labels, seed, draws=draws)
        except UsageError as error:
            reasons["separability of personas"] = f"not measured, {error}"
    figures = choice_figures(chosen, ok, llm_ids, train, ratings, performance, seed)
    return JudgeReport(kind=kind, choices=figures, not_measured=reasons, **found)


def _check(expected: tuple[int, ...], **arrays: NDArray[Any] | None) -> None:
    """Raise UsageError for an array of another shape."""
    for name, array in arrays.items():
        if array is not None and array.shape != expected:
            raise UsageError(
                f"{name} has the shape {array.shape}; the judge report needs {expected}"
            )


def _figures(
    verdicts: Verdicts,
    number: int,
    lengths: Doubles | None,
    families: Mapping[str, str],
    judge_families: Mapping[str, str],
    llm_ids: Sequence[str],
    options: dict[str, int],
) -> JudgeFigures:
    """Measure one judge."""
    mine = verdicts.judge == number
    chosen = verdicts.chosen
    ok = mine & chosen.any(axis=1)
    first = ok & (verdicts.order == 0)
    single = first & (chosen.sum(axis=1) == 1)
    position = bias.position_bias(
        np.where(chosen[single], verdicts.places[single], 0).sum(axis=1),
        (verdicts.places[single] >= 0).sum(axis=1),
        ties=int(first.sum() - single.sum()),
    )
    retest = verdicts.match("repeat", mine)
    length = None
    if lengths is not None:
        shown = verdicts.places[ok] >= 0
        rows, group = np.unique(
            np.column_stack([verdicts.query[ok], shown]), axis=0, return_inverse=True
        )
        counts = np.zeros((len(rows), chosen.shape[1]))
        np.add.at(counts, group.reshape(-1), shares(chosen[ok]))
        length = bias.length_bias(
            counts, lengths[rows[:, 0]], rows[:, 1:].astype(bool), rows[:, 0], **options
        )
    llm = verdicts.judge_llms[number]
    return JudgeFigures(
        name=verdicts.judges[number],
        llm=llm,
        calls=CallCounts.count(verdicts.status[mine].tolist(), verdicts.cost_usd[mine]),
        position=position,
        orders=bias.order_consistency(verdicts.match("order", mine), **options),
        length=length,
        retest=kappa(retest.choices, retest.query, **options),
        own_family=_own_family(verdicts, number, families, judge_families, llm_ids, options),
    )


def _own_family(
    verdicts: Verdicts,
    number: int,
    families: Mapping[str, str],
    judge_families: Mapping[str, str],
    llm_ids: Sequence[str],
    options: dict[str, int],
) -> bias.FamilyPreference | None:
    """Compare with the other families' judges, or with the frequency of the family's answers."""
    named = [judge_families.get(llm, "").casefold() for llm in verdicts.judge_llms]
    own = np.array([families.get(llm, "").casefold() == named[number] for llm in llm_ids])
    if not named[number] or not own.any() or own.all():
        return None  # the family is not known, or there is nothing to prefer
    others = np.array([bool(name) and name != named[number] for name in named])
    family = judge_families[verdicts.judge_llms[number]]

    def mixed(places: NDArray[np.int64]) -> Bools:
        """[n] whether answers of the family and others were shown, places [n, M]."""
        shown = places >= 0
        result: Bools = np.any(shown & own, axis=1) & np.any(shown & ~own, axis=1)
        return result

    together = verdicts.match("judge", (verdicts.judge == number) | others[verdicts.judge])
    mine = together.raters == number
    if mine.any():
        choices, places = together.choices[:, mine][:, 0], together.places[:, mine][:, 0]
        against = together.choices[:, ~mine]
        use = choices.any(axis=1) & against.any(axis=(1, 2)) & mixed(places)
        if use.any():
            part = (shares(against[use]) * own).sum(axis=(1, 2))
            return bias.family_preference(
                family,
                "other judges",
                (shares(choices[use]) * own).sum(axis=1),
                part / against[use].any(axis=2).sum(axis=1),
                together.query[use],
                **options,
            )
    use = (verdicts.judge == number) & verdicts.chosen.any(axis=1) & mixed(verdicts.places)
    shown = verdicts.places[use] >= 0
    return bias.family_preference(
        family,
        "frequency",
        (shares(verdicts.chosen[use]) * own).sum(axis=1),
        (shown & own).sum(axis=1) / shown.sum(axis=1),
        verdicts.query[use],
        **options,
    )


def _between(
    verdicts: Verdicts, options: dict[str, int]
) -> tuple[tuple[JudgePair, ...], Agreement | None]:
    """Compare every two judges, and all of them where there are more."""
    if len(verdicts.judges) < 2:
        return (), None
    everything = np.ones(len(verdicts.judge), dtype=np.bool_)
    together = verdicts.match("judge", everything)
    pairs = tuple(
        JudgePair(
            verdicts.judges[together.raters[one]],
            verdicts.judges[together.raters[other]],
            kappa(together.choices[:, [one, other]], together.query, **options),
        )
        for one, other in combinations(range(len(together.raters)), 2)
    )
    whole = kappa(together.choices, together.query, **options) if len(pairs) > 1 else None
    return pairs, whole


def _plain(value: Any) -> Any:
    """Return JSON values; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
