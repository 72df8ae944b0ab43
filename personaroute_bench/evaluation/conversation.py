"""Talk with a process that may lie, hang, crash, eat memory or print for ever.

A message is four bytes of length, JSON, and as many bytes more as the JSON says. What comes back
is bounded before it is read, and parsed as JSON and raw numbers only. One loop waits for the
answer, drains what is printed, and watches time and memory; no threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from personaroute_bench.evaluation.registry import RouterFailed

# Bounds on what a router may make us keep, in bytes.
HEADER, PRINTED = 1 << 18, 1 << 16
POLL_S = 0.02
# Our own part of the process must be ready by then.
START_S = 600.0
GIB = 1 << 30


@dataclass
class Printed:
    """The first and the last of what a process printed."""

    total: int = 0
    head: bytearray = field(default_factory=bytearray)
    tail: deque[bytes] = field(default_factory=deque)
    _kept: int = 0

    def add(self, chunk: bytes) -> None:
        """Take what was printed next."""
        self.total += len(chunk)
        room = PRINTED - len(self.head)
        self.head += chunk[:room]
        chunk = chunk[room:] if room > 0 else chunk
        if chunk:
            self.tail.append(chunk)
            self._kept += len(chunk)
        while self.tail and self._kept - len(self.tail[0]) >= PRINTED:
            self._kept -= len(self.tail.popleft())

    @property
    def text(self) -> str:
        """What was kept; what was not is counted in its place."""
        tail = b"".join(self.tail)[-PRINTED:]
        lost = self.total - len(self.head) - len(tail)
        middle = f"\n[… {lost} bytes left out …]\n".encode() if lost else b""
        return (bytes(self.head) + middle + tail).decode("utf-8", "backslashreplace")


class Conversation:
    """One process and what is said with it.

    Args:
        command: starts the process; the numbers of the two pipes are appended.
        environment: all of it.
        folder: the process starts there.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.bind(START_S, None)
        self.printed = Printed()
        self.failure: RouterFailed | None = None
        self.inner: int | None = None
        """The process that runs the router, where it is another than the one we started."""
        ask, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        self._received = bytearray()
        self._selector = selectors.DefaultSelector()
        try:
            self.process = subprocess.Popen(
                [*command, str(ask), str(answer)],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(ask, answer),
                start_new_session=True,  # Ctrl-C is ours alone, and ends it then
            )
        except BaseException:
            os.close(self._ask)
            os.close(self._answer)
            raise
        finally:
            os.close(ask)
            os.close(answer)
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        for place in (self._ask, self._answer, self._out):
            os.set_blocking(place, False)
        self._selector.register(self._answer, selectors.EVENT_READ)
        self._selector.register(self._out, selectors.EVENT_READ)

    def bind(self, time_limit: float, memory_limit: float | None) -> None:
        """Set limits, which count from now.

        Args:
            time_limit: seconds that may be spent waiting for it, in all.
            memory_limit: GiB of its own memory; None: any.
        """
        self.left = self.time_limit = time_limit
        self.memory_limit = memory_limit
        self._look = 0.0

    def say(self, **message: Any) -> None:
        """Send a message; waits while the other side does not read."""
        body = json.dumps(message).encode()
        rest = memoryview(len(body).to_bytes(4, "little") + body)
        while rest:
            self._selector.register(self._ask, selectors.EVENT_WRITE)
            try:
                ready = self._wait()
            finally:
                self._selector.unregister(self._ask)
            if self._ask in ready:
                try:
                    rest = rest[os.write(self._ask, rest) :]
                except BrokenPipeError:
                    self.give_up(*self._how_it_ended())

    def hear(self, payload: int = 0) -> tuple[dict[str, Any], bytes]:
        """Return the next message, and its bytes.

        Args:
            payload: how many bytes may follow the JSON, at most.

        Raises:
            RouterFailed: no message comes, or none that can be read.
        """
        header = int.from_bytes(self._take(4), "little")
        if header > HEADER:
            self.give_up("error", "answered with more than an answer can hold")
        try:
            message = json.loads(self._take(header))
            size = message.get("bytes", 0)
            sound = type(size) is int and 0 <= size <= payload
        except (ValueError, RecursionError, AttributeError):
            sound = False
        if not sound:
            self.give_up("error", "answered with what is no message")
        return message, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._wait()
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _wait(self) -> set[int]:
        """Wait a moment; return what is ready, after reading what there is to read."""
        if self.failure is not None:
            raise self.failure
        start = time.monotonic()
        ready = {key.fd for key, _ in self._selector.select(min(POLL_S, max(self.left, 0)))}
        if self._out in ready:
            self._drain()
        ended = False
        if self._answer in ready:
            chunk = os.read(self._answer, 1 << 16)
            self._received += chunk
            ended = not chunk
        self.left -= time.monotonic() - start
        if self.memory_limit is not None and time.monotonic() >= self._look:
            self._look = time.monotonic() + POLL_S
            if self._memory() > self.memory_limit * GIB:
                self.give_up("memory", f"took more than {self.memory_limit:g} GiB")
        if self.left <= 0 and not ready & {self._answer}:
            self.give_up("timeout", f"not done within {self.time_limit:g} s")
        if ended:
            self.give_up(*self._how_it_ended())
        return ready

    def _drain(self) -> None:
        chunk = os.read(self._out, 1 << 20)
        self.printed.add(chunk)
        if not chunk and self._out in self._selector.get_map():
            self._selector.unregister(self._out)

    def _how_it_ended(self) -> tuple[str, str]:
        try:
            code = self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return "crashed", "closed its pipe"
        number = -code if code < 0 else code - 128 if code > 128 else 0
        if not number:
            return "crashed", f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return "crashed", f"ended by {signal.Signals(number).name}"
        return "crashed", f"ended by signal {number}"

    def give_up(self, kind: str, reason: str) -> NoReturn:
        """End the process, and raise why.

        Raises:
            RouterFailed: always.
        """
        self.failure = RouterFailed(f"{kind}: {reason}", None, ended=True)
        self.end()
        self.failure.trace = self.printed.text
        raise self.failure

    def _memory(self) -> int:
        """Bytes that belong to the process and all that it has started, files not counted."""
        return sum(map(_own_memory, self._family()))

    def _family(self) -> list[int]:
        found = [self.inner or self.process.pid]
        for pid in found:
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError, ValueError):
                    found += [int(child) for child in path.read_text().split()]
        return found

    def end(self) -> None:
        """End the process and all that it has started; what it has printed stays known."""
        if self._ask < 0:
            return
        if self.failure is None:
            self.failure = RouterFailed("crashed: it was ended", None, ended=True)
        if self.process.poll() is None:
            # The inner process is the first of its own numbers: all others end with it.
            for pid in [*self._family()[1:], self.inner or self.process.pid]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):  # the last it said before it ended
            for _ in range(PRINTED // 1024):
                self._drain()
        self._selector.close()
        os.close(self._ask)
        os.close(self._answer)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._ask = -1


def _own_memory(pid: int) -> int:
    """Return anonymous and shared memory of a process in bytes; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    kilobytes = 0
    for line in text.splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            kilobytes += int(line.split()[1])
    return kilobytes * 1024
