"""What judges are asked: versioned templates, and the fence around what others wrote.

Queries and answers are hostile text. They enter a template as values only, never as template
source; the environment is sandboxed all the same. In the prompt each stands between two lines
that carry a code which follows from the texts themselves and occurs in none of them, so that no
answer can close its own fence or open that of another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.hashing import digest, text_digest

if TYPE_CHECKING:
    from jinja2 import Template

LISTWISE = ("direct-a", "direct-b")
"""The two wordings that show all answers at once."""
PAIRWISE = ("direct-pairwise",)
RUBRIC = ("rubric-listwise", "rubric-single")
PROMPTS = (*LISTWISE, *PAIRWISE, *RUBRIC)

_VERSION = re.compile(r"\{# version ([0-9]+):")
_MARK_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template as it stands in its file."""

    name: str
    version: int
    text: str
    """Jinja source."""
    sha256: str
    """Of the source; the `prompt_hash` of a judgment."""

    def render(self, query: str, answers: Sequence[str], **values: Any) -> str:
        """Return the message for a query and its answers, which are numbered from 1.

        Raises:
            jinja2.UndefinedError: the template asks for a value that is not given.
        """
        template = _compiled(self.text)
        mark = fence_mark((query, *answers))
        # Numbered here: in a sandbox, loop.index costs more than all the rest.
        numbered = list(enumerate(answers, 1))
        return template.render(query=query, answers=numbered, mark=mark, **values)


@lru_cache
def load_prompt(name: str) -> Prompt:
    """Return a bundled template.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in PROMPTS:
        raise UsageError(f"no judge prompt is named {name!r}{did_you_mean(name, PROMPTS)}")
    path = resources.files("personaroute_bench.prompts") / f"{name}.jinja"
    text = path.read_text(encoding="utf-8")
    version = _VERSION.match(text)
    if version is None:
        raise UsageError(f"{name}.jinja does not begin with its version: {{# version 1: … #}}")
    return Prompt(name, int(version[1]), text, text_digest(text))


def fence_mark(texts: Sequence[str]) -> str:
    """Return eight hexadecimal digits that occur in none of the texts, the same every time."""
    number = 0
    while True:
        mark = digest([number, *(text_digest(text) for text in texts)])[:_MARK_DIGITS]
        if not any(mark in text.lower() for text in texts):
            return mark
        number += 1


@lru_cache
def _compiled(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The result is a chat message, not a page: escaping would change what the judge reads.
    environment = ImmutableSandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)
