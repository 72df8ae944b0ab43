from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from personaroute_bench.errors import UsageError
from personaroute_bench.evaluation.protocol import Router
from personaroute_bench.evaluation.registry import ALWAYS, NAMES, ROUTERS, load, resolve

FINE = """
class Fine:
    def fit(self, history): pass
    def route(self, requests): return ["a"] * len(requests)
class Half:
    def fit(self, history): pass
class Picky(Fine):
    def __init__(self, size): pass
class Seeded(Fine):
    def __init__(self, *, seed): self.seed = seed
ready = Fine()
"""


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_every_short_name_is_a_documented_router(name: str) -> None:
    kind = load(name)
    assert inspect.isclass(kind)
    assert kind.__doc__
    made: Any = resolve([name])[0].make(0)
    assert isinstance(made, Router)


def test_names_of_the_issue() -> None:
    assert NAMES == (
        "random", "cheapest", "smallest", "largest", "best-single", "best-per-task",
        "best-per-user", "best-per-user-task", "user-blind-oracle", "oracle",
    )  # fmt: skip
    assert [c.name for c in resolve([])] == list(NAMES)
    assert not any(c.asked_for for c in resolve([]))


def test_baselines_and_oracles_are_always_beside() -> None:
    found = resolve(["best-per-user", "random", "random"])
    assert [c.name for c in found if c.asked_for] == ["best-per-user", "random"]
    assert {c.name for c in found} == {"random", *ALWAYS}
    assert [c.name for c in resolve([], others=True)] == list(ALWAYS)


def test_import_path_from_the_current_folder(elsewhere: Path) -> None:
    (elsewhere / "found_here.py").write_text(FINE)
    found = resolve(["found_here:Fine", "found_here:ready", "found_here:Seeded"])[:3]
    assert [c.name for c in found] == ["found_here:Fine", "found_here:ready", "found_here:Seeded"]
    assert found[0].make(0) is not found[0].make(0)
    assert found[1].make(0) is found[1].make(1)
    seeded: Any = found[2].make(7)
    assert seeded.seed == 7


def test_classes_and_instances_get_names_of_their_own() -> None:
    class Mine:
        def fit(self, history: Any) -> None: ...
        def route(self, requests: Any) -> Any: ...

    names = [c.name for c in resolve([Mine, Mine(), Mine])[:3]]
    assert names[0].endswith("Mine")
    assert names[1:] == [names[0] + "-2", names[0] + "-3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bestsingle", r"unknown router 'bestsingle'; did you mean 'best-single'\?.*MODULE:CLASS"),
        ("my_router", r"unknown router 'my_router'"),
        ("nowhere:Fine", r"no module 'nowhere'; looked in the current folder .*nowhere\.py"),
        ("trouble:Fined", r"module 'trouble' has no 'Fined'; did you mean 'Fine'"),
        ("trouble:Half", r"'trouble:Half' is no router: .* no method 'route'"),
        ("trouble:FINE", r"is no router: the str has no method 'fit'"),
        ("trouble.py:Fine", r"without\s+\.py"),
        ("a/trouble:Fine", r"is not an import path"),
        ("trouble:", r"is not an import path"),
        ("broken:Fine", r"importing 'broken' failed: SyntaxError"),
        ("raising:Fine", r"importing 'raising' failed: ZeroDivisionError: .*raising\.py, line 2"),
        ("lacking:Fine", r"imports 'no_such_package', which is not installed"),
    ],
)
def test_what_cannot_be_used_says_why(elsewhere: Path, name: str, message: str) -> None:
    (elsewhere / "trouble.py").write_text(f"FINE = 'x'\n{FINE}")
    (elsewhere / "broken.py").write_text("def (")
    (elsewhere / "raising.py").write_text("\n1 / 0")
    (elsewhere / "lacking.py").write_text("import no_such_package")
    with pytest.raises(UsageError, match=message):
        load(name)


def test_a_constructor_that_fails_says_how_it_was_called(elsewhere: Path) -> None:
    (elsewhere / "picky.py").write_text(FINE)
    contestant = resolve(["picky:Picky"])[0]
    with pytest.raises(UsageError, match=r"could not be constructed: TypeError: .*'size'"):
        contestant.make(0)
