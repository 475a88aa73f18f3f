"""What a person sees while a run goes on: a bar on a terminal, plain unbuffered lines elsewhere; and how long each
stage took.
"""

import collections
import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gendiff.core import files, foreign_files
from gendiff.runs.reporting import formatting

if TYPE_CHECKING:
    import rich.progress

LINE_EVERY = 10.0
"""Seconds between two plain lines of one task."""
WINDOW = 30.0
"""Seconds over which a rate is measured."""


class Rate:
    """Units per second over the last seconds, from the first update on, so that a compilation before it does not
    count.
    """

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, int]] = collections.deque()

    def update(self, now: float, done: int) -> float:
        """The rate up to now; 0 while it is unknown."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW:
            self._seen.popleft()
        begin, first = self._seen[0]
        return (done - first) / (now - begin) if now > begin else 0.0


class Task:
    """A piece of work of known length. show: (units done, text, units per second) -> None."""

    def __init__(self, show: Callable[[int, str, float], None]) -> None:
        self._show, self._rate = show, Rate()

    def update(self, done: int, text: str = "") -> None:
        """Says that `done` units of the total are done, with a short text such as the loss."""
        self._show(done, text, self._rate.update(time.monotonic(), done))


class Progress:
    """Lines, bars and stages of one command.

    stream: where to write (default: standard output). quiet: show nothing.
    timings: a .jsonl file to which each finished stage adds a line {"phase", "seconds", …}; None keeps times on the
        screen only.
    """

    def __init__(self, stream: TextIO | None = None, timings: Path | None = None, quiet: bool = False) -> None:
        self.timings = timings
        self.seconds: dict[str, float] = {}
        """Seconds of each outermost stage so far, by name."""
        self._stream = sys.stdout if stream is None else stream
        self._quiet = quiet
        self._live: rich.progress.Progress | None = None
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
    def phase(self, name: str, **about: object) -> Iterator[None]:
        """Times a stage ("sample", "judge", …), an interrupted one as well: shows its seconds, and adds them to
        `seconds`.

        The seconds of one that failed are kept and not shown: they would look as if it had done its work. A stage
        within a stage is shown, and belongs to the outer one. about: what the log says beside the name, such as seed=0.
        """
        begin, failed = time.monotonic(), False
        self._open.append(name)
        try:
            yield
        except Exception:
            failed = True
            raise
        finally:
            self._open.pop()
            spent = time.monotonic() - begin
            if self._open:
                about = about | {"within": self._open[-1]}
            else:
                self.seconds[name] = self.seconds.get(name, 0.0) + spent
            detail = "".join(f" {key} {value}" for key, value in about.items() if key != "within")
            if not failed:
                self.line(f"{name}{detail}: {spent:.1f} s")
            if self.timings is not None:
                with files.naming(self.timings), open(self.timings, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"phase": name, **about, "seconds": round(spent, 3)}) + "\n")

    @contextlib.contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar (on a terminal) or a line now and then (elsewhere) for `total` units, of which `done` are done
        already.
        """
        if self._quiet:
            yield Task(lambda *_: None)
        elif self._live is None and self._stream.isatty():
            with self._bar() as bar:
                row = bar.add_task(title, total=total, completed=done, text="")
                yield Task(
                    lambda now, text, rate: bar.update(
                        row, completed=now, text=text + (f" {rate:.1f}/s" if rate else "")
                    )
                )
        else:
            yield Task(self._lines(title, total))

    @contextlib.contextmanager
    def _bar(self) -> Iterator["rich.progress.Progress"]:
        from rich import console, progress

        columns = (
            "{task.description}",
            progress.BarColumn(),
            "{task.completed}/{task.total}",
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, "{task.fields[text]}", console=console.Console(file=self._stream)) as bar:
            self._live = bar
            try:
                yield bar
            finally:
                self._live = None

    def _lines(self, title: str, total: int) -> Callable[[int, str, float], None]:
        last_line = time.monotonic()

        def show(done: int, text: str, rate: float) -> None:
            nonlocal last_line
            if done < total and time.monotonic() - last_line < LINE_EVERY:
                return
            last_line = time.monotonic()
            left = f", {formatting.duration((total - done) / rate)} left" if rate and done < total else ""
            speed = f" ({rate:.1f}/s{left})" if rate else ""
            self.line(f"{title}: {done}/{total}" + (f" {text}" if text else "") + speed)

        return show


def stage_seconds(timings: Path, phase: str, note: Callable[[str], object] = str) -> float:
    """Seconds that a stage took over all processes of a run, as its timings file tells; 0 without one.

    note: as of `read_timings`.
    """
    lines = [line for line in read_timings(timings, note) if line.get("phase") == phase and "within" not in line]
    return float(sum(line["seconds"] for line in lines))


def read_timings(timings: Path, note: Callable[[str], object] = str) -> list[dict[str, Any]]:  # as JSON holds
    """The lines of a timings file; none without one. Each has its `seconds`.

    Times are no result: a broken line is left out, and `note` is told of it. The last one may be half written by a
    process that was killed.
    """
    result, lines = [], foreign_files.regular(timings).read_bytes().split(b"\n") if timings.exists() else []
    for number, text in enumerate(lines, 1):
        try:
            line = foreign_files.decoded(text) if text else {"seconds": 0.0}
            if not 0 <= line["seconds"] < math.inf:
                raise ValueError("no length of time")
            result.append(line)
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                note(f"note: {timings}: line {number} is broken, so the time that it told of is left out")
    return result
