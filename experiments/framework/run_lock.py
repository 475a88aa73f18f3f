"""One process a run folder: a lock file that names its owner, and that a dead owner does not hold."""

import contextlib
import datetime
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.framework.run_folder import LOCK_NAME
from gendiff.core.errors import ConfigError

UNFINISHED = 10.0
"""Seconds after which a lock file without an owner is taken for the remains of a process that died while it wrote."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within: this process owns the folder. ConfigError, naming host and pid, where a live process owns it.

    The lock of a dead process of this host is taken over; that of another host cannot be judged from here and is respected.
    """
    path = folder / LOCK_NAME
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "born": _birth(os.getpid()),
        "start": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    _take(path, mine)
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink()


def _take(path: Path, mine: dict[str, Any]) -> None:
    with _alone(path.parent):
        if path.exists():
            _remove_if_dead(path)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError as error:
            raise ConfigError(f"{path}: another process took this run folder just now; choose another with --out") from error
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps(mine) + "\n")
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Takes turns with other processes of this host: two that find the same dead owner must not both remove the lock."""
    try:
        import fcntl
    except ImportError:  # no such call on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no such locks; O_EXCL alone decides there
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_if_dead(path: Path) -> None:
    owner = _read(path)
    if owner is None:
        if time.time() - path.stat().st_mtime < UNFINISHED:
            raise ConfigError(f"{path}: another process takes this run folder just now; choose another with --out")
    elif _alive(owner):
        raise ConfigError(
            f"{path.parent} is in use by process {owner.get('pid')} on host {owner.get('host')} since {owner.get('start')}: "
            f"wait for it, choose another folder with --out, or remove {path} if that process is gone"
        )
    path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _alive(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or pid < 1:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, under another user
        return True
    return owner.get("born") == _birth(pid)  # a number that was given to another process since


def _birth(pid: int) -> str | None:
    """When a process began, in the system's own count; None where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None
