"""Checks that the packages are there, then hands over to the command line. Nothing heavy is imported before."""

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

NEEDED = (
    *(
        "jax",
        "flax",
        "optax",
        "orbax.checkpoint",
        "numpy",
        "scipy",
        "jaxtyping",
        "safetensors",
        "msgspec",
        "filelock",
        "jinja2",
    ),
    *("tyro", "rich", "matplotlib", "PIL", "sklearn", "skimage"),
)


def missing_packages() -> list[str]:
    """Those of `NEEDED` that this Python cannot find; none of them is imported to see."""

    def present(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return [name for name in NEEDED if not present(name)]


def leave_when_asked() -> None:
    """From here until the command line takes the signals: one of them ends the process with 42, for packages take
    seconds to import.
    """
    for name in ("SIGTERM", "SIGUSR1", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(
        2, f"interrupted by {signal.Signals(number).name}: nothing had begun, run the same command to go on\n".encode()
    )
    os._exit(42)


def main(catalogue: str, remedy: Callable[[], str]) -> int:
    """The exit code of the command that was typed.

    Args:
        catalogue: module with the `EXPERIMENTS` that may be run.
        remedy: what brings the packages that are missing, in words; called only where some are.
    """
    if missing := missing_packages():
        print(f"error: this Python ({sys.executable}) lacks {', '.join(missing)}: {remedy()}", file=sys.stderr)
        return 2
    leave_when_asked()
    from gendiff.commands import command_line

    code = command_line.main(sys.argv[1:], importlib.import_module(catalogue).EXPERIMENTS)
    if code == 42:  # XLA may still compute what a signal cut short, and crashes when Python takes itself down meanwhile
        os._exit(code)
    return code
