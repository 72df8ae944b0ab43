"""The simulated LLMs as an OpenAI-compatible endpoint on loopback, to try the full HTTP path.

    POST /v1/chat/completions    one answer; the header x-simulated-latency-s tells its seconds
    GET  /v1/models              the ten LLMs
    GET  /health                 {"status": "ok", "provenance": "simulated"}

It listens on 127.0.0.1 only, wants no key and stores nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.llms.simulated import SimulatedLLMs, error_body
from personaroute_bench.llms.simulated_traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from personaroute_bench.tasks.types import Query

HOST = "127.0.0.1"
_MAX_BODY = 8 * 1024**2


class _BadRequest(Exception):
    """The body is no chat completion request; the message says why."""


def make_app(llms: SimulatedLLMs, *, delay: float = 0.0) -> web.Application:
    """Return the application, for instance for a test server.

    Args:
        llms: who answers.
        delay: share of the simulated seconds that a call really waits; 0 answers at once, 1
            takes as long as such an LLM would.

    Raises:
        UsageError: the delay is negative or no number.
    """
    from aiohttp import web

    if not math.isfinite(delay) or delay < 0:
        raise UsageError(f"--delay must be a number from 0 up, got {delay}")

    async def chat(request: web.Request) -> web.Response:
        try:
            arguments = _read(await request.read())
        except _BadRequest as error:
            return web.Response(
                status=400, body=error_body(str(error)), content_type="application/json"
            )
        reply = llms.complete(**arguments)
        if delay:
            await asyncio.sleep(reply.latency_s * delay)
        return web.Response(
            status=reply.http_status,
            body=reply.body,
            content_type="application/json",
            headers={"x-simulated-latency-s": str(reply.latency_s)},
        )

    async def models(_: web.Request) -> web.Response:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "simulated"}
            for model in TRAITS
        ]
        return web.json_response({"object": "list", "data": data})

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "provenance": "simulated"})

    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/health", health)
    return app


def serve(
    queries: Sequence[Query],
    *,
    seed: int,
    port: int,
    delay: float = 0.0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted (Ctrl-C).

    Args:
        queries: what the LLMs will be asked and therefore know.
        seed: the data set's seed; the same gives the same answers as `SimulatedWire`.
        port: from 1 to 65535, or 0 for any free one.
        delay: see `make_app`.
        on_ready: called once with the base URL, for instance ``http://127.0.0.1:8080/v1``.

    Raises:
        UsageError: port or delay out of range.
        BenchError: the port is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, got {port}")
    app = make_app(SimulatedLLMs.for_queries(queries, seed), delay=delay)
    try:
        asyncio.run(_serve(app, port, on_ready))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise BenchError(
            f"cannot listen on {HOST}:{port}: {error.strerror or error}; choose another --port"
        ) from error


async def _serve(app: web.Application, port: int, on_ready: Callable[[str], None] | None) -> None:
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        if on_ready is not None:
            on_ready(f"http://{HOST}:{runner.addresses[0][1]}/v1")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _read(raw: bytes) -> dict[str, Any]:
    """Return the arguments of `SimulatedLLMs.complete` from a request's body."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise _BadRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadRequest("The body must be a JSON object")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str):
        raise _BadRequest("'model' must be a string")
    if not isinstance(messages, list) or not messages:
        raise _BadRequest("'messages' must be a non-empty list")
    if body.get("stream"):
        raise _BadRequest("'stream' is not supported by the simulated LLMs")
    return {
        "model": model,
        "messages": [_message(message) for message in messages],
        "max_tokens": _number(body, ("max_completion_tokens", "max_tokens"), 1024, int, 1),
        "temperature": _number(body, ("temperature",), 0.0, float, 0.0),
        # The wire has no sample index; OpenAI's seed stands for it.
        "sample": _number(body, ("seed",), 0, int, None),
    }


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _BadRequest("each message must be an object with 'role' and 'content'")
    content = message.get("content")
    if isinstance(content, list):  # parts, of which only text can be read here
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        raise _BadRequest("the 'content' of each message must be text")
    return message["role"], content


def _number(
    body: dict[str, Any],
    names: tuple[str, ...],
    default: float,
    kind: Callable[[Any], float],
    least: float | None,
) -> float:
    name = next((name for name in names if body.get(name) is not None), None)
    if name is None:
        return default
    value = body[name]
    whole = isinstance(value, int) or kind is float
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and whole and math.isfinite(value)) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise _BadRequest(f"'{name}' must be a {'whole ' if kind is int else ''}number{bound}")
    return kind(value)
