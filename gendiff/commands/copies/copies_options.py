"""Options of `copies`, and what is checked of them before anything is read."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs import run_folder

JSON, PAGE = "copies.json", "copies.html"
DRAWN = 256
"""Samples that are drawn of a run that left none."""

OF_PICTURES = (
    "features",
    "inception_weights",
    "resize",
    "threshold",
    "num",
    "size",
    "mode",
    "background",
    "on_bad_image",
)
OF_TEXTS = ("span", "unit")


@dataclasses.dataclass(frozen=True)
class CopiesOptions:
    """Show which training pictures, or training texts, samples copy, the most striking pairs first."""

    samples: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|SAMPLES")]
    """A run folder, or samples from anywhere: a folder of pictures or of shards, an .npz or .npy; with --text a file or
    folder of texts.
    """
    train: Annotated[str, tyro.conf.arg(metavar="DATA")]
    """What was trained on: a folder of pictures, an .npz, .npy or .arrayrecord, a saved Hugging Face dataset; or
    texts.
    """
    held_out: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = None
    """The like of it that was not trained on. It shows how many fresh pictures or texts look like copies by chance."""
    text: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compare texts (.txt, .md, .rst), one per file, by the longest part that stands in a training text word for
    word.
    """
    span: int = 20
    """With --text: words in a row from which on a text counts as a copy."""
    unit: Literal["words", "characters"] = "words"
    """With --text: what a span is counted in. Words are what stands between spaces."""
    features: Literal["small-pixels", "pixels", "random-convolutions", "classifier", "inception"] = "small-pixels"
    """What distances are taken of: pixels averaged to about 16 per side, all pixels, a fixed random network, or the
    pool of a classifier or of Inception."""
    inception_weights: str | None = None
    """Parameters of Inception-v3 by torchvision's names, a .safetensors or .pth file."""
    resize: Literal["clean-fid", "tf"] = "clean-fid"
    """How Inception's pictures get 299 pixels."""
    threshold: float = 0.6
    """A sample is a near-copy where its nearest training picture is less than this many times as far away as the
    second-nearest.
    """
    pairs: int = 24
    """Pairs to show and list, at most."""
    num: int | None = None
    """Of a RUN: draw as many samples as this. None takes what `sample RUN` left, or draws 256."""
    size: int | None = None
    """Pixels per side to which all pictures are resized and cropped; None takes the samples' own."""
    mode: Literal["RGB", "L"] | None = None
    """Colour or grey; None takes the samples' own, colour for files of pictures."""
    background: tuple[int, int, int] | None = None
    """Colour under transparent pictures, such as 255 255 255; without one they are an error."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """skip leaves out pictures that cannot be read; raise stops and lists them."""
    out: str | None = None
    """Folder for copies.html and copies.json; None is runs/copies. An earlier report there is replaced."""


def check(options: CopiesOptions) -> Path:
    """The folder to write into, which may be absent. ConfigError for options out of range and places that cannot be
    written.
    """
    if not 0 < options.threshold <= 1:
        raise ConfigError(f"--threshold {options.threshold:g} is outside (0, 1]")
    if options.pairs < 0:
        raise ConfigError(f"--pairs {options.pairs} must be at least 0")
    if options.span < 1:
        raise ConfigError(f"--span {options.span} must be at least 1")
    _check_kind(options)
    if options.num is not None and options.num < 1:
        raise ConfigError(f"--num {options.num} must be at least 1")
    if options.num is not None and not foreign_files.expanded(options.samples).exists():
        raise ConfigError(
            f"--num belongs to a run folder, and {options.samples} is not there; `train PHOTOS` makes one"
        )
    if options.num is not None and not is_run(options.samples):
        raise ConfigError(f"--num belongs to a run folder, and {options.samples} is none: all samples of it are taken")
    return run_folder.for_findings(Path("runs", "copies") if options.out is None else options.out, JSON)


def is_run(samples: str) -> bool:
    """Whether the name is that of a run folder."""
    return (foreign_files.expanded(samples) / "config.json").is_file()


def _check_kind(options: CopiesOptions) -> None:
    """ConfigError for options of pictures beside --text, and of texts without it."""
    if options.text and is_run(options.samples):
        raise ConfigError(
            f"--text: {options.samples} is a run folder, and runs draw pictures: give a file or folder of texts"
        )
    for field in dataclasses.fields(options):
        foreign = field.name in OF_PICTURES if options.text else field.name in OF_TEXTS
        if foreign and getattr(options, field.name) != field.default:
            name = f"--{field.name.replace('_', '-')}"
            raise ConfigError(
                f"{name} is for pictures: leave it out, or --text"
                if options.text
                else f"{name} is for texts: add --text"
            )
