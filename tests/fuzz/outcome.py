"""What may come of reading a stranger's input: a value, or one message. Nothing else, and soon."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import settings

from personaroute_bench.errors import BenchError

fuzzed = settings.get_profile("fuzz-long" if "FUZZ_EXAMPLES" in os.environ else "fuzz-quick")
LIMIT_S = 20
LONGEST_MESSAGE = 3_000


def attempt(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the call's value, or the BenchError that it raised.

    Any other exception passes and fails the test, and so does a call that takes too long, or a
    message that a person could not use.
    """
    try:
        with _limited():
            return call(*arguments, **options)
    except BenchError as error:
        message = str(error)
        assert message.strip(), "an error without a message"
        assert len(message) <= LONGEST_MESSAGE, f"a message of {len(message)} characters"
        assert "Traceback" not in message
        assert " object at 0x" not in message
        return error


def refused(result: Any, *words: str | Path) -> bool:
    """Whether the result is an error; if so, its message must have all these words."""
    if not isinstance(result, BenchError):
        return False
    for word in words:
        assert str(word) in str(result), f"{word} is not in: {result}"
    return True


def leaves_nothing(folder: Path) -> None:
    """Assert that a refused run left no output, not even a hidden one."""
    if folder.exists():
        left = [path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        assert not left, f"partial output: {left}"
    hidden = [p.name for p in folder.parent.iterdir() if p.name.startswith(f".{folder.name}")]
    assert not hidden, f"partial output: {hidden}"


@contextmanager
def _limited() -> Iterator[None]:
    """Turn a hang into a failure, where signals can."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: object) -> None:
        raise AssertionError(f"not over after {LIMIT_S} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
