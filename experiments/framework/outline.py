"""What a stored state looks like, kept beside its checkpoints: the network can be read without the code that made the optimizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.framework.run_folder import RunFolder
from experiments.reporting import json_files
from gendiff import training
from gendiff.core import trees
from gendiff.core.errors import DataError


class Outline:
    """Paths, shapes and dtypes of a state, and the decays of its EMA tracks."""

    def __init__(self, decays: Sequence[float], leaves: dict[str, Any]) -> None:
        self.decays, self._leaves = tuple(decays), leaves

    @staticmethod
    def of(state: training.TrainState) -> "Outline":
        described = {path: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for path, leaf in trees.paths(state).items()}
        return Outline(state.decays, described)

    def write(self, folder: RunFolder, seed: int) -> None:
        json_files.write(_outline_path(folder, seed), {"decays": self.decays, "leaves": self._leaves})

    @staticmethod
    def read(folder: RunFolder, seed: int) -> "Outline":
        path = _outline_path(folder, seed)
        if not path.exists():
            raise DataError(f"{folder.checkpoints(seed)}: no checkpoint of seed {seed} is stored")
        stored = json_files.read(path, dict[str, Any])
        return Outline(stored["decays"], stored["leaves"])

    def abstract(self) -> dict[str, jax.ShapeDtypeStruct]:
        """A target for `Checkpoints.restore`: the whole state, flat."""
        key = jax.random.key(0).dtype
        dtypes = {path: key if leaf["dtype"].startswith("key<") else jnp.dtype(leaf["dtype"]) for path, leaf in self._leaves.items()}
        return {path: jax.ShapeDtypeStruct(tuple(leaf["shape"]), dtypes[path]) for path, leaf in self._leaves.items()}


def _outline_path(folder: RunFolder, seed: int) -> Path:
    return folder.checkpoints(seed).with_name(f"seed_{seed}.json")
