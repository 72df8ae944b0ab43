"""An OpenAI-compatible server on 127.0.0.1 with scripted faults, for tests and benchmarks.

In a test, in a thread of its own:

    with Loopback(reply=lambda body: "Hello") as server:
        server.script("429:2", "cut")        # the next two requests fail so, then all is well
        ...  base_url=server.url ...
        assert len(server.seen) == 3

As a process (for benchmarks and for tests that kill the client); prints its base URL first:

    python tests/loopback.py --delay 0.2 [--port 0] [--log FILE] [--faults 429,cut]

With --log, one JSON line {"model", "prompt", "at"} is written and flushed for every request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from personaroute_bench.tokens import count_message_tokens, count_tokens

FAULTS = (
    "429", "429:SECONDS", "500", "503", "400", "401", "404", "quota", "policy400", "error200",
    "hang", "cut", "cut_body", "garbage", "no_choices", "empty", "content_filter", "refusal",
    "length", "wrong_model", "missing_usage", "bad_usage", "echo_key", "redirect",
)  # fmt: skip

_ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "429": (429, {"message": "slow down", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "inner trouble"}),
    "503": (503, {"message": "overloaded"}),
    "400": (400, {"message": "unknown field", "type": "invalid_request_error"}),
    "401": (401, {"message": "wrong key", "code": "invalid_api_key"}),
    "404": (404, {"message": "no such model", "code": "model_not_found"}),
    "quota": (429, {"message": "quota used up", "code": "insufficient_quota"}),
    "policy400": (400, {"message": "not that", "code": "content_policy_violation"}),
    "error200": (200, {"message": "upstream is overloaded", "code": 503}),
}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    model: str
    prompt: str
    """Content of the last message."""
    at: float
    """time.monotonic() seconds."""
    body: dict[str, Any]
    headers: Mapping[str, str]


Reply = Callable[[dict[str, Any]], "str | dict[str, Any]"]


class Loopback:
    """The server; a context manager, or `start` and `stop`.

    Args:
        reply: makes the answer's text (or a whole completion) from the request body.
        replies: recorded answers by (model, user prompt); an unknown pair is answered 404.
        delay_s: seconds from request to answer.
        faults: as `script`.
        keep: whether to keep every request in `seen` (not in benchmarks).
        log: file that gets one JSON line a request, flushed.
    """

    def __init__(
        self,
        reply: Reply | None = None,
        *,
        replies: Mapping[tuple[str, str], str | dict[str, Any]] | None = None,
        delay_s: float = 0.0,
        faults: Iterable[str | None] = (),
        keep: bool = True,
        log: Path | None = None,
        port: int = 0,
    ):
        self._reply = reply or (lambda body: "The answer is 42.")
        self._replies = replies
        self.delay_s = delay_s
        self._faults: deque[str | None] = deque()
        self.script(*faults)
        self._keep = keep
        self._log = log.open("a", encoding="utf-8", buffering=1) if log else None
        self._port = port
        self.seen: list[Seen] = []
        self.fault_for: Callable[[dict[str, Any]], str | None] | None = None
        """Chooses a fault by request body, where the script is empty."""
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    def script(self, *faults: str | None) -> None:
        """Give the next requests these faults, in order; None lets one pass."""
        for fault in faults:
            name = fault.split(":")[0] if fault else None
            assert name is None or name in FAULTS, f"unknown fault {fault!r}"
        self._faults.extend(faults)

    @property
    def url(self) -> str:
        """The base URL, ending in /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Loopback:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen in a thread of its own; returns when the port is open."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the loopback server did not start")

    def stop(self) -> None:
        """Close all connections, hanging ones too, and end the thread."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join(10)
            self._thread = None
        if self._log is not None:
            self._log.close()

    async def serve(self) -> None:
        """Serve until `stop`."""
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = runner.addresses[0][1]
        self._ready.set()
        try:
            await self._done.wait()
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            raw = await request.content.read()  # no limit on its size, unlike request.read
        except ConnectionError:  # the client is gone, perhaps killed
            return web.Response()
        body = json.loads(raw)
        prompt = body["messages"][-1]["content"]
        if self._keep:
            self.seen.append(
                Seen(body["model"], prompt, time.monotonic(), body, dict(request.headers))
            )
        if self._log is not None:
            line = {"model": body["model"], "prompt": prompt, "at": time.time()}
            self._log.write(json.dumps(line) + "\n")
        fault = self._faults.popleft() if self._faults else None
        if fault is None and self.fault_for is not None:
            fault = self.fault_for(body)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if fault:
            return await self._fail(fault, request, body)
        return self._complete(body, prompt)

    def _complete(self, body: dict[str, Any], prompt: str) -> web.Response:
        if self._replies is None:
            text = self._reply(body)
        else:
            found = self._replies.get((body["model"], prompt))
            if found is None:
                return _json({"error": {"message": "no recorded reply"}}, 404)
            text = found
        return _json(text if isinstance(text, dict) else completion(body, text))

    async def _fail(
        self, fault: str, request: web.BaseRequest, body: dict[str, Any]
    ) -> web.StreamResponse:
        name, _, seconds = fault.partition(":")
        if name in _ERRORS:
            status, error = _ERRORS[name]
            return _json({"error": error}, status, {"Retry-After": seconds} if seconds else None)
        if name == "hang":
            await self._done.wait()
        if name in ("hang", "cut"):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if name == "cut_body":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.abort()
            return response
        odd = {
            "redirect": web.Response(status=307, headers={"Location": "/elsewhere"}),
            "echo_key": _json({"error": {"message": request.headers.get("Authorization")}}, 400),
            "garbage": web.Response(body=b'\x00\xff{"choices": [{'),
        }
        return odd.get(name) or _json(_spoil(name, completion(body, self._reply_text(body))))

    def _reply_text(self, body: dict[str, Any]) -> str:
        if self._replies is not None:
            text = self._replies.get((body["model"], body["messages"][-1]["content"]), "")
        else:
            text = self._reply(body)
        return text if isinstance(text, str) else "text"


def completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a chat completion with `text`; usage counted by the offline tokenizer."""
    prompt = count_message_tokens([(m["role"], m["content"]) for m in body["messages"]])
    output = count_tokens(text)
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
        },
    }


def _spoil(fault: str, good: dict[str, Any]) -> dict[str, Any]:
    """Return a completion with one thing wrong in it."""
    choice = good["choices"][0]
    if fault == "no_choices":
        good["choices"] = []
    elif fault == "empty":
        choice["message"]["content"] = ""
    elif fault == "content_filter":
        choice["finish_reason"] = "content_filter"
    elif fault == "refusal":
        choice["message"] |= {"content": None, "refusal": "I would rather not."}
    elif fault == "length":
        choice["finish_reason"] = "length"
    elif fault == "wrong_model":
        good["model"] = "some-other-model"
    elif fault == "missing_usage":
        del good["usage"]
    elif fault == "bad_usage":
        good["usage"] = {"prompt_tokens": -1, "completion_tokens": True}
    return good


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="OpenAI-compatible loopback server")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a reply")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--faults", default="", help="comma-separated, for the first requests")
    options = parser.parse_args()
    server = Loopback(
        delay_s=options.delay,
        faults=[fault or None for fault in options.faults.split(",") if options.faults],
        keep=False,
        log=options.log,
        port=options.port,
    )
    server.start()
    print(server.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()


if __name__ == "__main__":
    main()
