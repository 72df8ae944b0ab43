r"""Counting tokens without a vocabulary: the same number on every machine, for years.

Real tokenizers need a vocabulary of megabytes, often a download, and every LLM has another one.
Where a provider reports no usage, this module stands in: text is cut, as UTF-8 bytes, into the
fewest pieces of seven kinds, and each piece counts as one token.

==============================  =====================================================
piece                           example
==============================  =====================================================
word, up to 11 letters          ``␣Hello``, ``\frac`` (one space, tab or backslash before it)
capitals, up to 3               ``␣JSO`` ``N``
apostrophe and 1-2 letters      ``'s``, ``'ll``
digits, up to 3                 ``123`` ``456``
ASCII punctuation, up to 3      ``␣==``, ``"},``
other bytes, up to 3            ``é``, ``␣—``, one Chinese character, half an emoji
white space                     any run of it
==============================  =====================================================

The kinds follow the pre-tokenization of GPT-4's cl100k encoding; the lengths were chosen so that
totals agree with it (benchmarks/tokens.py measures how well; docs/pools.md gives the figures).
Every part of a piece is itself a piece, or several of one kind cut apart, so cutting greedily
gives the fewest pieces, and for all texts a and b

    count(a) + count(b) - 1  <=  count(a + b)  <=  count(a) + count(b).

A longer text therefore never counts less than any part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TOKENIZER = "personaroute-regex-1"
"""Name and version of the rule; a change of any count takes a new name."""

MESSAGE_OVERHEAD = 4
"""Tokens a message costs beside its content: three markers and its role."""

REPLY_PRIMING = 3
"""Tokens that open the answer, once a request."""

_PIECES = re.compile(
    rb"[ \t\\]?[A-Z]?[a-z]{1,11}"
    rb"|[ \t\\]?[A-Z]{1,3}"
    rb"|'[a-z]{1,2}"
    rb"|[0-9]{1,3}"
    rb"| ?[!-/:-@\[-`{-~]{1,3}"
    rb"| ?[\x80-\xff]{1,3}"
    rb"|\s+"
    rb"|[\x00-\x1f\x7f]"
)


def count_tokens(text: str) -> int:
    """Return the number of tokens of a text by the rule ``personaroute-regex-1``.

    Args:
        text: any string, lone surrogates included.

    Returns:
        A whole number >= 0; 0 for the empty text only.
    """
    return len(_PIECES.findall(text.encode("utf-8", "surrogatepass")))


def count_message_tokens(messages: Iterable[tuple[str, str]]) -> int:
    """Return the prompt tokens of a chat: contents, plus 4 a message, plus 3 for the reply.

    The overheads are those that OpenAI documents for its chat models since gpt-3.5-turbo-0613.

    Args:
        messages: (role, content) pairs in order.
    """
    return REPLY_PRIMING + sum(
        MESSAGE_OVERHEAD + count_tokens(content) for _role, content in messages
    )
