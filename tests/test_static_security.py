"""What no line of the code may do: a search of the syntax trees, so that it stays so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from places import ROOT

FOLDERS = ("personaroute_bench", "router", "leaderboard", "tools", "examples", "benchmarks")
SHIPPED = FOLDERS[:3]
# Modules whose reading of a file runs what stands in it, or unpacks names as paths.
MODULES = ("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib",
           "tarfile", "zipfile", "telnetlib", "imp")  # fmt: skip
BUILTINS = ("eval", "exec", "compile", "__import__", "breakpoint")
CALLS = ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "torch.load",
         "torch.save", "pd.read_pickle", "pandas.read_pickle",
         "os.system", "os.popen", "tempfile.mktemp", "shutil.unpack_archive")  # fmt: skip


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def keyword(call: ast.Call, name: str) -> object:
    for given in call.keywords:
        if given.arg == name:
            return given.value.value if isinstance(given.value, ast.Constant) else given.value
    return None


def problems(tree: ast.AST) -> list[str]:
    found = [f"imports {name}" for name in sorted(imported(tree) & set(MODULES))]
    # A library's function of that name, such as inspect_ai's eval, is not the builtin.
    theirs = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for call in calls(tree):
        name = name_of(call.func)
        if name in {*BUILTINS} - theirs or name in CALLS:
            found.append(f"line {call.lineno}: {name}")
        if keyword(call, "shell") not in (None, False):
            found.append(f"line {call.lineno}: shell")
        for risky in ("allow_pickle", "trust_remote_code", "weights_only"):
            if keyword(call, risky) not in (None, risky == "weights_only"):
                found.append(f"line {call.lineno}: {risky}")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_unpickled_evaluated_or_run_in_a_shell(folder: str) -> None:
    if not (ROOT / folder).is_dir():
        pytest.skip(f"no folder {folder}")
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in files(folder)
        if (wrong := problems(ast.parse(path.read_text("utf-8"))))
    }
    assert not found


def test_templates_are_sandboxed_or_escaped() -> None:
    """A prompt's template is sandboxed; a page's escapes what it is given."""
    made = []
    for path in files(*SHIPPED):
        for call in calls(ast.parse(path.read_text("utf-8"))):
            last = name_of(call.func).rpartition(".")[2]
            if last == "Template":
                made.append((path.name, "Template"))
            if last.endswith("Environment"):
                made.append((path.name, last))
                safe = keyword(call, "autoescape") is True
                assert safe or last == "ImmutableSandboxedEnvironment", f"{path}:{call.lineno}"
    assert ("prompts.py", "ImmutableSandboxedEnvironment") in made
    assert all(kind != "Template" for _, kind in made)


def test_no_template_comes_from_text_that_others_wrote() -> None:
    """`from_string` takes a bundled file or a constant only; whoever adds a use looks here."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in files(*SHIPPED)
        for call in calls(ast.parse(path.read_text("utf-8")))
        if name_of(call.func).endswith("from_string")
    }
    assert users == {
        "personaroute_bench/judging/prompts.py",
        "personaroute_bench/reporting/page.py",
    }


def test_what_is_printed_goes_through_say() -> None:
    """`say` drops escape sequences and secrets; `typer.echo` and `print` do not."""
    for path in files("personaroute_bench/cli"):
        if path.name == "screen.py":
            continue
        for call in calls(ast.parse(path.read_text("utf-8"))):
            name = name_of(call.func)
            version = path.name == "__init__.py" and name == "typer.echo"
            assert version or name not in ("print", "typer.echo", "typer.secho", "click.echo"), (
                f"{path}:{call.lineno}: use say of personaroute_bench.cli.screen"
            )


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "eval('1')", "yaml.load(x, Loader=SafeLoader)",
     "subprocess.run(x, shell=True)", "f(allow_pickle=True)", "torch.load(x)",
     "exec(x)", "f(weights_only=False)"],
)  # fmt: skip
def test_the_search_finds(code: str) -> None:
    assert problems(ast.parse(code))


def test_the_search_lets_methods_of_that_name_pass() -> None:
    assert not problems(ast.parse("network.eval(); re.compile('x'); pattern.exec()"))
