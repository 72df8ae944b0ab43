"""Routers by import path run apart: in a process of their own, which can read no test outcome.

    Isolation ── writes ──► in/0, in/1 …  (histories, requests) ──mapped by──► worker ──► router
        ▲                                                                        │
        └──── JSON and raw numbers of bounded size, believed by nobody ◄─────────┘

What a router does to its own process is its own loss; what it answers is an index a request or
nothing. See docs/evaluation.md, "Routers run apart".
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.cascade import Step
from personaroute_bench.evaluation.choices import INVALID, Answered
from personaroute_bench.evaluation.conversation import Conversation
from personaroute_bench.evaluation.grants import grants, hidden_parts, tried
from personaroute_bench.evaluation.parcel import write_parcel
from personaroute_bench.evaluation.protocols import PROTOCOLS
from personaroute_bench.evaluation.registry import Apart, RouterFailed
from personaroute_bench.evaluation.texts import encodable, printable

if TYPE_CHECKING:
    from personaroute_bench.evaluation.protocol import Router

TIME_LIMIT_S = 3600.0
_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from personaroute_bench.evaluation.worker import main; main()"
)
# Of our environment, what a program needs to run; no name of these holds a key.
_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_KEPT_PREFIXES = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "KMP_", "CUDA_", "NVIDIA_")
_NOT_OURS = "ran in this process"


@dataclass(frozen=True)
class Limits:
    """What a router may take, and how it is run."""

    time_s: float = TIME_LIMIT_S
    """Seconds of waiting for one router, seed and fold, from its import to its last answer."""
    memory_gib: float | None = None
    """Of the process and all that it starts; None: any."""
    reads: tuple[Path, ...] = ()
    """Files and folders beside its code that it may read."""
    in_process: bool = False
    """Whether it is run in this process, as a trusted one."""

    def check(self) -> None:
        """Raise where a limit is none.

        Raises:
            UsageError: a limit is not positive, or cannot be watched here; a path is not there.
        """
        for name, value in (("--time-limit", self.time_s), ("--memory-limit", self.memory_gib)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} is {value:g}; give a number above 0")
        for path in self.reads:
            if not path.exists():
                raise UsageError(f"--router-reads {path}: there is no such file or folder")
        if self.memory_gib is not None and not Path("/proc/self/status").exists():
            raise UsageError("--memory-limit needs Linux, whose /proc tells what a process takes")
        if self.in_process and (self.memory_gib is not None or self.reads):
            raise UsageError(
                "--memory-limit and --router-reads bind a process of its own; leave out "
                "--in-process"
            )


class Isolation:
    """Starts routers apart, and ends them all when the block is left.

    Args:
        hidden: files and folders that no router may read.
        limits: of each.
    """

    def __init__(self, hidden: Sequence[Path], limits: Limits) -> None:
        limits.check()
        self.limits, self.here = limits, Path.cwd()
        self.hidden = [part for path in hidden for part in hidden_parts(path)]
        self._routers: list[RemoteRouter] = []

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        for router in self._routers:
            router.close()

    def source(self, name: str) -> Apart | None:
        """Return what opens the router ``module:Class`` apart; None where it is to run here."""
        if self.limits.in_process or os.name == "nt":
            return None
        return Apart(partial(self.open, name))

    def open(self, name: str, seed: int, settings: Mapping[str, Any]) -> Router:
        """Start a process, import the router there and construct it.

        Raises:
            UsageError: it cannot be found, imported, used or constructed.
            RouterFailed: its module or constructor hangs, crashes or ends the program.
        """
        try:
            plain = json.loads(json.dumps(dict(settings)))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"settings of router {name!r} cannot be sent to its process: {error}; use plain "
                "values, or run it in this process"
            ) from error
        router = RemoteRouter(name)
        self._routers.append(router)
        router.start(self)
        router.make(seed, plain)
        return cast("Router", router)


class RemoteRouter:
    """Stands for a router in another process; all of its methods are asked for there.

    When the process has ended, `fit` and `adapt` raise, and each further request is answered
    with nothing.
    """

    def __init__(self, name: str) -> None:
        self.transport_s = 0.0
        """Seconds that went into sending values, which are not the router's."""
        self.ended: str | None = None
        """Why the process answers no more."""
        self._folder = Path(tempfile.mkdtemp(prefix="bench-router-"))
        self._name = name
        self._talk: Conversation
        self._sent = 0
        self.isolation: dict[str, Any] = {}
        """See `isolation_of`."""

    def start(self, isolation: Isolation) -> None:
        """Start the process, and let it shut itself off.

        Raises:
            RouterFailed: it ended at once.
        """
        inside, work = self._folder / "in", self._folder / "work"
        inside.mkdir()
        work.mkdir()
        self._limits, here = isolation.limits, isolation.here
        allowed = grants(
            self._name.partition(":")[0], here, isolation.hidden, (inside, *self._limits.reads)
        )
        import personaroute_bench

        root = str(Path(personaroute_bench.__file__).parent.parent)
        command = [sys.executable, "-I", "-B", "-X", "utf8", "-c", _START, root]
        self._talk = Conversation(command, _environment(work), work)
        path = [str(here), *(entry for entry in sys.path if entry and Path(entry).is_absolute())]
        self._talk.say(
            apart=sys.platform == "linux",
            allowed=allowed,
            hidden=tried(isolation.hidden),
            work=str(work),
            here=str(here),
            sys_path=list(dict.fromkeys(path)),
        )
        self.isolation = self._walls()

    def _walls(self) -> dict[str, Any]:
        """Read how well the process has shut itself off, before it runs anything of the router."""
        # Two processes say one thing each, in any order.
        first, second = self._talk.hear()[0], self._talk.hear()[0]
        found = first | second
        self._talk.inner = found["pid"]
        self._talk.bind(self._limits.time_s, self._limits.memory_gib)
        walls, left = found["walls"], found["readable"]
        reason = None
        if not walls["landlock"]:
            reason = "this system has no Landlock, so files of the data set stay readable"
        elif left is not None:
            reason = f"{printable(left)} stays readable"
        return {
            "state": "sealed" if reason is None else "unsealed",
            "reason": reason,
            "network": walls["network"],
            "own_user": walls["user"],
            "own_processes": walls["processes"],
        }

    def make(self, seed: int, settings: Mapping[str, Any]) -> None:
        """Import and construct the router; see `Isolation.open`."""
        self._talk.say(do="make", name=self._name, seed=seed, settings=settings)
        reply = self._reply()[0]
        if "usage" in reply:
            raise UsageError(encodable(str(reply["usage"]))[:4000])
        self.protocol = reply.get("protocol")
        if self.protocol not in PROTOCOLS:
            raise RouterFailed("error: answered with what is no protocol", None)
        if reply.get("adapts") is True:
            self.adapt = partial(self._tell, "adapt")

    def fit(self, history: Any) -> None:
        """Let it learn."""
        self._tell("fit", history)

    def route(self, requests: Any) -> Answered:
        """Return its answers, checked; none of them where its process has ended."""
        count = len(requests)
        try:
            self._send(requests)
            payload = self._ask(8 * count, do="route")
        except RouterFailed as failure:
            return Answered(np.full(count, INVALID), self._over(failure))
        return Answered(np.frombuffer(payload, np.int64), self._problem)

    def step(self, requests: Any, bought: Any) -> Step:
        """Return the next step of a cascade."""
        count = len(requests)
        try:
            self._send([requests, bought])
            payload = self._ask(9 * count, do="step")
        except RouterFailed as failure:
            nothing = Answered(np.full(count, INVALID), self._over(failure))
            return Step(nothing, np.zeros(count, dtype=np.bool_))
        llm, stop = payload[: 8 * count], payload[8 * count :]
        answered = Answered(np.frombuffer(llm, np.int64), self._problem)
        return Step(answered, np.frombuffer(stop, np.int8) != 0)

    def update(self, revealed: Any) -> None:
        """Tell an online router what became of its choices."""
        try:
            self._tell("update", revealed)
        except RouterFailed as failure:
            self._over(failure)

    def close(self) -> None:
        """End the process and take its folder away."""
        if hasattr(self, "_talk"):
            self._talk.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def printed(self) -> str:
        """The first and last of what it has printed."""
        return self._talk.printed.text

    def _over(self, failure: RouterFailed) -> str:
        """Return why the process has ended; raise where it has not, but the router raised."""
        if not failure.ended:
            raise failure
        self.ended = self.ended or failure.status
        return failure.status

    def _tell(self, method: str, value: Any) -> None:
        self._send(value)
        self._ask(0, do="tell", method=method)

    def _send(self, value: Any) -> None:
        start = time.perf_counter()
        if self._talk.failure is not None:
            raise self._talk.failure
        path = self._folder / "in" / str(self._sent)
        self._sent += 1
        try:
            write_parcel(path, value)
            self._talk.say(do="load", path=str(path))
            self._reply()
        finally:
            path.unlink(missing_ok=True)  # it stays mapped as long as it is needed
            self.transport_s += time.perf_counter() - start

    def _ask(self, payload: int, **message: Any) -> bytes:
        self._talk.say(**message)
        reply, found = self._reply(payload)
        problem = reply.get("problem")
        self._problem = printable(problem) if isinstance(problem, str) else None
        if len(found) != payload:
            self._talk.give_up("error", "answered with what is no answer")
        words = reply.get("words")
        for name, value in words.items() if isinstance(words, dict) else ():
            if name in ("note", "router_cost_usd", "fallbacks") and value is not None:
                setattr(self, name, value)
        return found

    def _reply(self, payload: int = 0) -> tuple[dict[str, Any], bytes]:
        reply, found = self._talk.hear(payload)
        if "failed" in reply:
            status = printable(str(reply["failed"]))[:400]
            if not status.startswith("error: "):
                status = f"error: {status}"
            trace = encodable(str(reply.get("trace")))
            printed = encodable(self.printed)
            raise RouterFailed(status, trace + (f"\nit printed:\n{printed}" if printed else ""))
        return reply, found


@contextmanager
def released(router: object) -> Iterator[None]:
    """End the process of a router when the block is left; others just go on."""
    try:
        yield
    finally:
        if isinstance(router, RemoteRouter):
            router.close()


def isolation_of(router: object, *, bundled: bool) -> dict[str, Any]:
    """Return what a row says of how its router was run."""
    if isinstance(router, RemoteRouter):
        return router.isolation
    state, reason = ("bundled", None) if bundled else ("unsealed", _NOT_OURS)
    return {
        "state": state,
        "reason": reason,
        "network": "open",
        "own_user": False,
        "own_processes": False,
    }


def _environment(work: Path) -> dict[str, str]:
    """Return the environment of a worker: no keys, and a home of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    return kept | {"HOME": str(work), "TMPDIR": str(work)}
