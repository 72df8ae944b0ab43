"""One embedded query together with what only the simulated LLMs may see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personaroute_bench.tasks.types import Query

SYMBOLS = {"+": "+", "-": "−", "*": "×", "/": "÷"}


@dataclass(frozen=True, slots=True)
class Point:
    """One statement of a right answer."""

    text: str
    slip: str = ""
    """A plausible false version; empty where a weak LLM would rather leave the point out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a worked solution, for instance ``#0 - 7``.

    An operand is a number, or ``#k`` for the result of step k.
    """

    text: str
    """A sentence with ``{eq}`` where the equation goes."""
    left: int | str
    op: str
    right: int | str


@dataclass(frozen=True, slots=True)
class EmbeddedItem:
    """A query with its hidden structure.

    Which fields are filled depends on ``form``: ``steps`` (maths) has ``steps``, ``span``
    (question answering) has ``answer``, ``wrong_answers`` and its evidence as the only point,
    ``points`` (open tasks) has points. ``fixed`` layouts (JSON, tables) are written without
    bullets or rewording.
    """

    query: Query
    kind: str
    """Name of the template or grammar, for instance ``bakery``."""
    form: str
    difficulty: float
    """In logits; 0 is an average item of its task."""
    topic: str
    """A short noun phrase for opening lines."""
    points: tuple[Point, ...] = ()
    head: str = ""
    separator: str = "\n"
    tail: str = ""
    fixed: bool = False
    answer: str = ""
    wrong_answers: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


def worked(steps: Sequence[Step], slip_at: int = -1, slip_by: int = 0) -> list[int]:
    """Return the result of every step; at step ``slip_at`` the result is wrong by ``slip_by``.

    Later steps go on from the wrong result, as a person's slip would. A division that does not
    come out even after a slip is rounded down.

    Raises:
        ValueError: a division with remainder without a slip (a faulty template).
    """
    results: list[int] = []
    for place, step in enumerate(steps):
        left, right = (operand(value, results) for value in (step.left, step.right))
        value = apply(step.op, left, right)
        if value * right != left and step.op == "/" and slip_at < 0:
            raise ValueError(f"step {step.text!r}: {left} is no multiple of {right}")
        results.append(value + slip_by if place == slip_at else value)
    return results


def operand(value: int | str, results: Sequence[int]) -> int:
    """Return the number that an operand stands for."""
    return results[int(value[1:])] if isinstance(value, str) else value


def apply(op: str, left: int, right: int) -> int:
    """Return the result of one operation on whole numbers."""
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left // right


def equation(step: Step, results: Sequence[int], place: int) -> str:
    """Return step ``place`` as an equation, for instance ``3 × 12 = 36``."""
    left, right = (operand(value, results) for value in (step.left, step.right))
    return f"{left} {SYMBOLS[step.op]} {right} = {results[place]}"


def mean_difficulty(base: float, noise: float, spread: float = 0.6) -> float:
    """Return a difficulty in logits, rounded so that it reads well in a debugger."""
    return round(base + spread * noise, 3)
