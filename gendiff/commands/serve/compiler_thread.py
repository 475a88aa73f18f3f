"""The thread of the compiler: it goes on compiling while the server already answers."""

import contextlib
import threading
from collections.abc import Iterator

from gendiff.runs.progress import Progress

COMPILED, UNCOMPILED = "compiled for", "more cannot be compiled"
"""How its lines begin."""
SOON = 0.5
"""Seconds for which nobody is told that the end waits."""


@contextlib.contextmanager
def compiling(sizes: Iterator[int], progress: Progress) -> Iterator[None]:
    """A thread takes the sizes, each of which is a compiled program, within `with`.

    Where one fails, the server goes on with those before it.
    """
    ended = threading.Event()

    def say(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever reads the lines may be gone
            progress.line(text)

    def take() -> None:
        try:
            for size in sizes:
                say(f"{COMPILED} {size} at a time")
                if ended.is_set():
                    return
        except Exception as error:
            say(f"note: {UNCOMPILED}, so fewer are drawn at a time: {type(error).__name__}: {error}")

    thread = threading.Thread(target=take, name="compiler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(SOON)
        if thread.is_alive():
            say("waits for the compiler, which cannot be interrupted")
            thread.join()
