"""One process per run folder: a lock that the system takes from a process that dies, and the name of its owner beside it."""

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from gendiff.core.errors import ConfigError

LOCK, OWNER = ".run.lock", ".run.owner"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within: this process owns the folder. ConfigError, naming host and pid, where another one does."""
    lock, owner = filelock.FileLock(folder / LOCK, timeout=0), folder / OWNER
    try:
        hold = lock.acquire()
    except filelock.Timeout as error:
        raise ConfigError(f"{folder} is in use{_by(owner)}: wait for it, or choose another folder with --out") from error
    with hold:
        start = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "start": start}), encoding="utf-8")
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)


def _by(owner: Path) -> str:
    try:
        stored = json.loads(owner.read_text(encoding="utf-8"))
        return f" by process {stored['pid']} on host {stored['host']} since {stored['start']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has not written its name yet
        return ""
