"""One try of a parser: it reads what it is handed, or refuses it by a typed error, soon, shortly, and leaves no file
open.
"""

import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECONDS = 10.0
"""Of a processor, for one try. A valid small file takes a hundredth of that; a changed header can ask for the largest
clip that is read, 2²⁶ pixels."""
MEMORY = 2**32
"""Bytes that a try may add to those of the process."""
LINES, CHARACTERS = 12, 200
"""Of a message: so many lines of so many characters, all in all."""


class Fault(AssertionError):
    """What a parser did that it may not do."""


def read(parser: Callable[[Path], object], folder: Path, errors: tuple[type[Exception], ...], with_path: bool) -> bool:
    """Return whether the parser took what the folder holds; False where it refused it.

    Args:
        parser: reads the folder.
        folder: of its files.
        errors: by which it may refuse them.
        with_path: whether an error must name the folder.

    Raises:
        Fault: for anything else.
    """
    before, began, refusal = _open_files(), time.process_time(), None
    try:
        with _limited():
            parser(folder)
    except errors as error:
        refusal = str(error)
    except Exception as error:
        raise Fault(f"{type(error).__name__} is no typed error: {error!s:.400}") from error
    if (spent := time.process_time() - began) > SECONDS:
        raise Fault(f"takes {spent:.1f} s")
    if refusal is not None:
        _check_message(refusal, folder if with_path else None)
    if _open_files() > before:
        gc.collect()  # what an error holds is closed with it
        if (left := _open_files()) > before:
            raise Fault(f"leaves open: {left - before}")
    return refusal is None


def _check_message(message: str, folder: Path | None) -> None:
    lines = message.splitlines()
    if not message or len(lines) > LINES or len(message) > LINES * CHARACTERS:
        raise Fault(f"a message of {len(lines)} lines and {len(message)} characters: {message:.400}")
    if folder is not None and os.fspath(folder) not in message:
        raise Fault(f"names no path: {message:.400}")
    if not all(line.isprintable() or "\t" in line for line in lines):
        raise Fault(f"a terminal would obey {message!r:.400}")


def _open_files() -> set[str]:
    """Those of this process. The pipes of the child that patterns are tried in stay."""
    names = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder itself, which is closed by now
            names.add(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in names if name.startswith("/")}


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """What takes too long or too much memory is an error, and no machine that hangs."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"takes more than {2 * SECONDS:g} s")

    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    memory, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGVTALRM, stop)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, memory[1]))
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, memory)
