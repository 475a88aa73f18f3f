"""The averaged parameters of a network after each part of its training, where a part is no more than a number of
steps.
"""

from collections.abc import Callable
from pathlib import Path

import jax

from gendiff.core.types import Params
from gendiff.training import TrainState
from gendiff.training.checkpoints import Checkpoints


class PartAverages:
    """Those of one training, in a folder of their own. count: how many parts. init: key -> parameters, as in
    training.
    """

    def __init__(self, folder: Path, seed: int, count: int, init: Callable[[jax.Array], Params]) -> None:
        self._place, self._count, self._init = folder / "averages" / f"seed_{seed}", count, init

    def done(self) -> int:
        """How many parts are done."""
        with Checkpoints(self._place, keep=self._count) as store:
            return len(store.steps())

    def keep(self, part: int, params: Params) -> None:
        """Those after part 0, 1, …; whole or not at all."""
        with Checkpoints(self._place, keep=self._count) as store:
            store.save(part, params, force=True)

    def fill(self, train: Callable[[int], TrainState]) -> None:
        """Train part by part, from the first that is not done, and keep the average after each.

        train: goes on to the end of part 0, 1, … Where nothing of a step depends on how many follow, the parts are one
            training.
        """
        for part in range(self.done(), self._count):
            self.keep(part, train(part).ema)

    def restore(self) -> list[Params]:
        """All of them, in order. Raises DataError where one is missing."""
        like = jax.eval_shape(self._init, jax.random.key(0))
        with Checkpoints(self._place, read_only=True) as store:
            return [store.restore(part, like).state for part in range(self._count)]
