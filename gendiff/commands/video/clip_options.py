"""Options of the command `video`."""

import dataclasses
from typing import Annotated

import tyro

from gendiff.commands import drawing_options
from gendiff.commands.drawing_options import SteppedOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.registry import Late, Tool

MOST, MOST_STEPS, MOST_FRAMES = 1000, 1000, 10_000


@dataclasses.dataclass(frozen=True)
class ClipOptions(SteppedOptions):
    """What clips are drawn."""

    num: int = 16
    label: int | None = None
    """The digit that all of them show, 0 to 9; None takes the digits in turn."""
    frames: int | None = None
    """Frames of each clip, 1 to 10,000; None takes as many as a training clip has. Only the causal network draws more
    or fewer.
    """
    noise: float | None = None
    """Context noise of a rollout, from 0 below 1; None takes that of the run."""
    columns: int = 8
    """Clips in a row of the sheet."""


@dataclasses.dataclass(frozen=True)
class CommandOptions(ClipOptions):
    """Draw clips of moving digits frame by frame, by the network that comes with the package."""

    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "clips.webp"
    """Where to write: .webp, .gif, or .mp4 with the package that it needs."""
    model: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """A .safetensors file that `run video` left; None takes the one that comes along."""


def check(options: ClipOptions) -> None:
    """ConfigError for options out of their range."""
    drawing_options.check(options, num=MOST, steps=MOST_STEPS)
    ranges.counted("frames", options.frames, MOST_FRAMES)
    ranges.counted("columns", options.columns, MOST)
    if options.label is not None and not 0 <= options.label <= 9:
        raise ConfigError(f"--label {options.label} is outside 0 … 9")
    if options.noise is not None and not 0 <= options.noise < 1:
        raise ConfigError(f"--noise {options.noise:g} must be at least 0 and below 1")


COMMAND = Tool(
    CommandOptions,
    Late("gendiff.commands.video.draw"),
    "Clips of moving digits, frame by frame, by the network that comes with the package.",
    check=check,
)
