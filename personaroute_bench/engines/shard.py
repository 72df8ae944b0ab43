"""One shard of calls: a folder that says what to ask, and keeps what came of it.

calls.jsonl     the options, and one line a call; written whole before a worker sees it
ledger.sqlite   the shard's own, locked by the worker that asks
progress.json   how far it is, for whoever watches

A worker that takes up a shard after another one died finds all of it here and continues.
"""

from __future__ import annotations

import functools
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from personaroute_bench import __version__
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import atomic_path, write_json
from personaroute_bench.llms.engine import EngineOptions, run_calls
from personaroute_bench.llms.ledger_merge import open_waiting
from personaroute_bench.llms.options import Stopped
from personaroute_bench.llms.pool import Pool, check_keys
from personaroute_bench.llms.progress import Progress
from personaroute_bench.llms.types import LLM, ChatRequest, Wire
from personaroute_bench.tasks.types import Query

CALLS = "calls.jsonl"
LEDGER = "ledger.sqlite"
PROGRESS = "progress.json"
STOP = "stop"
"""File beside the shards that asks all of them to end early."""
OWNER_GONE_S = 60.0
"""How long a worker waits for the one before it to let go of the shard."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a shard ended."""

    finished: int = 0
    """Calls that ended in it, failures included."""
    stopped: Stopped | None = None
    """Why it ended early."""
    message: str = ""
    error: str | None = None
    """Name of the error in `personaroute_bench.errors` that ended it."""


class _ToldToStop(Exception):
    """The run that this shard belongs to ends early."""


def write_shard(
    folder: Path,
    keyed: Sequence[tuple[str, ChatRequest]],
    *,
    dataset_id: str,
    options: EngineOptions,
    client: str | None,
    queries: Sequence[Query],
    seed: int,
) -> None:
    """Write down what a shard is to ask.

    Args:
        folder: the shard's own.
        keyed: its calls with their ledger keys.
        dataset_id: whose money it is.
        options: with the shard's part of the money, the rates and the concurrency.
        client: as in RunConfig.
        queries: what simulated LLMs know; may be empty where there are none.
        seed: of the data set.
    """
    llms: dict[str, LLM] = {}
    for _, request in keyed:
        llms.setdefault(request.llm.id, request.llm)
    places = {llm_id: place for place, llm_id in enumerate(llms)}
    head = {
        "version": __version__,
        "dataset_id": dataset_id,
        "options": asdict(options),
        "client": client,
        "seed": seed,
        "llms": [asdict(llm) for llm in llms.values()],
        "queries": [asdict(query) for query in queries],
    }
    with atomic_path(folder / CALLS) as path, path.open("w", encoding="ascii") as file:
        file.write(json.dumps(head) + "\n")
        for key, request in keyed:
            llm = llms[request.llm.id]
            own = None if request.llm == llm else dict(request.llm.parameters)
            form = None if request.response_format is None else dict(request.response_format)
            fields = (
                key, places[llm.id], own, request.messages, request.max_tokens,
                request.temperature, form, request.sample, request.tag,
            )  # fmt: skip
            file.write(json.dumps(fields) + "\n")


def ask_shard(place: str) -> Outcome:
    """Ask the calls of a shard that its ledger does not hold; runs on a worker.

    Args:
        place: the shard's folder.
    """
    folder = Path(place)
    try:
        return _ask(folder)
    except _ToldToStop:
        return Outcome(stopped="interrupted")
    except BenchError as error:
        _stop_all(folder)
        return Outcome(stopped="errors", message=str(error), error=type(error).__name__)


def read_progress(folder: Path) -> Progress | None:
    """Return how far a shard is; None where nothing is known yet."""
    try:
        return Progress(**json.loads((folder / PROGRESS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _ask(folder: Path) -> Outcome:
    head, requests = _read(folder)
    stop = folder.parent / STOP

    def on_progress(progress: Progress) -> None:
        with suppress(BenchError):  # only for looking at
            write_json(folder / PROGRESS, asdict(progress))
        if stop.exists():
            raise _ToldToStop

    with open_waiting(folder / LEDGER, OWNER_GONE_S) as ledger:
        summary = run_calls(
            requests,
            ledger,
            wire_for=_wires(head),
            dataset_id=head["dataset_id"],
            options=EngineOptions(**head["options"]),
            on_progress=on_progress,
        )
    if summary.stopped == "quota":
        _stop_all(folder)
    return Outcome(summary.finished + summary.cached, summary.stopped, summary.message)


def _stop_all(folder: Path) -> None:
    """Let the other shards of the run end too: it is not to spend on what cannot be finished."""
    with suppress(OSError):
        (folder.parent / STOP).touch()


def _read(folder: Path) -> tuple[dict[str, Any], Iterator[ChatRequest]]:
    path = folder / CALLS
    here = socket.gethostname()
    try:
        file = path.open(encoding="ascii")
    except OSError as error:
        raise UsageError(
            f"the Dask worker on {here} cannot read {path} ({error.strerror or error}); --out must "
            "be a folder that all workers see under the same path"
        ) from error
    head = json.loads(file.readline())
    if head["version"] != __version__:
        raise UsageError(
            f"the Dask worker on {here} has personaroute-bench {__version__}, this run is of "
            f"{head['version']}; install the same version on both"
        )
    llms = [_llm(values) for values in head["llms"]]
    try:
        check_keys(Pool("of this run", tuple(llms)))
    except UsageError as error:
        raise UsageError(f"the Dask worker on {here}: {error}") from error

    def requests() -> Iterator[ChatRequest]:
        with file:
            for line in file:
                yield _request(llms, json.loads(line), here)

    return head, requests()


def _llm(values: dict[str, Any]) -> LLM:
    return LLM(**{**values, "resolves_to": tuple(values["resolves_to"])})


def _request(llms: Sequence[LLM], fields: list[Any], here: str) -> ChatRequest:
    key, place, own, messages, max_tokens, temperature, form, sample, tag = fields
    llm = llms[place] if own is None else replace(llms[place], parameters=own)
    request = ChatRequest(
        llm=llm,
        messages=tuple((role, content) for role, content in messages),
        max_tokens=max_tokens,
        temperature=temperature,
        response_format=form,
        sample=sample,
        tag=tag,
    )
    # Another key would be another call, and what is settled would be paid for again.
    if request.key() != key:
        raise UsageError(
            f"the Dask worker on {here} reads the call {tag!r} to {llm.id!r} otherwise than it was "
            "written; install the same version of personaroute-bench on both"
        )
    return request


def _wires(head: dict[str, Any]) -> Callable[[LLM], Wire]:
    from personaroute_bench.llms.wires import WirePool

    pool = WirePool(client=head["client"], concurrency=head["options"]["concurrency"])

    @functools.cache
    def simulated() -> Wire:
        from personaroute_bench.llms.simulated import SimulatedWire

        return SimulatedWire.for_queries([Query(**q) for q in head["queries"]], head["seed"])

    return lambda llm: simulated() if llm.provider == "simulated" else pool.wire_for(llm)
