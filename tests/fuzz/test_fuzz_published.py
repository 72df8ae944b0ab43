"""CSVs in the layout of the published PersonaRoute-Bench: a data set, or one message."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome import attempt, fuzzed, leaves_nothing, refused
from shapes import csv_files, json_files

from personaroute_bench.interchange.personaroute import import_personaroute

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

HEAD = (
    "user_id,performance_preference,task_id,query,query_embedding,ground_truth,metric,llm,effect,"
    "cost,task_description,task_description_embedding,response,reward,best_llm"
)
ROWS = [
    f"{user},{alpha},t,Query {q},[0.{q} 1.],x,f1_score,m{m},{0.5 * m},{0.25 * m},what,[1. 0.],A{m},"
    f"{alpha * 0.5 * m - (1 - alpha) * 0.25 * m},{1}"
    for user, alpha in ((1, 0.5), (2, 1.0))
    for q in range(10)
    for m in range(2)
]
GOOD = "\n".join([HEAD, *ROWS]) + "\n"
ABOUT = {"m0": {"feature": "small", "input_price": 0.1, "output_price": 0.2, "model": "a/m0"}}


def run(raw: bytes, about: bytes | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "router_user_data_v1.csv", Path(folder) / "out"
        path.write_bytes(raw)
        told = None
        if about is not None:
            told = Path(folder) / "about.json"
            told.write_bytes(about)
        made = attempt(import_personaroute, path, out, descriptions=told)
        if refused(made, folder):
            leaves_nothing(out)
        else:
            assert (out / "manifest.json").exists()


def test_the_good_file_is_good() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router_user_data_v1.csv"
        path.write_text(GOOD)
        assert import_personaroute(path, Path(folder) / "out").manifest["strategies"]


@fuzzed
@given(csv_files(GOOD))
def test_tables(raw: bytes) -> None:
    run(raw)


@fuzzed
@given(st.one_of(json_files(ABOUT), json_files({"m0": 1, "m1": ABOUT["m0"]})))
def test_descriptions(about: bytes) -> None:
    run(GOOD.encode(), about)
