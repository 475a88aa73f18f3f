"""What `--data` names: paths, short names, and an error where nothing is. JAX is not loaded."""

import difflib
import os
from pathlib import Path

from gendiff.commands.train.config import SETS, Config
from gendiff.core import files, foreign_files
from gendiff.core.errors import ConfigError, DataError


def resolve(name: str) -> str:
    """Where the data lie: the name of a committed set, or an absolute path. A URL stays as it is, and no source opens
    it.
    """
    return name if name in SETS or files.is_url(name) else str(foreign_files.expanded(name).absolute())


def labels(config: Config) -> tuple[str, ...]:
    """A short name for each entry of `data`: that of the set, or the last part of the path. ConfigError where two are
    equal.
    """
    names = tuple(name if name in SETS else resolve(name).rsplit("/", 1)[1] or "pictures" for name in config.data)
    if not all(config.data) or len(set(names)) < len(names):
        raise ConfigError(
            f"--data {' '.join(config.data)}: give one set of pictures, or several whose last names differ"
        )
    return names


def check(config: Config) -> None:
    """As `labels` does, and DataError for a path where nothing is, with what was probably meant."""
    labels(config)
    for name in map(resolve, config.data):
        if name in SETS or files.is_url(name) or os.path.lexists(name):
            continue
        path = Path(name)
        beside = [*SETS, *(each.name for each in path.parent.iterdir())] if path.parent.is_dir() else SETS
        near = difflib.get_close_matches(path.name, beside, n=1)
        raise DataError(
            f"{path}: no such file or folder; "
            + (f"did you mean {near[0]!r}?" if near else "`train --help` says what --data takes")
        )
