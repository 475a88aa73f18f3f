"""Options of the command `video`."""

import dataclasses
from typing import Annotated

import tyro

from gendiff.commands.drawing_options import SteppedOptions
from gendiff.runs.registry import Late, Tool


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


COMMAND = Tool(
    CommandOptions,
    Late("gendiff.commands.video.draw"),
    "Clips of moving digits, frame by frame, by the network that comes with the package.",
)
