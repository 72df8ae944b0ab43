"""How routers stand to one another: paired differences, Holm-corrected, and ranges of ranks.

Everything is read off the draws that all routers share. Each entry of the results keeps its own
draws, so that results of another run on the same test outcomes can be compared with it, paired,
without the data set (see `compare`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation import bootstrap
from personaroute_bench.evaluation.metrics import mean
from personaroute_bench.evaluation.significance import holm, p_value, rank_ranges

if TYPE_CHECKING:
    from personaroute_bench.benchmark import Doubles, Strings
    from personaroute_bench.evaluation.metrics import Outcomes
    from personaroute_bench.evaluation.personal_results import Drawn, Scored

# The routers against whom every other one is tested.
BASELINES = ("best-single", "best-per-user")
# Metrics whose draws are kept in the results.
KEPT = ("reward", "oracle_normalised_reward", "accuracy", "performance", "cost_usd")


def differences(
    names: Sequence[str],
    scored: Mapping[str, Scored],
    drawn: Drawn,
    confidence: float,
) -> dict[str, list[dict[str, Any]]]:
    """Return of each router its paired differences in reward to the baselines.

    p-values are corrected, baseline by baseline, for how many of the routers are tested against
    it. A router is not tested against itself.

    Args:
        names: the routers that are tested.
        scored, drawn: of these and of the baselines.
        confidence: of the intervals.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for baseline in BASELINES:
        if baseline not in scored:
            continue
        tested = [name for name in names if name != baseline]
        gaps = [drawn[name, "reward"] - drawn[baseline, "reward"] for name in tested]
        shape = scored[baseline]["reward"].shape
        p_values = [p_value(gap, min(shape)) for gap in gaps]
        for name, gap, p, p_holm in zip(tested, gaps, p_values, holm(p_values), strict=True):
            low, high = bootstrap.interval(gap, confidence, bootstrap.smaller(*shape))
            centre = mean(scored[name]["reward"] - scored[baseline]["reward"])
            found[name].append(
                {
                    "baseline": baseline,
                    "mean": centre,
                    "low": low,
                    "high": high,
                    "p_value": p,
                    "p_holm": p_holm,
                }
            )
    return found


def standings(
    names: Sequence[str], scored: Mapping[str, Scored], drawn: Drawn, confidence: float
) -> dict[str, dict[str, int]]:
    """Return of each router the range of its rank by reward, among these routers."""
    if not names:
        return {}
    means = np.asarray([mean(scored[name]["reward"]) or 0.0 for name in names])
    draws = np.stack([drawn[name, "reward"] for name in names])
    units = bootstrap.smaller(*scored[names[0]]["reward"].shape)
    return {
        name: {"best": low, "worst": high, "of": len(names)}
        for name, (low, high) in zip(
            names, rank_ranges(means, draws, confidence, units), strict=True
        )
    }


def paired_key(
    outcomes: Outcomes, ids: Sequence[Strings], draws: int, seed: int
) -> dict[str, str | None]:
    """Return what must agree for draws of two results to be paired: two SHA-256 hex digests.

    `outcomes_sha256` is of who asked what and of all that came of it: users, queries, LLMs and
    outcomes, in their order. `draws_sha256` is of the weights of the bootstrap, None without
    draws: NumPy may change its random streams.

    Args:
        outcomes: of the test split.
        ids: of users, queries and LLMs.
        draws: how many.
        seed: of the bootstrap.
    """
    asked = hash_of_ids(ids)
    for values in (outcomes.reward, outcomes.performance, outcomes.cost_usd):
        asked.update(plain_bytes(values))
    users, queries = outcomes.best.shape
    drawn = bootstrap.weights_digest(users, queries, draws, seed)
    return {"outcomes_sha256": asked.hexdigest(), "draws_sha256": drawn}


def plain_bytes(values: Any) -> bytes:
    """Return numbers as bytes to hash: zeros of either sign are one value, and so are NaNs."""
    plain = np.ascontiguousarray(values, dtype="<f8") + 0.0
    unknown = np.isnan(plain)
    if unknown.any():
        plain[unknown] = np.nan
    return plain.tobytes()


def hash_of_ids(ids: Sequence[Strings]) -> Any:
    """Return a running SHA-256 of who asked what: users, queries and LLMs."""
    asked = hashlib.sha256()
    for names in ids:
        asked.update("\x1f".join(names.tolist()).encode("utf-8", "surrogatepass") + b"\x1e")
    return asked


def pack(samples: Doubles) -> str:
    """Return draws [B] as text: little-endian float64 in base64."""
    return base64.b64encode(np.asarray(samples, dtype="<f8").tobytes()).decode("ascii")


def unpack(text: Any, draws: int) -> Doubles:
    """Return the draws [B] that `pack` wrote.

    Raises:
        UsageError: the text is no such thing, or holds another number of draws, or infinity.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise UsageError("draws are not base64 text") from error
    if len(raw) != 8 * draws:
        raise UsageError(f"{len(raw)} bytes of draws instead of 8 for each of {draws}")
    found = np.frombuffer(raw, dtype="<f8")
    if np.isinf(found).any():
        raise UsageError("a draw is infinite")
    return found
