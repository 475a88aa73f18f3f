"""From a run folder to functions: the network and its parameters, with the schedule and parameterization of training.

A training of images writes into each checkpoint what its parameters belong to: names of this module's tables with their
settings. Digests cover it. So parameters are never paired with another schedule or parameterization than their own.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import arrays, records
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.core.types import NO_LABEL, ArrayLike, Config, Params
from gendiff.diffusion import denoiser, parameterization, schedules
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Predict

NETWORKS: dict[str, type] = {"UNet": networks.UNet, "DiT": networks.DiT}
SCHEDULES: dict[str, type] = {
    "table": schedules.TableSchedule,
    "edm": schedules.EdmSchedule,
    "flow": schedules.FlowSchedule,
    "shifted": schedules.ShiftedSchedule,
}
PARAMETERIZATIONS: dict[str, type] = {
    "noise": parameterization.NoiseParameterization,
    "clean": parameterization.CleanParameterization,
    "velocity": parameterization.VelocityParameterization,
    "flow": parameterization.FlowParameterization,
    "edm": parameterization.EdmParameterization,
}
_TABLES = {"network": NETWORKS, "schedule": SCHEDULES, "parameterization": PARAMETERIZATIONS}
_FURTHER = ("text_channels", "image_size", "guidance", "second_time")
"""Fields of networks that ask for a condition beside the label."""


@records.record
class TrainedRun:
    """What `open_run` reads. Parameters are leaves, so a run crosses `jax.jit`.

    Args:
        predict: (params, x, t, *label) -> output; the label where there are classes.
        schedule: that of the training.
        parameterization: what the output means.
        shape: of a sample, such as (8, 8, 1).
        classes: the name of label 0, 1, …; empty where the network reads no label.
        data_levels: how many values a pixel of the data has; None for any.
        temperature: factor on the noise that `gendiff sample` starts from.
        step: of the checkpoint.
        params: the average that samples come from, or the one that was asked for.
    """

    predict: Predict = records.static()
    schedule: Schedule = records.static()
    parameterization: Parameterization = records.static()
    shape: tuple[int, ...] = records.static()
    classes: tuple[str, ...] = records.static()
    data_levels: int | None = records.static()
    temperature: float = records.static()
    step: int = records.static()
    params: Params = None

    @property
    def num_classes(self) -> int:
        """How many labels there are; 0 where the network reads none."""
        return len(self.classes)

    def denoiser(self, label: int | str | ArrayLike | None = None) -> NetworkDenoiser:
        """The network under one label, as `diffusion.sample`, guidance, editing and inpainting take it.

        Args:
            label: a number, the name of a class, or an array (b,) of numbers; None is no class.

        Raises:
            ValueError: for a label that the network does not know.
        """
        known = (
            f"the classes are {', '.join(self.classes)}" if self.classes else "the network reads no label: leave it out"
        )
        number = self.classes.index(label) if isinstance(label, str) and label in self.classes else label
        outside = isinstance(number, str) or (number is not None and not self.classes)
        if number is not None and not outside and arrays.is_concrete(number):
            values = np.asarray(number)
            numbers = (values == NO_LABEL) | ((values >= 0) & (values < self.num_classes))
            outside = not (np.issubdtype(values.dtype, np.integer) and numbers.all())
        if outside:
            raise ValueError(f"label = {label!r}: {known}")
        condition = (NO_LABEL if number is None else number,) if self.classes else ()
        return denoiser.from_network(self.predict, self.params, self.parameterization, *condition)


def open_run(path: str | os.PathLike[str], *, seed: int | None = None, ema: float | int | None = None) -> TrainedRun:
    """Read a run of `gendiff train`, or of a study that trains a network of images.

    Needs the packages of `gendiff[run]`.

    Args:
        path: the run folder, or a folder within it that holds checkpoints.
        seed: of the training; None: the first of the run.
        ema: decay of the average to read; 0 is the parameters themselves. None: the average that samples come from.

    Raises:
        ConfigError: for no run folder, and for a seed or an average that it does not hold.
        DataError: for a run without a checkpoint, and for one whose checkpoints do not say what their parameters belong
            to.
        CheckpointCorruptError: where bytes changed.
        CheckpointMismatchError: where this version of gendiff does not know the network, or it has other parameters.
    """
    from gendiff.runs import run_folder, training_loop  # they load Orbax, which the other pipelines do without
    from gendiff.training.checkpoints import Checkpoints

    folder = run_folder.existing(path)
    seed = _first_seed(folder.path) if seed is None else seed
    if not folder.checkpoints(seed).is_dir():
        raise ConfigError(
            f"seed = {seed} was not trained in {folder.path}: there are {', '.join(map(str, _seeds(folder.path)))}"
        )
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        step = store.latest()
        written = store.written_with(step)["description"]
        origin = f"step {step} of {store.path}"
        if step is None or written is None:
            raise DataError(
                f"{origin} does not say which network, schedule and parameterization it belongs to: an earlier version "
                "of gendiff wrote it, or its network is none of images with labels. `sample` draws from it; to open "
                "it, train it anew with another --out"
            )
        network, schedule, meaning = (_rebuilt(kind, written[kind], origin) for kind in _TABLES)
        shape, classes = tuple(written["shape"]), tuple(written["classes"])

        def init(key: jax.Array) -> Params:
            label = (jnp.zeros((1,), jnp.int32),) if classes else ()
            return networks.init(network, key, jnp.zeros((1, *shape)), jnp.zeros((1,)), *label)

        if ema == 0:
            params = training_loop.read_params(init, store, step=step)
        else:
            params = training_loop.read_ema(init, store, step=step, decay=written["ema"] if ema is None else ema)
    data_levels, temperature = written["data_levels"], written["temperature"]
    return TrainedRun(networks.pure(network), schedule, meaning, shape, classes, data_levels, temperature, step, params)


def describe(
    predict: Predict,
    schedule: object,
    parameterization: object,
    *,
    shape: Sequence[int],
    classes: Sequence[str] = (),
    data_levels: int | None = None,
    temperature: float = 1.0,
    ema: float | None = None,
) -> Config | None:
    """What a training writes for `open_run`, as JSON.

    None for a network, schedule or parameterization that no table here names.

    Args:
        predict: the network, as `networks.pure` makes it; a label is its only condition.
        schedule: that of the training.
        parameterization: what the output means.
        shape: of a sample.
        classes: the name of each label.
        data_levels: as of `TrainedRun`.
        temperature: as of `TrainedRun`.
        ema: decay of the average that samples come from; None: the only one.
    """
    if not isinstance(predict, networks.PureFunction) or predict.method is not None:
        return None
    module = predict.module
    written = {
        name: _written(name, part) for name, part in zip(_TABLES, (module, schedule, parameterization), strict=True)
    }
    if (
        None in written.values()
        or any(getattr(module, name, None) for name in _FURTHER)
        or (module.num_classes or 0) != len(classes)
    ):
        return None
    further = {"data_levels": data_levels, "temperature": temperature, "ema": ema}
    return {**written, "shape": list(shape), "classes": list(classes), **further}


def _written(kind: str, part: object) -> Config | None:
    """{"name", "settings"}, with all settings, as later defaults may differ; None for a part outside the tables."""
    name = next((name for name, known in _TABLES[kind].items() if type(part) is known), None)
    settings = {field: _plain(kind, getattr(part, field)) for field in _fields(type(part))} if name else {}
    return None if name is None or ... in settings.values() else {"name": name, "settings": settings}


def _plain(kind: str, value: object) -> object:
    """The value as JSON; ... for one that has no form there."""
    if isinstance(value, Schedule):
        return _written(kind, value) or ...
    if isinstance(value, tuple):
        values = [_plain(kind, each) for each in value]
        return ... if ... in values else values
    return value if value is None or isinstance(value, bool | int | float | str) else ...


def _rebuilt(kind: str, written: Config, origin: str) -> Any:  # of a class of the table
    """What `_written` has written. CheckpointMismatchError for names that this version does not know."""
    name, settings = written["name"], written["settings"]
    known = _TABLES[kind].get(name)
    if known is None or (strange := sorted(set(settings) - set(_fields(known)))):
        what = f"the {kind} {name}" if known is None else f"{name} with {', '.join(strange)}"
        raise CheckpointMismatchError(
            f"{origin} belongs to {what}, which this version of gendiff does not know: use a later one"
        )
    values = {
        field: _rebuilt(kind, value, origin) if isinstance(value, dict) else _tuples(value)
        for field, value in settings.items()
    }
    return known(**values)


def _fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name not in ("parent", "name")]


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _seeds(path: Path) -> list[int]:
    """Those that have checkpoints. DataError where there are none."""
    from gendiff.runs.run_folder import RunFolder

    if numbers := RunFolder(path).trained_seeds():
        return numbers
    inside = ", ".join(str(each.parent) for each in sorted(path.glob("*/checkpoints")))
    raise DataError(
        f"{path} holds no checkpoint"
        + (f"; there are some in {inside}" if inside else ": its training has not saved any yet")
    )


def _first_seed(path: Path) -> int:
    from gendiff.runs import configuration
    from gendiff.runs.run_folder import RunFolder

    numbers, folder = _seeds(path), RunFolder(path)
    listed = configuration.read(folder).config.get("seeds") if folder.config.exists() else None
    return next((number for number in (listed if isinstance(listed, list) else ()) if number in numbers), numbers[0])
