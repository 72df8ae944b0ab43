"""What routers say of themselves: as classes, for a listing, and after a run, for their row.

A class may have the attributes `personal` (it claims to treat users differently: tested), `extra`
(of the package, which it needs) and `note` (for instance that something stands in for a part of
the paper). Its idea is the first line of its docstring. An instance may have, after `route`,
`router_cost_usd` (USD of its own LLM calls since `fit`, None where unknown), `fallbacks` (requests
that something simpler answered) and a `note` of its own.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.texts import printable

if TYPE_CHECKING:
    from personaroute_bench.evaluation.runner import Run

NOTE_CHARS = 300
_ARXIV = re.compile(r"arXiv[ :](\d{4}\.\d{4,5})")


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """One line of `bench routers`."""

    name: str
    idea: str
    paper: str | None
    """The arXiv id of the paper that the class, or else its module, names first."""
    personal: bool
    """Whether it claims to treat users differently for what their past says."""
    extra: str | None
    """Needed extra of the package, as in ``pip install 'personaroute-bench[gnn]'``."""
    note: str | None
    protocol: str
    """How it is asked: batch, cascade or online."""
    default: bool
    """Whether `bench evaluate` runs it without being asked for it."""


@dataclass(frozen=True, slots=True)
class OwnWords:
    """What one fitted router says after it has answered."""

    note: str | None = None
    cost_usd: float | None = None
    fallbacks: int | None = None


def router_facts(name: str) -> RouterFacts:
    """Return the facts of a bundled router.

    Raises:
        UsageError: there is none of this name, or it cannot be imported.
    """
    from personaroute_bench.evaluation.protocols import protocol_of
    from personaroute_bench.evaluation.registry import ROUTERS, load

    kind = load(name)
    note = getattr(kind, "note", None)
    doc = inspect.cleandoc(vars(kind).get("__doc__") or "")
    module = inspect.getdoc(inspect.getmodule(kind)) or ""
    papers = _ARXIV.findall(f"{doc}\n{module}")
    return RouterFacts(
        name=name,
        idea=doc.partition("\n")[0],
        paper=papers[0] if papers else None,
        personal=getattr(kind, "personal", False) is True,
        extra=getattr(kind, "extra", None),
        note=note if isinstance(note, str) else None,  # an instance may say it later
        protocol=protocol_of(kind),
        default=name in ROUTERS,
    )


def all_facts() -> list[RouterFacts]:
    """Return the facts of all bundled routers, those that run unasked first."""
    from personaroute_bench.evaluation.registry import LEARNED, ROUTERS

    return [router_facts(name) for name in (*ROUTERS, *LEARNED)]


def heard(router: Any, *, bundled: bool) -> OwnWords:
    """Return what a router says after `route`; nonsense counts as nothing said.

    Args:
        router: fitted, has answered.
        bundled: whether it is ours: then, saying nothing of calls of its own, it made none.
    """
    cost = getattr(router, "router_cost_usd", 0.0 if bundled else None)
    fallbacks = getattr(router, "fallbacks", None)
    note = getattr(router, "note", None)
    counted = isinstance(fallbacks, int) and not isinstance(fallbacks, bool)
    return OwnWords(
        note=printable(note[:NOTE_CHARS]) if isinstance(note, str) and note.strip() else None,
        cost_usd=_money(cost),
        fallbacks=fallbacks if counted else None,
    )


def own_words(run: Run) -> dict[str, Any]:
    """Return the fields of a router's row that it supplies itself, over all seeds and folds."""
    said: list[OwnWords] = run.said
    costs = [one.cost_usd for one in said]
    counts = [one.fallbacks for one in said]
    requests = sum(choice.size for choice in run.choices)
    return {
        "note": said[-1].note if said else None,
        "router_cost_usd": _total(costs, requests),
        "fallbacks": None if not counts or None in counts else sum(n or 0 for n in counts),
    }


def kept_apart(run: Run) -> dict[str, Any]:
    """Return the fields of a row about how its router was run; see `isolation` and `order`."""
    changed = run.changed and dict(zip(("differ", "asked"), run.changed, strict=True))
    return {"isolation": run.isolation, "order_dependent": changed}


def footnotes(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines below a printed table: how routers were run, what they say and cost."""
    for entry in entries:
        yield from cautions(entry)
        if entry.get("note"):
            yield f"{entry['name']}: {entry['note']}"
        if entry.get("router_cost_usd"):
            yield (
                f"{entry['name']}: its own calls cost {entry['router_cost_usd']:.3g} USD a "
                "request, on top of USD/query"
            )


def cautions(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader should know before trusting a foreign router's row."""
    apart, changed = entry.get("isolation"), entry.get("order_dependent")
    if apart and apart["state"] == "unsealed":
        yield f"{entry['name']}: unsealed, {apart['reason']}"
    if apart and apart["state"] == "sealed" and apart["network"] != "none":
        yield f"{entry['name']}: the network was not shut off ({apart['network']})"
    if changed and changed["differ"]:
        yield (
            f"{entry['name']}: {changed['differ']} of {changed['asked']} answers differ when asked "
            "again in another order; its results hold for this order only"
        )


def _money(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _total(costs: Sequence[float | None], requests: int) -> float | None:
    """Return USD a request; None where any part is unknown, for unknown money is not zero."""
    known = [cost for cost in costs if cost is not None]
    if not requests or not known or len(known) < len(costs):
        return None
    return math.fsum(known) / requests
