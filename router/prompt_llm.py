"""Prompt-LLM: an LLM is shown the query, the candidates and the user's past, and names one.

The baseline that asks for judgment instead of learning it (in the paper, arXiv 2511.16883, an LLM
prompted with the candidates' descriptions). Candidates come in an order drawn anew for every
prompt. The user is known by the columns that the tier discloses and by the k choices on the past
queries most like this one. What the LLM replies is read strictly; where it cannot be read, or the
call failed, the best single LLM of the past answers, and that is counted.

Every decision is a paid call, so nothing is asked unless a pool, an LLM and a cap are named. All
goes through the ledger: the same command asks nothing twice, and continues where a cap ended it.
The order, and so the prompt, follows from its content alone: users of whom nothing is known are
one call a query. As with the responses that are chosen, every request is billed what its reply
cost, shared or not, and whenever it was paid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personaroute_bench.errors import BenchError, Incomplete, Interrupted, UsageError
from personaroute_bench.evaluation.protocol import History, Requests
from personaroute_bench.hashing import digest, hash_uniform, text_digest

from .best_single import BestSingle

if TYPE_CHECKING:
    from personaroute_bench.judging.prompts import Prompt
    from personaroute_bench.llms.ledger import Ledger
    from personaroute_bench.llms.pool import Pool
    from personaroute_bench.llms.progress import Progress
    from personaroute_bench.llms.types import LLM, ChatRequest

LEDGER = Path("router-ledger.sqlite")
# Whose money it is: the cap counts everything that this router asked in one ledger.
ACCOUNT = "prompt-llm"
MAX_TOKENS = 256
SHOWN = 10
# Characters of a past query, and of what is known of the person, that are shown.
QUERY_CHARS, PERSON_CHARS = 400, 4_000
# Prompts in memory at a time.
BLOCK = 2_000
# Columns of the users table that say who, not how, somebody is.
IDENTITY = ("user_id", "persona_id", "population", "cohort")


class PromptLLM:
    """A paid LLM reads the query, the candidates and the user's past choices, and names one.

    Args:
        seed: of the order in which candidates are shown.
        pool: a pool file, or the name of a bundled pool, or a `Pool`.
        llm: id of the LLM of the pool that decides; a real one.
        max_cost: USD that all calls of this router in the ledger may cost, earlier runs included.
        ledger: where requests, replies and their cost are kept.
        shown: past choices of the user in a prompt, k.
        progress: whether to show, on standard error, how far the calls are.

    Raises:
        UsageError: pool, LLM or cap is not named, or cannot be used; nothing was asked.
    """

    personal = True

    def __init__(
        self,
        seed: int = 0,
        *,
        pool: str | Path | Pool | None = None,
        llm: str | None = None,
        max_cost: float | None = None,
        ledger: str | Path = LEDGER,
        shown: int = SHOWN,
        progress: bool = False,
    ) -> None:
        if pool is None or llm is None or max_cost is None:
            named = {"pool FILE": pool, "llm ID": llm, "max-cost USD": max_cost}
            missing = [f"--router-{option}" for option, value in named.items() if value is None]
            raise UsageError(
                "prompt-llm pays an LLM for every decision, and asks none before you name what is "
                f"missing: {', '.join(missing)}; for instance bench evaluate --router prompt-llm "
                "--router-pool pool.yaml --router-llm ID --router-max-cost 5 (in Python: "
                "settings={'prompt-llm': {'pool': …, 'llm': …, 'max_cost': …}})"
            )
        if not (math.isfinite(max_cost) and max_cost > 0):
            raise UsageError(
                f"--router-max-cost {max_cost}: must be a finite number of USD above 0"
            )
        if shown < 0:
            raise UsageError(f"shown is {shown}; give 0 or more past choices")
        self.seed, self.shown, self.max_cost = seed, shown, max_cost
        self.llm = _decider(pool, llm)
        self.ledger, self.progress = Path(ledger), progress

    def fit(self, history: History) -> None:
        """Keep the past, and find the best single LLM."""
        self.past = [history] if history.validation is None else [history, history.validation]
        self.best_single = BestSingle()
        self.best_single.fit(history)
        self.answered = self.unread = self.failed = 0
        self._bill: float | None = 0.0

    def adapt(self, support: History) -> None:
        """Take in what is known of new users and LLMs."""
        self.past = [*self.past, support]
        self.best_single.adapt(support)

    @property
    def fallbacks(self) -> int:
        """Requests since `fit` that the best single LLM answered."""
        return self.unread + self.failed

    @property
    def router_cost_usd(self) -> float | None:
        """USD of the replies to all requests since `fit`; None where one is unknown."""
        return self._bill

    @property
    def note(self) -> str:
        """Who decided, and how often it could not be read."""
        return (
            f"asked {self.llm.id} ({self.llm.model}); of {self.answered} decisions best-single "
            f"stood in for {self.unread} unread replies and {self.failed} failed calls"
        )

    def route(self, requests: Requests) -> NDArray[np.int64]:
        """Return [n] indices.

        Raises:
            Incomplete: the cap or a quota is reached; the same command goes on.
            TooManyFailures, BenchError: see `personaroute_bench.llms.engine.run_calls`.
        """
        from personaroute_bench.llms.ledger import Ledger
        from personaroute_bench.llms.progress import ProgressPrinter

        answers = self.best_single.route(requests)
        if len(requests.candidates) == 1:
            return answers
        asking = _Asking(self, requests)
        with Ledger(self.ledger) as ledger, ProgressPrinter("prompt-llm") as printer:
            for start in range(0, len(requests), BLOCK):
                rows = range(start, min(start + BLOCK, len(requests)))
                show = partial(_overall, printer, rows, len(requests)) if self.progress else None
                self._settle(asking, rows, ledger, answers, show)
        return answers

    def _settle(
        self,
        asking: _Asking,
        rows: range,
        ledger: Ledger,
        answers: NDArray[np.int64],
        show: Callable[[Progress], None] | None,
    ) -> None:
        """Ask some of the requests, and put what was decided into the answers."""
        from personaroute_bench.judging.parsing import parse_choice
        from personaroute_bench.llms.engine import EngineOptions, read_replies, run_calls
        from personaroute_bench.llms.wires import WirePool

        asked = [asking.question(row) for row in rows]
        calls = [question.request for question in asked]
        with _own_options():
            summary = run_calls(
                calls,
                ledger,
                wire_for=WirePool().wire_for,
                dataset_id=ACCOUNT,
                options=EngineOptions(max_cost=self.max_cost),
                on_progress=show,
            )
            if summary.stopped:
                raise Incomplete(summary.message)
        replies = read_replies(calls, ledger)
        for row, question, (_, reply) in zip(rows, asked, replies, strict=True):
            if self._bill is not None:  # once a part is unknown, so is the whole
                self._bill = None if reply.cost_usd is None else self._bill + reply.cost_usd
            self.answered += 1
            if reply.status == "error":
                self.failed += 1
                continue
            order = question.order
            picks = parse_choice(reply.text, len(order)).picks if reply.status == "ok" else ()
            if len(picks) == 1:
                answers[row] = order[picks[0] - 1]
            else:
                self.unread += 1


def _overall(
    printer: Callable[[Progress], None], rows: range, total: int, progress: Progress
) -> None:
    """Show the progress of a block as that of all requests; equal calls are asked once."""
    done = rows.start + len(rows) - progress.total + progress.done
    left = (total - done) / progress.rate if progress.rate > 0 else None
    printer(replace(progress, done=done, total=total, seconds_left=left))


@contextmanager
def _own_options() -> Iterator[None]:
    """Let errors of the engine name this router's options, and Ctrl-C end the whole command."""
    try:
        yield
    except Interrupted as stop:
        raise KeyboardInterrupt from stop
    except BenchError as error:
        said = str(error).replace("--max-cost", "--router-max-cost")
        raise type(error)(said) from None


@dataclass(frozen=True)
class _Question:
    request: ChatRequest
    order: list[int]
    """Index of the candidate at each place shown."""


class _Asking:
    """Writes the prompts of a block of requests."""

    def __init__(self, router: PromptLLM, requests: Requests) -> None:
        self.router, self.requests = router, requests
        self.names = [str(name) for name in requests.candidates]
        self.described = _descriptions(requests.llms, self.names)
        self.people = _people(requests.users)
        self.texts: list[str] = requests.queries["query"].to_pylist()
        self.prompt = load_pick()
        self.memory = _Memory(router.past, requests, self.names)

    def question(self, row: int) -> _Question:
        """Return the call of one request."""
        from personaroute_bench.llms.types import ChatRequest

        requests = self.requests
        user, query = int(requests.user_index[row]), int(requests.query_index[row])
        person = self.people[user]
        past = self.memory.of(user, query, self.router.shown)
        order = self._order(query, person, [(text, taken) for text, taken, _ in past])
        number = {candidate: place for place, candidate in enumerate(order, 1)}
        text = self.prompt.render(
            self.texts[query],
            [*(self.described[c] for c in order), *person, *(text for text, _, _ in past)],
            candidates=len(order),
            profile=len(person),
            taken=[_said(taken, among, number) for _, taken, among in past],
        )
        request = ChatRequest(
            llm=self.router.llm,
            messages=(("user", text),),
            max_tokens=MAX_TOKENS,
            sample=self.router.seed,
            tag=str(requests.query_ids[query]),
        )
        return _Question(request, order)

    def _order(self, query: int, person: list[str], past: list[Any]) -> list[int]:
        """Shuffle the candidates by what the prompt holds, so that equal prompts stay equal."""
        texts = [text_digest(text) for text in (self.texts[query], *person)]
        content = digest([texts, [[text_digest(text), taken] for text, taken in past]])

        def draw(candidate: int) -> float:
            key = f"{content}\x1f{self.names[candidate]}"
            return hash_uniform(self.router.seed, "router/prompt-llm", key)

        return sorted(range(len(self.names)), key=draw)


class _Memory:
    """What users took in the past, found by likeness of the query."""

    def __init__(self, parts: Sequence[History], requests: Requests, names: list[str]) -> None:
        self.parts = parts
        self.rows = [part.find_users(requests.user_ids) for part in parts]
        self.likeness = [requests.embeddings @ part.embeddings.T for part in parts]
        place = {name: candidate for candidate, name in enumerate(names)}
        self.columns = [
            np.asarray([place.get(str(name), -1) for name in part.llm_ids]) for part in parts
        ]
        self.texts = [part.queries["query"].to_pylist() for part in parts]

    def of(self, user: int, query: int, count: int) -> list[tuple[str, list[int], list[int]]]:
        """Return (text, candidates taken, candidates shown) of the likest past queries."""
        found: list[tuple[float, str, int, int]] = []
        for i, part in enumerate(self.parts):
            row = int(self.rows[i][user])
            if row < 0 or not count:
                continue
            told = np.flatnonzero(part.chosen[row].any(axis=-1))
            likest = told[np.argsort(-self.likeness[i][query, told], kind="stable")[:count]]
            found += [
                (-float(self.likeness[i][query, q]), str(part.query_ids[q]), i, int(q))
                for q in likest
            ]
        shown = (self._told(user, i, q) for _, _, i, q in sorted(found)[:count])
        return [(text, taken, among) for text, taken, among in shown if taken]

    def _told(self, user: int, i: int, q: int) -> tuple[str, list[int], list[int]]:
        part, row, column = self.parts[i], int(self.rows[i][user]), self.columns[i]
        taken, among = (
            sorted(int(c) for c in column[mask[row, q]] if c >= 0)
            for mask in (part.chosen, part.observed)
        )
        return _cut(str(self.texts[i][q]), QUERY_CHARS), taken, among


def _said(taken: list[int], among: list[int], number: dict[int, int]) -> str:
    """Return which candidates were taken, and of which, where not of all."""

    def listed(candidates: list[int]) -> str:
        shown = sorted(number[c] for c in candidates)
        return ("candidate " if len(shown) == 1 else "candidates ") + " and ".join(map(str, shown))

    text = listed(taken) + (", equally good" if len(taken) > 1 else "")
    return text if len(among) == len(number) else f"{text} (seen: {listed(among)})"


def _descriptions(llms: Any, names: list[str]) -> list[str]:
    """Return name, size, price and description of each candidate, in the order of `names`."""
    rows = {str(row["llm_id"]): row for row in llms.to_pylist()}

    def known(value: Any, form: str) -> str:
        return "unknown" if value is None else form.format(value)

    found = []
    for name in names:
        row = rows.get(name, {})
        price = [known(row.get(f"{way}put_price"), "{:g}") for way in ("in", "out")]
        lines = [
            f"name: {row.get('name') or name}",
            f"parameters: {known(row.get('parameters'), '{:g} billion')}",
            f"price, USD per million tokens: input {price[0]}, output {price[1]}",
        ]
        if row.get("description"):
            lines.append(f"description: {row['description']}")
        found.append("\n".join(lines))
    return found


def _people(users: Any) -> list[list[str]]:
    """Return what the tier tells of each user: one text, or none."""
    found = []
    for row in users.to_pylist():
        lines = [
            f"{name.replace('_', ' ')}: {value}"
            for name, value in row.items()
            if name not in IDENTITY and value is not None and value != ""
        ]
        found.append([_cut("\n".join(lines), PERSON_CHARS)] if lines else [])
    return found


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _decider(pool: str | Path | Pool, llm: str) -> LLM:
    """Return the LLM that decides.

    Raises:
        UsageError: it is unknown, simulated, or lacks its key or a price.
    """
    from personaroute_bench.llms.pool import Pool, check_keys, load_pool, select_llms
    from personaroute_bench.llms.prices import resolve_prices

    chosen = select_llms(pool, [llm]) if isinstance(pool, Pool) else load_pool(str(pool), [llm])
    if chosen.llms[0].provider == "simulated":
        raise UsageError(
            f"--router-llm {llm}: it is simulated and cannot read; name a real LLM of a pool"
        )
    check_keys(chosen)
    priced = resolve_prices(chosen, allow_unknown=True).llms[0]
    if priced.input_price is None or priced.output_price is None:
        raise UsageError(
            f"--router-llm {llm} has no price, so --router-max-cost could not be kept; give "
            "input_price and output_price (USD per million tokens) in the pool file"
        )
    return priced


@lru_cache
def load_pick() -> Prompt:
    """Return the template, prompts/router/pick.jinja."""
    from personaroute_bench.judging.prompts import Prompt

    path = resources.files("personaroute_bench.prompts") / "router" / "pick.jinja"
    text = path.read_text(encoding="utf-8")
    version = int(text.removeprefix("{# version ").partition(":")[0])
    return Prompt("router/pick", version, text, text_digest(text))
