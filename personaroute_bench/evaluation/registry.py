"""From what a user names to a router: short names, import paths, classes, instances."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from personaroute_bench.errors import BenchError, UsageError, did_you_mean
from personaroute_bench.evaluation.controls import CONTROLS
from personaroute_bench.evaluation.protocol import Router
from personaroute_bench.evaluation.texts import encodable, printable

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
    "graph-router": "personaroute_bench.router.graph_router:GraphRouter",
    "gmt-router": "personaroute_bench.router.gmt_router:GmtRouter",
    "copl": "personaroute_bench.router.copl:Copl",
    "prompt-llm": "personaroute_bench.router.prompt_llm:PromptLLM",
    "frugal-gpt": "personaroute_bench.router.frugal_gpt:FrugalGpt",
    "frugal-gpt-personal": "personaroute_bench.router.frugal_gpt:FrugalGptPersonal",
    "lin-ucb": "personaroute_bench.router.lin_ucb:LinUcb",
    "lin-ucb-personal": "personaroute_bench.router.lin_ucb:LinUcbPersonal",
    "c2mab-v": "personaroute_bench.router.c2mab_v:C2mabV",
    "c2mab-v-personal": "personaroute_bench.router.c2mab_v:C2mabVPersonal",
}
NAMES = (*ROUTERS, *CONTROLS)
# Shown beside every router, whether asked for or not.
ALWAYS = ("best-single", "best-per-user", *CONTROLS)


class RouterFailed(Exception):
    """A router in a process of its own failed.

    Args:
        status: its row's, for instance ``timeout: not done within 60 s``.
        trace: for its author; None where there is nothing to tell.
        ended: whether its process is gone; else the router raised and could be asked again.
    """

    def __init__(self, status: str, trace: str | None, ended: bool = False) -> None:
        super().__init__(status)
        self.status, self.trace, self.ended = status, trace, ended


@dataclass(frozen=True)
class Apart:
    """The source of a router that lives in a process of its own; see `isolation`."""

    open: Callable[[int, Mapping[str, Any]], Router]
    """Given the seed and further keywords of the constructor."""


@dataclass(frozen=True)
class Contestant:
    """A router to be evaluated."""

    name: str
    source: Any
    """A class to construct anew for every seed, an instance, None for a control, an `Apart`, or
    what its module raised to end the program."""
    asked_for: bool
    """False for what is only shown beside."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further keywords of the constructor."""

    @property
    def bundled(self) -> bool:
        """Whether it is one of ours."""
        return self.name in ROUTERS or self.name in LEARNED

    def make(self, seed: int) -> Router:
        """Return the router of one repetition; only a constructor with `seed` is given it.

        Raises:
            UsageError: the constructor failed.
            RouterFailed: in a process of its own it did so in another way.
            BaseException: it, or the module, ended the program (`sys.exit`).
        """
        if isinstance(self.source, BaseException):
            raise self.source
        if isinstance(self.source, Apart):
            return self.source.open(seed, self.settings)
        if not inspect.isclass(self.source):
            instance: Router = self.source
            return instance
        try:
            constructor = cast("Callable[..., Router]", self.source)
            seeded = {"seed": seed} if _takes_seed(self.source) else {}
            made = constructor(**seeded, **self.settings)
        except BenchError:
            raise  # says what to do itself
        except Exception as error:
            raise UsageError(
                f"router {self.name!r} could not be constructed: {describe(error)}; it is called "
                "without arguments, or with seed= where its constructor takes one"
            ) from error
        return made


def resolve(
    routers: Sequence[str | type | Router],
    others: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    apart: Callable[[str], Apart | None] = lambda name: None,
) -> list[Contestant]:
    """Return the contestants, and beside them the baselines and controls that are always shown.

    Args:
        routers: short names, ``module:Class``, classes or instances; none: all short names.
        others: whether there are contestants beside these (predictions), so that none means none.
        settings: by name of a router that is asked for, keywords of its constructor.
        apart: returns the source of an import path that is not to be imported here.

    Raises:
        UsageError: a router that cannot be found, imported or used; settings of none.
    """
    given = dict(settings or {})
    named = [router for router in routers if isinstance(router, str)]
    for name in given:
        if name not in named:
            raise UsageError(f"there are settings for {name!r}, which is not among the routers")
    found: dict[str, Contestant] = {}
    for router in routers:
        if isinstance(router, str):
            if router not in found:
                foreign = apart(router) if ":" in router else None
                source = foreign or load_or_exit(router)
                found[router] = Contestant(router, source, True, given.get(router, {}))
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

    One that ended the program (`sys.exit`), or failed in a process of its own, stands there with
    what it raised, for `take`.

    Raises:
        UsageError: a constructor failed.
    """
    made: dict[str, Router | BaseException] = {}
    for contestant in contestants:
        try:
            made[contestant.name] = contestant.make(0)
        except RouterFailed as failure:
            made[contestant.name] = failure
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


def load(name: str, here: Path | None = None) -> Any:
    """Import a router by short name or ``module:Class``.

    Args:
        name: of the router.
        here: the folder that is importable; None: the current one.

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
    value: Any = _import(module_name, name, here)
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


def told(error: BaseException) -> tuple[str, str]:
    """Return the status and the trace of a router that failed with this."""
    if isinstance(error, RouterFailed):
        return error.status, error.trace or error.status
    trace = encodable("".join(traceback.format_exception(error)))
    return f"error: {describe(error)}", trace


def _is_theirs(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    library = "site-packages" in path.parts or path.is_relative_to(sysconfig.get_path("stdlib"))
    return not library and path.is_file() and path.parent != Path(__file__).parent


def _import(module_name: str, name: str, folder: Path | None) -> Any:
    here = str(folder or Path.cwd())
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
    # A cascade has `step` in the place of `route`, see docs/protocols.md.
    asked = "step" if callable(getattr(router, "step", None)) else "route"
    missing = [m for m in ("fit", asked) if not callable(getattr(router, m, None))]
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
