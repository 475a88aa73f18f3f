"""Failed saves: the system's error, the disk space needed and free, and the removal of what was written.

And Orbax's words.
"""

import errno
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_LOGGERS = ("absl", "asyncio")


class Quiet:
    """Keeps Orbax's log messages off the terminal.

    They name settings that Orbax derives from others, and take up to six lines per array of a failed save. The error
    itself is raised. During a save, and after one that failed, Python's messages about freed objects are kept off too.
    """

    def __init__(self) -> None:
        self._before: Callable[[UnraisableHookArgs], object] | None = None
        self._active = self.failed = False
        for name in _LOGGERS:  # for good: another folder may be open when this one is closed
            logging.getLogger(name).addFilter(_is_not_of_orbax)

    def begin(self) -> None:
        """Drop TensorStore's abandoned results from here on."""
        self._active = True
        if self._before is None:
            self._before = sys.unraisablehook
            sys.unraisablehook = self._hook

    def end(self) -> None:
        """Messages appear again, unless a save failed. A hook that another one calls stays, and passes all on."""
        self._active = self.failed
        while isinstance(top := getattr(sys.unraisablehook, "__self__", None), Quiet) and not top._active:
            sys.unraisablehook, top._before = top._before or sys.__unraisablehook__, None

    def _hook(self, message: "UnraisableHookArgs") -> None:
        closed = isinstance(message.exc_value, RuntimeError) and str(message.exc_value) == "Event loop is closed"
        if not (closed and self._active):
            (self._before or sys.__unraisablehook__)(message)


def error(cause: Exception, path: Path, step: int | None, needed: int, unfinished: Callable[[], list[Path]]) -> OSError:
    """Remove the files of a failed save, and return the error to raise.

    Args:
        cause: what Orbax raised.
        path: the folder of all steps.
        step: that could not be saved.
        needed: bytes of its arrays.
        unfinished: lists the temporary folders of the step.
    """
    written = sum(file.stat().st_size for folder in unfinished() for file in folder.rglob("*") if file.is_file())
    until = time.monotonic() + 2
    while unfinished() and time.monotonic() < until:  # a thread of Orbax may still be writing into it
        for folder in unfinished():
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)
    number = _errno(cause)
    text = (
        f"{path}: step {step} could not be saved: {os.strerror(number)}. It needs about {needed} bytes; {written} "
        "were written"
    )
    return OSError(number, f"{text}, {_room(path)}")


def _errno(cause: Exception) -> int:
    """The number of the system's error, which TensorStore wraps in a text; EIO where there is none."""
    if isinstance(cause, OSError) and cause.errno:
        return cause.errno
    match = re.search(r"os_error_code='(\d+)'", str(cause))
    return int(match[1]) if match else errno.EIO


def _room(path: Path) -> str:
    """Free disk space at the path."""
    existing = next(folder for folder in (path, *path.parents) if folder.is_dir())
    text = f"{shutil.disk_usage(existing).free} are free"
    if os.name == "posix":
        files = os.statvfs(existing)
        text += " but no file can be made (no inodes are left)" if files.f_files and not files.f_favail else ""
    return text


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Whether a log record is not of Orbax, by its file, text and exception."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    return "orbax" not in f"{record.pathname} {record.getMessage()} {trace}"
