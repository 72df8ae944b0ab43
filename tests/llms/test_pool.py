from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaroute_bench.errors import UsageError
from personaroute_bench.hashing import digest
from personaroute_bench.llms.pool import _read as read_pool_bytes
from personaroute_bench.llms.pool import (
    api_key,
    check_keys,
    is_loopback,
    list_pools,
    load_pool,
    select_llms,
)

GOOD = """\
llms:
  - id: org/small
    model: org/small-v1
    provider: openai
    base_url: https://example.org/v1/
    api_key_env: EXAMPLE_KEY
    input_price: 0.2
    output_price: null
    price_date: 2025-11-16
    resolves_to: ["org/small-v1*"]
    parameters: {top_p: 0.9}
    requests_per_minute: 60
  - id: large
    model: large
    provider: anthropic
"""


def write(folder: Path, text: str) -> str:
    path = folder / "pool.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_pool_file(tmp_path: Path) -> None:
    pool = load_pool(write(tmp_path, GOOD))
    assert (pool.name, pool.ids) == ("pool", ("org/small", "large"))
    small = pool.llms[0]
    assert small.base_url == "https://example.org/v1"
    assert (small.input_price, small.output_price) == (0.2, None)
    assert small.price_date == "2025-11-16"
    assert small.name == "org/small"
    assert small.resolves_to == ("org/small-v1*",)


def test_defaults_are_shared_and_can_be_overridden(tmp_path: Path) -> None:
    text = """\
defaults: {provider: openai, base_url: "http://localhost:1/v1", input_price: 1}
llms:
  - {id: a, model: a}
  - {id: b, model: b, input_price: 2}
"""
    pool = load_pool(write(tmp_path, text))
    assert [llm.input_price for llm in pool.llms] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    input_price: 0.2", "    input_price: -0.2", 7, "input_price -0.2"),
        ("    input_price: 0.2", "    input_price: .nan", 7, ">= 0"),
        ("    input_price: 0.2", "    input_price: .inf", 7, ">= 0"),
        ("    input_price: 0.2", "    input_price: yes", 7, "number"),
        ("    input_price: 0.2", "    input_price: cheap", 7, "'cheap'"),
        ("    input_price: 0.2", "    imput_price: 0.2", 7, "did you mean 'input_price'"),
        ("    input_price: 0.2", "    id: again", 7, "stands twice"),
        ("  - id: large", "  - id: org/small", 13, "'org/small' stands twice"),
        ("  - id: large\n", "  - name: large\n", 13, "no `id`"),
        ("  - id: large", "  - id: a,b", 13, "without spaces and commas"),
        ("    model: large\n", "", 13, "large has no `model`"),
        ("https://example.org/v1/", "example.org/v1", 5, "base_url"),
        ("https://example.org/v1/", "ftp://example.org", 5, "base_url"),
        ("https://example.org/v1/", "https://u:secret@example.org", 5, "without a user"),
        ("https://example.org/v1/", "https://example.org:port", 5, "base_url"),
        ("https://example.org/v1/", "null", 2, "no base_url"),
        ("EXAMPLE_KEY", "sk-secret-0123456789", 6, "environment"),
        ("    api_key_env: EXAMPLE_KEY", "    api_key: sk-secret", 6, "api_key_env"),
        ("provider: anthropic", "provider: Anthropic", 15, "provider 'Anthropic'"),
        ("    parameters: {top_p: 0.9}", "    parameters: {stream: true}", 11, "'stream'"),
        ("    parameters: {top_p: 0.9}", "    parameters: high", 11, "mapping"),
        ("{top_p: 0.9}", "{temperature: .nan}", 11, "parameters nan: a request is JSON"),
        ("{top_p: 0.9}", "\n      a: 1\n      b: [1, -.inf]", 13, "parameters -inf"),
        ("{top_p: 0.9}", "{until: 2025-01-01}", 11, "a request is JSON"),
        ("{top_p: 0.9}", "{stop: !!binary aGk=}", 11, "a request is JSON"),
        ("{top_p: 0.9}", '{stop: ["\\ud800"]}', 11, "half of a character"),
        ("  - id: large", '  - id: "a\\udc00"', 13, "half of a character"),
        ("    requests_per_minute: 60", "    requests_per_minute: 0", 12, "> 0"),
        ("    requests_per_minute: 60", "    max_tokens: 1.5", 12, "whole number"),
        ("    requests_per_minute: 60", "    description: 7", 12, "quotes"),
        ("2025-11-16", "2025-13-45", 9, "cannot be read"),
        ('["org/small-v1*"]', "org/small-v1*", 10, "list"),
        ("llms:\n", "llm:\n", 1, "did you mean 'llms'"),
        ("    model: large\n", "    model: [\n", None, "not valid YAML"),
        (
            "    model: large\n",
            "    model: !!python/object:os.system large\n",
            14,
            "cannot be read",
        ),
        ("    model: large\n", "    model: &x large\n    name: *x\n", 15, "aliases"),
        ("  - id: large\n", "  - large\n  - id: large\n", 13, "must be a mapping"),
    ],
)
def test_a_mistake_names_file_line_value_and_remedy(
    tmp_path: Path, old: str, new: str, line: int | None, words: str
) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_pool(path)
    message = str(caught.value)
    assert message.startswith(path if line is None else f"{path}:{line}: ")
    assert words in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a\n", "mapping"),
        ("llms: []\n", "at least one LLM"),
        ("llms: 3\n", "must be a list"),
        ("name: x\n", "no list `llms:`"),
        ("defaults: {id: x}\nllms: [{id: a}]\n", "cannot be a default"),
        ("\x00", "not valid YAML"),
        ("llms: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_pool(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_pool(write(tmp_path, text))


def test_not_utf8_and_too_large_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_bytes(b"llms: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_pool(str(path))
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UsageError, match="at most 1,000,000"):
        load_pool(str(path))
    with pytest.raises(UsageError, match=r"cannot read the pool file .*none\.yaml"):
        load_pool(str(tmp_path / "none.yaml"))


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="llms: -id[]{}&*!'\n", max_size=80)))
def test_no_bytes_raise_anything_else(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    try:
        read_pool_bytes(raw, "pool.yaml")
    except UsageError as error:
        assert str(error).startswith("pool.yaml")


def test_subsets(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_pool(path, ["large", "org/small"]).ids == ("org/small", "large")
    assert load_pool(path, ["large"]).ids == ("large",)
    with pytest.raises(UsageError, match="'lrge'; did you mean 'large'"):
        load_pool(path, ["lrge"])
    with pytest.raises(UsageError, match="name at least one"):
        select_llms(load_pool(path), [])


def test_fingerprint_holds_what_defines_data_and_no_more(tmp_path: Path) -> None:
    base = digest(load_pool(write(tmp_path, GOOD)).fingerprint())

    def changed(old: str, new: str) -> bool:
        pool = load_pool(write(tmp_path, GOOD.replace(old, new)))
        return digest(pool.fingerprint()) != base

    assert changed("input_price: 0.2", "input_price: 0.3")
    assert changed("top_p: 0.9", "top_p: 0.8")
    assert changed("org/small-v1*", "org/*")
    assert changed("example.org/v1/", "example.org/v2/")
    assert changed("    requests_per_minute: 60", "    max_tokens: 60")
    assert not changed("requests_per_minute: 60", "requests_per_minute: 61")
    assert not changed("EXAMPLE_KEY", "OTHER_KEY")


def test_keys_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = load_pool(write(tmp_path, GOOD))
    with pytest.raises(UsageError, match="EXAMPLE_KEY for org/small"):
        check_keys(pool)
    monkeypatch.setenv("EXAMPLE_KEY", "  \n")
    with pytest.raises(UsageError, match="EXAMPLE_KEY"):
        check_keys(pool)
    monkeypatch.setenv("EXAMPLE_KEY", "sk-abc\n")
    check_keys(pool)
    assert api_key(pool.llms[0]) == "sk-abc"
    assert api_key(pool.llms[1]) is None
    monkeypatch.setenv("EXAMPLE_KEY", "sk-ab\r\nX-Evil: 1")
    with pytest.raises(UsageError) as caught:
        check_keys(pool)
    assert "sk-ab" not in str(caught.value)


def test_loopback_needs_no_key(tmp_path: Path) -> None:
    check_keys(load_pool(write(tmp_path, GOOD.replace("https://example.org", "http://[::1]:8000"))))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://[::1]/v1", True),
        ("http://localhost.example.org/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
        ("https://openrouter.ai/api/v1", False),
        (None, False),
    ],
)
def test_is_loopback(url: str | None, expected: bool) -> None:
    assert is_loopback(url) is expected


PAPER = {
    "paper-small-v1": [0.2, 0.6, 0.9, 0.2, 0.2, 0.9, 0.2, 0.9, 0.9, 0.9],
    "paper-small-v2": [0.2, 0.6, 0.9, 0.2, 0.2, 0.9, 0.2, 0.9, 0.9, 0.9],
    "paper-large": [0.6, 0.2, 0.2, 2, 2, 2, 0.9, 0.9, 0.4, 0.2],
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_pools_have_the_papers_prices(name: str) -> None:
    pool = load_pool(name)
    assert [llm.input_price for llm in pool.llms] == PAPER[name]
    assert [llm.output_price for llm in pool.llms] == PAPER[name]
    assert all(llm.price_source and llm.price_date for llm in pool.llms)


def test_bundled_pools_agree_on_what_an_llm_is() -> None:
    names = {*PAPER, "local", "paper-small-v1-together", "paper-small-v2-together"}
    assert names <= set(list_pools())
    known: dict[str, tuple[object, ...]] = {}
    for name in sorted(names):
        for llm in load_pool(name).llms:
            about = (llm.name, llm.family, llm.parameters_billion, llm.description)
            assert known.setdefault(llm.id, about) == about
            assert llm.description.endswith(".")
    check_keys(load_pool("local"))


@pytest.mark.parametrize("name", list_pools())
def test_every_bundled_pool_loads_with_known_prices(name: str) -> None:
    pool = load_pool(name)
    assert all(llm.input_price is not None and llm.output_price is not None for llm in pool.llms)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(UsageError, match="did you mean 'paper-small-v1'"):
        load_pool("paper-smal-v1")


def test_the_recorded_core_pool(recorded: Path) -> None:
    pool = load_pool(str(recorded / "core-pool.yaml"))
    assert len(pool.llms) == 10
    assert pool.llms[0].input_price == 0.2
    check_keys(pool)
