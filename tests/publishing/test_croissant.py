from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from personaroute_bench.publishing.publish import publish


@pytest.fixture
def described(folder: Path, tmp_path: Path) -> Path:
    publish(folder, "org/x", allowed_licences=["unknown"], dry_run=True, out=tmp_path / "out")
    return tmp_path / "out"


def description(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "croissant.json").read_text())
    return found


def test_every_table_and_column_is_described(described: Path) -> None:
    about = description(described)
    records = {entry["@id"]: entry for entry in about["recordSet"]}
    files = {entry["@id"]: entry for entry in about["distribution"]}
    assert {"users", "responses", "drift-train", "drift-test"} <= set(records)
    assert len(records) == len(list(described.rglob("*.parquet")))
    for name, entry in records.items():
        source = files[entry["field"][0]["source"]["fileObject"]["@id"]]
        path = described / source["contentUrl"].partition("/resolve/main/")[2]
        assert source["contentUrl"].startswith("https://huggingface.co/datasets/org/x/resolve/")
        assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert [field["name"] for field in entry["field"]] == pq.read_schema(path).names, name
    cost = next(f for f in records["responses"]["field"] if f["name"] == "cost_usd")
    assert cost["description"] == "null where unknown (USD)" and cost["dataType"] == "sc:Float"
    vector = next(f for f in records["queries"]["field"] if f["name"] == "embedding")
    assert vector["repeated"] is True


OF_MLCROISSANT = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib, within it


@OF_MLCROISSANT
def test_mlcroissant_accepts_it_and_reads_the_rows(described: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    about = description(described)
    mapping = {
        entry["@id"]: str(described / entry["contentUrl"].partition("/resolve/main/")[2])
        for entry in about["distribution"]
    }
    dataset = mlc.Dataset(jsonld=str(described / "croissant.json"), mapping=mapping)
    assert not dataset.metadata.issues.errors and not dataset.metadata.issues.warnings
    users = pq.read_table(described / "users.parquet").to_pylist()
    rows = list(dataset.records("users"))
    assert [row["users/user_id"].decode() for row in rows] == [row["user_id"] for row in users]


@OF_MLCROISSANT
def test_shards_are_one_set_of_files(folder: Path, tmp_path: Path) -> None:
    from personaroute_bench.files import sha256_file

    part = folder / "interactions" / "drift" / "train"
    shutil.copy(part / "00000.parquet", part / "00001.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = {
        "bytes": (part / "00001.parquet").stat().st_size,
        "sha256": sha256_file(part / "00001.parquet"),
    }
    manifest["files"]["interactions/drift/train/00001.parquet"] = entry
    (folder / "manifest.json").write_text(json.dumps(manifest))
    publish(folder, "org/x", allowed_licences=["unknown"], dry_run=True, out=tmp_path / "out")
    about = description(tmp_path / "out")
    sets = [entry for entry in about["distribution"] if entry["@type"] == "cr:FileSet"]
    assert [entry["includes"] for entry in sets] == ["interactions/drift/train/*.parquet"]
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = mlc.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert not dataset.metadata.issues.errors
