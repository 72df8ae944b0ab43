"""Ten simulated LLMs behind the same seam as live ones: a wire that writes its own replies.

No real LLM is asked and nothing is billed. Right or wrong follows a two-parameter
item-response model, length and style the traits of each LLM, token usage the text that was
written; docs/simulated.md tells after which published figures they were set. Every reply names
its origin in ``system_fingerprint``.

    wire = SimulatedWire.for_queries(taskset.queries, seed=0)
    raw = await wire.send(request, timeout_s=60)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from personaroute_bench.llms.simulated_traits import TRAITS, Traits
from personaroute_bench.llms.simulated_writing import Voice, ramble, write, wrong_numbers
from personaroute_bench.llms.types import ChatRequest, RawReply
from personaroute_bench.tasks.embedded.draws import Draws
from personaroute_bench.tasks.embedded.item import EmbeddedItem, Point
from personaroute_bench.tasks.embedded.source import find_item
from personaroute_bench.tasks.types import Query
from personaroute_bench.tokens import count_message_tokens, count_tokens

if TYPE_CHECKING:
    from typing import Self

FINGERPRINT = "simulated"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_FINAL = re.compile(r"####\s*(\S+)")
_SHORT = 6
"""Up to so many words a ground truth counts as a span."""


class SimulatedLLMs:
    """The ten LLMs, and what they know: the items behind the prompts they may be asked."""

    def __init__(self, items: Mapping[str, EmbeddedItem], seed: int = 0) -> None:
        self._items = dict(items)
        self._seed = seed

    @classmethod
    def for_queries(cls, queries: Sequence[Query], seed: int) -> Self:
        """Know these queries: embedded ones by their hidden structure, others by their truth.

        Args:
            queries: embedded or any others; a prompt that is none of theirs gets an answer that
                says nothing in particular.
            seed: the data set's seed; it also decides who is right where.
        """
        return cls({query.prompt: item_for(query, seed) for query in queries}, seed)

    def complete(
        self,
        model: str,
        messages: Sequence[tuple[str, str]],
        *,
        max_tokens: int = 1024,
        temperature: float | None = 0.0,
        sample: int = 0,
    ) -> RawReply:
        """Answer one chat completion request, the same each time.

        Args:
            model: one of the ids in `TRAITS`; any other is answered with HTTP 404.
            messages: (role, content) pairs; the last one of the user is the prompt.
            max_tokens: the text is cut there, with finish_reason ``length``.
            temperature: above 0, with the sample, gives another draw; None counts as 0.
            sample: index of an independent repetition.

        Returns:
            HTTP 200, an OpenAI-style body, and the seconds that such a call would take: they are
            computed from the tokens and never waited for.
        """
        traits = TRAITS.get(model)
        if traits is None:
            return RawReply(404, error_body(f"The model '{model}' does not exist", "model"), 0.0)
        prompt = next((text for role, text in reversed(messages) if role == "user"), "")
        variant = (temperature, sample) if temperature or sample else ()
        item = self._items.get(prompt) or _unknown(prompt)
        draws = Draws(self._seed, "reply", model, item.query.query_id, prompt, *variant)
        voice = Voice(model, traits, draws)
        text, finish, refusal = _reply(item, voice, max_tokens)
        completion = count_tokens(refusal or text)
        return RawReply(
            200,
            _body(model, messages, text, refusal, finish, completion, draws),
            _latency(traits, completion, draws),
        )


class SimulatedWire:
    """`SimulatedLLMs` as a wire: no network, no waiting, no state."""

    def __init__(self, llms: SimulatedLLMs | None = None) -> None:
        # Without queries the LLMs know nothing, and say so in their style.
        self._llms = llms or SimulatedLLMs({})

    @classmethod
    def for_queries(cls, queries: Sequence[Query], seed: int) -> Self:
        """Return a wire whose LLMs know these queries; see `SimulatedLLMs.for_queries`."""
        return cls(SimulatedLLMs.for_queries(queries, seed))

    async def send(self, request: ChatRequest, timeout_s: float) -> RawReply:
        """Answer at once; ``timeout_s`` never runs out, and no WireError is raised."""
        return self._llms.complete(
            request.llm.model,
            request.messages,
            max_tokens=request.llm.max_tokens or request.max_tokens,
            temperature=request.temperature,
            sample=request.sample,
        )

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def item_for(query: Query, seed: int) -> EmbeddedItem:
    """Return the item behind a query: its own where it is embedded, else one from its truth."""
    item = find_item(seed, query.query_id)
    if item is not None and item.query.prompt == query.prompt:
        return item
    return _from_truth(query)


def _from_truth(query: Query) -> EmbeddedItem:
    """Make an item of any query: the ground truth is right, and slips of it are wrong."""
    difficulty = round(0.75 * Draws(0, "difficulty", query.query_id).normal() + 0.2, 3)
    item = EmbeddedItem(
        query, "other", "points", difficulty, _topic(query.query), (), separator=" "
    )
    truth = (query.ground_truth or "").strip()
    if not truth:
        return replace(item, points=(Point(f"This is a simulated answer on {item.topic}."),))
    final = _FINAL.search(truth)
    if final is not None:
        lines = tuple(Point(line) for line in truth[: final.start()].splitlines() if line.strip())
        wrong = wrong_numbers(final[1]) or ("unknown",)
        return replace(item, form="steps", points=lines, answer=final[1], wrong_answers=wrong)
    if len(truth.split()) <= _SHORT:
        # Metrics other than F1 compare the whole answer: nothing may stand round it.
        bare = query.metric != "f1_score"
        return replace(
            item, form="span", answer=truth, wrong_answers=_traps(truth, query.query), fixed=bare
        )
    parts = [part for part in _SENTENCE_END.split(truth) if part]
    return replace(item, points=tuple(Point(part) for part in parts))


def _traps(truth: str, query: str) -> tuple[str, ...]:
    """Return wrong answers of the same kind: another letter, another number, other words."""
    if len(truth) == 1 and truth.upper() in "ABCDEFGHIJ":
        return tuple(letter for letter in "ABCD" if letter != truth.upper())
    numbers = wrong_numbers(truth)
    if numbers:
        return numbers
    words, count = query.split(), len(truth.split())
    runs = (" ".join(words[i : i + count]) for i in range(0, len(words), 3))
    return tuple(run.strip(".,;:?!\"'") for run in runs if run.casefold() != truth.casefold())[:8]


def _unknown(prompt: str) -> EmbeddedItem:
    """Return an item for a prompt that nobody announced: no truth is known."""
    return _from_truth(Query("unknown", "other", prompt, prompt, None, "f1_score"))


def _topic(text: str) -> str:
    """Return the first words of a text as something an opening line can name."""
    words = re.findall(r"[\w'-]+", text[:200])[:6]
    return f'"{" ".join(words)}"' if words else "the question"


def _reply(item: EmbeddedItem, voice: Voice, max_tokens: int) -> tuple[str, str, str | None]:
    """Return text, finish reason and refusal."""
    traits, fate = voice.traits, voice.draws.uniform()
    if fate < traits.refuses:
        from personaroute_bench.llms.simulated_phrases import REFUSALS

        return "", "stop", voice.draws.pick(REFUSALS)
    fate -= traits.refuses
    if fate < traits.empty:
        return "", "stop", None
    text = write(item, voice)
    if fate - traits.empty < traits.rambles:
        text = ramble(voice, text, max_tokens)
    if len(text) // 2 > max_tokens or count_tokens(text) > max_tokens:
        cut = _cut(text, max_tokens)
        if cut != text:
            return cut, "length", None
    return text, "stop", None


def _cut(text: str, max_tokens: int) -> str:
    """Return the longest beginning of the text with at most ``max_tokens`` tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(text[:middle]) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _latency(traits: Traits, completion_tokens: int, draws: Draws) -> float:
    """Return the seconds that the call would take, with a spread of a fifth."""
    seconds = traits.overhead_s + completion_tokens / traits.tokens_per_second
    return round(seconds * (0.8 + 0.4 * draws.uniform()), 4)


def _body(
    model: str,
    messages: Sequence[tuple[str, str]],
    text: str,
    refusal: str | None,
    finish: str,
    completion: int,
    draws: Draws,
) -> bytes:
    prompt = count_message_tokens(messages)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refusal else text,
        "refusal": refusal,
    }
    return json.dumps(
        {
            "id": f"chatcmpl-sim-{int(draws.uniform() * 16**12):012x}",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "system_fingerprint": FINGERPRINT,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        },
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")


def error_body(message: str, param: str | None = None) -> bytes:
    """Return an error in the form of the OpenAI API."""
    code = "model_not_found" if param == "model" else None
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json.dumps({"error": error}).encode()
