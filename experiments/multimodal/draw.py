"""The `sample` command: digits of a caption, and what the same network says that they show."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from experiments.multimodal import documents, measures, tasks
from experiments.multimodal.config import BOTH, Config
from gendiff.commands import drawing_options
from gendiff.commands.drawing_options import RunOptions, SteppedOptions, option
from gendiff.core.errors import ConfigError
from gendiff.data import digits
from gendiff.runs import compile_cache, drawing, ranges, run_folder, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.reporting import figures
from gendiff.runs.run_folder import RunFolder

MOST, MOST_STEPS = 1000, 1000


@dataclasses.dataclass(frozen=True)
class SampleOptions(RunOptions, SteppedOptions):
    """Draw digits from captions with a network of a run folder, which then captions its own pictures."""

    caption: str | None = None
    """What to draw, such as "a three" or "an eight"; None takes the digits in turn."""
    num: int = 20
    guidance: Annotated[float | None, option("guidance", "None takes that of the run.")] = None
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE.png")] = None
    """Where to write; None is samples.png in the run folder."""


def _sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit the run, and the errors of `training_loop.restore_ema`."""
    seed = ranges.trained_seed(options.trained_seed, config.seeds)
    file = Path(options.out).expanduser() if options.out else folder.path / "samples.png"
    check(options, file)
    compile_cache.use(say=progress.line)
    known = captions()
    labels = (
        np.arange(options.num) % digits.CLASSES
        if options.caption is None
        else np.full(options.num, known.index(options.caption))
    )
    config = dataclasses.replace(
        config,
        guidance=config.guidance if options.guidance is None else options.guidance,
        sampling_steps=options.steps or config.sampling_steps,
    )
    params = vmapped_seeds.of_seed(documents.restore(config, folder, BOTH), config.seeds.index(seed))
    pictures = measures.draw(config, params, labels, options.seed)
    drawing.check_finite(pictures, np.arange(options.num))
    written = measures.captioned(config, params, pictures)
    file.parent.mkdir(parents=True, exist_ok=True)
    figures.grid(pictures, digits.CLASSES, file, "samples")
    same = sum(known[label] == words for label, words in zip(labels, written, strict=True))
    progress.line(f"{options.num} pictures: {file}; the network says of {same} of them what was asked for")


def captions() -> list[str]:
    """What the network knows to draw, by digit."""
    task = tasks.known_digits()
    return task.words.decode(tasks.captions(np.arange(digits.CLASSES))[:, 1:])


def check(options: SampleOptions, file: Path) -> None:
    """ConfigError for options out of their range, a caption that no training had, and a file that cannot be written."""
    drawing_options.check(options, num=MOST, steps=MOST_STEPS)
    if options.caption is not None:
        ranges.known("caption", (options.caption,), captions())
    if file.suffix.lower() != ".png":
        raise ConfigError(f"--out {file} must be named .png")
    run_folder.writable("out", file, file=True)
    ranges.replaceable(file, options.force)


SAMPLE = SampleCommand(SampleOptions, _sample)
