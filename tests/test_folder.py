from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from personaroute_bench.errors import ConfigMismatch, UsageError
from personaroute_bench.folder import CONFIG, MANIFEST, DataFolder, check_definition, differences

DEFINING = {"seed": 1, "pool": {"llms": ["a", "b"]}, "limit": None}


def test_a_folder_remembers_its_definition_and_its_stages(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with DataFolder.open(out, DEFINING) as folder:
        name = folder.dataset_id
        assert not folder.is_done("users", {"count": 2})
        folder.mark_done("users", {"count": 2}, result={"count": 2})
    with DataFolder.open(out, DEFINING) as folder:
        assert folder.dataset_id == name
        assert folder.is_done("users", {"count": 2})
        assert not folder.is_done("users", {"count": 3})
        assert not folder.is_done("users", {"count": 2}, out / "users.parquet")
        assert folder.result("users") == {"count": 2}


def test_another_definition_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "data", DEFINING):
        pass
    before = (tmp_path / "data" / CONFIG).read_bytes()
    other = {"seed": 2, "pool": {"llms": ["a", "c"]}, "limit": None}
    with pytest.raises(ConfigMismatch) as error, DataFolder.open(tmp_path / "data", other):
        pass
    message = str(error.value)
    assert "seed: 1 → 2" in message
    assert 'pool.llms: ["a","b"] → ["a","c"]' in message
    assert "limit" not in message
    assert "--ledger" not in message  # there is none yet
    assert (tmp_path / "data" / CONFIG).read_bytes() == before


def test_differences_name_what_came_and_went() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 2, "d": 3}}) == [
        "a: 1 → absent",
        "b.d: absent → 3",
    ]
    assert differences(DEFINING, DEFINING) == []


def test_foreign_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"thesis\.tex.*new or empty folder"):
        check_definition(tmp_path, DEFINING)
    with pytest.raises(UsageError, match="is a file"):
        check_definition(tmp_path / "thesis.tex", DEFINING)
    check_definition(tmp_path / "absent", DEFINING)


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"format": 99}')
    with pytest.raises(UsageError, match=r"format 99.*reads 1"):
        check_definition(tmp_path, DEFINING)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from personaroute_bench.folder import DataFolder\n"
        "with DataFolder.open(Path(sys.argv[1]), {}): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with (
            pytest.raises(UsageError, match=f"process {other.pid}"),
            DataFolder.open(tmp_path / "data", {}),
        ):
            pass
        other.communicate("")
    with DataFolder.open(tmp_path / "data", {}):
        pass


def test_a_change_takes_the_manifest_away_first(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path, DEFINING) as folder:
        (tmp_path / MANIFEST).write_text('{"files": {}}')
        assert folder.is_whole()
        folder.begin_change()
        assert not folder.is_whole()
        folder.begin_change()


def test_a_stage_is_done_only_while_its_files_are_as_it_left_them(tmp_path: Path) -> None:
    file = tmp_path / "users.parquet"
    with DataFolder.open(tmp_path, DEFINING) as folder:
        file.write_text("rows")
        folder.mark_done("users", 1, file)
        assert folder.is_done("users", 1, file)
        file.write_text("rows")  # another time, the same content: as after a copy
        assert folder.is_done("users", 1, file)
        file.write_text("junk")
        assert not folder.is_done("users", 1, file)
        file.unlink()
        assert not folder.is_done("users", 1, file)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"files": 3}', "not json"])
def test_a_damaged_manifest_is_no_manifest(tmp_path: Path, text: str) -> None:
    with DataFolder.open(tmp_path, DEFINING) as folder:
        (tmp_path / MANIFEST).write_text(text)
        assert not folder.is_whole()


def test_a_damaged_config_says_so(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"format": 1}')
    with pytest.raises(UsageError, match="is damaged"):
        check_definition(tmp_path, DEFINING)


def test_a_data_set_keeps_its_ledger(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "data", DEFINING) as folder:
        assert folder.use_ledger(tmp_path / "shared.sqlite") == tmp_path / "shared.sqlite"
    with DataFolder.open(tmp_path / "data", DEFINING) as folder:
        assert folder.use_ledger(None).resolve() == (tmp_path / "shared.sqlite").resolve()
        with pytest.raises(UsageError, match="would pay for them again"):
            folder.use_ledger(tmp_path / "other.sqlite")
