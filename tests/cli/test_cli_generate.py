from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_command import Bench
from small_data import response_rows, write_pool, write_responses


@pytest.fixture
def from_file(tmp_path: Path) -> list[str]:
    responses, pool = write_responses(tmp_path), write_pool(tmp_path)
    out = tmp_path / "out"
    return ["generate", "--responses", str(responses), "--pool", str(pool), "--out", str(out),
            "--users", "10"]  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, personaroute_bench.cli as cli\n"
        "sys.argv = ['bench', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("leave this line alone")[-1].split())
    foreign = {
        name
        for name in loaded
        if name.isidentifier()
        and name not in sys.stdlib_module_names
        and not name.startswith("__editable__")
    }
    packages = {"numpy", "pyarrow", "pandas", "rich", "aiohttp", "yaml", "pydantic", "torch",
                "litellm", "datasets", "openai", "sklearn"}  # fmt: skip
    assert not foreign & packages
    for heavy in ("asyncio", "sqlite3"):
        assert heavy not in loaded


def test_the_library_imports_neither_torch_nor_litellm_nor_datasets() -> None:
    code = (
        "import sys, personaroute_bench.generate, personaroute_bench.evaluation.runner\n"
        "print([n for n in ('torch', 'litellm', 'datasets', 'openai') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_generate_show_and_generate_again(
    bench: Bench, from_file: list[str], tmp_path: Path
) -> None:
    made = bench(*from_file)
    assert made.code == 0, made.err
    for expected in (
        "RECORDED responses",
        "interactions/multi_cost_efficiency/train",
        "Coverage: 180 of 180 responses ok",
        "Spend: none, nothing was asked",
        "Personalisation headroom of multi_cost_efficiency:",
        f"bench evaluate {tmp_path / 'out'}",
    ):
        assert expected in made.out
    again = bench(*from_file)
    assert again.code == 0
    assert "nothing was asked and nothing written" in again.out
    shown = bench("show", tmp_path / "out")
    assert shown.code == 0
    assert "em_mc" in shown.out and "% of users: acme/" in shown.out
    as_json = json.loads(bench("show", tmp_path / "out", "--json").out)
    assert as_json["users"]["count"] == 10
    assert as_json["manifest"]["provenance"] == ["recorded"]


def test_the_paper_preset_warns_where_there_is_no_headroom(bench: Bench, tmp_path: Path) -> None:
    # One LLM is best and cheapest: nobody can gain from knowing the user.
    rows = response_rows()
    for row in rows:
        row["response"] = row["ground_truth"] if row["llm"] == "acme/small" else "no idea"
    made = bench(
        "generate", "--responses", write_responses(tmp_path, rows), "--pool", write_pool(tmp_path),
        "--out", tmp_path / "out", "--users", 10, "--preset", "paper",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert "hardly anything to personalise" in made.out


def test_dry_run_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned = bench("generate", "--dry-run", "--out", out, "--users", 1000)
    assert planned.code == 0, planned.err
    assert "2,400,000 interactions" in planned.out
    assert "asking them really costs nothing" in planned.out
    assert not out.exists()
    facts = json.loads(bench("generate", "--dry-run", "--out", out, "--json").out)
    assert facts["total"]["calls"] == 2400
    assert facts["total"]["usd_low"] <= facts["total"]["usd_expected"] <= facts["total"]["usd_high"]


def test_dry_run_of_a_real_pool_needs_no_key_and_no_network(bench: Bench, tmp_path: Path) -> None:
    planned = bench("generate", "--dry-run", "--pool", "paper-large", "--out", tmp_path / "out")
    assert planned.code == 0, planned.err
    assert "Dry run" in planned.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-cost", "nan"], "--max-cost must be a positive number of USD, got nan"),
        (["--max-cost", "0"], "--max-cost must be a positive number"),
        (["--max-cost", "inf"], "--max-cost must be a positive number"),
        (["--users", "0"], "--users must be at least 1, got 0"),
        (["--llms", "acme/smal"], "did you mean 'acme/small'"),
        (["--task-ids", "sum"], "did you mean 'sums'"),
        (["--strategy", "multi_cost"], "did you mean 'multi_cost_efficiency'"),
        (["--seed", "-1"], "--seed must be from 0"),
        (["--tasks", "hub"], "brings its own tasks"),
        (["--embedder", "hashin"], "did you mean 'hashing'"),
        (["--temperature", "7"], "--temperature must be from 0 to 2, got 7"),
        (["--max-error-rate", "2"], "--max-error-rate must be from 0 to 1, got 2"),
        (["--queries-per-task", "0"], "--queries-per-task must be at least 1"),
    ],
)
def test_bad_options_are_one_message_and_exit_code_2(
    bench: Bench, from_file: list[str], tmp_path: Path, options: list[str], message: str
) -> None:
    refused = bench(*from_file, *options)
    assert refused.code == 2
    assert refused.err.startswith("error: ") or refused.err.startswith("queries\nerror: ")
    assert message in refused.err
    assert "Traceback" not in refused.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_price": -1.0}, "-1"),
        ({"input_price": float("nan")}, "nan"),
        ({"input_price": None}, "has no price for acme/small"),
        ({"modle": "x"}, "did you mean 'model'"),
    ],
)
def test_a_bad_pool_names_file_and_value(
    bench: Bench, from_file: list[str], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_pool(tmp_path, **changes)
    refused = bench(*from_file)
    assert refused.code == 2
    assert message in refused.err
    assert not (tmp_path / "out").exists()


def test_yaml_that_is_none(bench: Bench, from_file: list[str], tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text("llms: [\n  - id: x")
    refused = bench(*from_file)
    assert refused.code == 2
    assert "pool.yaml:2: this is not valid YAML" in refused.err


def test_broken_parquet(bench: Bench, from_file: list[str], tmp_path: Path) -> None:
    (tmp_path / "responses.parquet").write_bytes(b"PAR1 this is none PAR1")
    refused = bench(*from_file)
    assert refused.code == 2
    assert "responses.parquet" in refused.err


def test_unknown_metric(bench: Bench, from_file: list[str], tmp_path: Path) -> None:
    rows = [{**row, "metric": "f1_scor"} for row in response_rows()]
    write_responses(tmp_path, rows)
    refused = bench(*from_file)
    assert refused.code == 2
    assert "did you mean 'f1_score'" in refused.err


def test_responses_need_a_pool(bench: Bench, tmp_path: Path) -> None:
    refused = bench("generate", "--responses", write_responses(tmp_path), "--out", tmp_path / "o")
    assert refused.code == 2
    assert "needs --pool" in refused.err


def test_a_missing_key_is_named_before_anything_is_asked(bench: Bench, tmp_path: Path) -> None:
    pool = write_pool(tmp_path, base_url="https://api.example.com/v1")
    text = pool.read_text().replace("  model:", "  api_key_env: ACME_KEY\n  model:")
    pool.write_text(text)
    refused = bench("generate", "--pool", pool, "--limit", 12, "--out", tmp_path / "o")
    assert refused.code == 2
    assert "ACME_KEY" in refused.err


def test_a_folder_of_another_configuration(bench: Bench, from_file: list[str]) -> None:
    assert bench(*from_file).code == 0
    refused = bench(*from_file, "--seed", 3)
    assert refused.code == 2
    assert "seed: 0 → 3" in refused.err


def test_a_data_set_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    for command in ("show", "evaluate"):
        refused = bench(command, tmp_path / "nowhere")
        assert refused.code == 2
        assert f"bench generate --out {tmp_path / 'nowhere'}" in refused.err


def test_an_unwritable_place(bench: Bench, from_file: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = from_file.index("--out") + 1
    refused = bench(*from_file[:index], tmp_path / "file" / "out", *from_file[index + 1 :])
    assert refused.code in (1, 2)
    assert str(tmp_path / "file") in refused.err
    assert "Traceback" not in refused.err


def test_pools_and_version(bench: Bench) -> None:
    assert "paper-small-v1" in bench("pools").out
    assert "sim/" in bench("pools", "simulated").out
    assert bench("--version").out.startswith("personaroute-bench 0.")
    assert bench("pools", "simulatd").code == 2
