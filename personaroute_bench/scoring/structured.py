"""Find the final answer inside a longer response: a JSON field, double brackets, a box.

LLMs that are asked for JSON send it in a code fence, with text around it, with line breaks or
quotes that are not escaped, or cut off. The readers here are total: they accept any text, raise
nothing, evaluate nothing, and take time linear in its length.
"""

from __future__ import annotations

import contextlib
import json
import re

_KEY = re.compile(r"""(?<!\\)["'](?:final[_ ]?)?answer["']\s*:\s*""", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"(?=\s*(?:[,}\]]|```|\Z))', re.DOTALL)
# Unescaped quotes inside: up to the first quote that an end of the object or a next key follows.
_QUOTED = re.compile(r"""(["'])(.*?)\1\s*+(?:\}|,\s*+["']\w+["']\s*:|```|\Z)""", re.DOTALL)
_BARE = re.compile(r"""[^}\n]{0,2000}?(?=\s{0,9}(?:,\s{0,9}["']|[}\n]|\Z))""")
_ESCAPE = re.compile(r"""\\(u[0-9a-fA-F]{4}|["'\\/bfnrt])""")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS = {"true": "True", "false": "False", "null": "None"}
_DECODER = json.JSONDecoder(strict=False)
_THINK = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Return the last match of a pattern, scanning from the left."""
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


def strip_thinking(text: str) -> str:
    """Return what follows a leading ``<think>…</think>`` block; all of it where there is none.

    A block that never closes leaves nothing to score: the empty text, which every metric scores
    zero. (Reading the reply gives such a response its own status, so that this zero is seen only
    by those who score raw text.)
    """
    if not _THINK.match(text):
        return text
    closing = _THINK_END.search(text)
    return text[closing.end() :].lstrip() if closing else ""


def json_answer(text: str) -> str | None:
    """Return the value of the last JSON field ``answer`` (or ``final_answer``) as text.

    A string comes back with its escapes resolved; any other JSON value in Python's notation
    (``true`` as ``True``, ``["a"]`` as ``['a']``), which is how CRUXEval writes its references.
    Broken JSON is read as far as it goes.

    Returns:
        None where there is no such field, so that the caller can look elsewhere; the empty text
        where the field is there and empty.
    """
    last = last_match(_KEY, text)
    if last is None:
        return None
    start = last.end()
    first = text[start : start + 1]
    if first in ('"', "'"):
        return _read_string(text, start)
    if first in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return str(_DECODER.raw_decode(text, start)[0])
    bare = _BARE.match(text, start)
    value = bare.group().strip().rstrip(",") if bare else ""
    return _CONSTANTS.get(value, value)


def _read_string(text: str, start: int) -> str:
    """Read the string that opens at ``start``, whether or not it is proper JSON."""
    whole = _STRING.match(text, start)
    if whole:
        return _unescape(whole[1])
    broken = _QUOTED.match(text, start)
    if broken:
        return _unescape(broken[2])
    return _unescape(text[start + 1 :].partition("\n")[0])  # cut off


def _unescape(raw: str) -> str:
    """Resolve JSON escapes; what is no escape in JSON (``\\sqrt``) stays as it is."""

    def resolve(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(resolve, raw) if "\\" in raw else raw


def bracket_answer(text: str) -> str | None:
    """Return what stands in the last ``[[…]]``, without the brackets; None where there is none.

    >>> bracket_answer("so it is [[A];[B]].")
    'A];[B'
    """
    end = text.rfind("]]")
    start = text.rfind("[[", 0, end) if end >= 0 else -1
    return text[start + 2 : end].strip() if start >= 0 else None


def boxed_answer(text: str) -> str | None:
    r"""Return the content of the last LaTeX ``\boxed{…}``, braces balanced; None without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for position in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 7 : position].strip()
    return text[start + 7 :].strip()


def final_answer(text: str) -> str:
    """Return the JSON field, else the double brackets, else the whole text, stripped."""
    for answer in (json_answer(text), bracket_answer(text)):
        if answer is not None:
            return answer
    return text.strip()
