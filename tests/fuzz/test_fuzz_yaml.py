"""Pools, personas and task mappings: a valid file, or the line of the mistake."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from outcome import attempt, fuzzed, refused
from shapes import deep, line_files, odd_values, yaml_files
from small_data import pool_entries

from personaroute_bench.errors import BenchError
from personaroute_bench.llms.pool import load_pool
from personaroute_bench.tasks.files import TaskFile
from personaroute_bench.tasks.mapping import TaskMapping, make_query, read_mappings
from personaroute_bench.users.persona_files import load_personas
from personaroute_bench.users.persona_import import import_personas

LINE = "{name}:"
POOL = {
    "name": "ours",
    "defaults": {"provider": "openai", "base_url": "http://127.0.0.1:9/v1", "price_date": "2025"},
    "llms": [
        pool_entries()[0]
        | {"resolves_to": ["acme/*"], "parameters": {"top_p": 0.5, "stop": ["x"]}, "max_tokens": 9}
    ],
}
PERSONAS = {
    "schema": 1,
    "extend": True,
    "archetypes": [
        {
            "id": "night-baker", "name": "Night baker", "text": "You bake.",
            "wants": [{"says": "You like short answers.", "taste": {"length": -0.7}}],
            "performance_weight": 0.5, "cost_weight": 0.4, "skips": [], "tasks": ["passage_qa"],
        }
    ],
    "facets": [
        {
            "id": "pet", "name": "Pet", "part": "person", "chance": 0.5,
            "options": [{"id": "cat", "says": "You have a cat."}],
        }
    ],
}  # fmt: skip
MAPPING = {
    "tasks": [
        {
            "task_id": "rivers", "path": "rivers.jsonl", "metric": "f1_score", "licence": "MIT",
            "fields": {"query": "q", "ground_truth": "answers.text.0"}, "prompt": "{query} {{x}}",
            "max_rows": 5,
        }
    ]
}  # fmt: skip


def read(raw: bytes, name: str, reader: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(raw)
        result = attempt(reader, path)
        refused(result, path)  # a message names the file
        return result


@fuzzed
@given(yaml_files(POOL))
@example(b"llms: [{id: a, model: b, provider: simulated, input_price: " + b"9" * 400 + b"}]")
@example(b"llms: [{id: a, model: b, provider: openai, base_url: 'http://[::1'}]")
@example(b"llms: [{id: a, model: b, provider: openai, base_url: 'http://a:99999'}]")
@example(b"llms: " + deep(900).encode())
def test_pools(raw: bytes) -> None:
    pool = read(raw, "pool.yaml", lambda path: load_pool(str(path)))
    if not isinstance(pool, BenchError):
        assert pool.llms and len(set(pool.ids)) == len(pool.llms)
        pool.fingerprint()


@fuzzed
@given(yaml_files(PERSONAS))
@example(b"archetypes: [{id: a-b, name: A, text: B, wants: [{says: x, taste: {length: 0.5}}], "
         b"performance_weight: 1" + b"0" * 400 + b", cost_weight: 0}]")  # fmt: skip
def test_personas(raw: bytes) -> None:
    source = read(raw, "personas.yaml", load_personas)
    if not isinstance(source, BenchError):
        attempt(source.compose, "default", 0, 0, 5)
        source.fingerprint()


@fuzzed
@given(line_files([{"persona": "A retired tram driver"}, {"input persona": "A baker", "x": 1}]))
def test_lists_of_personas(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "list.jsonl", Path(folder) / "out.jsonl"
        path.write_bytes(raw)
        if refused(attempt(import_personas, path, out), path):
            assert not out.exists()
        else:
            load_personas(out)


@fuzzed
@given(line_files([{"persona_id": "a:1", "text": "You are a baker."}]))
def test_imported_personas(raw: bytes) -> None:
    read(raw, "list.jsonl", load_personas)


@fuzzed
@given(yaml_files(MAPPING))
@example(b"tasks: [{task_id: a, path: b, max_rows: 1, fields: {query: q}, metric: GSM8K, 1: 2}]")
@example(b"tasks: [{task_id: a, path: b, ? [x, y] : z}]")
@example(b"tasks: " + deep(900).encode())
def test_mappings(raw: bytes) -> None:
    read(raw, "tasks.yaml", read_mappings)


@fuzzed
@given(st.dictionaries(st.sampled_from(("q", "a", "b")), odd_values), st.text(max_size=30))
@example({"q": "x", "a": {"b": [1]}}, "{a.b.0} {{}} {a.__class__} {a.b.²}")
@example({"q": 10**400, "a": "y"}, "{q}")
def test_rows_become_queries(row: dict[str, Any], template: str) -> None:
    mapping = TaskMapping(
        "t", path="x.jsonl", fields={"query": "q", "ground_truth": "a"}, prompt=template
    )
    query = attempt(make_query, mapping, row, "here, row 1")
    if not refused(query, "here, row 1"):
        for text in (query.query, query.prompt, query.query_id):
            text.encode("utf-8")


@fuzzed
@given(yaml_files(MAPPING), line_files([{"q": "Which?", "answers": {"text": ["This"]}}]))
def test_task_files(raw: bytes, rows: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tasks.yaml").write_bytes(
            raw
            if b"rivers.jsonl" in raw and b"dataset" not in raw
            else yaml.safe_dump(MAPPING).encode()
        )
        (Path(folder) / "rivers.jsonl").write_bytes(rows)

        def both() -> Any:
            source = TaskFile(Path(folder) / "tasks.yaml")
            source.fingerprint()
            return source.load(seed=0, queries_per_task=None, task_ids=None)

        loaded = attempt(both)
        if not refused(loaded, folder):
            assert loaded.queries
