"""Which process owns a run folder: on one machine the kernel knows, and between machines a sign of life decides.

The kernel's lock (flock) ends with its process, whatever namespace that lives in. Across machines it is not to be
relied on: some network file systems keep it to one machine, others keep that of a machine that died. So the owner's
file is touched every `RENEWED` seconds. A process on another machine watches it, for `STALE` seconds at most: a touch
means that the owner lives, none that the folder is free.
"""

import contextlib
import dataclasses
import datetime
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from gendiff.core.errors import ConfigError, DataError
from gendiff.runs import errors
from gendiff.runs.reporting import json_files

LOCK, OWNER, TAKEOVER = ".run.lock", ".run.owner", ".run.takeover"
RENEWED, STALE = 20.0, 120.0
"""Seconds. Attributes of files may be cached for 60 s on NFS."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """.run.owner. machine: the same for all processes under one running kernel, in containers too."""

    host: str
    pid: int
    start: str
    machine: str


@contextlib.contextmanager
def held(
    folder: Path, line: Callable[[str], object] = str, *, renewed: float = RENEWED, stale: float = STALE
) -> Iterator[None]:
    """Within: this process owns the folder; one that dies loses it. line: is told where this has to wait.

    Raises ConfigError, naming host and process, where another one owns it. A process whose folder was taken over, as it
    gave no sign of life for `stale` seconds, ends at once.
    """
    mine = Owner(
        socket.gethostname(), os.getpid(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), machine()
    )
    lock = _acquired(folder, mine, line, stale)
    stop = threading.Event()
    beat = threading.Thread(target=_renew, args=(folder / OWNER, mine, stop, renewed), daemon=True)
    try:
        beat.start()
        yield
    finally:
        stop.set()
        beat.join()
        if _owner(folder) == mine:
            (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def running(folder: Path) -> Owner | None:
    """The process that owns the folder now; of one on another machine this is known from a sign of life in the last
    `STALE` seconds.
    """
    owner = _owner(folder)
    if owner is None:
        return None
    if owner.machine != machine():
        with contextlib.suppress(FileNotFoundError):
            return owner if time.time() - (folder / OWNER).stat().st_mtime < STALE else None
        return None
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            return None
    except filelock.Timeout:
        return owner


def machine() -> str:
    """What tells the running kernel from all others, or the host's name where there is nothing better."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return socket.gethostname()


def _acquired(folder: Path, mine: Owner, line: Callable[[str], object], stale: float) -> filelock.BaseFileLock:
    """The lock, once the owner's file bears this process's name."""
    lock: filelock.BaseFileLock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        pass
    owner = _owner(folder)
    if not lock.is_locked and (owner is None or owner.machine == mine.machine):
        raise _in_use(folder, owner)
    doubtful = owner is not None and (owner.machine != mine.machine or not _kernel_locks(folder / LOCK))
    try:
        if doubtful:
            line(f"{folder} was left {_by(owner)}: waiting {stale:g} s for a sign of life")
            if _gives_sign_of_life(folder / OWNER, stale):
                raise _in_use(folder, _owner(folder))
            if not lock.is_locked:
                lock = _taken_over(folder, stale)
        json_files.write(folder / OWNER, mine)
        if doubtful:  # others may have waited as well: the last to sign is the owner
            time.sleep(stale / 60)
            if (owner := _owner(folder)) != mine:
                raise _in_use(folder, owner)
    except BaseException:
        lock.release()
        raise
    return lock


def _owner(folder: Path) -> Owner | None:
    """None where there is none, or one that has not written its name yet."""
    with contextlib.suppress(DataError):
        return json_files.read(folder / OWNER, Owner)
    return None


def _by(owner: Owner | None) -> str:
    return "" if owner is None else f"by process {owner.pid} on host {owner.host} since {owner.start}"


def _in_use(folder: Path, owner: Owner | None) -> ConfigError:
    return ConfigError(
        f"{folder} is in use {_by(owner)}".rstrip() + ": wait for it, or choose another folder with --out"
    )


def _kernel_locks(path: Path) -> bool:
    """Whether a lock on this file system, which this process holds, would be noticed by others on this machine."""
    try:
        import fcntl
    except ImportError:  # Windows has locks of its own
        return True
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _gives_sign_of_life(path: Path, stale: float) -> bool:
    """Whether the file is touched or replaced within so many seconds; one that goes away is no sign."""

    def state() -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # opening asks a file server anew
            about = os.fstat(file.fileno())
            return about.st_mtime_ns, about.st_ino
        return None

    first, end = state(), time.monotonic() + stale
    while first is not None and time.monotonic() < end:
        time.sleep(min(1.0, stale / 20))
        if (now := state()) != first:
            return now is not None
    return False


def _taken_over(folder: Path, stale: float) -> filelock.BaseFileLock:
    """A new lock in place of one that a dead machine has left with the file server."""
    guard = folder / TAKEOVER
    with contextlib.suppress(FileNotFoundError):
        if time.time() - guard.stat().st_mtime > stale:  # of one that died here
            guard.unlink()
    try:
        os.close(os.open(guard, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise _in_use(folder, _owner(folder)) from None
    try:
        (folder / LOCK).unlink(missing_ok=True)
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise _in_use(folder, _owner(folder)) from None
    finally:
        guard.unlink(missing_ok=True)
    return lock


def _renew(path: Path, mine: Owner, stop: threading.Event, renewed: float) -> None:
    while not stop.wait(renewed):
        owner = _owner(path.parent)
        if owner is not None and owner != mine:
            os.write(2, f"error: {path.parent} was taken over {_by(owner)}\n".encode())
            os._exit(errors.USAGE)
        with contextlib.suppress(OSError):
            os.utime(path)
