"""The hash of a router's code: of the definitions it reaches within router/, and of no others.

Modules of router/ share helpers, so a hash of whole files would call most figures old whenever one
helper changes. Reached is what a definition names, in its own module or by import.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from personaroute_bench.evaluation.registry import LEARNED, ROUTERS
from personaroute_bench.hashing import digest
from results_lib.plan import BASELINES, FOREST, FREE, ROOT

# Hexadecimal digits of a hash: enough to tell a few hundred cells apart.
DIGITS = 12


@dataclass(frozen=True)
class Module:
    """A module of router/."""

    definitions: dict[str, tuple[str, set[str]]]
    """By name: the source of a top-level definition, and the names in it."""
    imports: dict[str, tuple[str, str | None]]
    """By name: what is imported from router/, (module, name); None: the module itself."""


@lru_cache
def code_digest(router: str) -> str:
    """Return the hash of all definitions of router/ that a router reaches."""
    if router == FOREST:
        return digest({FOREST: Path(__file__).with_name("forest.py").read_text("utf-8")})[:DIGITS]
    paths = LEARNED | ROUTERS
    names = [n for n in (FREE if router == BASELINES else (router,)) if n in paths]
    places = [paths[name].partition(":") for name in names]
    todo: list[tuple[str, str | None]] = [(p.rpartition(".")[2], cls) for p, _, cls in places]
    met: dict[str, str] = {}
    modules: dict[str, Module] = {}
    while todo:
        name, wanted = todo.pop()
        if f"{name}.{wanted}" in met or not (ROOT / "router" / f"{name}.py").is_file():
            continue
        module = modules.setdefault(name, _read(ROOT / "router" / f"{name}.py"))
        for part in module.definitions if wanted is None else [wanted]:
            if part in module.definitions:
                met[f"{name}.{part}"], named = module.definitions[part]
                todo += [(name, other) for other in named & set(module.definitions)]
                todo += [module.imports[other] for other in named & set(module.imports)]
            elif part in module.imports:
                todo.append(module.imports[part])
    return digest(met)[:DIGITS]


def _read(path: Path) -> Module:
    source = path.read_text("utf-8")
    lines, tree = source.splitlines(), ast.parse(source)
    definitions: dict[str, tuple[str, set[str]]] = {}
    for node in tree.body:
        decorators = getattr(node, "decorator_list", [])
        start = min(part.lineno for part in (node, *decorators))
        text = "\n".join(lines[start - 1 : node.end_lineno])
        named = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        for name in _defined(node):
            definitions[name] = text, named
    imports: dict[str, tuple[str, str | None]] = {}
    for part in ast.walk(tree):
        if isinstance(part, ast.ImportFrom) and part.level == 1:
            for alias in part.names:
                whole = (alias.name, None)
                found = whole if part.module is None else (part.module, alias.name)
                imports[alias.asname or alias.name] = found
    return Module(definitions, imports)


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
