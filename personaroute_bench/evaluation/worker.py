"""The process that runs one router: it shuts itself off, then does as it is told.

Started as ``python -I -c … FOLDER_OF_PACKAGE ASK ANSWER`` with the numbers of two pipes. Nothing
beyond the standard library is imported before the walls stand, see `sandbox`. What it answers is
believed by nobody: from `make` on, the code of a stranger runs here.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personaroute_bench.evaluation.sandbox import Walls, fork_apart, readable, shut

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

LINE, TRACE = 400, 16_000


def main() -> None:
    """Serve until the pipe is closed."""
    ask, answer = int(sys.argv[2]), int(sys.argv[3])
    for place in (ask, answer):
        os.set_inheritable(place, False)
    start = _hear(ask)
    walls = Walls()
    if start["apart"]:
        fork_apart(walls, lambda pid: _say(answer, {"pid": pid}))
    else:
        _say(answer, {"pid": os.getpid()})
    shut(walls, [(path, access) for path, access in start["allowed"]], start["work"])
    _warm_up()
    _say(answer, {"walls": asdict(walls), "readable": readable(start["hidden"])})
    sys.path[:] = start["sys_path"]
    served = _Served(Path(start["here"]))
    while True:
        message = _hear(ask)
        reply, payload = served.do(message)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the router may have put anything in its place
                continue
        _say(answer, reply, payload)


def _warm_up() -> None:
    """Import what every router needs, so that its own time begins afterwards."""
    import importlib

    for name in ("parcel", "protocols", "registry"):
        importlib.import_module(f"personaroute_bench.evaluation.{name}")
    importlib.import_module("pyarrow")


def _hear(pipe: int) -> Any:
    """Return the next message; end where there is none."""
    return json.loads(_exactly(pipe, int.from_bytes(_exactly(pipe, 4), "little")))


def _exactly(pipe: int, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        chunk = os.read(pipe, count - len(taken))
        if not chunk:
            os._exit(0)
        taken += chunk
    return taken


def _say(pipe: int, message: dict[str, Any], payload: bytes = b"") -> None:
    body = json.dumps({**message, "bytes": len(payload)}).encode()
    rest = memoryview(len(body).to_bytes(4, "little") + body + payload)
    while rest:
        rest = rest[os.write(pipe, rest) :]


class _Served:
    """A router, and the value it is to be given next."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.router: Any = None
        self.loaded: Any = None

    def do(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Do as told; whatever a router raises is an answer too."""
        import traceback

        from personaroute_bench.errors import UsageError
        from personaroute_bench.evaluation.registry import describe
        from personaroute_bench.evaluation.texts import encodable

        act: Callable[[dict[str, Any]], tuple[dict[str, Any], bytes]]
        act = getattr(self, f"_{message['do']}")
        try:
            return act(message)
        except UsageError as error:
            if message["do"] == "make":
                return {"usage": encodable(str(error))}, b""
            raised: BaseException = error
        except BaseException as error:  # SystemExit and KeyboardInterrupt are the router's own
            raised = error
        trace = encodable("".join(traceback.format_exception(raised)))
        return {"failed": f"error: {describe(raised)}", "trace": trace[-TRACE:]}, b""

    def _make(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from personaroute_bench.evaluation.protocols import protocol_of
        from personaroute_bench.evaluation.registry import Contestant, load

        source = load(message["name"], self.here)
        contestant = Contestant(message["name"], source, True, message["settings"])
        self.router = contestant.make(message["seed"])
        adapts = callable(getattr(self.router, "adapt", None))
        return {"protocol": protocol_of(self.router), "adapts": adapts}, b""

    def _load(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from personaroute_bench.evaluation.parcel import read_parcel

        self.loaded = None  # the last one goes before the next one comes
        self.loaded = read_parcel(Path(message["path"]))
        return {}, b""

    def _tell(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Call fit, adapt or update."""
        getattr(self.router, message["method"])(self.loaded)
        return self._words(), b""

    def _route(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from personaroute_bench.evaluation.choices import read_answers
        from personaroute_bench.evaluation.protocol import Requests

        requests = self.loaded
        answers = self.router.route(requests)
        if isinstance(requests, Requests):
            choice, problem = read_answers(answers, len(requests), requests.candidates)
        else:
            from personaroute_bench.evaluation.pairwise import read_pair_answers

            choice, problem = read_pair_answers(answers, requests.candidates, requests.llm_ids)
        return self._words() | {"problem": _line(problem)}, _numbers(choice)

    def _step(self, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from personaroute_bench.evaluation.cascade import read_step

        requests, bought = self.loaded
        answer = self.router.step(requests, bought)
        llm, stop, problem = read_step(answer, len(requests), requests.candidates)
        return self._words() | {"problem": _line(problem)}, _numbers(llm) + _numbers(stop)

    def _words(self) -> dict[str, Any]:
        """What the router says of itself so far, see `facts.heard`."""
        from personaroute_bench.evaluation.facts import heard

        said = heard(self.router, bundled=False)
        words = {
            "note": said.note,
            "router_cost_usd": said.cost_usd,
            "fallbacks": said.fallbacks,
        }
        return {"words": words}


def _line(text: str | None) -> str | None:
    return None if text is None else text[:LINE]


def _numbers(values: np.ndarray[Any, Any]) -> bytes:
    import numpy as np

    return values.astype(np.int8 if values.dtype == np.bool_ else np.int64).tobytes()
