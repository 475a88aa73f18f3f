"""`run --log NAME,NAME`: where the metrics of a training are shown beside metrics.jsonl. They are views: nothing reads
them back.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from gendiff.core import extras
from gendiff.core.errors import ConfigError
from gendiff.runs import configuration, errors
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

T = TypeVar("T")

Show: TypeAlias = Callable[[int, Mapping[str, float]], object]
Note: TypeAlias = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Training:
    """What a sink is told of a training. done: how many steps earlier processes did."""

    folder: RunFolder
    seed: int
    done: int

    @property
    def about(self) -> tuple[str, dict[str, object]]:
        """(project, configuration)."""
        if not self.folder.config.exists():
            return "gendiff", {}
        stored = configuration.read(self.folder)
        return f"gendiff-{stored.experiment}", {**stored.config, "seed": self.seed}

    @property
    def name(self) -> str:
        """Of the training among all of its project: the same after a resume, and another one in a folder that was made
        anew.
        """
        file = self.folder.logged_as
        if not file.exists():
            json_files.write_bytes(file, secrets.token_hex(4).encode())
        return f"{self.folder.path.name}-{file.read_text(encoding='utf-8')}-seed_{self.seed}"


def parse(text: str) -> tuple[str, ...]:
    """The sinks that the text names. Raises ConfigError for others, for one named twice, and for one whose package is
    missing.
    """
    names = () if text == "none" else tuple(text.split(","))
    for name in names:
        if name not in _SINKS:
            raise ConfigError(f"--log {text}: no sink is called {name!r}; {errors.hint(name, [*_SINKS, 'none'])}")
        # the default one does nothing without its package
        if name != "tensorboard" and importlib.util.find_spec(name) is None:
            raise ConfigError(f"--log {text}: {name} is not installed; {extras.install('log')}")
    if len(set(names)) < len(names):
        raise ConfigError(f"--log {text} names a sink twice")
    return names


@contextlib.contextmanager
def opened(training: Training, note: Note) -> Iterator[Show]:
    """Within: a function (step, metrics) that shows them in every sink of the folder. A sink that fails is left alone
    after one note.
    """
    with contextlib.ExitStack() as stack:
        shows = [stack.enter_context(_harmless(name, training, note)) for name in training.folder.log]

        def show(step: int, metrics: Mapping[str, float]) -> None:
            finite = {
                name: value
                for name, value in metrics.items()
                if isinstance(value, int | float) and math.isfinite(value)
            }
            for each in shows:
                each(step, finite)

        yield show


@contextlib.contextmanager
def _harmless(name: str, training: Training, note: Note) -> Iterator[Show]:
    """The sink `name`, none of whose errors comes through."""
    working = True

    def attempt(action: Callable[[], T]) -> T | None:
        nonlocal working
        try:
            return action() if working else None
        except Exception as error:
            working = False
            reason = next(iter(str(error).splitlines()), "")
            note(f"note: --log {name} failed, and the run goes on without it: {type(error).__name__} {reason}")
            return None

    sink = contextlib.ExitStack()
    show = attempt(lambda: sink.enter_context(_SINKS[name](training, note)))
    try:
        yield lambda step, metrics: attempt(lambda: show and show(step, metrics))
    finally:
        attempt(sink.close)
        with contextlib.suppress(Exception):  # of one that failed before
            sink.close()


@contextlib.contextmanager
def _tensorboard(training: Training, note: Note) -> Iterator[Show]:
    """Events in tensorboard/; what an earlier process showed after the step of its last checkpoint is hidden."""
    if importlib.util.find_spec("tensorboardX") is None:
        yield lambda *_: None
        return
    from tensorboardX import SummaryWriter

    directory = training.folder.path / "tensorboard" / f"seed_{training.seed}"
    with SummaryWriter(str(directory), purge_step=training.done + 1 if training.done else None) as writer:
        worker = writer.file_writer.event_writer._worker

        def show(step: int, metrics: Mapping[str, float]) -> None:
            for name, value in metrics.items():
                if not worker.is_alive():  # its queue is emptied no more, and would stop the training when it is full
                    raise RuntimeError("its thread has ended, as it does when the clock jumps back by weeks")
                writer.add_scalar(name, value, step)

        yield show


@contextlib.contextmanager
def _wandb(training: Training, note: Note) -> Iterator[Show]:
    """Weights & Biases: its own environment variables hold. Without a login it writes into wandb/ of the run, and asks
    nothing.
    """
    import wandb

    project, config = training.about
    offline = "WANDB_MODE" not in os.environ and not wandb.login(prompt=False)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", project),
        name=training.name,
        id=training.name,
        resume="allow",
        config=config,
        dir=str(training.folder.path),
        mode="offline" if offline else None,
        settings=wandb.Settings(console="off", silent=True),
    )
    note(f"wandb: {run.url or f'offline, in {run.dir}; `wandb sync` sends it'}")
    try:
        yield lambda step, metrics: run.log(dict(metrics), step=step)
    finally:
        run.finish()


@contextlib.contextmanager
def _trackio(training: Training, note: Note) -> Iterator[Show]:
    """Trackio keeps its runs in a folder of its own ($TRACKIO_DIR); `trackio show` opens them in a browser."""
    import trackio

    project, config = training.about
    with open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stdout(nowhere):
            run = trackio.init(project=project, name=training.name, resume="allow", config=config, embed=False)
        note(f"trackio: run {training.name}; trackio show --project {project}")
        try:
            yield lambda step, metrics: run.log(dict(metrics), step=step)
        finally:
            with contextlib.redirect_stdout(nowhere):
                run.finish()


_SINKS: dict[str, Callable[[Training, Note], contextlib.AbstractContextManager[Show]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
}
