"""How long does a person wait for the first result?

    python -m experiments run first-result

types commands as a person does, each in a process of its own, and waits for what they show: help, a table, a refusal,
then a picture, a digit, a word of an answer. The first use on a machine finds no program compiled before, the second
one finds what the first has left. The code of an earlier commit takes turns with this one. About 25 minutes on 2 cores,
and 4 GiB of the folder for random weights of Stable Diffusion.
"""

import dataclasses
import functools
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench import random_folders
from gendiff.core.errors import ConfigError, GendiffError
from gendiff.runs import paired_timing, ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Distinct, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Cell
from gendiff.runs.reporting.environment import PROJECT
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import ClaimRow, ControlRow, Measured, Measurements, Study, claim, control

NOW, BEFORE = "now", "before"
FIRST, SECOND, BARE = "first use", "second use", "no bytecode"
"""Without compiled programs; with those of the first use; as in a container that keeps no bytecode of Python."""
ROUTE = "v1/images/generations"
_RESULTS = "Seconds to a first result"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclasses.dataclass(frozen=True)
class Wait:
    """What a person types and waits for.

    words: behind `python`; {out} is a new place for what is written, {run} a run folder, {model} that of `model`.
    aim: seconds of the second use; None of a result, whose aim is a share of what it took before.
    status: the exit code that belongs to it. rounds: most of them. prepared: words that make what it reads, once.
    request: sent to the server that the words start, in place of waiting for their end. model: the folder of random
    weights that it reads.
    """

    words: str
    aim: float | None = None
    status: int = 0
    rounds: int = 100
    prepared: str = ""
    request: Mapping[str, Any] | None = None
    model: str = ""


DRAW = "-m gendiff text-to-image --num 1 --out {out}.png --prompt"
CHAT = "-m gendiff chat --prompt Hello --max-tokens 1"
DIGITS = "-m experiments run digits --smoke --channels 32 64 --out {run}"
"""The network of the preset, hardly trained."""
STARTS: Mapping[str, Wait] = {
    "import gendiff": Wait("-c 'import gendiff'", 0.1),
    "--help": Wait("-m gendiff --help", 0.3),
    "list": Wait("-m experiments list", 0.6),
    "text-to-image --help": Wait("-m gendiff text-to-image --help", 0.8),
    "a refusal": Wait(f"{DRAW} cat --steps 0", 0.8, status=2),
    "inspect": Wait("-m gendiff inspect {model}", 1.0, model="tiny_sd15"),
    "plan": Wait("-m gendiff plan --accelerator h100", 3.0),
}
RESULTS: Mapping[str, Wait] = {
    "an emoji": Wait(f"{DRAW} cat"),
    "a digit": Wait("-m experiments sample {run} --num 1 --out {out}.png", prepared=DIGITS),
    "a token of chat": Wait(CHAT),
    "a token of chat, packed": Wait(f"{CHAT} --weights packed"),
    "a picture of serve": Wait("-u -m gendiff serve --port 0 --model emoji", request={"prompt": "cat"}),
    "Stable Diffusion, tiny": Wait(f"{DRAW} cat --steps 2 --model {{model}}", model="tiny_sd15"),
    "Stable Diffusion 1.5": Wait(f"{DRAW} cat --steps 2 --model {{model}}", model="sd15", rounds=1),
}
WAITS: Mapping[str, Wait] = {**STARTS, **RESULTS}


@dataclasses.dataclass(frozen=True)
class Config:
    """What is waited for, and how often."""

    waits: Distinct[str] = tuple(WAITS)
    """What a person waits for, by name."""
    commit: str = "670d1101"
    """An earlier commit; this one is the last before modules were imported on first use."""
    rounds: Several = 3
    """Times that each wait is measured, both commits in turn."""
    resamples: Several = 1000
    """Bootstrap draws behind intervals."""


def check(config: Config) -> None:
    """ConfigError for a name that is not there, and a commit that git does not know."""
    ranges.known("waits", config.waits, WAITS)
    command = _git("cat-file", "-e", f"{config.commit}^{{commit}}")
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise ConfigError(f"--commit {config.commit}: git in {PROJECT} does not know it; a shallow clone has few")


def _git(*words: str) -> list[str]:
    return ["git", "-C", str(PROJECT), *words]


class Typist:
    """One who types commands in a checkout, with a home of its own."""

    def __init__(self, root: Path, home: Path, models: Path) -> None:
        self.root, self.home, self.models, self.count = root, home, models, 0
        self.home.mkdir(parents=True, exist_ok=True)

    def prepare(self, name: str) -> None:
        """Makes what a wait reads, unless it is there."""
        wait = WAITS[name]
        if wait.prepared and not self.run_folder.exists():
            self._ended(Wait(wait.prepared), self._environment(SECOND))

    @property
    def run_folder(self) -> Path:
        """Of a training."""
        return self.home / "run"

    def typed(self, name: str, use: str) -> tuple[float, float]:
        """(seconds, seconds of processors) until the result. GendiffError where it does not come."""
        wait, environment = WAITS[name], self._environment(use)
        if use == FIRST:
            shutil.rmtree(environment["XDG_CACHE_HOME"], ignore_errors=True)
        processors, begin = _processors(), time.perf_counter()
        end = self._ended(wait, environment) if wait.request is None else self._answered(wait, environment)
        return end - begin, _processors() - processors

    def _environment(self, use: str) -> dict[str, str]:
        """Without what a shell may have set for compiled programs."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("GENDIFF_", "JAX_", "XLA_"))
        }
        bytecode = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(self.home / "none")}
        for variable in bytecode:
            inherited.pop(variable, None)
        ours = {"PYTHONPATH": str(self.root), "XDG_CACHE_HOME": str(self.home / "cache"), "JAX_PLATFORMS": "cpu"}
        return inherited | ours | (bytecode if use == BARE else {})

    def _command(self, wait: Wait) -> list[str]:
        self.count += 1
        places = {"out": self.home / f"{self.count}", "run": self.run_folder, "model": self.models / wait.model}
        return [sys.executable, *(word.format(**places) for word in shlex.split(wait.words))]

    def _ended(self, wait: Wait, environment: dict[str, str]) -> float:
        """When the command has ended."""
        more: Any = {"env": environment, "cwd": self.root, "capture_output": True, "text": True}
        done = subprocess.run(self._command(wait), check=False, **more)
        if done.returncode != wait.status:
            raise GendiffError(f"{shlex.join(done.args)} has ended with {done.returncode}: {done.stderr[-500:]}")
        return time.perf_counter()

    def _answered(self, wait: Wait, environment: dict[str, str]) -> float:
        """When the server has answered the request."""
        log = self.home / "server.log"
        more: Any = {"env": environment, "cwd": self.root, "stdout": subprocess.PIPE, "text": True}
        with log.open("w") as stderr, subprocess.Popen(self._command(wait), stderr=stderr, **more) as process:
            try:
                assert process.stdout is not None
                address = next((match[0] for line in process.stdout if (match := _ADDRESS.search(line))), None)
                if address is None:
                    raise GendiffError(f"the server has ended: {log.read_text()[-500:]}")
                body, kind = json.dumps(wait.request).encode(), {"Content-Type": "application/json"}
                with urllib.request.urlopen(urllib.request.Request(f"{address}/{ROUTE}", body, kind)) as answer:
                    answer.read()
                return time.perf_counter()
            finally:
                process.send_signal(signal.SIGINT)


def _processors() -> float:
    """Seconds of processors of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Each wait in each use: this code and the earlier one, in turn."""
    root = folder.path / "work"
    models = root / "models"
    earlier = _checkout(config.commit, root / config.commit)
    typists = {NOW: Typist(PROJECT, root / NOW, models), BEFORE: Typist(earlier, root / BEFORE, models)}
    for name in config.waits:
        wait = WAITS[name]
        with progress.phase(name):
            if wait.model:
                random_folders.write(models / wait.model, wait.model)
            for typist in typists.values():
                typist.prepare(name)
                typist.typed(name, SECOND)  # which writes the bytecode
            for use in (SECOND, BARE) if name in STARTS else (FIRST, SECOND):
                yield _waited(config, name, use, typists)
    shutil.rmtree(root)


def _waited(config: Config, name: str, use: str, typists: Mapping[str, Typist]) -> Measured:
    processors: dict[str, list[float]] = {side: [] for side in typists}

    def once(side: str) -> float:
        seconds, spent = typists[side].typed(name, use)
        processors[side].append(spent)
        return seconds

    rounds = min(config.rounds, WAITS[name].rounds)
    calls = {side: functools.partial(once, side) for side in typists}
    seconds = {side: np.array(each) for side, each in paired_timing.interleave(calls, rounds).items()}
    measures: dict[str, Any] = {
        "seconds": float(np.median(seconds[NOW])),
        "processors": float(np.median(processors[NOW])),
        "before": float(np.median(seconds[BEFORE])),
        "processors before": float(np.median(processors[BEFORE])),
        "share": float(seconds[NOW][0] / seconds[BEFORE][0]),
    }
    if rounds > 1:
        options: dict[str, Any] = {"paired": True, "resamples": config.resamples}
        measures["share"] = intervals.interval(intervals.median_of_ratios, seconds[NOW], seconds[BEFORE], **options)
    return Measured(f"{name}, {use}", measures, n=rounds, group="starts" if name in STARTS else "results")


def _checkout(commit: str, path: Path) -> Path:
    """The files of a commit in a folder."""
    if not path.exists():
        with subprocess.Popen(_git("archive", commit), stdout=subprocess.PIPE) as process:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                archive.extractall(path, filter="data")
    return path


def plot(measured: Measurements, folder: RunFolder) -> Figure:
    """Seconds of each wait in the first and second use, before and now."""
    rows: dict[str, Any] = {
        each.name: {BEFORE: each.measures["before"], NOW: each.measures["seconds"]}
        for each in measured
        if not each.name.endswith(BARE)
    }
    caption = "Seconds from the command to its result, of the earlier commit and now: medians."
    return figures.bars(rows, folder.figure("seconds"), caption, x_label="seconds", log=True)


def _claims() -> Iterator[ClaimRow]:
    reasons = {
        SECOND: "up to one second a thought goes on unbroken, and up to ten attention stays (Nielsen 1993)",
        BARE: "Python compiles each module that it reads",
    }
    for name, wait in STARTS.items():
        for times, (use, reason) in enumerate(reasons.items(), 1):
            yield claim(f"{name}, {use}", "seconds", "<=", times * (wait.aim or 0), role="aim", reason=reason)
    for name in RESULTS:
        for use, share in ((FIRST, 0.7), (SECOND, 0.4)):
            reason = "what was asked of the work on this, before it began"
            yield claim(f"{name}, {use}", "share", "<=", share, role="aim", reason=reason)


def _controls() -> Iterator[ControlRow]:
    """What was compiled before saves time."""
    for name in RESULTS:
        yield control(f"{name}, {FIRST}", "seconds", against=f"{name}, {SECOND}", by=">=")


EXPERIMENT = Study(
    name="first-result",
    config=Config,
    presets={"full": Config()},
    smoke=Config(("import gendiff", "--help"), "HEAD", 2, 20),
    train=None,
    measure=measure,
    words={
        "seconds": "seconds",
        "processors": "seconds of processors",
        "before": "seconds before",
        "processors before": "seconds of processors before",
        "share": "seconds over those before",
    },
    claims=tuple(_claims()),
    controls=tuple(_controls()),
    figures=(plot,),
    tables={
        "starts": (
            "Seconds of commands that compute nothing",
            "Medians. Second use: Python's bytecode is there. No bytecode: as in containers that keep none.",
        ),
        "results": (
            _RESULTS,
            "Medians. First use: no program has been compiled before. Second use: what the first one left is there.",
        ),
    },
    answer=Answer(
        text="the first emoji of a second use comes after {emoji:.1f} seconds, and the first word of an answer after "
        "{token:.1f}: {emoji-share:.0%} and {token-share:.0%} of what they took before",
        numbers={
            "emoji": Cell(_RESULTS, (f"an emoji, {SECOND}",), "seconds"),
            "token": Cell(_RESULTS, (f"a token of chat, {SECOND}",), "seconds"),
            "emoji-share": Cell(_RESULTS, (f"an emoji, {SECOND}",), "seconds over those before"),
            "token-share": Cell(_RESULTS, (f"a token of chat, {SECOND}",), "seconds over those before"),
        },
    ),
    more={"check": check},
).experiment()
