"""The resolved configuration of a run, its hyperparameters: what config.json holds, and how two of them differ."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.ranges import LARGEST_SEED
from gendiff.runs.ranges import Config as Config
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

C = TypeVar("C", bound=Config)
T = TypeVar("T")

RENAMED = {"compute": "dtype"}
"""Older names of the fields of configurations -> the present ones."""
CLAIMED = "thresholds"
"""A field of older configurations on which no training depends: most studies state what they claim as rows."""


@dataclasses.dataclass(frozen=True)
class Resolved:
    """config.json. preset: where the numbers began. commit, dirty: the code that began the run; None outside git.

    compilation: `devices.compilation` of the process that began it; empty in the folders of older versions.
    entry_of: the field of which the run in a folder above has several entries, where this is its part for one of them.
    """

    experiment: str
    preset: str
    smoke: bool
    config: dict[str, object]
    commit: str | None = None
    dirty: bool | None = None
    compilation: dict[str, str] = dataclasses.field(default_factory=dict)
    entry_of: str = ""


def settle(folder: RunFolder, requested: Resolved) -> Resolved:
    """Writes config.json, or returns the one that is there. ConfigError, with a table of differences, where that is
    another one.
    """
    if not folder.config.exists():
        json_files.write(folder.config, requested)
        return requested
    from gendiff.training import compatibility  # loads JAX

    stored = read(folder)
    old, new = ({"experiment": each.experiment, "--smoke": each.smoke} for each in (stored, requested))
    config = json_files.encode(requested.config)
    rows = compatibility.in_config(old, new) + compatibility.in_config(_present(stored.config, config), config)
    if rows:
        table = compatibility.table(rows, most=7)
        raise ConfigError(
            f"{folder.path} holds a run of another configuration; give this one its own folder with --out DIR\n{table}"
        )
    return stored


def read(folder: RunFolder) -> Resolved:
    """The config.json of a run folder, its fields by their present names. DataError where there is none, or a broken
    one.
    """
    if not folder.config.exists():
        raise DataError(f"{folder.path}: holds no config.json, so nothing can be rebuilt from it")
    stored = json_files.read(folder.config, Resolved)
    return dataclasses.replace(stored, config=renamed(stored.config))


def of_training(folder: RunFolder) -> dict[str, object] | None:
    """What the checkpoints of a training hold: the configuration of the run that it belongs to; None outside a run."""
    run = RunFolder(folder.run or folder.path)
    return read(run).config if run.config.exists() else None


def renamed(config: dict[str, object]) -> dict[str, object]:
    """The configuration with its fields by their present names."""
    return {RENAMED.get(name, name): value for name, value in config.items()}


def first_facts(file: Path, facts: T, equal: Mapping[str, str]) -> T:
    """What a run began with: the facts of now at its first start, when process 0 writes the file.

    equal: words for each field that must be as it was. DataError where one is not.
    """
    if not file.exists():
        from gendiff.runs import distributed  # loads JAX

        if distributed.first():
            json_files.write(file, facts)
        return facts
    stored = json_files.read(file, type(facts))
    for name, what in equal.items():
        if getattr(stored, name) != getattr(facts, name):
            raise DataError(f"{file}: the {what} changed since this run began: restore them, or begin anew with --out")
    return stored


def other_compilation(stored: Resolved, requested: Resolved) -> str:
    """A sentence on how programs are compiled otherwise than when the run began; "" where they are not, or where that
    is not known.
    """
    pairs = [(name, old, requested.compilation.get(name, "-")) for name, old in stored.compilation.items()]
    changed = ", ".join(f"{name} {old}, now {new}" for name, old, new in pairs if old != new)
    return (
        changed
        and f"note: this run was started with {changed}; it goes on, but its bits may differ from those of an unbroken "
        "run"
    )


def restore(resolved: Resolved, kind: type[C], folder: RunFolder) -> C:
    """The experiment's own frozen dataclass from what config.json holds. DataError, naming the field, where the class
    has changed since.
    """
    config = _present(resolved.config, {field.name for field in dataclasses.fields(kind)})
    return json_files.decode(kind, config, f"{folder.config}: config")


def seeds(config: Config) -> tuple[int, ...]:
    """The seeds of a config, from its field `seeds`; () without one. ConfigError outside 0 … 2**32 - 1, or where one
    repeats.
    """
    chosen = tuple(getattr(config, "seeds", ()))
    for seed in chosen:
        check_seed(seed)
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"--seeds {' '.join(map(str, chosen))} names a seed twice")
    return chosen


def check_seed(seed: int) -> None:
    """ConfigError unless the seed is one of those that give different random keys."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(
            f"--seed {seed} is outside 0 … {LARGEST_SEED} (2**32 - 1): other seeds repeat these modulo 2**32"
        )


def with_seed(config: Config, seed: int) -> Config:
    """The config with this one seed. ConfigError where it has no field for it."""
    if "seeds" not in config.__dataclass_fields__:
        raise ConfigError(
            f"--seed: {type(config).__name__} has no field `seeds`, so this experiment has no chance to seed"
        )
    return dataclasses.replace(config, **{"seeds": (seed,)})


def _present(config: dict[str, object], fields: Collection[str]) -> dict[str, object]:
    """The configuration without thresholds that have left it."""
    return {name: value for name, value in config.items() if name != CLAIMED or name in fields}
