"""What a run folder keeps of the steps of a training: metrics, where the seconds went, and the batch at which it
stopped being finite.
"""

import io
import json
from collections.abc import Mapping

import jax
import numpy as np

from gendiff.core import files, trees
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import Numeric, PyTree
from gendiff.runs import distributed
from gendiff.runs.progress import Task
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.sinks import Show
from gendiff.training import Timing
from gendiff.training.timing import PHASES

_NOT_WRITTEN = ("finite", "skipped", "data_share")
"""`skipped` has a place of its own; a share of time would make the files of equal runs differ."""


class TrainingLog:
    """Writes and shows the metrics of each step that is due: every `every` steps, and the last. Only process 0 writes
    and shows.
    """

    def __init__(self, folder: RunFolder, seed: int, steps: int, interval: int) -> None:
        self._folder, self._seed, self._steps, self._every = folder, seed, steps, interval
        self.step = 0
        """The newest step that was looked at."""

    def open(self, task: Task, show: Show) -> None:
        """From now on steps are shown."""
        self._task, self._show = task, show

    def add(self, step: int, metrics: Mapping[str, Numeric]) -> None:
        self.step = step
        if distributed.first() and (step % self._every == 0 or step == self._steps):
            values = {name: value for name, value in metrics.items() if name not in _NOT_WRITTEN}
            self._folder.append_metrics([{"seed": self._seed, "step": step, "skipped": metrics["skipped"], **values}])
            self._show(step, values | {"data_share": metrics["data_share"]})
            self._task.update(step, f"loss {values['loss']:.4f}")

    def close(self, timing: Timing) -> None:
        """Writes where the seconds of this process went, if it did any step."""
        if self.step and distributed.first():
            spent = {name: round(getattr(timing, name), 3) for name in PHASES}
            line = {"phase": "steps", "seed": self._seed, "within": "train", "seconds": round(timing.total, 3), **spent}
            with files.naming(self._folder.timings), open(self._folder.timings, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def explained(self, error: NonFiniteError, rows: np.ndarray | None, batch: PyTree) -> NonFiniteError:
        """The error with its seed, and where the batch and the key of its step are now: of process 0, its part of the
        batch.
        """
        if not distributed.first():
            return NonFiniteError(f"seed {self._seed}: {error}")
        key = jax.random.fold_in(jax.random.key(self._seed), self.step - 1)
        content = {
            "key": jax.random.key_data(key),
            **{path.replace("/", "_"): leaf for path, leaf in trees.paths(batch).items()},
        }
        file = io.BytesIO()
        np.savez(
            file, allow_pickle=False, **jax.tree.map(np.asarray, content | ({} if rows is None else {"rows": rows}))
        )
        self._folder.debug.mkdir(exist_ok=True)
        file_path = json_files.write_bytes(
            self._folder.debug / f"seed_{self._seed}_step_{self.step}.npz", file.getvalue()
        )
        return NonFiniteError(f"seed {self._seed}: {error}; its batch and key are in {file_path}")
