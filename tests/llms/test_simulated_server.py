from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.llms.simulated import SimulatedLLMs
from personaroute_bench.llms.simulated_server import make_app, serve
from personaroute_bench.llms.simulated_traits import TRAITS
from personaroute_bench.tasks.embedded.source import EmbeddedTasks

QUERIES = EmbeddedTasks().load(seed=0, queries_per_task=3).queries
LLMS = SimulatedLLMs.for_queries(QUERIES, 0)


def with_client(use: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        async with TestClient(TestServer(make_app(LLMS))) as client:
            await use(client)

    asyncio.run(run())


def test_the_answers_are_those_of_the_wire() -> None:
    async def use(client: Any) -> None:
        for query in QUERIES:
            messages = [{"role": "user", "content": query.prompt}]
            body = {"model": "sim/ember-8b", "messages": messages, "max_tokens": 500}
            reply = await client.post("/v1/chat/completions", json={**body, "temperature": 0.0})
            expected = LLMS.complete("sim/ember-8b", [("user", query.prompt)], max_tokens=500)
            assert reply.status == 200
            assert await reply.read() == expected.body
            assert float(reply.headers["x-simulated-latency-s"]) == expected.latency_s
            parts = [{"role": "user", "content": [{"type": "text", "text": query.prompt}]}]
            reply = await client.post("/v1/chat/completions", json={**body, "messages": parts})
            assert await reply.read() == expected.body

    with_client(use)


def test_models_and_health() -> None:
    async def use(client: Any) -> None:
        models = await (await client.get("/v1/models")).json()
        assert [model["id"] for model in models["data"]] == list(TRAITS)
        assert {model["owned_by"] for model in models["data"]} == {"simulated"}
        health = await (await client.get("/health")).json()
        assert health == {"status": "ok", "provenance": "simulated"}

    with_client(use)


MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b"{oops", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        ([1], 400, "JSON object"),
        ({"messages": MESSAGES}, 400, "'model'"),
        ({"model": "sim/ember-8b"}, 400, "'messages'"),
        ({"model": "sim/ember-8b", "messages": ["x"]}, 400, "'role'"),
        ({"model": "sim/ember-8b", "messages": [{"role": "user"}]}, 400, "must be text"),
        ({"model": "sim/ember-8b", "messages": MESSAGES, "stream": True}, 400, "'stream'"),
        ({"model": "sim/ember-8b", "messages": MESSAGES, "max_tokens": 0}, 400, "'max_tokens'"),
        ({"model": "sim/ember-8b", "messages": MESSAGES, "max_tokens": 1.5}, 400, "whole"),
        ({"model": "sim/ember-8b", "messages": MESSAGES, "temperature": "hot"}, 400, "number"),
        ({"model": "no-such-llm", "messages": MESSAGES}, 404, "no-such-llm"),
    ],
)
def test_bad_requests_are_answered_as_openai_does(body: Any, status: int, part: str) -> None:
    async def use(client: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = await client.post("/v1/chat/completions", data=data)
        assert reply.status == status
        error = (await reply.json())["error"]
        assert part in error["message"]
        assert error["type"] == "invalid_request_error"

    with_client(use)


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf")])
def test_delay_is_checked(delay: float) -> None:
    with pytest.raises(UsageError, match="--delay"):
        make_app(LLMS, delay=delay)


def test_serve_listens_on_loopback_and_tells_where() -> None:
    urls: list[str] = []

    def stop(url: str) -> None:
        urls.append(url)
        raise KeyboardInterrupt

    serve(QUERIES, seed=0, port=0, on_ready=stop)
    assert urls[0].startswith("http://127.0.0.1:")
    assert urls[0].endswith("/v1")


def test_a_taken_port_and_a_wrong_port_are_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BenchError, match=rf"127\.0\.0\.1:{port}.*--port"):
            serve(QUERIES, seed=0, port=port)
    with pytest.raises(UsageError, match="--port"):
        serve(QUERIES, seed=0, port=70000)
