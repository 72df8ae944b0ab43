"""Shut this process off from the machine, before it runs the code of a stranger. Linux only.

Steps, each of which is told in `Walls` and none of which is relied upon unseen: the network, the
process numbers and the shared memory of its own (namespaces); nothing readable but a list of paths
(Landlock, https://docs.kernel.org/userspace-api/landlock.html); another user, where it was root;
no capabilities. Nothing here imports more than the standard library: Landlock binds the thread that
asks for it and those that it starts, so it must be asked for while there is only one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
FILE_BYTES = 1 << 30
"""The largest file that a router may write."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on all common architectures
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15
_MAKE = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12  # folders, files, sockets, pipes, links
_REMOVE = 1 << 4 | 1 << 5
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
READ = _EXECUTE | _READ | _LIST
LIST = _LIST
DEVICE = _READ | _WRITE | _IOCTL
WORK = READ | _WRITE | _TRUNCATE | _MAKE | _REMOVE
# So many kinds of access to files each version of Landlock knows.
_KINDS = {1: 13, 2: 14, 3: 15, 4: 15}
_NEWUSER, _NEWPID, _NEWNET, _NEWIPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
_READ_SEARCH = 2  # the capability that lets another user read what Landlock allows


@dataclass
class Walls:
    """What could be had."""

    landlock: int = 0
    """Its version; 0 where files are not shut off."""
    network: str = "open"
    """none, no TCP, or open."""
    processes: bool = False
    """Whether its process numbers are its own, so that all it starts ends with it."""
    user: bool = False
    """Whether it runs as another user."""


def _call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library.

    Raises:
        OSError: it failed.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    long = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(function(*long))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def fork_apart(walls: Walls, told: Callable[[int], None]) -> None:
    """Go on in a child with namespaces of its own; the parent calls `told` with its number.

    The parent then only waits, and ends as the child ended. Where the system has no namespaces
    for us, this returns in the same process, after ``told(own number)``.
    """
    uid, gid = os.getuid(), os.getgid()
    try:
        _call("unshare", (0 if uid == 0 else _NEWUSER) | _NEWPID | _NEWNET | _NEWIPC)
    except (OSError, AttributeError):
        told(os.getpid())
        return
    if uid != 0:
        # Without a map this user has no name; its files are its own all the same.
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    walls.network, walls.processes = "none", True
    child = os.fork()
    if child:
        told(child)
        status = os.waitpid(child, 0)[1]
        ended = os.waitstatus_to_exitcode(status)
        os._exit(ended if ended >= 0 else 128 - ended)


def shut(walls: Walls, allowed: Iterable[tuple[str, int]], work: str) -> None:
    """Give up what a router has no need of, for good; `work` is the one folder to write to.

    Args:
        walls: is told what could be had.
        allowed: paths, and what may be done there and below.
        work: becomes the current folder, of the other user where there is one.
    """
    import resource

    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, FILE_BYTES)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    with contextlib.suppress(OSError):  # whoever eats all memory is the first to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    root = os.getuid() == 0
    if root:
        os.chown(work, NOBODY, NOBODY)
    os.chdir(work)
    ruleset = _ruleset(walls, [*allowed, (work, WORK)])
    try:
        if root:
            _become_nobody()
            walls.user = True
        _call("prctl", 38, 1, 0, 0, 0)  # no new privileges, which Landlock asks for
        if ruleset is not None:
            _call("syscall", _RESTRICT, ruleset, 0)
    except (OSError, AttributeError):
        walls.landlock = 0
    finally:
        if ruleset is not None:
            os.close(ruleset)
    if not root:
        with contextlib.suppress(OSError, AttributeError):
            _keep_capabilities(0)


def _ruleset(walls: Walls, allowed: Iterable[tuple[str, int]]) -> int | None:
    """Return a Landlock ruleset, not yet in force; None where the kernel has none."""
    if sys.platform != "linux":  # where these numbers call something else
        return None
    try:
        version = _call("syscall", _CREATE, None, 0, 1)
        handled = (1 << _KINDS.get(version, 16)) - 1
        attributes = struct.pack("QQQ", handled, 3, 3)  # files; TCP; foreign sockets and signals
        size = 8 if version < 4 else 16 if version < 6 else 24
        ruleset = _call("syscall", _CREATE, attributes, size, 0)
    except (OSError, AttributeError):
        return None
    for path, access in allowed:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # not there, so nothing to allow
            continue
        try:
            folder = stat.S_ISDIR(os.fstat(place).st_mode)
            possible = access & (handled if folder else handled & _OF_FILES)
            if possible:
                _call("syscall", _ADD, ruleset, 1, struct.pack("=Qi", possible, place), 0)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a kind of file without rules stays forbidden
                raise
        finally:
            os.close(place)
    walls.landlock = version
    if version >= 4 and walls.network == "open":
        walls.network = "no TCP"
    return ruleset


def _become_nobody() -> None:
    """Change the user for good; it keeps the right to read what Landlock leaves to read."""
    _call("prctl", 8, 1, 0, 0, 0)  # keep capabilities over the change of user
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _keep_capabilities(1 << _READ_SEARCH)
    with contextlib.suppress(OSError):  # for the programs that it starts
        _call("prctl", 47, 2, _READ_SEARCH, 0, 0)


def _keep_capabilities(kept: int) -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    _call("capset", header, struct.pack("=6I", kept, kept, kept, 0, 0, 0))


def readable(paths: Iterable[str]) -> str | None:
    """Return the first of the paths that can be opened all the same; None where all are shut."""
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                continue  # it is not there
        else:
            return path
    return None
