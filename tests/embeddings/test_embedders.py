from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaroute_bench.embeddings import make_embedder, unit_rows
from personaroute_bench.errors import BenchError, UsageError

GOLDEN = [
    "Janet's ducks lay 16 eggs per day. How many?",
    "def f(x):\n    return x[::-1]",
    "Résumé – 你好 the the the",
]
NONZERO = [14, 11, 4]
PLACES = [30, 59, 137, 150, 225, 283]
VALUES = [-0.2539, 0.2539, 0.2539, 0.5078, -0.2539, 0.40242]
SHA_OF_SIGNS = "f5516311b648f03f87bdf2492f10296cc2f1f0c55bc04aeead25a43cde5a0f47"


def test_golden_vectors() -> None:
    """A new query embeds as it did years ago: a change here breaks every published data set."""
    vectors = make_embedder("hashing").embed(GOLDEN)
    assert vectors.shape == (3, 512)
    assert [int(np.count_nonzero(row)) for row in vectors] == NONZERO
    assert np.flatnonzero(vectors[1])[:6].tolist() == PLACES
    assert vectors[1][PLACES].tolist() == pytest.approx(VALUES, abs=1e-5)
    assert sha256(np.sign(vectors).astype(np.int8).tobytes()).hexdigest() == SHA_OF_SIGNS


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=5))
def test_rows_are_unit_or_zero_and_independent(texts: list[str]) -> None:
    embedder = make_embedder("hashing")
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 512)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(embedder.embed([text])[0], vector)


def test_hashing_says_what_it_is() -> None:
    embedder = make_embedder("hashing")
    assert embedder.name == "hashing-512"
    assert json.loads(json.dumps(embedder.fingerprint())) == embedder.fingerprint()
    assert not embedder.embed(["", "  "]).any()
    same, other = embedder.embed(["The cat sat", "the CAT sat"]), embedder.embed(["a dog ran"])
    assert np.array_equal(same[0], same[1])
    assert float(same[0] @ other[0]) < 0.9


def test_unit_rows() -> None:
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0.0, 0.0],
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hash", "unknown embedder 'hash'; did you mean 'hashing'"),
        ("hashing:x", "takes no model"),
        ("endpoint", "write endpoint:MODEL"),
        ("sentence-transformers:", "write sentence-transformers:MODEL"),
    ],
)
def test_bad_specifications(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_embedder(spec)


def test_sentence_transformers_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    embedder = make_embedder("sentence-transformers:some/model@v1")
    assert embedder.fingerprint() == {
        "embedder": "sentence-transformers",
        "model": "some/model",
        "revision": "v1",
    }
    with pytest.raises(
        UsageError, match=r"pip install 'personaroute-bench\[sentence-transformers\]'"
    ):
        embedder.embed(["x"])


def test_sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def __init__(self, name: str, revision: str | None):
            if name == "gone":
                raise OSError("no such model\nmore")

        def encode(self, texts: list[str], show_progress_bar: bool) -> list[list[float]]:
            return [[3.0, 4.0] for _ in texts]

    fake = SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    embedder = make_embedder("sentence-transformers:m")
    assert np.allclose(embedder.embed(["x", " "]), [[0.6, 0.8], [0.0, 0.0]])
    with pytest.raises(
        UsageError, match="cannot load 'sentence-transformers:gone': no such model;"
    ):
        make_embedder("sentence-transformers:gone").embed(["x"])


class Endpoint(ThreadingHTTPServer):
    """Embeds a text as (its length, 1), and answers with faults first if it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[tuple[int, bytes]] = []
        self.batches: list[list[str]] = []
        self.keys: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.batches.append(body["input"])
        self.server.keys.append(self.headers.get("Authorization"))
        status, content = 200, b""
        if self.server.faults:
            status, content = self.server.faults.pop(0)
        else:
            data = [
                {"index": place, "embedding": [len(text), 1.0]}
                for place, text in enumerate(body["input"])
            ]
            content = json.dumps({"data": data[::-1], "model": body["model"]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
        yield server
        server.shutdown()
        thread.join()


def embed(texts: list[str]) -> Any:
    from personaroute_bench.embeddings.endpoint import EndpointEmbedder

    return EndpointEmbedder("m", wait_s=0.0).embed(texts)


def test_endpoint_in_batches(endpoint: Endpoint) -> None:
    texts = ["x" * (number % 7) for number in range(300)]  # every seventh is blank
    vectors = embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (300, 2)
    assert [len(batch) for batch in endpoint.batches] == [128, 128, 1]
    expected = unit_rows(np.array([[len(text), 1.0] if text else [0.0, 0.0] for text in texts]))
    assert np.array_equal(vectors, expected)
    assert set(endpoint.keys) == {"Bearer sk-secret-of-the-test"}
    assert embed(["", " "]).shape[0] == 2
    assert "secret" not in json.dumps(make_embedder("endpoint:m").fingerprint())


def test_endpoint_tries_again(endpoint: Endpoint) -> None:
    endpoint.faults = [(429, b"slow down"), (503, b"")]
    assert embed(["abc"]).shape == (1, 2)
    assert len(endpoint.batches) == 3


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([(401, b"bad key sk-secret-of-the-test")], r"HTTP 401: bad key \[key\]"),
        ([(500, b"oops")] * 3, "HTTP 500: oops"),
        ([(200, b"nonsense")], "not their embeddings: nonsense"),
        ([(200, b'{"data": []}')], "not their embeddings"),
        ([(200, b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}')], "not their embeddings"),
        ([(200, b'{"data": [{"index": 1, "embedding": [1, 1]}]}')], "not their embeddings"),
    ],
)
def test_endpoint_faults(endpoint: Endpoint, faults: list[tuple[int, bytes]], message: str) -> None:
    endpoint.faults = faults
    with pytest.raises(BenchError, match=message) as caught:
        embed(["abc"])
    assert "secret" not in str(caught.value)
    assert endpoint.faults == []


def test_endpoint_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1/")
    with pytest.raises(
        UsageError, match="needs a key; set the environment variable OPENAI_API_KEY"
    ):
        make_embedder("endpoint:m")
    for url in ("example.org", "ftp://example.org", "https://user:pw@example.org/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(UsageError, match="OPENAI_BASE_URL must be like") as caught:
            make_embedder("endpoint:m")
        assert "pw" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1/")
    assert make_embedder("endpoint:m").fingerprint()["base_url"] == "http://localhost:1/v1"
