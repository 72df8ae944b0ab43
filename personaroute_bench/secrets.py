"""Keys come from the environment and are shown nowhere: the last look before text leaves us."""

from __future__ import annotations

import os
import re

_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)")
_IN_URL = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
# Shorter values (none, true, 1) are words that occur in any text.
_SHORTEST = 8


def hide_secrets(text: str) -> str:
    """Return text in which no value of a secret variable stands, nor a password within a URL.

    A variable is secret if its name says so: ``OPENAI_API_KEY``, ``HF_TOKEN``, ``DB_PASSWORD``.
    """
    found = {
        value.strip()
        for name, value in os.environ.items()
        if len(value.strip()) >= _SHORTEST and _NAME.search(name.upper())
    }
    for value in sorted(found, key=len, reverse=True):
        text = text.replace(value, "[redacted]")
    return _IN_URL.sub("[redacted]", text)
