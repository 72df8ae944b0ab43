"""The direct judge: an LLM that plays a persona reads all answers and takes one.

    persona, query, answers ──► JudgeCall (blind labels, shuffled, both orders, repeats, judges)
        ──► run_calls, read_replies ──► judgments ──► chosen [P, Q, M]

The persona's text is the system prompt. Which answer stands where is drawn from a hash of seed,
persona, query and repeat; it is the same for every judge and wording, so that these can be
compared. Nothing is asked about a query with fewer than two usable answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import hash_uniform
from personaroute_bench.judging.calls import (
    Answered,
    Calls,
    chat,
    check_judges,
    shuffled,
    usable_answers,
)
from personaroute_bench.judging.parsing import parse_choice
from personaroute_bench.judging.prompts import LISTWISE, PAIRWISE, Prompt, load_prompt
from personaroute_bench.llms.types import LLM, ChatRequest, Reply
from personaroute_bench.tasks.types import Query
from personaroute_bench.users.persona_types import Persona
from personaroute_bench.users.rewards import Bools

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["listwise", "pairwise"]

EXPECTED_OUTPUT = 8
"""Tokens of a bare ``{"choice": [3]}``, rounded up: six by the offline tokenizer."""
_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class DirectOptions:
    """How the direct judge is asked. Everything here changes the prompts.

    Raises:
        UsageError: on construction, for a value out of range.
    """

    seed: int = 0
    mode: Mode = "listwise"
    prompts: tuple[str, ...] = ()
    """Wordings, each asked; empty: ``direct-a``, or ``direct-pairwise``."""
    both_orders: bool = False
    """Ask a second time with the answers in reverse."""
    repeats: int = 1
    """Ask so many times, each with another order."""
    pairs: int | None = None
    """Pairwise: so many pairs of every k (k − 1) / 2; None: all of them. With k pairs, every
    answer stands in two, once first and once second."""
    judge_schema: bool = False
    """Let the provider enforce the JSON schema (`response_format`); not every one can."""
    temperature: float | None = 0.0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        wordings = PAIRWISE if self.mode == "pairwise" else LISTWISE
        for name in self.prompts:
            if name not in wordings:
                raise UsageError(
                    f"prompt {name!r} does not fit {self.mode} judging; take "
                    + " or ".join(wordings)
                )
        for name, value in (("--repeats", self.repeats), ("the number of pairs", self.pairs)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        if self.pairs is not None and self.mode != "pairwise":
            raise UsageError(f"a number of pairs ({self.pairs}) needs pairwise judging")

    @property
    def wordings(self) -> tuple[str, ...]:
        """The names of the prompts that are asked."""
        return self.prompts or ((PAIRWISE if self.mode == "pairwise" else LISTWISE)[0],)


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """One question to a judge; the key columns of its row in `judgments`."""

    request: ChatRequest
    persona_id: str
    query_id: str
    prompt_hash: str
    mode: Mode
    order_id: int
    repeat: int
    pair: int
    shown: tuple[str, ...]
    """LLM ids in the order shown; the first is Answer 1."""
    alike: tuple[int, ...]
    """For each place the first place that shows the very same text, counted from 0."""

    @property
    def expected_output(self) -> int:
        """Tokens of a reply that does as it is told."""
        return EXPECTED_OUTPUT


def direct_requests(
    personas: Sequence[Persona],
    queries: Sequence[Query],
    responses: pa.Table,
    judges: Sequence[LLM],
    options: DirectOptions = DirectOptions(),
) -> Calls[JudgeCall]:
    """Return the calls, persona by persona; none is built before it is taken.

    Args:
        personas: a persona that stands there more than once (users of one profile) is asked once.
        queries: to ask about, in order.
        responses: the `responses` table; only what is ok is shown.
        judges: each is asked everything, in every wording.
        options: orders, repeats, wordings, pairs.

    Raises:
        UsageError: no judge, or a simulated one; two personas of one id with different texts.
    """
    check_judges(judges)
    answered = usable_answers(queries, responses, least=2)
    plan = _Plan(
        personas=_distinct(personas),
        answered=answered,
        configurations=[(j, load_prompt(name)) for j in judges for name in options.wordings],
        options=options,
        starts=np.cumsum([0, *(_rounds(item, options) for item in answered)]),
    )
    return Calls(plan.call, range(len(plan.personas) * plan.per_persona))


@dataclass(frozen=True)
class _Plan:
    """Where each call stands: persona ▸ query ▸ repeat ▸ pair ▸ order ▸ configuration."""

    personas: list[Persona]
    answered: list[Answered]
    configurations: list[tuple[LLM, Prompt]]
    options: DirectOptions
    starts: Any
    """[Q + 1] number of a query's first round; a round is asked of every configuration."""

    @property
    def per_persona(self) -> int:
        return int(self.starts[-1]) * len(self.configurations)

    def call(self, index: int) -> JudgeCall:
        """Build one call."""
        options = self.options
        who, within = divmod(index, self.per_persona)
        round_, configuration = divmod(within, len(self.configurations))
        place = int(np.searchsorted(self.starts, round_, side="right")) - 1
        persona, item = self.personas[who], self.answered[place]
        rest, order = divmod(round_ - int(self.starts[place]), 1 + options.both_orders)
        repeat, pair = divmod(rest, _pairs(item, options))
        judge, prompt = self.configurations[configuration]

        key = (persona.persona_id, item.query.query_id)
        if options.mode == "pairwise":
            shown = _pair_shown(list(item.answers), options.seed, key, repeat, pair)
        else:
            shown = shuffled(item.answers, options.seed, *key, str(repeat))
        if order:
            shown = shown[::-1]
        texts = [item.answers[llm_id] for llm_id in shown]
        text = prompt.render(item.query.query, texts)
        request = chat(
            judge,
            (("system", persona.text), ("user", text)),
            schema=choice_schema(len(shown)) if options.judge_schema else None,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            sample=repeat,
            tag="/".join(key),
        )
        return JudgeCall(
            request=request,
            persona_id=key[0],
            query_id=key[1],
            prompt_hash=prompt.sha256,
            mode=options.mode,
            order_id=order,
            repeat=repeat,
            pair=pair,
            shown=tuple(shown),
            alike=tuple(texts.index(text) for text in texts),
        )


def choice_schema(k: int) -> dict[str, Any]:
    """Return the JSON schema of a choice among `k` answers, within what providers enforce."""
    labels = {"type": "array", "items": {"type": "integer", "enum": list(range(1, k + 1))}}
    return {
        "type": "object",
        "properties": {"choice": labels},
        "required": ["choice"],
        "additionalProperties": False,
    }


def read_judgments(
    calls: Iterable[JudgeCall], replies: Iterable[tuple[ChatRequest, Reply]]
) -> pa.Table:
    """Return the `judgments` table.

    Where several answers are the very same text, taking one of them is taking all: nobody could
    prefer one to the other, so it is a tie.

    Args:
        calls: as they were asked.
        replies: from `read_replies` for the same calls, in the same order.

    Raises:
        ValueError: the two do not belong together.
    """
    import pyarrow as pa

    from personaroute_bench.schemas import JUDGMENTS

    columns: dict[str, list[Any]] = {name: [] for name in JUDGMENTS.names}
    parts = [JUDGMENTS.empty_table()]

    def flush() -> None:
        parts.append(pa.table(columns, schema=JUDGMENTS))
        for values in columns.values():
            values.clear()

    for call, (request, reply) in zip(calls, replies, strict=True):
        if (request.tag, request.messages) != (call.request.tag, call.request.messages):
            raise ValueError(f"the reply to {request.tag!r} came for the call {call.request.tag!r}")
        for name, value in _row(call, reply).items():
            columns[name].append(value)
        if len(columns["status"]) == _BATCH:
            flush()
    flush()
    return pa.concat_tables(parts).unify_dictionaries()


def _row(call: JudgeCall, reply: Reply) -> dict[str, Any]:
    """Return a judgment: the reply's own status unless it is ok, else what parsing makes of it."""
    choice = parse_choice(reply.text, len(call.shown)) if reply.status == "ok" else None
    taken = {call.alike[pick - 1] for pick in choice.picks} if choice else set()
    return {
        "persona_id": call.persona_id,
        "query_id": call.query_id,
        "judge": call.request.llm.id,
        "prompt_hash": call.prompt_hash,
        "mode": call.mode,
        "order_id": call.order_id,
        "repeat": call.repeat,
        "pair": call.pair,
        "shown": list(call.shown),
        "chosen": [m for m, text in zip(call.shown, call.alike, strict=True) if text in taken],
        "status": choice.status if choice else reply.status,
        "reply": reply.text,
        "cost_usd": reply.cost_usd,
    }


def choices_from_judgments(
    table: pa.Table,
    persona_ids: Sequence[str],
    query_ids: Sequence[str],
    llm_ids: Sequence[str],
    *,
    ok: Bools | None = None,
) -> tuple[Bools, Bools]:
    """Bring the judgments of all orders, repeats, wordings and judges to one choice each.

    Every judgment that was parsed has one vote, which a tie splits evenly. Taken is the answer
    with the most votes by the number of judgments that showed it: listwise the plain majority,
    pairwise the share of duels won. Equal shares are a tie. So two orders that disagree leave a
    tie of the two: shown both ways, a judge that always takes what stands first has no say. What
    was not parsed has no vote, neither for nor against.

    Args:
        table: `judgments`, of one mode. For one judge or wording alone, filter it before.
        persona_ids: [P]; an id may stand there several times.
        query_ids: [Q].
        llm_ids: [M].
        ok: [Q, M] usable responses. With them, a query with a single usable one, which no judge
            is asked about, has that as its choice.

    Returns:
        chosen: [P, Q, M]; all false where nothing is known.
        known: [P, Q]; whether there is a choice.

    Raises:
        UsageError: listwise and pairwise judgments together; a judgment about another LLM.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    people, back = np.unique(np.asarray(persona_ids, dtype=str), return_inverse=True)
    shape = (len(people), len(query_ids), len(llm_ids))

    def places(column: pa.ChunkedArray, ids: Iterable[str]) -> pa.ChunkedArray:
        return pc.index_in(column.cast(pa.string()), value_set=pa.array(ids, pa.string()))

    table = table.filter(pc.equal(table["status"].cast(pa.string()), "ok"))
    persona, query = places(table["persona_id"], people), places(table["query_id"], query_ids)
    wanted = pc.and_(persona.is_valid(), query.is_valid())
    table, persona, query = table.filter(wanted), persona.filter(wanted), query.filter(wanted)
    modes = pc.unique(table["mode"].cast(pa.string())).to_pylist()
    if len(modes) > 1:
        raise UsageError(
            f"judgments of the modes {' and '.join(sorted(modes))} cannot be counted together; "
            "filter the table by mode"
        )
    row = persona.to_numpy().astype(np.int64) * shape[1] + query.to_numpy()

    def count(name: str, split: bool) -> Any:
        """[P', Q, M] judgments that have an LLM in this list, or their votes for it."""
        lists = table[name].combine_chunks()
        llm_id = lists.flatten()
        place = pc.index_in(llm_id, value_set=pa.array(llm_ids, pa.string()))
        if place.null_count:
            foreign = llm_id.filter(place.is_null())[0].as_py()
            raise UsageError(
                f"the judgments speak of LLM {foreign!r}, which is not among the candidates; "
                "judge the responses of this pool again"
            )
        parent = lists.value_parent_indices().to_numpy()
        weight = 1.0 / lists.value_lengths().to_numpy()[parent] if split else None
        cell = row[parent] * shape[2] + place.to_numpy()
        return np.bincount(cell, weight, minlength=int(np.prod(shape))).reshape(shape)

    shown, votes = count("shown", split=False), count("chosen", split=True)
    share = np.divide(votes, shown, out=np.full(shape, -1.0), where=shown > 0)
    known = (shown > 0).any(axis=-1)
    chosen = known[..., None] & (share >= share.max(axis=-1, keepdims=True, initial=0.0) - 1e-9)
    if ok is not None:
        alone = ~known & (ok.sum(axis=-1) == 1)
        chosen |= alone[..., None] & ok
        known |= alone
    return chosen[back], known[back]


def _pair_shown(
    ids: list[str], seed: int, key: tuple[str, str], repeat: int, pair: int
) -> list[str]:
    """Return the two answers of a pair, in the order shown.

    The answers sit in a shuffled circle; pairs 0 to k − 1 are neighbours, the next k are two
    seats apart, and so on, the earlier seat first. So a small number of pairs is spread evenly,
    and every answer stands first as often as second. Later repeats toss a coin for the order.
    """
    circle = shuffled(ids, seed, *key)
    apart, seat = divmod(pair, len(circle))
    two = [circle[seat], circle[(seat + apart + 1) % len(circle)]]
    coin = hash_uniform(seed, "judging/coin", "\x1f".join((*key, str(repeat), str(pair))))
    return two[::-1] if repeat and coin < 0.5 else two


def _pairs(item: Answered, options: DirectOptions) -> int:
    """Return how many pairs a query has; 1 where all answers are shown together."""
    if options.mode == "listwise":
        return 1
    every = len(item.answers) * (len(item.answers) - 1) // 2
    return every if options.pairs is None else min(every, options.pairs)


def _rounds(item: Answered, options: DirectOptions) -> int:
    return _pairs(item, options) * options.repeats * (1 + options.both_orders)


def _distinct(personas: Sequence[Persona]) -> list[Persona]:
    """Keep the first of each id.

    Raises:
        UsageError: two of one id have different texts.
    """
    first: dict[str, Persona] = {}
    for persona in personas:
        held = first.setdefault(persona.persona_id, persona)
        if held.text != persona.text:
            raise UsageError(f"two personas are called {persona.persona_id!r}; rename one of them")
    return list(first.values())
