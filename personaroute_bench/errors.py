"""The errors a user can meet, and the exit code that each one gives `bench`.

BenchError                   1  something went wrong while running
├── UsageError               2  a value, file or option is wrong; nothing was started
│   └── ConfigMismatch       2  the folder holds a data set of another configuration
├── Incomplete               3  stopped cleanly by a budget, a quota or a limit; run again to go on
│   └── Interrupted        130  the same, by Ctrl-C
└── TooManyFailures          4  more calls failed than --max-error-rate allows

Every message names the value, the place and the remedy.
"""

from __future__ import annotations


class BenchError(Exception):
    """Base of all errors that are meant for the user: one clear message, no traceback."""

    exit_code = 1


class UsageError(BenchError):
    """A value, a file or an option is wrong; nothing was started and nothing was changed."""

    exit_code = 2


class ConfigMismatch(UsageError):
    """The folder holds a data set that was made with another configuration."""


class Incomplete(BenchError):
    """Stopped cleanly before the end (budget, quota); the same command continues."""

    exit_code = 3


class Interrupted(Incomplete):
    """Stopped by Ctrl-C; what was answered is kept."""

    exit_code = 130


class TooManyFailures(BenchError):
    """More calls failed than allowed; what was paid for is kept in the ledger."""

    exit_code = 4


def did_you_mean(value: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss, else the list of what is known."""
    import difflib

    # Names come from files too: long ones are cut, so that a message stays one.
    known = [name[:60] for name in known]
    close = difflib.get_close_matches(value[:60], known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(sorted(known)[:30])
    return f"; known: {shown}"
