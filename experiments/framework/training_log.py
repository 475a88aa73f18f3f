"""The metrics of training steps: looked at, written, shown, and stopped at when they are no numbers any more."""

import contextlib
import importlib.util
import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from experiments.framework.progress import Task
from experiments.framework.run_folder import RunFolder
from experiments.reporting import json_files
from gendiff.core import trees
from gendiff.core.errors import NonFiniteError

Show: TypeAlias = Callable[[int, Mapping[str, float]], None]


class TrainingLog:
    """Looks at each step's metrics one step late, so that the device never waits for the host, and writes those that are due."""

    def __init__(self, folder: RunFolder, seed: int, task: Task, show: Show, counts: dict[str, int], most: int) -> None:
        self._folder, self._seed, self._task, self._show, self._most = folder, seed, task, show, most
        self._waiting: list[tuple[int, Any, Any, bool]] = []
        self.skipped, self.streak = counts.get("skipped", 0), counts.get("streak", 0)

    @property
    def counts(self) -> dict[str, int]:
        """Goes into each checkpoint, so that a resumed run counts on."""
        return {"skipped": self.skipped, "streak": self.streak}

    def add(self, step: int, metrics: Any, batch: Any, *, write: bool) -> None:
        self._waiting.append((step, metrics, batch, write))
        self._look(len(self._waiting) - 1)

    def settle(self) -> None:
        """Everything looked at and written."""
        self._look(len(self._waiting))

    def _look(self, count: int) -> None:
        for step, metrics, batch, write in self._waiting[:count]:
            finite = bool(metrics["finite"])
            self.streak = 0 if finite else self.streak + 1
            self.skipped += not finite
            if write:
                values = {name: np.asarray(value).item() for name, value in jax.device_get(metrics).items() if name != "finite"}
                self._folder.append_metrics([{"seed": self._seed, "step": step, "skipped": self.skipped, **values}])
                self._show(step, values)
                self._task.update(step, f"loss {values['loss']:.4f}")
            if self.streak >= self._most:
                self._fail(step, batch)
        del self._waiting[:count]

    def _fail(self, step: int, batch: Any) -> None:
        rows, chosen = batch
        key = jax.random.fold_in(jax.random.key(self._seed), step - 1)
        content = {"key": jax.random.key_data(key), **{path.replace("/", "_"): leaf for path, leaf in trees.paths(chosen).items()}}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **jax.tree.map(np.asarray, content | ({} if rows is None else {"rows": rows})))
        self._folder.debug.mkdir(exist_ok=True)
        place = json_files.write_bytes(self._folder.debug / f"seed_{self._seed}_step_{step}.npz", file.getvalue())
        raise NonFiniteError(
            f"seed {self._seed}: loss or gradient was NaN or infinite in {self.streak} steps in a row, the last of them step {step}; "
            f"its batch and key are in {place}; earlier checkpoints are untouched"
        )


@contextlib.contextmanager
def tensorboard(folder: RunFolder, seed: int, step: int) -> Iterator[Show]:
    """Within: a function (step, metrics) that adds events to `tensorboard/`; what an earlier process showed after `step` is hidden.

    It does nothing where tensorboardX is not installed. Events are a view: nothing reads them back.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        yield lambda *_: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder.path / "tensorboard" / f"seed_{seed}"), purge_step=step + 1 if step else None) as writer:

        def show(at: int, metrics: Mapping[str, float]) -> None:
            for name, value in metrics.items():
                if math.isfinite(value):  # a plot has no place for the others, and tensorboardX warns of each
                    writer.add_scalar(name, value, at)

        yield show
