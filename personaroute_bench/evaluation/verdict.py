"""The verdict: in one sentence, whether a router personalises, and whom it beats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personaroute_bench.evaluation.significance import LEAST_UNITS

# Errors of the first kind that are put up with.
LEVEL = 0.05
# How the status of a router begins that was ended while it was asked; see `runner`.
ENDED = ("timeout", "memory", "crashed", "error")


def verdict(entry: Mapping[str, Any]) -> str | None:
    """Return the sentence about an entry of the results; None for one without metrics.

    It personalises if users lose when they are taken for others: the permutation test over
    users rejects at 5 %, and the interval over users and queries lies above zero, with queries
    enough for it to mean something. Whom it beats goes by Holm-corrected p-values.
    """
    if not entry["metrics"]:
        return None
    parts = [f"personalises: {_personal(entry)}"]
    found: dict[str, list[str]] = {}
    for gap in entry["differences"]:
        if gap["p_holm"] is not None:
            found.setdefault(_compared(gap), []).append(gap["baseline"])
    for word in ("better than", "worse than", "not told apart from"):
        if word in found:
            parts.append(f"{word} {' and '.join(found[word])}")
    return "; ".join([parts[0], ", ".join(parts[1:])] if parts[1:] else parts)


def _compared(gap: Mapping[str, Any]) -> str:
    if gap["p_holm"] >= LEVEL:
        return "not told apart from"
    return "better than" if gap["mean"] > 0 else "worse than"


def _personal(entry: Mapping[str, Any]) -> str:
    if entry["status"].startswith(ENDED):
        return "not known, it did not finish"
    if entry["metrics"]["queries_told_apart"]["mean"] is None:
        return "not known, none of its choices is valid"
    sensitivity = entry["metrics"]["user_sensitivity"]["mean"]
    gain, part = entry["metrics"]["shuffled_gain"], entry["personalisation"]["shuffled_share"]
    if sensitivity is None:
        return "not known, with one user there is nobody to be taken for"
    if sensitivity == 0:
        return "no, every user gets the same LLM"
    if part is None:
        return "not known, no choice earns more than a random one"
    p, low = gain["p_value"], gain["low"]
    queries = entry["metrics"]["queries_told_apart"]["n"]
    if p >= LEVEL:
        word = "not shown" if gain["mean"] >= 0 else "no"
    elif low is not None and low > 0 and queries >= LEAST_UNITS:
        word = "yes"
    else:
        word = "on these queries, perhaps not on others"
    cost = f"{_percent(part)} of the way from random to the oracle, p = {p:.3f}"
    return f"{word}, shuffling users costs {cost}"


def _percent(part: Mapping[str, Any]) -> str:
    text = f"{100 * part['mean']:.1f} %"
    if part["low"] is not None:
        text += f" ± {50 * (part['high'] - part['low']):.1f}"
    return text
