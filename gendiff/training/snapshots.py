"""Snapshots of power-function averages during training, and averages of other lengths from them.

`loop` and `fit` write them with `snapshot_every`: one step of a `Checkpoints` folder holds the power-function tracks of
the state, and nothing else of it. All of them stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Params, PyTree
from gendiff.training import post_hoc_ema
from gendiff.training.post_hoc_ema import PREFIX, PowerFunction, Snapshot

if TYPE_CHECKING:
    from gendiff.training.checkpoints import Checkpoints


def tracks(state: PyTree) -> dict[str, Params]:
    """Return the power-function tracks of a state by the names under which they are stored, such as "power_0.05".

    Args:
        state: a `TrainState`, or another state with `tracks`.

    Raises:
        ConfigError: for a state without such tracks.
    """
    held = {
        str(track): average
        for track, average in getattr(state, "tracks", {}).items()
        if isinstance(track, PowerFunction)
    }
    if not held:
        raise ConfigError(
            "snapshots hold averages by power functions, and the state has none: use ema=(post_hoc_ema.power(0.05), …)"
        )
    return held


def stored(store: Checkpoints) -> list[Snapshot]:
    """Return the averages in a folder of snapshots, oldest first.

    Raises:
        DataError: for a folder without snapshots.
        CheckpointCorruptError: for bytes that changed.
    """
    steps = store.steps()
    # a training keeps the same tracks to its end
    names = {path.split("/")[0] for path in store.contents()} if steps else set()
    lengths = sorted(float(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX))
    if not lengths:
        raise DataError(f"{store.path} holds no snapshots of averages by power functions: train with snapshot_every")
    return [Snapshot(length, step) for step in steps for length in lengths]


def reconstruct(store: Checkpoints, like: Params, relative_std: float, step: int | None = None) -> Params:
    """Return the average of any length from a folder of snapshots (see `post_hoc_ema.reconstruct`).

    Args:
        store: the folder, opened.
        like: what the parameters look like (see the target of `Checkpoints.restore`).
        relative_std: σ_rel of the average, in (0, 12^-½].
        step: after which step, at most the newest stored one, which None takes.

    Raises:
        DataError: for a folder without snapshots.
        ConfigError: for a length out of range.
        ValueError: for a step after the newest.
        CheckpointCorruptError: for bytes that changed.
        CheckpointMismatchError: for snapshots of other parameters.
    """
    there = stored(store)

    def read(snapshot: Snapshot) -> Params:
        return store.restore_subtree(snapshot.step, str(post_hoc_ema.power(snapshot.relative_std)), like).state

    return post_hoc_ema.reconstruct(read, there, Snapshot(relative_std, there[-1].step if step is None else step))
