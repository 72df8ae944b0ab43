"""How to ask, and what came of it: the values around `engine.run_calls`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.budget import check_max_cost
from personaroute_bench.llms.ledger import Spend

Stopped = Literal["budget", "quota", "interrupted", "errors"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to ask; nothing here can change an answer, so nothing here is part of a key."""

    concurrency: int = 32
    """Calls in flight at most, over all LLMs."""
    timeout_s: float = 120.0
    """For one attempt."""
    max_attempts: int = 6
    max_cost: float | None = None
    """USD, over all runs of the data set; None: no cap."""
    max_error_rate: float = 0.1
    """Largest share of failed calls, of one LLM or of all, before the run stops."""
    allow_unknown_cost: bool = False
    estimate_usage: bool = False
    """Count tokens offline where a provider reports none."""
    backoff_s: float = 0.5
    """First ceiling of the back-off between attempts."""
    parts: int = 1
    """So many runs go on side by side and share the LLMs' rate limits; this one takes its part.
    Concurrency and `max_cost` are its own already."""

    def __post_init__(self) -> None:
        check_max_cost(self.max_cost)
        for name, value, good, need in (
            ("--concurrency", self.concurrency, self.concurrency >= 1, "at least 1"),
            ("--max-attempts", self.max_attempts, self.max_attempts >= 1, "at least 1"),
            ("--timeout", self.timeout_s, 0 < self.timeout_s < math.inf, "seconds above 0"),
            ("--max-error-rate", self.max_error_rate, 0 <= self.max_error_rate <= 1, "in [0, 1]"),
            ("parts", self.parts, self.parts >= 1, "at least 1"),
            ("backoff_s", self.backoff_s, 0 <= self.backoff_s < math.inf, "seconds, 0 or more"),
        ):
            if not good:
                raise UsageError(f"{name} {value}: must be {need}")
        if self.max_cost is not None and self.allow_unknown_cost:
            raise UsageError(
                f"--max-cost {self.max_cost} cannot be kept together with --allow-unknown-cost: "
                "what a call without a price costs cannot be counted; drop one of the two, or "
                "give the prices in the pool file"
            )


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did. Calls: total = cached + finished + unfinished."""

    total: int
    """Distinct calls asked for."""
    cached: int
    """Settled by an earlier run: neither asked nor paid again."""
    finished: int
    """Ended in this run, failures included."""
    failed: int
    """Of those finished: ended in an error."""
    attempts: int
    """HTTP requests sent."""
    spend_usd: float
    """Known spend of this run."""
    total_spend: Spend
    """The data set's money over all its runs, as the ledger has it."""
    errors: dict[str, dict[str, int]]
    """Failed calls of this run by LLM id and type of error."""
    stopped: Stopped | None = None
    """Why the run ended early; None: it did not."""
    message: str = ""
    """Where it ended early: why, and how to go on."""

    @property
    def unfinished(self) -> int:
        """Calls that still have to be asked."""
        return self.total - self.cached - self.finished

    def spend_json(self) -> dict[str, Any]:
        """Return the data set's money over all its runs as JSON values, for the manifest."""
        return self.total_spend.as_json()
