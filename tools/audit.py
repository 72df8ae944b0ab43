"""`make audit`: are the locked and the installed packages ones that should be trusted?

Two parts. Checks of our own need no network: every line of requirements.lock has a version and
hashes and names no index, no hijacked release is locked or installed, and nothing unknown runs at
every start of Python. Then pip-audit asks for published advisories. Exit code 0: both done and
nothing found; 1: something found; 3: advisories could not be asked for, and that is said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
# Releases that were taken over, by distribution: pattern of the version, and where it is told.
HIJACKED = {
    "litellm": (
        ("1.82.7", "PYSEC-2026-2, CVE-2026-33634: payload at import"),
        ("1.82.8", "PYSEC-2026-2, CVE-2026-33634: litellm_init.pth, payload at every start"),
        ("1.107.*", "BerriAI/litellm#47826: cook.pth and sitecustomize.py in the wheels"),
    ),
}
# A .pth file can run code at every start of Python; these are known to.
KNOWN_PTH = (
    "__editable__.*.pth", "distutils-precedence.pth", "_virtualenv.pth", "a1_coverage.pth",
    "coverage.pth", "pytest-cov.pth",
)  # fmt: skip
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])")


def read_lock(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield name, version and number of hashes of each requirement.

    Raises:
        ValueError: a line that is no pinned requirement; names it.
    """
    whole = text.replace("\\\n", " ")
    for line in whole.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _PIN.match(line)
        if found is None:
            raise ValueError(f"{line[:80]!r} is no NAME==VERSION")
        yield normal(found["name"]), found["version"], len(_HASH.findall(line))


def problems_of_lock(text: str) -> list[str]:
    """Return in words what is wrong with a lock file."""
    found = []
    for line in text.splitlines():
        if re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host", line):
            found.append(f"the lock names a place: {line.strip()[:80]!r}; make it again: make lock")
    try:
        pins = list(read_lock(text))
    except ValueError as error:
        return [*found, f"the lock is damaged: {error}; make it again: make lock"]
    found += [f"{name} {version} has no hash" for name, version, hashes in pins if not hashes]
    return found + hijacked((name, version) for name, version, _ in pins)


def hijacked(releases: Iterable[tuple[str, str]]) -> list[str]:
    """Return in words the releases among these that were taken over."""
    return [
        f"{name} {version} is a hijacked release ({told}); remove it, and change every key that "
        "this machine holds"
        for name, version in releases
        for pattern, told in HIJACKED.get(normal(name), ())
        if fnmatchcase(version, pattern)
    ]


def problems_of_start(folder: Path) -> list[str]:
    """Return in words what would run unasked at every start of Python."""
    found = []
    for path in sorted(folder.glob("*.pth")):
        if any(fnmatchcase(path.name, known) for known in KNOWN_PTH):
            continue
        lines = path.read_text("utf-8", "replace").splitlines()
        if any(line.startswith(("import ", "import\t")) for line in lines):
            found.append(f"{path} runs code at every start of Python and is not known; look at it")
    for name in ("sitecustomize.py", "usercustomize.py"):
        if (folder / name).exists():
            found.append(f"{folder / name} runs at every start of Python; look at it")
    return found


def normal(name: str) -> str:
    """Return the canonical spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def advisories(lock: Path, service: str) -> tuple[list[str], str | None]:
    """Ask pip-audit; return what was found, and why not all could be asked for (None: all was)."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "-s", service,
               "--require-hashes", "-f", "json", "--progress-spinner", "off"]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    try:
        told: Mapping[str, list[dict[str, object]]] = json.loads(done.stdout)
        entries = told["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return [], f"pip-audit did not answer: {last[:200]}"
    found = []
    for entry in entries:
        holes = entry.get("vulns", [])
        for hole in holes if isinstance(holes, list) else []:
            fixed = ", ".join(hole.get("fix_versions") or []) or "no release yet"
            found.append(f"{entry['name']} {entry['version']}: {hole['id']}, mended in {fixed}")
    # What the service does not know is skipped, which is not the same as sound.
    skipped = [str(entry["name"]) for entry in entries if "skip_reason" in entry]
    if skipped:
        some = ", ".join(skipped[:3])
        return found, f"{len(skipped)} of {len(entries)} packages could not be looked up ({some} …)"
    return found, None


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--site", type=Path, default=Path(sysconfig.get_path("purelib")),
                        help="site-packages to look at")  # fmt: skip
    parser.add_argument("--offline", action="store_true", help="only what needs no network")
    options = parser.parse_args()
    found = problems_of_lock(options.lock.read_text("utf-8"))
    installed = importlib.metadata.distributions(path=[str(options.site)])
    found += hijacked((str(dist.metadata["Name"]), dist.version) for dist in installed)
    found += problems_of_start(options.site)
    print(f"our own checks: {len(found) or 'nothing'} found")
    gap = None
    if not options.offline:
        for service in ("pypi", "osv"):
            more, gap = advisories(options.lock, service)
            found += more
            if gap is None:
                print(f"advisories ({service}): {len(more) or 'none'} for the locked packages")
                break
            print(f"advisories ({service}): NOT CHECKED, {gap}")
    for problem in found:
        print(f"problem: {problem}")
    if gap is not None:
        print("Advisories were not checked: run make audit where the service can be reached.")
    return 1 if found else 3 if gap is not None else 0


if __name__ == "__main__":
    sys.exit(main())
