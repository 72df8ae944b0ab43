from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import Loopback

from personaroute_bench.errors import UsageError
from personaroute_bench.llms.reply import read_reply
from personaroute_bench.llms.types import LLM, ChatRequest, RawReply, Reply, WireError
from personaroute_bench.llms.wires import Client, WirePool, make_wire, scrub
from personaroute_bench.llms.wires import aiohttp_wire as aiohttp_module

KEY = "sk-test-0123456789abcdef"

HTTP_CLIENTS: list[Client] = ["aiohttp", "openai"]
# What every wire must agree on, litellm too; it parses itself, so some faults look otherwise.
EXPECTED: dict[str, tuple[str, str | None]] = {
    "429": ("error", "rate_limit"),
    "500": ("error", "server_error"),
    "503": ("error", "server_error"),
    "400": ("error", "bad_request"),
    "401": ("error", "auth"),
    "404": ("error", "not_found"),
    "quota": ("error", "quota"),
    "policy400": ("refused", None),
    "empty": ("empty", None),
    "content_filter": ("refused", None),
    "length": ("truncated", None),
    "wrong_model": ("error", "model_mismatch"),
    "missing_usage": ("error", "missing_usage"),
    "no_choices": ("error", "malformed"),
    "refusal": ("refused", None),
}
EXPECTED_OF_BYTES = EXPECTED | {
    "garbage": ("error", "malformed"),
    "error200": ("error", "server_error"),
    "bad_usage": ("error", "missing_usage"),
    "redirect": ("error", "bad_request"),
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


def llm_at(url: str, **changes: object) -> LLM:
    base = LLM(
        id="m", name="M", model="org/model", provider="openai", base_url=url,
        input_price=1.0, output_price=2.0,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def send(
    llm: LLM,
    client: Client | None = None,
    *,
    prompt: str = "What is 6 times 7?",
    timeout_s: float = 10.0,
    temperature: float | None = 0.0,
) -> tuple[ChatRequest, RawReply]:
    request = ChatRequest(llm, (("user", prompt),), max_tokens=64, temperature=temperature)

    async def once() -> RawReply:
        wire = make_wire(llm, client)
        try:
            return await wire.send(request, timeout_s)
        finally:
            await wire.close()

    return request, asyncio.run(once())


def outcome(llm: LLM, client: Client | None = None) -> Reply:
    return read_reply(*send(llm, client))


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_a_reply_arrives_verbatim(server: Loopback, client: Client) -> None:
    request, raw = send(llm_at(server.url, parameters={"top_p": 0.5}), client)
    reply = read_reply(request, raw)
    assert (raw.http_status, reply.status, reply.text) == (200, "ok", "The answer is 42.")
    assert json.loads(raw.body)["id"] == "chatcmpl-loopback"
    assert raw.latency_s > 0
    assert server.seen[0].body == request.payload()
    assert server.seen[0].body["top_p"] == 0.5
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_the_key_goes_into_the_header_and_never_into_a_stored_reply(
    server: Loopback, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    server.script("echo_key")
    _, raw = send(llm_at(server.url, api_key_env="SOME_KEY"), client)
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "org-private" not in str(server.seen[0].headers)
    assert raw.http_status == 400
    assert KEY.encode() not in raw.body
    assert b"[redacted]" in raw.body


@pytest.mark.parametrize("client", HTTP_CLIENTS)
@pytest.mark.parametrize("fault", EXPECTED_OF_BYTES)
def test_each_fault_ends_in_its_status(server: Loopback, client: Client, fault: str) -> None:
    server.script(fault)
    reply = outcome(llm_at(server.url), client)
    assert (reply.status, reply.error_type) == EXPECTED_OF_BYTES[fault]
    assert len(server.seen) == 1, "a wire never retries"


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_retry_after_is_handed_on(server: Loopback, client: Client) -> None:
    server.script("429:7")
    _, raw = send(llm_at(server.url), client)
    assert raw.retry_after == "7"


@pytest.mark.parametrize("client", HTTP_CLIENTS)
@pytest.mark.parametrize("fault", ["cut", "cut_body"])
def test_a_cut_connection_may_have_been_billed(
    server: Loopback, client: Client, fault: str
) -> None:
    server.script(fault)
    with pytest.raises(WireError) as caught:
        send(llm_at(server.url), client)
    assert (caught.value.kind, caught.value.maybe_billed) == ("connection", True)


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_a_hanging_server_times_out(server: Loopback, client: Client) -> None:
    server.script("hang")
    with pytest.raises(WireError) as caught:
        send(llm_at(server.url), client, timeout_s=0.2)
    assert (caught.value.kind, caught.value.maybe_billed) == ("timeout", True)


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_a_refused_connection_was_not_billed(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(WireError) as caught:
        send(llm_at(f"http://127.0.0.1:{port}/v1"), client)
    assert (caught.value.kind, caught.value.maybe_billed) == ("connection", False)


def test_hostile_text_travels(server: Loopback) -> None:
    prompt = "lone \ud800, zero \x00, 中, " + "x" * (1 << 20)
    send(llm_at(server.url), prompt=prompt)
    assert server.seen[0].prompt == prompt


def test_an_endless_reply_is_cut_off(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp_module, "MAX_BODY", 10)
    with pytest.raises(WireError, match="sent more than"):
        send(llm_at(server.url))


def test_one_wire_per_endpoint_and_key() -> None:
    async def wires() -> None:
        pool = WirePool()
        first = pool.wire_for(llm_at("http://127.0.0.1:1/v1"))
        assert pool.wire_for(llm_at("http://127.0.0.1:1/v1", id="b", model="b")) is first
        assert pool.wire_for(llm_at("http://127.0.0.1:2/v1")) is not first
        assert pool.wire_for(llm_at("http://127.0.0.1:1/v1", api_key_env="OTHER")) is not first
        await pool.close()
        await pool.close()

    asyncio.run(wires())


def test_a_wire_can_be_used_again_after_closing(server: Loopback) -> None:
    llm = llm_at(server.url)
    wire = make_wire(llm)
    request = ChatRequest(llm, (("user", "x"),), max_tokens=5)

    async def once() -> int:
        status = (await wire.send(request, 5)).http_status
        await wire.close()
        return status

    assert [asyncio.run(once()), asyncio.run(once())] == [200, 200]


def test_an_unknown_client_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'openai'"):
        WirePool("opnai")  # type: ignore[arg-type]


def test_scrub_leaves_short_values_alone() -> None:
    assert scrub(b"abc none abc", "none") == b"abc none abc"
    assert scrub(b'{"k": "12345678"}', "12345678") == b'{"k": "[redacted]"}'


def test_recorded_replies_are_replayed_by_model_and_prompt() -> None:
    with Loopback(replies={("org/model", "a"): "first", ("org/model", "b"): "second"}) as server:
        texts = [read_reply(*send(llm_at(server.url), prompt=p)).text for p in ("b", "a")]
        missing = read_reply(*send(llm_at(server.url), prompt="c"))
    assert texts == ["second", "first"]
    assert missing.error_type == "not_found"


def test_recorded_responses_of_real_llms_come_back_over_http() -> None:
    root = Path(__file__).resolve().parents[2]
    recorded = root / ".." / "shared" / "recorded" / "responses.parquet"
    if not recorded.exists():
        pytest.skip("the recorded responses (../shared/recorded) are not on this machine")
    import pyarrow.parquet as pq

    table = pq.ParquetFile(recorded).read_row_group(0, columns=["llm", "prompt", "response"])
    rows = table.slice(0, 50).to_pylist()
    replies = {(row["llm"], row["prompt"]): row["response"] for row in rows}
    with Loopback(replies=replies) as server:
        for (model, prompt), response in replies.items():
            reply = read_reply(*send(llm_at(server.url, model=model), prompt=prompt))
            assert (reply.status, reply.text) == ("ok", response)
            assert reply.usage_source == "provider"


needs_litellm = pytest.mark.skipif(
    importlib.util.find_spec("litellm") is None, reason="the extra [litellm] is not installed"
)


@needs_litellm
@pytest.mark.filterwarnings("ignore")  # litellm's imports warn
def test_litellm_ends_faults_in_the_same_status(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    llm = llm_at(server.url, api_key_env="SOME_KEY", parameters={"top_p": 0.5})
    faults = [None, *EXPECTED]
    server.script(*faults)
    seen = {fault: outcome(llm, "litellm") for fault in faults}
    good = seen.pop(None)
    assert (good.status, good.text, good.usage_source) == ("ok", "The answer is 42.", "provider")
    assert {name: (reply.status, reply.error_type) for name, reply in seen.items()} == EXPECTED
    assert len(server.seen) == len(faults), "litellm's own retries are off"
    assert server.seen[0].body["model"] == "org/model"
    assert server.seen[0].body["top_p"] == 0.5
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


@needs_litellm
@pytest.mark.filterwarnings("ignore")
def test_litellm_does_not_send_the_openai_key_elsewhere(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    outcome(llm_at(server.url), "litellm")
    assert KEY not in str(server.seen[0].headers)


@needs_litellm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", ["cut", "cut_body", "garbage"])
def test_what_litellm_could_not_read_may_have_been_billed(server: Loopback, fault: str) -> None:
    server.script(fault)
    with pytest.raises(WireError) as caught:
        send(llm_at(server.url), "litellm")
    assert (caught.value.kind, caught.value.maybe_billed) == ("connection", True)


@needs_litellm
@pytest.mark.filterwarnings("ignore")
def test_litellm_passes_time_outs_retry_after_and_hides_the_key(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    llm = llm_at(server.url, api_key_env="SOME_KEY")
    server.script("hang", "429:7", "echo_key")
    with pytest.raises(WireError) as caught:
        send(llm, "litellm", timeout_s=0.5)
    assert caught.value.kind == "timeout"
    assert send(llm, "litellm")[1].retry_after == "7"
    assert KEY.encode() not in send(llm, "litellm")[1].body


@needs_litellm
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UsageError, match="no provider 'nobody'"):
        make_wire(llm_at("http://127.0.0.1:1/v1", provider="nobody"))
