"""From what a user names to a router: short names, import paths, classes, instances."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from personaroute_bench.errors import UsageError, did_you_mean
from personaroute_bench.evaluation.controls import CONTROLS
from personaroute_bench.evaluation.protocol import Router
from personaroute_bench.evaluation.texts import printable

# short name -> where it is defined; a string, since routers import this package, never the reverse
ROUTERS = {
    "random": "personaroute_bench.router.random:Random",
    "cheapest": "personaroute_bench.router.cheapest:Cheapest",
    "smallest": "personaroute_bench.router.smallest:Smallest",
    "largest": "personaroute_bench.router.largest:Largest",
    "best-single": "personaroute_bench.router.best_single:BestSingle",
    "best-per-task": "personaroute_bench.router.best_per_task:BestPerTask",
    "best-per-user": "personaroute_bench.router.best_per_user:BestPerUser",
    "best-per-user-task": "personaroute_bench.router.best_per_user_task:BestPerUserTask",
}
# Take seconds to minutes to fit, and partly torch, so each is only run where it is asked for.
LEARNED = {
    "personalized": "personaroute_bench.router.personalized:Personalized",
    "personalized-graph": "personaroute_bench.router.personalized:PersonalizedGraph",
    "explicit-utility": "personaroute_bench.router.explicit_utility:ExplicitUtility",
    "knn": "personaroute_bench.router.knn:Knn",
    "knn-personal": "personaroute_bench.router.knn:KnnPersonal",
    "knn-class": "personaroute_bench.router.knn:KnnClass",
    "linear": "personaroute_bench.router.linear:Linear",
    "linear-personal": "personaroute_bench.router.linear:LinearPersonal",
    "svm": "personaroute_bench.router.svm:Svm",
    "svm-personal": "personaroute_bench.router.svm:SvmPersonal",
    "svm-class": "personaroute_bench.router.svm:SvmClass",
    "mlp": "personaroute_bench.router.mlp:Mlp",
    "mlp-personal": "personaroute_bench.router.mlp:MlpPersonal",
    "mlp-class": "personaroute_bench.router.mlp:MlpClass",
    "mf": "personaroute_bench.router.mf:Mf",
    "mf-embedllm": "personaroute_bench.router.mf:MfEmbedLlm",
    "mf-personal": "personaroute_bench.router.mf:MfPersonal",
    "elo": "personaroute_bench.router.elo:Elo",
    "elo-personal": "personaroute_bench.router.elo:EloPersonal",
    "hybrid-llm": "personaroute_bench.router.hybrid_llm:HybridLlm",
    "hybrid-llm-personal": "personaroute_bench.router.hybrid_llm:HybridLlmPersonal",
    "router-dc": "personaroute_bench.router.router_dc:RouterDC",
    "router-dc-personal": "personaroute_bench.router.router_dc:RouterDCPersonal",
}
NAMES = (*ROUTERS, *CONTROLS)
# Shown beside every router, whether asked for or not.
ALWAYS = ("best-single", "best-per-user", *CONTROLS)


@dataclass(frozen=True)
class Contestant:
    """A router to be evaluated."""

    name: str
    source: Any
    """A class to construct anew for every seed, an instance, None for a control, or what its
    module raised to end the program."""
    asked_for: bool
    """False for what is only shown beside."""

    def make(self, seed: int) -> Router:
        """Return the router of one repetition; only a constructor with `seed` is given it.

        Raises:
            UsageError: the constructor failed.
            BaseException: it, or the module, ended the program (`sys.exit`).
        """
        if isinstance(self.source, BaseException):
            raise self.source
        if not inspect.isclass(self.source):
            instance: Router = self.source
            return instance
        try:
            constructor = cast("Callable[..., Router]", self.source)
            made = constructor(seed=seed) if _takes_seed(self.source) else constructor()
        except Exception as error:
            raise UsageError(
                f"router {self.name!r} could not be constructed: {describe(error)}; it is called "
                "without arguments, or with seed= where its constructor takes one"
            ) from error
        return made


def resolve(routers: Sequence[str | type | Router], others: bool = False) -> list[Contestant]:
    """Return the contestants, and beside them the baselines and controls that are always shown.

    Args:
        routers: short names, ``module:Class``, classes or instances; none: all short names.
        others: whether there are contestants beside these (predictions), so that none means none.

    Raises:
        UsageError: a router that cannot be found, imported or used.
    """
    found: dict[str, Contestant] = {}
    for router in routers:
        if isinstance(router, str):
            if router not in found:
                found[router] = Contestant(router, load_or_exit(router), asked_for=True)
            continue
        kind = router if inspect.isclass(router) else type(router)
        name = unique(f"{kind.__module__}:{kind.__qualname__}", found)
        found[name] = Contestant(name, _checked(router, name), asked_for=True)
    for name in ALWAYS if routers or others else NAMES:
        if name not in found:
            found[name] = Contestant(name, load(name), asked_for=False)
    return list(found.values())


def construct(contestants: Iterable[Contestant]) -> dict[str, Router | BaseException]:
    """Return the routers of the first repetition by name, so that mistakes show early.

    One that ended the program (`sys.exit`) stands there with what it raised, for `take`.

    Raises:
        UsageError: a constructor failed.
    """
    made: dict[str, Router | BaseException] = {}
    for contestant in contestants:
        try:
            made[contestant.name] = contestant.make(0)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            made[contestant.name] = error
    return made


def take(made: dict[str, Router | BaseException], contestant: Contestant, seed: int) -> Router:
    """Return the router that was constructed already, and a new one from then on.

    Raises:
        BaseException: what ended its construction.
    """
    router = made.pop(contestant.name, None)
    if isinstance(router, BaseException):
        raise router
    return contestant.make(seed) if router is None else router


def unique(name: str, taken: Any) -> str:
    """Return the name, with ``-2``, ``-3`` … behind it where it is taken."""
    number, result = 1, name
    while result in taken:
        number += 1
        result = f"{name}-{number}"
    return result


def load(name: str) -> Any:
    """Import a router by short name or ``module:Class``; the current folder is importable.

    Returns:
        The class or instance; None for a control.

    Raises:
        UsageError: says what was looked for, where, and what to do.
    """
    if name in CONTROLS:
        return None
    known = ROUTERS | LEARNED
    if name not in known and ":" not in name:
        raise UsageError(
            f"unknown router {name!r}{did_you_mean(name, (*known, *CONTROLS))}; for a router of "
            "your own give its import path, MODULE:CLASS, for instance my_router:MyRouter"
        )
    module_name, _, attribute = known.get(name, name).partition(":")
    if module_name.endswith(".py") or "/" in module_name or not module_name or not attribute:
        raise UsageError(
            f"router {name!r} is not an import path; write MODULE:CLASS with dots and without "
            ".py, for instance my_router:MyRouter for the class MyRouter of ./my_router.py"
        )
    value: Any = _import(module_name, name)
    for part in attribute.split("."):
        if not hasattr(value, part):
            public = [n for n, kind in vars(value).items() if inspect.isclass(kind)]
            hint = did_you_mean(part, public) if public else ""
            raise UsageError(f"module {module_name!r} has no {attribute!r}{hint}")
        value = getattr(value, part)
    return _checked(value, name)


def load_or_exit(name: str) -> Any:
    """Return what `load` does; a module that ends the program does not, but is returned as that."""
    try:
        return load(name)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        return error


def describe(error: BaseException) -> str:
    """Return ``Type: message (file, line n)``, one line, the place being the router author's."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a __str__ that fails itself
        lines = []
    text = type(error).__name__
    if lines:
        text += f": {printable(lines[0][:240])}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame)]
    if frames:
        text += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return text


def _is_theirs(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    library = "site-packages" in path.parts or path.is_relative_to(sysconfig.get_path("stdlib"))
    return not library and path.is_file() and path.parent != Path(__file__).parent


def _import(module_name: str, name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UsageError(
                f"router {name!r}: there is no module {error.name!r}; looked in the current "
                f"folder {here} and in the installed packages; run bench in the folder that holds "
                f"{module_name.replace('.', '/')}.py"
            ) from error
        raise UsageError(
            f"router {name!r}: importing {module_name!r} failed, because it imports "
            f"{error.name!r}, which is not installed"
        ) from error
    except Exception as error:
        raise UsageError(
            f"router {name!r}: importing {module_name!r} failed: {describe(error)}"
        ) from error


def _checked(router: Any, name: str) -> Any:
    missing = [m for m in ("fit", "route") if not callable(getattr(router, m, None))]
    if missing:
        what = "class" if inspect.isclass(router) else type(router).__name__
        raise UsageError(
            f"router {name!r} is no router: the {what} has no method {missing[0]!r}; a router has "
            "fit(self, history) and route(self, requests), see docs/evaluation.md"
        )
    return router


def _takes_seed(kind: type) -> bool:
    try:
        return "seed" in inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return False
