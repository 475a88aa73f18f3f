"""The metrics of training steps: looked at, written, and stopped at when they are no numbers any more."""

import io
from typing import Any

import jax
import numpy as np

from experiments.framework import tensorboard
from experiments.framework.progress import Task
from experiments.framework.run_folder import RunFolder
from experiments.reporting import json_files
from gendiff.core import trees
from gendiff.core.errors import NonFiniteError


class TrainingLog:
    """Looks at each step's metrics one step late, so that the device never waits for the host, and writes those that are due."""

    def __init__(self, folder: RunFolder, seed: int, task: Task, show: tensorboard.Show, counts: dict[str, int], most: int) -> None:
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
            numbers = (
                {name: np.asarray(value).item() for name, value in jax.device_get(metrics).items() if name != "finite"} if write else {}
            )
            if write:
                self._folder.append_metrics([{"seed": self._seed, "step": step, "skipped": self.skipped, **numbers}])
                self._show(step, numbers)
                self._task.update(step, f"loss {numbers['loss']:.4f}")
            if self.streak >= self._most:
                self._fail(step, batch)
        del self._waiting[:count]

    def _fail(self, step: int, batch: Any) -> None:
        rows, chosen = batch
        key = jax.random.fold_in(jax.random.key(self._seed), step - 1)
        content = {
            **({} if rows is None else {"rows": rows}),
            "key": jax.random.key_data(key),
            **{path.replace("/", "_"): leaf for path, leaf in trees.paths(chosen).items()},
        }
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in content.items()})
        self._folder.debug.mkdir(exist_ok=True)
        place = json_files.write_bytes(self._folder.debug / f"seed_{self._seed}_step_{step}.npz", file.getvalue())
        raise NonFiniteError(
            f"seed {self._seed}: loss or gradient was NaN or infinite in {self.streak} steps in a row, the last of them step {step}; "
            f"its batch and key are in {place}; earlier checkpoints are untouched"
        )
