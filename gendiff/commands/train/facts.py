"""What a run knows of its data and of the defaults that followed from them: data.json, written at the start.

With it `sample RUN` needs no pictures.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import jax
import jax.numpy as jnp
import msgspec

from gendiff import networks
from gendiff.commands.images.image_model import Model
from gendiff.commands.train import data_paths, named_networks
from gendiff.commands.train.config import Config, Numbers
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import Params
from gendiff.data.audio import Spectrogram
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import configuration
from gendiff.runs.ranges import Count
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from gendiff.commands.train.opened_pictures import Pictures

FILE = "data.json"


@dataclasses.dataclass(frozen=True)
class Data:
    """Facts of the images. place: as `data_paths.resolve`. training, held_out, skipped: how many pictures.

    sound: what sounds became; None of pictures.
    """

    place: str
    fingerprint: str
    training: int
    held_out: int
    skipped: int
    shape: Annotated[tuple[Count, ...], msgspec.Meta(min_length=3, max_length=3)]
    levels: Annotated[int, msgspec.Meta(ge=2, le=2**16)]
    classes: tuple[str, ...]
    sound: Spectrogram | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """data.json."""

    data: Data
    numbers: Numbers


@dataclasses.dataclass(frozen=True)
class Described:
    """A configuration with what its data are: all that a network needs."""

    config: Config
    data: Data


def summarize(config: Config, path: str, pictures: "Pictures") -> Data:
    """The facts of opened images."""
    return Data(
        place=path,
        fingerprint=pictures.fingerprint,
        training=len(pictures.training),
        held_out=len(pictures.held_out),
        skipped=len(pictures.skipped),
        shape=tuple(pictures.training[0].image.shape),
        levels=pictures.training.levels,
        classes=pictures.training.classes if config.conditional == "auto" else (),
        sound=pictures.sound,
    )


def places(config: Config, folder: RunFolder) -> Iterator[tuple[str, RunFolder]]:
    """(name, run folder) of each set of pictures: the run's own folder for one, a sub-folder for each of several."""
    names = data_paths.labels(config)
    yield from (
        (name, folder if len(names) == 1 else dataclasses.replace(folder, path=folder.path / name)) for name in names
    )


def begin(folder: RunFolder, within: RunFolder, config: Config, name: str) -> None:
    """Makes the sub-folder of one of several sets a run folder of its own, so that `sample` finds there what it
    needs.
    """
    from gendiff.runs import distributed

    if within.path != folder.path:
        within.path.mkdir(exist_ok=True)
        stored = configuration.read(folder)
        if distributed.first():
            one = json_files.encode(dataclasses.replace(config, data=(name,)))
            configuration.settle(within, dataclasses.replace(stored, config=one, entry_of="data"))


def read(folder: RunFolder) -> Facts:
    """data.json of a run. DataError where it is missing or broken."""
    return json_files.read(folder.path / FILE, Facts)


def settle(folder: RunFolder, facts: Facts) -> Facts:
    """Writes data.json, or returns the one that is there. DataError where the pictures are others than when the run
    began.
    """
    stored = configuration.first_facts(folder.path / FILE, facts, {})
    check_same(stored.data, facts.data, folder)
    return stored


def chosen(config: Config, folder: RunFolder) -> dict[str, str]:
    """What was taken for the fields of the configuration that are None; of several sets, for each."""
    sets = {name: read(set_folder) for name, set_folder in places(config, folder)}
    texts: dict[str, dict[str, str]] = {
        "size": {
            name: str(facts.data.sound.mels if facts.data.sound else min(facts.data.shape[:2]))
            for name, facts in sets.items()
        },
        "mode": {name: "L" if facts.data.shape[2] == 1 else "RGB" for name, facts in sets.items()},
        "held_out": {name: f"{facts.data.held_out} pictures" for name, facts in sets.items()},
        "steps": {name: str(facts.numbers.steps) for name, facts in sets.items()},
        "batch": {name: str(facts.numbers.batch) for name, facts in sets.items()},
        "learning_rate": {name: f"{facts.numbers.learning_rate:g}" for name, facts in sets.items()},
        "preview_every": {name: str(facts.numbers.preview_every) for name, facts in sets.items()},
    }
    if sounds := {name: facts.data.sound for name, facts in sets.items() if facts.data.sound is not None}:
        texts["sample_rate"] = {name: str(sound.rate) for name, sound in sounds.items()}
        texts["seconds"] = {name: f"{sound.seconds:.3g}" for name, sound in sounds.items()}

    def text(values: dict[str, str]) -> str:
        several = len(set(values.values())) > 1
        return (
            ", ".join(f"{name} {value}" for name, value in values.items()) if several else next(iter(values.values()))
        )

    return {option: text(values) for option, values in texts.items() if getattr(config, option) is None}


def check_same(stored: Data, now: Data, folder: RunFolder) -> None:
    """DataError where the pictures are others than when the run began."""
    if stored.fingerprint != now.fingerprint:
        raise DataError(
            f"{now.place}: the pictures have changed since the run in {folder.path} began "
            f"({stored.training} + {stored.held_out} then, {now.training} + {now.held_out} now): restore them, or "
            "begin anew with --out"
        )


def described(config: Config, folder: RunFolder) -> Described:
    """The configuration of a run with its data.json. ConfigError for a run of several sets, which names their
    folders.
    """
    if config.model is not None:
        files = f"{folder.path}/lora_seed_{config.seeds[0]}.safetensors"
        raise ConfigError(
            f"the run has a change and no network: draw with text-to-image --model {config.model} --lora {files}"
        )
    if len(config.data) > 1:
        each = ", ".join(str(set_folder.path) for _, set_folder in places(config, folder))
        raise ConfigError(f"{folder.path} holds networks of several sets, each in a run folder of its own: {each}")
    return Described(config, read(folder).data)


@functools.lru_cache  # one object, so that all that is compiled for it is compiled once
def model(description: Described) -> Model:
    """The network and what its output means."""
    config, data = description.config, description.data
    network = named_networks.build(config.network, data.shape, len(data.classes), config.dtype, config.remat)
    return Model(
        networks.pure(network),
        init(network, data.shape, bool(data.classes)),
        schedules.flow(),
        parameterization.flow(),
        shape=data.shape,
        num_classes=len(data.classes),
        levels=data.levels,
        names=data.classes,
        ema=config.ema,
        rules=networks.transformer.TENSOR_PARALLEL if isinstance(network, networks.DiT) else (),
        sound=data.sound,
    )


@functools.lru_cache  # one object for equal networks, so that sets of one kind share a compiled start and step
def init(
    network: networks.UNet | networks.DiT, shape: tuple[int, ...], conditional: bool
) -> Callable[[jax.Array], Params]:
    label = (jnp.zeros((1,), jnp.int32),) if conditional else ()
    return lambda key: networks.init(network, key, jnp.zeros((1, *shape)), jnp.zeros((1,)), *label)
