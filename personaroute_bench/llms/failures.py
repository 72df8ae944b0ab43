"""Counting the calls that failed, and saying so: by LLM, by type, with an example."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from personaroute_bench.errors import BenchError, TooManyFailures
from personaroute_bench.llms.types import LLM, Reply

MIN_FINISHED = 20
"""Calls that must have finished before the share of failures says anything."""


@dataclass(slots=True)
class Tally:
    """Finished calls of one LLM, or of all."""

    finished: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    sample: str = ""
    """The first error's message."""

    def add(self, reply: Reply) -> None:
        """Count one call."""
        self.finished += 1
        if reply.status == "error":
            self.failed += 1
            self.errors[reply.error_type or "error"] += 1
            self.sample = self.sample or (reply.error_message or "")

    def text(self) -> str:
        """Return the types of error, most frequent first, and an example."""
        types = ", ".join(f"{kind} {number}" for kind, number in self.errors.most_common())
        return f"{types} (for instance: {self.sample[:160]})" if self.sample else types


class Tallies:
    """The tallies of a run, and the share of failures that it bears.

    Only the calls of this run count: an earlier run's failures were judged then.
    """

    def __init__(self, max_error_rate: float):
        self._max_error_rate = max_error_rate
        self._llms: dict[str, Tally] = {}
        self.all = Tally()

    def add(self, llm: LLM, reply: Reply) -> TooManyFailures | None:
        """Count a call that is over; return the error that ends the run, if it is too much."""
        tally = self._llms.setdefault(llm.id, Tally())
        tally.add(reply)
        self.all.add(reply)
        for one, who in ((tally, f"LLM {llm.id!r}"), (self.all, "all LLMs")):
            if one.finished >= MIN_FINISHED and one.failed > self._max_error_rate * one.finished:
                return self._too_many(one, who)
        return None

    def errors(self) -> dict[str, dict[str, int]]:
        """Return failed calls by LLM id and type of error."""
        return {
            llm: dict(tally.errors) for llm, tally in sorted(self._llms.items()) if tally.failed
        }

    def _too_many(self, tally: Tally, who: str) -> TooManyFailures:
        details = "; ".join(f"{k}: {t.text()}" for k, t in sorted(self._llms.items()) if t.failed)
        return TooManyFailures(
            f"{tally.failed} of {tally.finished} calls of {who} failed, more than --max-error-rate "
            f"{self._max_error_rate} allows: {details}; what was answered is kept: mend the cause, "
            "or raise --max-error-rate, and run the same command again"
        )


def refused_key(llm: LLM) -> BenchError:
    """Return the error of an endpoint that answered 401 or 403.

    Without the endpoint's own words, which may repeat a part of the key.
    """
    if llm.api_key_env is None:
        remedy = "name the variable that holds its key as api_key_env in the pool file"
    else:
        remedy = f"check the key in the environment variable {llm.api_key_env}"
    return BenchError(
        f"the endpoint of LLM {llm.id!r} ({llm.base_url or llm.provider}) refused access: "
        f"{remedy}, and run the same command again"
    )
