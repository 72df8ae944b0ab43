from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from bench_command import Bench
from fake_hub import FakeHub

from personaroute_bench.benchmark import Benchmark, read_table
from personaroute_bench.errors import BenchError, UsageError
from personaroute_bench.publishing.merge import BEGIN, END
from personaroute_bench.publishing.publish import publish, publish_leaderboard
from personaroute_bench.publishing.staging import impersonal

ID = "org/routing-data"
ALLOW = ["unknown"]  # the licence of tests/small_data.py
TABLES = ("tasks", "queries", "llms", "responses", "users", "ratings")


def test_published_and_loaded_back_it_is_the_same(folder: Path, hub: FakeHub, bench: Bench) -> None:
    done = bench("publish", folder, "--repo-id", ID, "--tag", "v1", "--allow-licence", "unknown")
    assert done.code == 0, done.err
    assert "Verified; commit" in done.out and f"bench evaluate {ID}@v1" in done.out
    mine, theirs = Benchmark.load(folder), Benchmark.load(ID)
    assert theirs.directory is not None and theirs.directory != mine.directory
    for name in TABLES:
        assert read_table(theirs.directory, name).equals(read_table(folder, name)), name
    for strategy in mine.strategies:
        for split in ("train", "validation", "test"):
            ours, held = (data.interactions(strategy, split) for data in (mine, theirs))
            assert ours.reward.tobytes() == held.reward.tobytes()
            assert ours.chosen.tobytes() == held.chosen.tobytes()
    assert Benchmark.load(f"{ID}@v1").manifest == theirs.manifest
    scored = bench("evaluate", ID, "--strategy", "drift", "--router", "best-single", "--draws", 0)
    assert scored.code == 0 and "best-single" in scored.out, scored.err


def test_datasets_loads_the_published_configs(folder: Path, hub: FakeHub, tmp_path: Path) -> None:
    import datasets

    publish(folder, ID, allowed_licences=ALLOW)
    copy = tmp_path / "copy"
    for name, data in hub.files(ID).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    header = yaml.safe_load((copy / "README.md").read_text().split("---\n")[1])
    assert header["license"] == ["other"] and header["size_categories"] == ["1K<n<10K"]
    for config in header["configs"]:
        rows = datasets.load_dataset(str(copy), config["config_name"])
        for split in rows:
            assert len(rows[split]) > 0


def test_what_is_published_tells_nothing_of_the_machine(
    folder: Path, hub: FakeHub, tmp_path: Path
) -> None:
    publish(folder, ID, allowed_licences=ALLOW)
    assert set(hub.files(ID)) >= {"README.md", "manifest.json", "croissant.json"}
    assert not {"config.json", "ledger.sqlite", "seal-salt.json"} & set(hub.files(ID))
    for name, data in hub.files(ID).items():
        if not name.endswith(".parquet"):
            assert str(tmp_path.parent.parent).encode() not in data, name
            assert hub.token.encode() not in data
    manifest = json.loads(hub.files(ID)["manifest.json"])
    assert manifest["configuration"]["pool"] == "pool.yaml"
    assert manifest["configuration"]["responses"] == "responses.parquet"


def test_a_second_time_nothing_is_sent(folder: Path, hub: FakeHub) -> None:
    first = publish(folder, ID, allowed_licences=ALLOW)
    sent = list(hub.uploads)
    second = publish(folder, ID, allowed_licences=ALLOW)
    assert (first.changed, second.changed) == (True, False)
    assert second.commit == first.commit and hub.uploads == sent


def test_interrupted_half_way_it_continues(folder: Path, hub: FakeHub) -> None:
    """The process is killed while it uploads; the next one sends only what is missing."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_ENDPOINT": hub.url,
    }
    command = [sys.executable, "-m", "personaroute_bench.cli", "publish", str(folder),
               "--repo-id", ID, "--allow-licence", "unknown", "--quiet"]  # fmt: skip
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:

        def kill_after_five(request: str) -> int | None:
            if request.startswith("PUT") and len(hub.uploads) >= 5:
                process.kill()
                return 403
            return None

        hub.refuse = kill_after_five
        process.wait(120)
    assert process.returncode == -9 and len(hub.uploads) >= 5
    assert set(hub.files(ID)) == {".gitattributes"}  # nothing is to be seen of it yet
    hub.refuse = lambda request: None
    before = list(hub.uploads)
    publish(folder, ID, allowed_licences=ALLOW)
    after = hub.uploads[len(before) :]
    assert after and not set(after) & set(before)
    assert Benchmark.load(ID).user_ids.tolist() == Benchmark.load(folder).user_ids.tolist()


def test_a_lost_connection_is_one_message_and_the_next_run_continues(
    folder: Path, hub: FakeHub, bench: Bench
) -> None:
    hub.refuse = lambda request: 403 if request.startswith("PUT") and hub.uploads else None
    command = ("publish", folder, "--repo-id", ID, "--allow-licence", "unknown")
    failed = bench(*command)
    assert failed.code == 1 and "403" in failed.err and "Traceback" not in failed.err
    hub.refuse = lambda request: None
    assert bench(*command).code == 0
    assert len(hub.uploads) == len(set(hub.uploads))


def test_a_dry_run_asks_and_sends_nothing(
    folder: Path, hub: FakeHub, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    before = sorted(folder.rglob("*"))
    for more in ((), ("--seal",)):
        done = bench(
            "publish", folder, "--repo-id", ID, "--dry-run", "--allow-licence", "unknown", *more
        )
        assert done.code == 0 and "nothing was sent" in done.out, done.err
    assert hub.seen == [] and sorted(folder.rglob("*")) == before


def test_a_dry_run_shows_on_disk_what_would_be_published(
    folder: Path, hub: FakeHub, tmp_path: Path
) -> None:
    out = tmp_path / "shown"
    shown = publish(folder, ID, allowed_licences=ALLOW, dry_run=True, out=out)
    publish(folder, ID, allowed_licences=ALLOW)
    held = hub.files(ID)
    assert {name: (out / name).read_bytes() for name in shown.files} == {
        name: data for name, data in held.items() if name != ".gitattributes"
    }
    assert Benchmark.load(out).manifest["files"].keys() == shown.files.keys() - {"manifest.json"}
    with pytest.raises(UsageError, match="not empty"):
        publish(folder, ID, allowed_licences=ALLOW, dry_run=True, out=out)


def test_a_card_that_is_there_is_merged(folder: Path, hub: FakeHub) -> None:
    hub.put(
        ID,
        {
            "README.md": b"---\nlicense: mit\ntags: [mine]\nviewer: false\n---\n# My words\n",
            "figure.png": b"png",
        },
    )
    publish(folder, ID, allowed_licences=ALLOW)
    first = hub.files(ID)["README.md"].decode()
    hub.put(ID, {"README.md": first.replace("# My words", "# Newer words").encode()})
    publish(folder, ID, allowed_licences=ALLOW)
    text = hub.files(ID)["README.md"].decode()
    assert hub.files(ID)["figure.png"] == b"png"
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "mit" and header["viewer"] is False and "mine" in header["tags"]
    assert text.count(BEGIN) == text.count(END) == 1
    assert "# Newer words" in text.split(BEGIN)[0] and "## Licences" in text.split(BEGIN)[1]


def test_files_of_an_older_version_go_and_foreign_ones_stay(folder: Path, hub: FakeHub) -> None:
    publish(folder, ID, allowed_licences=ALLOW)
    manifest = json.loads(hub.files(ID)["manifest.json"])
    manifest["files"]["interactions/mixed/test/00000.parquet"] = {"bytes": 1, "sha256": "0"}
    manifest["files"]["gone.parquet"] = {"bytes": 1, "sha256": "0"}
    hub.put(
        ID,
        {
            "manifest.json": json.dumps(manifest).encode(),
            "interactions/mixed/test/00000.parquet": b"x",
            "notes.txt": b"mine",
        },
    )
    done = publish(folder, ID, allowed_licences=ALLOW)
    assert done.deleted == ("interactions/mixed/test/00000.parquet",)
    assert "notes.txt" in hub.files(ID)
    assert "interactions/mixed/test/00000.parquet" not in hub.files(ID)


@pytest.mark.parametrize("name", ["users.parquet", "manifest.json"])
def test_files_of_others_are_not_overwritten(folder: Path, hub: FakeHub, name: str) -> None:
    hub.put(ID, {name: b'{"files": {}}'})
    with pytest.raises(UsageError, match="did not write"):
        publish(folder, ID, allowed_licences=ALLOW)
    assert hub.files(ID) == {name: b'{"files": {}}'}


def test_damage_on_the_way_is_noticed(folder: Path, hub: FakeHub) -> None:
    hub.damage = True
    with pytest.raises(BenchError, match="after the upload"):
        publish(folder, ID, allowed_licences=ALLOW)


def test_damage_on_the_hub_is_noticed(folder: Path, hub: FakeHub) -> None:
    publish(folder, ID, allowed_licences=ALLOW)
    name = "interactions/drift/test/00000.parquet"
    rows = hub.files(ID)[name]
    hub.put(ID, {name: rows[:-1] + b"!"})  # noticed before anybody reads it
    with pytest.raises(BenchError, match=r"test/00000\.parquet is not the file that its"):
        Benchmark.load(ID)
    hub.put(ID, {name: rows, "interactions/drift/test/9.parquet": rows})
    with pytest.raises(BenchError, match="does not name"):
        Benchmark.load(ID)


@pytest.mark.parametrize(
    "manifest", [b"[]", b'{"files": {"../x": {"bytes": 1, "sha256": ""}}, "strategies": {}}']
)
def test_a_hostile_manifest_is_one_message(hub: FakeHub, manifest: bytes) -> None:
    hub.put(ID, {"manifest.json": manifest})
    with pytest.raises(BenchError, match=r"damaged|outside"):
        Benchmark.load(ID)


def test_names_that_are_nowhere(hub: FakeHub, bench: Bench, tmp_path: Path) -> None:
    done = bench("evaluate", "org/missing")
    assert done.code == 2 and "neither a folder here nor a data set" in done.err
    hub.put(ID, {"README.md": b"# Other data"})
    assert "no data set of PersonaRoute-Bench" in bench("show", ID).err
    assert "no version 'v9'" in bench("show", f"{ID}@v9").err
    asked = len(hub.seen)
    (tmp_path / "here").mkdir()
    assert "does not exist" in bench("show", tmp_path / "here" / "missing").err
    assert len(hub.seen) == asked  # a path is no name on the Hub


def test_without_a_connection_the_message_names_both(bench: Bench) -> None:
    done = bench("evaluate", "org/missing")
    assert done.code == 2 and "cannot be reached" in done.err and "correct the path" in done.err


def test_the_token_is_in_no_message(
    folder: Path, hub: FakeHub, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("publish", folder, "--repo-id", ID, "--allow-licence", "unknown")
    hub.echo_token = True
    for place in ("/api/repos/create", "/preupload/", "PUT /large", "/commit/", "/paths-info/"):
        hub.refuse = lambda request, place=place: 403 if place in request else None
        done = bench(*command)
        assert done.code == 1, place
        assert hub.token not in done.out + done.err, place
        assert "***" in done.err and "HF_TOKEN" in done.err, place
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.refuse = lambda request: None
    done = bench("publish", folder, "--repo-id", "org/new", "--allow-licence", "unknown")
    assert done.code == 1 and "may do that" in done.err and "hf_wrong" not in done.err
    monkeypatch.delenv("HF_TOKEN")
    done = bench(*command)
    assert done.code == 2 and "hf auth login" in done.err


def test_a_change_by_somebody_else_is_not_lost(folder: Path, hub: FakeHub) -> None:
    def interfere(request: str) -> int | None:
        if "/preupload/" in request:
            hub.put(ID, {"README.md": b"# Written meanwhile"})
        return None

    hub.refuse = interfere
    with pytest.raises(BenchError, match="somebody else"):
        publish(folder, ID, allowed_licences=ALLOW)
    hub.refuse = lambda request: None
    publish(folder, ID, allowed_licences=ALLOW)
    assert b"# Written meanwhile" in hub.files(ID)["README.md"]


def test_a_tag_names_one_version_for_ever(folder: Path, hub: FakeHub) -> None:
    publish(folder, ID, allowed_licences=ALLOW, tag="v1")
    publish(folder, ID, allowed_licences=ALLOW, tag="v1")  # the same version again
    hub.put(ID, {"README.md": b"# New words"})
    with pytest.raises(UsageError, match="another version"):
        publish(folder, ID, allowed_licences=ALLOW, tag="v1")


@pytest.mark.parametrize("bad", ["name", "a/b/c", "a/b--c", "../up", "a/b.git", "a b/c", "a/"])
def test_wrong_ids_are_refused_before_anything(folder: Path, hub: FakeHub, bad: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        publish(folder, bad, allowed_licences=ALLOW)
    assert hub.seen == []


def test_a_changed_or_unfinished_folder_is_refused(folder: Path, hub: FakeHub) -> None:
    pq.write_table(pq.read_table(folder / "users.parquet").slice(1), folder / "users.parquet")
    with pytest.raises(BenchError, match=r"users\.parquet is not the file"):
        publish(folder, ID, allowed_licences=ALLOW)
    (folder / "manifest.json").unlink()
    with pytest.raises(UsageError, match="no complete data set"):
        publish(folder, ID, allowed_licences=ALLOW)
    assert hub.seen == []


def test_the_authors_own_words_in_the_card_are_published(folder: Path, hub: FakeHub) -> None:
    card = folder / "README.md"
    card.write_text(card.read_text().replace("## Load", "## Why\n\nBecause.\n\n## Load"))
    publish(folder, ID, allowed_licences=ALLOW)
    text = hub.files(ID)["README.md"].decode()
    assert "Because." in text and f'load_dataset("{ID}"' in text and '"DIR"' not in text
    card.write_text("---\nconfigs: [{config_name: x, data_files: 5}]\n---\n")
    with pytest.raises(UsageError, match="cannot read the card"):
        publish(folder, ID, allowed_licences=ALLOW)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com/v1", True),
        ("http://8.8.8.8/v1", True),
        ("http://10.0.0.3:8000/v1", False),
        ("http://127.0.0.1/v1", False),
        ("http://gpu7/v1", False),
        ("https://llm.company.internal/v1", False),
        ("https://user:secret@api.example.com/v1", False),
        ("https://api.example.com/v1?key=secret", False),
        ("http://[::1]/v1", False),
        ("http://[bad", False),
    ],
)
def test_addresses_that_are_nobodys_business_are_not_published(url: str, kept: bool) -> None:
    value = {"pool": {"llms": [{"base_url": url}]}, "responses": "/home/me/r.parquet", "seed": 1}
    assert impersonal(value) == {
        "pool": {"llms": [{"base_url": url if kept else None}]},
        "responses": "r.parquet",
        "seed": 1,
    }


def test_pairs_of_real_people_are_published_and_evaluated(
    tmp_path: Path, hub: FakeHub, bench: Bench
) -> None:
    rows = [
        {
            "dataset": "chats",
            "user_id": user,
            "query_id": f"q{q}",
            "query": f"Question {q}?",
            "candidates": ["org/a", "org/b"],
            "responses": [f"a on {q}", f"b on {q}"],
            "chosen": "org/a" if (q + len(user)) % 3 else "org/b",
            "outcome": "chosen",
            "licence": "CC BY 4.0",
        }
        for user in ("ann", "bobby")
        for q in range(12)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    people = tmp_path / "people"
    assert bench("import", "preferences", tmp_path / "rows.jsonl", "--out", people).code == 0
    done = bench("publish", people, "--repo-id", "org/people", "--private")
    assert done.code == 0, done.err
    assert yaml.safe_load(hub.files("org/people")["README.md"].decode().split("---\n")[1])[
        "license"
    ] == ["cc-by-4.0"]
    results = [bench("evaluate", place, "--draws", 0) for place in (people, "org/people")]
    assert [result.code for result in results] == [0, 0], results[1].err
    assert results[0].out.splitlines()[1:] == results[1].out.splitlines()[1:]
    refused = bench("publish", people, "--repo-id", "org/more", "--seal")
    assert refused.code == 2 and "--seal needs a data set" in refused.err


def test_private_is_asked_for_only_where_it_is_said(folder: Path, hub: FakeHub) -> None:
    publish(folder, ID, allowed_licences=ALLOW, private=True)
    assert hub.repositories["datasets", ID].made_with["visibility"] == "private"
    publish(folder, "org/other", allowed_licences=ALLOW)
    assert "visibility" not in hub.repositories["datasets", "org/other"].made_with


def test_a_leaderboard_becomes_a_static_space(tmp_path: Path, hub: FakeHub, bench: Bench) -> None:
    page = tmp_path / "page"
    (page / "data").mkdir(parents=True)
    (page / "index.html").write_text("<p>Board</p>")
    (page / "data" / "rows.json").write_text("[]")
    (page / ".hidden").write_text("no")
    (page / "README.md").write_text("not the Space's card")
    assert "Dry run" in bench("publish-leaderboard", page, "--repo-id", "org/b", "--dry-run").out
    assert hub.seen == []
    assert bench("publish-leaderboard", page, "--repo-id", "org/b").code == 0
    files = hub.files("org/b", "spaces")
    assert set(files) == {".gitattributes", "index.html", "data/rows.json", "README.md"}
    header = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert (header["sdk"], header["app_file"]) == ("static", "index.html")
    assert hub.repositories["spaces", "org/b"].made_with["sdk"] == "static"
    hub.put("org/b", {"README.md": files["README.md"] + b"\nOur own words\n"}, "spaces")
    (page / "index.html").write_text("<p>Newer</p>")
    assert publish_leaderboard(page, "org/b").changed
    newest = hub.files("org/b", "spaces")
    assert newest["index.html"] == b"<p>Newer</p>" and b"Our own words" in newest["README.md"]


def test_a_page_with_links_or_without_index_is_refused(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(UsageError, match=r"index\.html"):
        publish_leaderboard(tmp_path, "org/b")
    (tmp_path / "index.html").write_text("x")
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="is a link"):
        publish_leaderboard(tmp_path, "org/b")
    assert hub.seen == []
