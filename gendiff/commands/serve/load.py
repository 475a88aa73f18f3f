"""The command `serve-load`: pictures per second of the server under load, drawn together and one at a time, side by
side.

gendiff serve-load --model emoji
"""

import contextlib
import dataclasses
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from gendiff.commands.serve import compiler_thread
from gendiff.commands.serve.image_requests import ROUTE
from gendiff.core.errors import ConfigError, GendiffError
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Tool

REQUESTS = Path(__file__).with_name("load_requests.lua")
LONGEST = 120
"""Seconds that wrk waits for an answer."""
PICTURES = 10
SHORT = {"prompt": "a red circle", "steps": 8}
LONG = {"prompt": "a green square", "steps": 100, "n": PICTURES, "stream": True, "partial_images": 20}
"""Requests of which the short one overtakes the long one."""


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """Pictures per second under load: the server, and the same one picture at a time, in turn. It needs wrk."""

    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|DIR")] = None
    """As for `serve`."""
    together: int = 8
    """Most pictures of a step of the server that is compared with one of a single picture."""
    clients: int = 16
    """Requests that are always on their way."""
    seconds: int = 30
    """Of each measurement."""
    rounds: int = 3
    """Measurements of each server."""


@dataclasses.dataclass(frozen=True)
class Load:
    """One measurement. refused: answers that are no pictures. broken: requests without an answer. steps, turns: of the
    program in it.

    seconds: from first to last. median, p99: seconds from a request to its answer.
    """

    answers: int
    refused: int
    broken: int
    seconds: float
    median: float
    p99: float
    steps: float = 0.0
    turns: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return (self.answers - self.refused) / self.seconds


@dataclasses.dataclass(frozen=True)
class LoadFigures:
    """What was measured.

    loads: those of both servers, by their most pictures of a step, in turn. alone, behind: seconds of the request
    `SHORT` to an idle server, and while it draws `LONG`, in turn.
    """

    loads: Mapping[int, Sequence[Load]]
    alone: Sequence[float]
    behind: Sequence[float]

    @property
    def overtaking(self) -> float:
        """Of the short request, the median of its seconds behind the long one over those alone."""
        return statistics.median(late / soon for late, soon in zip(self.behind, self.alone, strict=True))


def call(options: LoadOptions, catalogue: object, progress: Progress) -> None:
    """Raises ConfigError for numbers that cannot be, and where wrk is missing or a server does not start."""
    for name, most in (("together", 256), ("clients", 1000), ("seconds", 3600), ("rounds", 100)):
        if not 1 <= getattr(options, name) <= most:
            raise ConfigError(f"--{name} {getattr(options, name)} is outside 1 … {most}")
    if absent():
        raise ConfigError(absent())
    for line in table(measured(options, progress)):
        print(line)


COMMAND = Tool(LoadOptions, call, "How many pictures per second does the server draw, together and one at a time?")


def absent() -> str:
    """What to install before anything can be measured; empty where it is there."""
    if shutil.which("wrk") is not None:
        return ""
    return "serve-load needs wrk, which Debian and Ubuntu have as a package: apt-get install wrk"


def measured(options: LoadOptions, progress: Progress) -> LoadFigures:
    """The measurements of both servers. Raises ConfigError where a server does not start."""
    sizes = sorted({options.together, 1}, reverse=True)
    with contextlib.ExitStack() as servers:
        addresses = {}
        for size in sizes:
            with progress.phase(f"start a server that draws {size} at a time"):
                addresses[size] = servers.enter_context(_server(options, size))
        results: dict[int, list[Load]] = {size: [] for size in sizes}
        for number in range(options.rounds):
            for size in sizes if number % 2 == 0 else sizes[::-1]:
                results[size].append(_measured(options, addresses[size]))
                progress.line(f"{size} at a time: {results[size][-1].rate:.2f} pictures per second")
        with progress.phase("a short request behind a long one"):
            pairs = [_overtaking(addresses[sizes[0]]) for _ in range(options.rounds)]
    return LoadFigures(results, *zip(*pairs, strict=True))


def _overtaking(address: str) -> tuple[float, float]:
    """Seconds of the short request alone, and behind the long one, whose client leaves afterwards."""
    alone = _answered(address, SHORT)
    with _opened(address, LONG) as long:
        long.readline()  # the first picture on its way
        return alone, _answered(address, SHORT)


def _answered(address: str, request: Mapping[str, object]) -> float:
    begin = time.perf_counter()
    with _opened(address, request) as answer:
        answer.read()
    return time.perf_counter() - begin


def _opened(address: str, request: Mapping[str, object]) -> Any:
    headers = {"Content-Type": "application/json"}
    posted = urllib.request.Request(address + ROUTE, json.dumps(request).encode(), headers)
    return urllib.request.urlopen(posted, timeout=LONGEST)


def read(report: str) -> Load:
    """The last line of what wrk prints."""
    lines = report.strip().splitlines()
    try:
        return Load(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError) as error:
        raise GendiffError(f"wrk has reported nothing that can be read: {report[-200:]!r}") from error


def totals(metrics: str) -> Mapping[str, float]:
    """Numbers of `/metrics` by their names, without those that have labels."""
    rows = (line.split() for line in metrics.splitlines() if line.startswith("gendiff_") and "{" not in line)
    return {name: float(value) for name, value in rows}


COLUMNS = (
    "at a time",
    "pictures per second",
    "least … most",
    "steps per turn",
    "median wait",
    "99 % wait",
    "refused",
    "without answer",
)


def rows(results: Mapping[int, Sequence[Load]]) -> Iterator[tuple[str, ...]]:
    """Of the measurements of each server, the cells of COLUMNS: medians over the rounds; least and most
    pictures per second.
    """
    for size, loads in results.items():
        rates, turns = (
            [load.rate for load in loads],
            sum(load.steps for load in loads) / max(1.0, sum(load.turns for load in loads)),
        )
        waits = (f"{statistics.median(getattr(load, name) for load in loads):.2f} s" for name in ("median", "p99"))
        lost = (str(sum(getattr(load, name) for load in loads)) for name in ("refused", "broken"))
        spread = f"{min(rates):.2f} … {max(rates):.2f}"
        yield f"{size}", f"{statistics.median(rates):.2f}", spread, f"{turns:.2f}", *waits, *lost


def table(load_figures: LoadFigures) -> Iterator[str]:
    """`rows` as Markdown, the ratio of the pictures per second, and what a short request waits."""
    results = load_figures.loads
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{'---|' * len(COLUMNS)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows(results))
    rates = {size: [load.rate for load in loads] for size, loads in results.items()}
    if len(rates) == 2 and min(rates[1]) > 0:
        together = next(size for size in rates if size != 1)
        ratios = [many / one for many, one in zip(rates[together], rates[1], strict=True)]
        yield ""
        spread = f"{min(ratios):.2f} … {max(ratios):.2f} over {len(ratios)} rounds"
        yield f"{together} at a time over one: {statistics.median(ratios):.2f} ({spread})"
    alone, behind = (statistics.median(each) for each in (load_figures.alone, load_figures.behind))
    words = (
        f"a request of {SHORT['steps']} steps: {alone:.2f} s alone, {behind:.2f} s behind one of {PICTURES} pictures"
    )
    yield f"{words} and {LONG['steps']} steps, {load_figures.overtaking:.2f} times as long"


@contextlib.contextmanager
def _server(options: LoadOptions, size: int) -> Iterator[str]:
    """The address of a server in a process of its own, until the end."""
    words = [
        sys.executable,
        "-u",
        "-m",
        "gendiff",
        "serve",
        "--port",
        "0",
        "--together",
        str(size),
        "--queue",
        str(2 * max(options.clients, PICTURES)),  # of which one client may take three quarters, and all are one here
    ]
    words += [] if options.model is None else ["--model", options.model]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = _said(process, r"http://127\.0\.0\.1:\d+")
            if size > 1:
                _said(process, f"{compiler_thread.COMPILED} {size} at a time")
            yield address
        finally:
            process.send_signal(signal.SIGINT)


def _said(process: subprocess.Popen[str], pattern: str) -> str:
    """What a server says that fits the pattern. ConfigError where it cannot come."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[0]
        if compiler_thread.UNCOMPILED in line:
            raise ConfigError(line.strip())
    raise ConfigError(f"the server has ended with exit code {process.wait()}; what it said stands above")


def _measured(options: LoadOptions, address: str) -> Load:
    before = _totals(address)
    words = [
        "wrk",
        "-t1",
        f"-c{options.clients}",
        f"-d{options.seconds}s",
        f"--timeout={LONGEST}s",
        "-s",
        str(REQUESTS),
        address + ROUTE,
    ]
    load = read(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    after = _totals(address)
    steps, turns = (after[name] - before[name] for name in ("gendiff_steps_total", "gendiff_turns_total"))
    return dataclasses.replace(load, steps=steps, turns=turns)


def _totals(address: str) -> Mapping[str, float]:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        return totals(answer.read().decode())
