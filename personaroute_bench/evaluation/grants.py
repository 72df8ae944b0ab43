"""Which files a router that runs apart may read: Python, its own code, and nothing of the data."""

from __future__ import annotations

import itertools
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from personaroute_bench.evaluation.sandbox import DEVICE, LIST, READ

# Of the system: shared libraries, names of users and zones, what tells about the processors.
_SYSTEM = (
    "/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
    "/etc/alternatives", "/dev/random", "/dev/urandom", "/dev/zero", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/proc/driver/nvidia", "/sys/devices/system", "/sys/bus/pci",
    "/nix/store", "/gnu/store",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/full", "/dev/dri", "/dev/kfd")
_CODE = (".py", ".so")
# At most so many files are tried after all is shut.
_TRIED = 200
# More entries than a folder of code has.
_ENTRIES = 10_000


def grants(
    module: str, here: Path, hidden: Sequence[Path], reads: Sequence[Path] = ()
) -> list[tuple[str, int]]:
    """Return paths, and what a router may do there and below.

    Code is: the folder `here` and those that are importable beyond Python's own. Of them a router
    may read the ``.py`` and ``.so`` files, the folders that hold some, and the one of its own
    module; no name that begins with a dot, no data set, no results.

    Args:
        module: of the router, with dots.
        here: the folder of the user's code.
        hidden: files and folders that must stay shut, whatever folder they lie in.
        reads: further files and folders of the user's choice, such as weights.
    """
    shut = [Path(os.path.realpath(path)) for path in hidden]
    allowed = [(path, READ) for path in _SYSTEM]
    allowed += [(path, DEVICE) for path in (*_DEVICES, *_cards())]
    found: list[tuple[str, int]] = []
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    for path in (*_python(), *_ours(), *map(Path, filter(None, libraries)), *reads):
        found += _whole(path, shut)
    for folder in (here, *map(Path, filter(None, sys.path))):
        if folder.is_dir():
            found += _code(folder, module.partition(".")[0], shut)
    # The system's folders are given whole unless something hidden lies in them.
    for name, access in allowed:
        if any(path.is_relative_to(os.path.realpath(name)) for path in shut):
            found += _whole(Path(name), shut)
        else:
            found.append((name, access))
    return list(dict.fromkeys(found))


def hidden_parts(path: Path) -> list[Path]:
    """Return what of a hidden path must be shut: all of it, but not the Python that lies in it."""
    real = Path(os.path.realpath(path))
    roots = [Path(os.path.realpath(root)) for root in (*_python(), *_ours())]
    if not any(root.is_relative_to(real) for root in roots):
        return [real]
    return [
        child
        for child in _children(real)
        if not any(root.is_relative_to(os.path.realpath(child)) for root in roots)
    ]


def tried(hidden: Iterable[Path]) -> list[str]:
    """Return files that must not be readable, to try; of each hidden folder the first ones.

    Code is none of them: a router may stand in the folder of a data set.
    """
    files: list[str] = []
    for path in hidden:
        if path.is_file():
            files.append(str(path.resolve()))
            continue
        for folder, _, names in os.walk(path):
            data = (name for name in sorted(names) if not name.endswith(_CODE))
            files += [os.path.realpath(Path(folder, name)) for name in data]
            if len(files) > _TRIED:
                break
    return files[:_TRIED]


def _cards() -> list[str]:
    return [str(path) for path in Path("/dev").glob("nvidia*")]


def _python() -> list[Path]:
    """Where Python and its packages are installed."""
    roots = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib")}
    roots |= {Path(sysconfig.get_path("platlib")), Path(sys.prefix)}
    roots |= {Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    if sys.base_prefix != "/usr":
        roots.add(Path(sys.base_prefix))
    roots.add(Path(os.path.realpath(sys.executable)).parent)
    return sorted(roots)


def _ours() -> list[Path]:
    """This package; in a checkout its routers stand beside it."""
    import personaroute_bench

    package = Path(personaroute_bench.__file__).parent
    beside = package.parent
    if (beside / "pyproject.toml").is_file():
        return [package, beside / "router", beside / "personas", beside / "prompts"]
    return [package]


def _whole(path: Path, shut: Sequence[Path]) -> Iterator[tuple[str, int]]:
    """Yield a folder whole, or, where something hidden lies in it, all but that."""
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(one) for one in shut) or not real.exists():
        return
    if not any(one.is_relative_to(real) for one in shut):
        yield str(real), READ
        return
    yield str(real), LIST
    for child in _children(real):
        yield from _whole(child, shut)


def _code(folder: Path, module: str, shut: Sequence[Path]) -> Iterator[tuple[str, int]]:
    """Yield what is code in a folder; the folder itself can be listed, as imports need."""
    real = Path(os.path.realpath(folder))
    yield str(real), LIST
    for child in _children(real):
        if child.name.startswith("."):
            continue
        if child.suffix in _CODE:
            if child.is_file():
                yield os.path.realpath(child), READ
        elif child.is_dir() and (child.name == module or _holds_code(child)):
            yield from _whole(child, shut)


def _holds_code(folder: Path) -> bool:
    return any(child.suffix == ".py" for child in _children(folder))


def _children(folder: Path) -> list[Path]:
    """Return what is in a folder, of a very large one the first entries; [] where that is shut."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in itertools.islice(entries, _ENTRIES)]
    except OSError:
        return []
