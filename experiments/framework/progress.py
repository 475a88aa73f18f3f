"""What a person sees while a run goes on: a bar on a terminal, plain unbuffered lines elsewhere; and how long each stage took."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

LINE_EVERY = 10.0
"""Seconds between two plain lines of one task."""


class Task(Protocol):
    """A piece of work of known length."""

    def update(self, done: int, text: str = "") -> None:
        """Says that `done` units of the total are done, with a short text such as the loss."""


class Progress:
    """Lines, bars and stages of one command.

    stream: where to write (default: standard output). quiet: show nothing.
    timings: a .jsonl file to which each finished stage adds a line {"phase", "seconds", …}; None keeps times on the screen only.
    """

    def __init__(self, stream: TextIO | None = None, timings: Path | None = None, quiet: bool = False) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._timings = timings
        self._quiet = quiet
        self._live: Any = None
        self.seconds: dict[str, float] = {}
        """Seconds of each outermost stage so far, by name."""
        self._open: list[str] = []

    def line(self, text: str) -> None:
        """Shows one line at once."""
        if self._quiet:
            return
        if self._live is None:
            print(text, file=self._stream, flush=True)
        else:
            self._live.console.print(text, markup=False, highlight=False)

    @contextlib.contextmanager
    def phase(self, name: str, **about: Any) -> Iterator[None]:
        """Times a stage ("sample", "judge", …), an interrupted one as well: shows its seconds, and adds them to `seconds`.

        A stage within a stage is shown, and belongs to the outer one. about: what the log says beside the name, such as seed=0.
        """
        begin = time.monotonic()
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
            spent = time.monotonic() - begin
            if self._open:
                about = about | {"within": self._open[-1]}
            else:
                self.seconds[name] = self.seconds.get(name, 0.0) + spent
            detail = "".join(f" {key} {value}" for key, value in about.items() if key != "within")
            self.line(f"{name}{detail}: {spent:.1f} s")
            if self._timings is not None:
                with open(self._timings, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"phase": name, **about, "seconds": round(spent, 3)}) + "\n")

    @contextlib.contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar (on a terminal) or a line now and then (elsewhere) for `total` units, of which `done` are done already."""
        if self._quiet:
            yield _Silent()
        elif self._live is None and self._stream.isatty():
            with self._bar() as bar:
                yield _Bar(bar, bar.add_task(title, total=total, completed=done, text=""))
        else:
            yield _Lines(self, title, total, done)

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Any]:
        from rich import console, progress

        columns = (
            "{task.description}",
            progress.BarColumn(),
            "{task.completed}/{task.total}",
            progress.TimeRemainingColumn(),
            "{task.fields[text]}",
        )
        with progress.Progress(*columns, console=console.Console(file=self._stream)) as bar:
            self._live = bar
            try:
                yield bar
            finally:
                self._live = None


def stage_seconds(timings: Path, phase: str) -> float:
    """Seconds that a stage took over all processes of a run, as its timings file tells; 0 without one."""
    if not timings.exists():
        return 0.0
    spent = 0.0
    for text in timings.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a process that was killed may have left half a line
            line = json.loads(text)
            spent += float(line["seconds"]) if line["phase"] == phase and "within" not in line else 0.0
    return spent


class _Silent:
    def update(self, done: int, text: str = "") -> None:
        pass


class _Bar:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def update(self, done: int, text: str = "") -> None:
        self._bar.update(self._task, completed=done, text=text)


class _Lines:
    def __init__(self, progress: Progress, title: str, total: int, done: int) -> None:
        self._progress, self._title, self._total = progress, title, total
        self._begin = self._shown = time.monotonic()
        self._first = done

    def update(self, done: int, text: str = "") -> None:
        now = time.monotonic()
        if done < self._total and now - self._shown < LINE_EVERY:
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._begin, 1e-9)
        self._progress.line(f"{self._title}: {done}/{self._total}" + (f" {text}" if text else "") + f" ({rate:.1f}/s)")
