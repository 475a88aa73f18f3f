"""Options of `data-report`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from gendiff.runs.ranges import Byte, Count, Natural, Positive, Side


@dataclasses.dataclass(frozen=True)
class DataReportOptions:
    """Show what is in a set of pictures or sounds: sizes, licences, AI marks, opt-outs, repeats and hashes."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA|RUN")]
    """What `train` takes: a folder of pictures or of sounds, an .npz, .npy or .arrayrecord, a saved Hugging Face
    dataset, emoji or textures; or a run folder of `train` or `tune`.
    """
    held_out: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = None
    """Pictures that are not trained on, to see which of them stand among the others. A run knows its own."""
    size: Side | None = None
    """Pixels per side at which pictures are compared; None: 64 for folders, arrays keep theirs. Of sounds, mel bins."""
    mode: Literal["RGB", "L"] | None = None
    """Colour or grey; None is RGB, and arrays keep their channels."""
    background: tuple[Byte, Byte, Byte] | None = None
    """Colour under transparent pictures, such as 255 255 255; without one they are left out, and counted."""
    sample_rate: Count | None = None
    """Samples per second at which sounds are compared; None is 16000."""
    seconds: Positive | None = None
    """How much of each sound is compared, from its start; None is 1.02 s at 16000 Hz."""
    near: Natural = 4
    """Pictures nearly equal each other where the root mean square difference of their 16 pixels per side is at most so
    many of 255 levels.
    """
    pictures: Natural = 24
    """Pictures to show, drawn at random, and pairs of repeats, at most."""
    out: str | None = None
    """Folder of the report; None is runs/data-report, or the run's own. An earlier report there is replaced."""
