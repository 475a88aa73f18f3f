"""Compiled programs that are kept for the next process, by JAX's persistent compile cache.

jaxlib crashes where it stores a program that calls oneDNN. So there are two ways to use the cache. By default such
programs are compiled anew in each process, and all others are kept in a folder of the user. In a folder that was asked
for, all programs are kept, and those for a CPU do without oneDNN (see `devices.compiler_options`).
"""

import dataclasses
import hashlib
import math
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from gendiff.core import foreign_files
from gendiff.core.types import Costs, Jitted, Lowered, PyTree
from gendiff.runs.reporting import processor

VARIABLE = "GENDIFF_COMPILE_CACHE"
"""Environment variable that names the folder of all programs, or says `none`."""
NONE = "none"
"""In place of a folder: nothing is kept."""
MOST_BYTES = 2 * 2**30
"""Of the programs in the folder of the user: the ones that were not read for the longest time make room."""
SHORTEST = 0.5
"""Seconds of compiling from which on a program is kept. JAX's default of 1 s leaves out most programs of a small
network.
"""
_SECONDS = "jax_persistent_cache_min_compile_time_secs"
_CONFIG: Any = jax.config  # its fields are made at run time


def use(folder: str | None = None, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """Keeps programs for the next process, and returns where; None where they are not kept.

    folder: keeps all programs there; `none` keeps nothing. None takes $GENDIFF_COMPILE_CACHE, or what JAX was told by
    its own settings, or the folder of the user. say: shows one line where that folder cannot be used.
    """
    chosen = os.environ.get(VARIABLE) if folder is None else folder
    if chosen in ("", NONE):
        _open(None)  # JAX may have one by its own variable
        return None
    if chosen is not None:
        path = foreign_files.expanded(chosen).absolute()
    elif stated := _CONFIG.jax_compilation_cache_dir:
        return Path(stated)
    elif problem := _problem():
        say(f"note: compiled programs are not kept, because {problem}; --compile-cache FOLDER keeps them elsewhere")
        return None
    else:
        path = of_user()
        jax.config.update("jax_compilation_cache_max_size", MOST_BYTES)
    _open(str(path))
    jax.config.update(_SECONDS, SHORTEST)
    return path


def _open(folder: str | None) -> None:
    """JAX would go on with a folder in which it has looked before."""
    if folder != _CONFIG.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", folder)
        compilation_cache.reset_cache()


def of_user() -> Path:
    """Where programs are kept by default: one folder per kind of processor, for a program may need instructions that
    others lack.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    kind = hashlib.sha256(" ".join(sorted(processor.flags())).encode()).hexdigest()[:12]
    return home.absolute() / "gendiff" / "programs" / f"{platform.machine()}-{kind}"


def in_use() -> bool:
    """Whether any programs are kept."""
    return bool(_CONFIG.jax_compilation_cache_dir and _CONFIG.jax_enable_compilation_cache)


def keeps_all() -> bool:
    """Whether all programs are kept, so that those for a CPU must do without oneDNN."""
    return in_use() and _CONFIG.jax_compilation_cache_dir != str(of_user())


def keeps(function: object) -> bool:
    """Whether the programs of a jitted function are kept."""
    return in_use() and not isinstance(function, Unkept)


@dataclasses.dataclass(frozen=True)
class UnkeptLowered:
    """A program of an `Unkept` function that is not compiled yet."""

    lowered: Lowered

    def compile(self) -> jax.stages.Compiled:
        """The compiled program."""
        with _PAUSE:
            return self.lowered.compile()

    def cost_analysis(self) -> Costs | list[Costs] | None:
        """What XLA counts in it."""
        return self.lowered.cost_analysis()


@dataclasses.dataclass(frozen=True)
class Unkept:
    """A jitted function whose programs are not kept, while those of others are."""

    jitted: Jitted

    def __call__(self, *arguments: PyTree, **named: PyTree) -> PyTree:
        """The result of the function."""
        with _PAUSE:
            return self.jitted(*arguments, **named)

    def lower(self, *arguments: PyTree, **named: PyTree) -> UnkeptLowered:
        """Its program for arguments like these."""
        return UnkeptLowered(self.jitted.lower(*arguments, **named))


class _Pause:
    """Within, JAX stores no program. Several threads may be within at once."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                jax.config.update(_SECONDS, math.inf)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                jax.config.update(_SECONDS, SHORTEST)


_PAUSE = _Pause()


def _problem() -> str:
    """Why the folder of the user cannot be used; "" where it can. It is made if it is missing, for this user alone."""
    if "onednn" in os.environ.get("XLA_FLAGS", ""):
        return "XLA_FLAGS gives all programs to oneDNN, whose calls jaxlib cannot store"
    if not os.environ.get("XDG_CACHE_HOME") and os.path.expanduser("~") == "~":
        return "the user has no home folder"
    path = of_user()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return str(error)
    return "" if os.access(path, os.W_OK | os.X_OK) else f"{path} cannot be written"
