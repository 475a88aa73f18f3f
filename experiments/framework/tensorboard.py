"""The metrics once more as TensorBoard events, where tensorboardX is installed. Events are a view: nothing reads them back."""

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping

from experiments.framework.run_folder import RunFolder

Show = Callable[[int, Mapping[str, float]], None]


@contextlib.contextmanager
def events(folder: RunFolder, seed: int, step: int) -> Iterator[Show]:
    """Within: a function (step, metrics) that adds events to `tensorboard/`; what an earlier process showed after `step` is hidden."""
    if importlib.util.find_spec("tensorboardX") is None:
        yield _nowhere
        return
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder.path / "tensorboard" / f"seed_{seed}"), purge_step=step + 1 if step else None)

    def show(at: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):  # a plot has no place for the others, and tensorboardX warns of each
                writer.add_scalar(name, value, at)

    try:
        yield show
    finally:
        writer.close()


def _nowhere(step: int, metrics: Mapping[str, float]) -> None:
    pass
