"""Virtual interactions are those that would be stored, bit for bit, and can be written down."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bench_command import Bench
from small_data import write_pool, write_responses

from personaroute_bench import benchmark as benchmark_module
from personaroute_bench.benchmark import Benchmark
from personaroute_bench.config import DataConfig
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.files import read_json, write_json
from personaroute_bench.generate import generate
from personaroute_bench.materialise import materialise
from personaroute_bench.publishing.publish import publish
from personaroute_bench.schemas import SPLITS, STRATEGIES
from personaroute_bench.users import user_files

USERS = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.mktemp("source")
    return DataConfig(
        users=USERS, seed=3, strategies=STRATEGIES, responses=str(write_responses(folder)),
        pool=str(write_pool(folder)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def stored(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "stored"
    generate(data, folder)
    return folder


@pytest.fixture(scope="module")
def virtual(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "virtual"
    generate(replace(data, interactions="virtual"), folder)
    return folder


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_computed_is_what_is_stored(stored: Path, virtual: Path, strategy: str) -> None:
    ours, theirs = Benchmark.load(virtual), Benchmark.load(stored)
    assert ours.virtual and not theirs.virtual
    assert not (virtual / "interactions").exists()
    for split in SPLITS:
        a, b = ours.interactions(strategy, split), theirs.interactions(strategy, split)
        assert a.reward.dtype == np.float32
        assert a.reward.tobytes() == b.reward.tobytes()
        assert (a.chosen == b.chosen).all()
        assert (a.users == b.users).all() and (a.queries == b.queries).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("step", [1, 7, 40])
def test_blocks_of_any_size_are_parts_of_the_whole(
    stored: Path, virtual: Path, strategy: str, step: int
) -> None:
    for folder in (stored, virtual):
        data = Benchmark.load(folder)
        whole = data.interactions(strategy, "test")
        blocks = list(data.blocks(strategy, "test", step=step))
        assert {len(block.users) for block in blocks[:-1]} <= {step}
        together = np.concatenate([block.reward for block in blocks])
        assert together.tobytes() == whole.reward.tobytes()
        some = data.block(strategy, "test", 11, 11 + step if step < 20 else 30)
        assert some.users[0] == 11
        assert some.reward.tobytes() == whole.reward[some.users].tobytes()
        assert (some.chosen == whole.chosen[some.users]).all()


def test_headroom_and_counts_are_those_of_the_stored_ones(stored: Path, virtual: Path) -> None:
    ours, theirs = (read_json(folder / "manifest.json") for folder in (virtual, stored))
    assert ours["strategies"] == theirs["strategies"]
    assert ours["interactions"]["form"] == "virtual"
    assert ours["configuration"]["interactions"] == "virtual"
    assert theirs["interactions"] == {"form": "stored"}
    assert not [name for name in ours["files"] if name.startswith("interactions")]


@pytest.mark.parametrize("way", ["materialise", "generate"])
def test_a_virtual_data_set_can_be_written_down(
    data: DataConfig, stored: Path, virtual: Path, tmp_path: Path, way: str
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(virtual, folder)
    if way == "materialise":
        made = materialise(folder)
        assert made.rows == dict.fromkeys(STRATEGIES, USERS * 60 * 3)
    else:
        generate(replace(data, interactions="stored"), folder)
    for name in read_json(stored / "manifest.json")["files"]:
        if name.startswith("interactions"):
            ours, theirs = (pq.read_table(f / name, partitioning=None) for f in (folder, stored))
            assert ours.equals(theirs)
    ours, theirs = (read_json(f / "manifest.json") for f in (folder, stored))
    for key in ("strategies", "interactions", "configuration", "tables"):
        assert ours[key] == theirs[key], key
    assert (folder / "README.md").read_text() == (stored / "README.md").read_text()
    assert materialise(folder).rows == {}
    assert not generate(data, folder).changed


def test_a_virtual_folder_stays_virtual_as_it_grows_and_can_become_so(
    data: DataConfig, stored: Path, virtual: Path, tmp_path: Path
) -> None:
    folder, other = tmp_path / "d", tmp_path / "e"
    shutil.copytree(virtual, folder)
    assert not generate(data, folder).changed
    generate(replace(data, users=USERS + 5), folder)
    grown = Benchmark.load(folder)
    assert grown.virtual and len(grown.user_ids) == USERS + 5
    shutil.copytree(stored, other)
    generate(replace(data, interactions="virtual"), other)
    assert Benchmark.load(other).virtual
    assert not list((other / "interactions").glob("*"))


def test_users_in_several_files_are_the_same_users(
    data: DataConfig, virtual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_files, "USERS_PER_BLOCK", 6)
    monkeypatch.setattr(user_files, "USERS_PER_FILE", 16)
    folder = tmp_path / "d"
    made = generate(replace(data, interactions="virtual"), folder)
    assert len(list((folder / "users").glob("*.parquet"))) == 3
    assert made.manifest["tables"]["users"] == {"rows": USERS, "files": 3}
    ours, theirs = Benchmark.load(folder), Benchmark.load(virtual)
    assert ours.users.equals(theirs.users)
    assert "path: users/*.parquet" in (folder / "README.md").read_text()
    generate(replace(data, users=USERS + 1), folder)
    monkeypatch.setattr(user_files, "USERS_PER_FILE", 100)
    generate(replace(data, users=USERS + 2), folder)
    assert (folder / "users.parquet").is_file() and not (folder / "users").exists()


def test_show_says_so_and_publishing_says_what_to_do(virtual: Path, bench: Bench) -> None:
    shown = bench("show", virtual)
    assert shown.code == 0
    assert "virtual, 28,800 rows" in shown.out
    with pytest.raises(UsageError, match="bench materialise"):
        publish(virtual, "org/name", dry_run=True)
    card = (virtual / "README.md").read_text()
    assert "are **virtual**" in card and "interactions/" not in card


def test_other_personas_or_another_generator_are_refused(virtual: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    shutil.copytree(virtual, folder)
    manifest = read_json(folder / "manifest.json")
    manifest["interactions"]["personas"] = "0" * 64
    write_json(folder / "manifest.json", manifest)
    data = Benchmark.load(folder)
    assert data.interactions("drift", "test").reward.shape == (USERS, 12, 3)
    with pytest.raises(BenchError, match="other personas"):
        data.interactions("mixed", "test")
    manifest["defining"]["generation"] = 0
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(BenchError, match="version 0 of the generator"):
        Benchmark.load(folder).interactions("drift", "test")


def test_the_user_s_own_personas_are_kept_with_the_data(data: DataConfig, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "schema: 1\nextend: true\narchetypes:\n  - id: night-baker\n    name: Night baker\n"
        "    text: You bake bread from two in the morning.\n    wants:\n"
        "      - says: You like short answers.\n        taste: {length: -0.7}\n"
        "    performance_weight: 0.5\n    cost_weight: 0.4\n"
    )
    some = replace(data, strategies=("mixed",), personas=str(own), users=8)
    generate(some, tmp_path / "s")
    generate(replace(some, interactions="virtual"), tmp_path / "v")
    own.unlink()
    ours, theirs = (Benchmark.load(tmp_path / n).interactions("mixed", "test") for n in "vs")
    assert ours.reward.tobytes() == theirs.reward.tobytes()


def test_a_direct_judge_s_choices_cannot_be_virtual(data: DataConfig, tmp_path: Path) -> None:
    direct = replace(data, judge="direct", judge_llms=("acme/large",), interactions="virtual")
    with pytest.raises(UsageError, match="direct judge"):
        generate(direct, tmp_path / "d")
    with pytest.raises(UsageError, match="did you mean 'virtual'"):
        replace(data, interactions="virtuall")  # type: ignore[arg-type]


def test_memory_does_not_hold_more_than_a_block(
    virtual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_module, "BLOCK_ROWS", 12 * 3 * 4)
    sizes = [len(block.users) for block in Benchmark.load(virtual).blocks("mixed", "test")]
    assert sizes == [4] * 10
