from __future__ import annotations

import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bench_command import Bench
from fake_hub import FakeHub

from personaroute_bench.benchmark import Benchmark, read_table
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.publishing.publish import publish
from personaroute_bench.publishing.seal import (
    check_opening,
    read_seal,
    salted_sha256,
    weaknesses,
)

ID = "org/sealed-data"
ALLOW = ("unknown",)


def seal(folder: Path, **more: object) -> object:
    return publish(folder, ID, allowed_licences=ALLOW, how="sealed", **more)  # type: ignore[arg-type]


def everything(data: dict[str, bytes]) -> bytes:
    return b"\0".join(data.values())


def test_a_salted_hash_by_hand(tmp_path: Path) -> None:
    known = "e097a5876c19bd8c8af2bc0d4951bb337127b33ce5e06c1f0d6675ef69888c2e"  # of "saltbytes"
    (tmp_path / "x").write_bytes(b"bytes")
    assert salted_sha256(b"salt", tmp_path / "x") == salted_sha256(b"salt", b"bytes") == known


def test_what_is_sealed_is_nowhere_in_what_is_published(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    whole, held = Benchmark.load(folder), Benchmark.load(ID)
    assert held.sealed and not whole.sealed
    test = set(whole.query_ids[whole.split_queries("test")])
    assert held.directory is not None
    published = {path.relative_to(held.directory).as_posix(): path
                 for path in held.directory.rglob("*.parquet")}  # fmt: skip

    for name in ("responses", "ratings"):
        rows = read_table(held.directory, name)
        assert rows.num_rows and not test & set(rows["query_id"].to_pylist())
    for row in held.queries.to_pylist():
        assert (row["ground_truth"] is None) == (row["query_id"] in test)
        assert row["query"]
    assert held.users.column_names == [
        "user_id", "population", "cohort", "persona_id", "persona", "archetype"
    ]  # fmt: skip
    assert held.users["persona"].to_pylist() == whole.users["persona"].to_pylist()
    left = [name for name in published if "/test/" in name]
    assert left == ["interactions/drift/test/00000.parquet"]
    assert pq.read_schema(published[left[0]]).names == [
        "user_id", "query_id", "llm_id", "time", "segment"
    ]  # fmt: skip
    # In training, all is as it was.
    for strategy in whole.strategies:
        ours, theirs = (data.interactions(strategy, "train") for data in (whole, held))
        assert ours.reward.tobytes() == theirs.reward.tobytes()

    seed = str(whole.manifest["configuration"]["seed"]).encode()
    texts = {n: d for n, d in hub.files(ID).items() if not n.endswith(".parquet")}
    assert seed not in everything(texts)
    assert whole.manifest["defining"]["queries"].encode() not in everything(texts)
    for name in ("responses.parquet", "users.parquet"):
        assert whole.manifest["files"][name]["sha256"].encode() not in everything(texts)
    salt = json.loads((folder / "seal-salt.json").read_text())["salt"]
    assert salt.encode() not in everything(hub.files(ID))
    for result in held.manifest["strategies"].values():
        levels = {k for k, v in result["headroom"].items() if isinstance(v, float)}
        assert levels == {"oracle_share", "fixed_policy_share"}
        assert not any(result["headroom"]["win_shares"].values())
        assert result.get("judge", {"kind": 0, "lines": 0}).keys() == {"kind", "lines"}
    assert whole.manifest["spend"]["usd"] is not None and held.manifest["spend"]["usd"] is None
    card = hub.files(ID)["README.md"].decode()
    assert "# train, validation\n" in card and "validation, test\n" not in card
    with pytest.raises(UsageError, match="is sealed: its test outcomes are withheld"):
        held.interactions("drift", "test")
    statuses = held.manifest["coverage"]["statuses"]
    assert sum(statuses.values()) == read_table(held.directory, "responses").num_rows


def test_the_salt_is_for_the_author_only_and_stays(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    kept = folder / "seal-salt.json"
    first = kept.read_bytes()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    sent, commit = list(hub.uploads), hub.files(ID)
    seal(folder)
    assert kept.read_bytes() == first and hub.uploads == sent and hub.files(ID) == commit


def test_sealed_opened_and_checked(folder: Path, hub: FakeHub, bench: Bench) -> None:
    done = bench("publish", folder, "--repo-id", ID, "--seal", "--allow-licence", "unknown")
    assert done.code == 0 and "nobody can open the seal" in done.out, done.err
    before = json.loads(hub.files(ID)["seal.json"])
    still = bench("check-seal", ID)
    assert still.code == 2 and "still sealed" in still.err
    opened = bench("publish", folder, "--repo-id", ID, "--open", "--allow-licence", "unknown")
    assert opened.code == 0 and "Opened" in opened.out, opened.err
    after = json.loads(hub.files(ID)["seal.json"])
    assert {key: after[key] for key in before} == before
    assert after.keys() - before.keys() == {"salt", "opened_at"}
    checked = bench("check-seal", ID)
    assert checked.code == 0 and "as they were sealed" in checked.out, checked.err
    whole, held = Benchmark.load(folder), Benchmark.load(ID)
    assert not held.sealed
    assert held.users.equals(whole.users)
    assert held.manifest["configuration"]["seed"] == whole.manifest["configuration"]["seed"]
    for strategy in whole.strategies:
        ours, theirs = (data.interactions(strategy, "test") for data in (whole, held))
        assert ours.reward.tobytes() == theirs.reward.tobytes()
    again = bench("publish", folder, "--repo-id", ID, "--seal", "--allow-licence", "unknown")
    assert again.code == 2 and "cannot be sealed again" in again.err


def test_another_file_or_seed_under_the_same_seal_is_noticed(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    publish(folder, ID, allowed_licences=ALLOW, how="opened")
    held = Benchmark.load(ID).directory
    assert held is not None and check_opening(held) == []
    copy = folder.parent / "copy"
    for name, data in hub.files(ID).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    users = (copy / "users.parquet").read_bytes()
    (copy / "users.parquet").write_bytes(users + b"x")
    assert check_opening(copy) == ["users.parquet is not the file that was sealed"]
    (copy / "users.parquet").unlink()
    assert check_opening(copy) == ["users.parquet was sealed and is missing"]
    (copy / "users.parquet").write_bytes(users)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["configuration"]["seed"] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert check_opening(copy) == ["the seed is not the one that was sealed"]


def test_what_was_changed_after_the_sealing_cannot_be_opened(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    kept = json.loads((folder / "seal-salt.json").read_text())
    kept["withheld"]["users.parquet"] = "0" * 64
    (folder / "seal-salt.json").write_text(json.dumps(kept))
    with pytest.raises(BenchError, match=r"users\.parquet is not the file that was sealed"):
        publish(folder, ID, allowed_licences=ALLOW, how="opened")
    with pytest.raises(UsageError, match="changed since"):
        seal(folder)


def test_a_seal_that_hides_nothing_is_refused(folder: Path, hub: FakeHub) -> None:
    publish(folder, ID, allowed_licences=ALLOW)
    with pytest.raises(UsageError, match="whole already"):
        seal(folder)
    with pytest.raises(UsageError, match="nothing to open"):
        publish(folder, ID, allowed_licences=ALLOW, how="opened")


def test_a_sealed_folder_is_not_published_whole_by_mistake(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    with pytest.raises(UsageError, match="--open to reveal"):
        publish(folder, ID, allowed_licences=ALLOW)
    (folder / "seal-salt.json").unlink()
    with pytest.raises(UsageError, match="was sealed"):
        publish(folder, ID, allowed_licences=ALLOW)
    with pytest.raises(UsageError, match="was not sealed here"):
        publish(folder, ID, allowed_licences=ALLOW, how="opened")
    seal_of_its_own = pytest.raises(UsageError, match="another seal")
    with seal_of_its_own:
        seal(folder)
    assert hub.files(ID)["seal.json"]


def test_a_published_copy_is_not_published_again(folder: Path, hub: FakeHub) -> None:
    seal(folder)
    copy = Benchmark.load(ID).directory
    assert copy is not None
    with pytest.raises(UsageError, match="published copy"):
        publish(copy, "org/other", allowed_licences=ALLOW)


def test_routers_choose_on_a_sealed_data_set_and_wait(
    folder: Path, hub: FakeHub, bench: Bench, tmp_path: Path
) -> None:
    """The choices are those that the same routers make when all is open."""
    seal(folder)
    options = ("--strategy", "drift", "--router", "best-per-user", "--draws", 0, "--quiet")
    refused = bench("evaluate", ID, *options)
    assert refused.code == 2 and "sealed" in refused.err and "--choices DIR" in refused.err
    done = bench("evaluate", ID, *options, "--choices", tmp_path / "choices")
    assert done.code == 3 and "no scores yet" in done.err, done.err
    assert "best-per-user.parquet" in done.err
    assert bench("evaluate", folder, *options, "--choices", tmp_path / "open").code == 0
    name = "best-per-user.parquet"
    assert pq.read_table(tmp_path / "choices" / name).equals(
        pq.read_table(tmp_path / "open" / name)
    )
    told = bench("evaluate", ID, *options, "--choices", tmp_path / "x", "--tier", "T3")
    assert told.code == 2 and "--tier T3" in told.err
    assert bench("show", ID).code == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "other"),
        ("withheld", {"../x": "0" * 64}),
        ("withheld", {"/etc/x": "0" * 64}),
        ("withheld", {"x": "0"}),
        ("withheld", []),
        ("salt", "00"),
        ("salt", 5),
        ("seed", None),
    ],
)
def test_a_damaged_seal_is_one_message(folder: Path, hub: FakeHub, key: str, value: object) -> None:
    seal(folder)
    path = folder / "seal-salt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UsageError, match="damaged"):
        read_seal(path)


def test_weak_seals_are_told() -> None:
    strong = {"provenance": ["live"], "configuration": {"seed": 2**60}}
    assert weaknesses(strong) == []
    assert "can be found by trying" in weaknesses({**strong, "configuration": {"seed": 7}})[0]
    assert "simulated" in weaknesses({**strong, "provenance": ["simulated"]})[0]
