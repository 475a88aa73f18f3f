"""Options of `sample RUN`, and what they mean in numbers; those of `finalize` and `evaluate` of its samples.

JAX is not loaded.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from gendiff.commands import drawing_options
from gendiff.commands.drawing_options import GRIDS, MOST_FILES, RunOptions, SteppedOptions, option
from gendiff.commands.images import feature_options
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.core.errors import ConfigError
from gendiff.core.foreign_files import Config
from gendiff.core.no_label import NO_LABEL
from gendiff.runs import cluster, errors, ranges, run_folder
from gendiff.runs.dtypes import Dtype
from gendiff.runs.registry import Command, Late, SampleCommand

if TYPE_CHECKING:
    from gendiff.commands.images.image_model import Model

DEFAULT_NUM = 16
LARGEST_INDEX = 2**31 - 1
FEW: Config = {"sampler": "unipc-2", "grid": "resolved", "steps": 8, "temperature": 1.0}
"""How pictures whose values are known are drawn unless options say otherwise: `few-step` and `few-step-text` hold it
against `MANY`.
"""
LEAST_FEW = 4
"""Steps below which `MANY` is better: the levels of `FEW` are too far apart, as the curves of `few-step` show."""
MANY: Config = {"sampler": "ddim", "grid": drawing_options.DEFAULT_GRID, "steps": 50}
"""How all else is drawn; the temperature is the model's own."""
ENDINGS = (".npz", ".tar", ".arrayrecord")
"""Of files of samples that `finalize` writes."""
_ELSE = f"in fewer than {LEAST_FEW} steps, or where the values of pixels are not known, ddim on trailing"
_STEPS = "At most the length of the schedule's table; None is 8 of the default sampler, and 50 of others."
_DEFAULTS = f"Without --sampler, --grid and --eta: unipc-2 on resolved; {_ELSE}."


@dataclasses.dataclass(frozen=True)
class SampleOptions(RunOptions, SteppedOptions):
    """Draw samples from the network of a run folder."""

    label: int | str | None = None
    """Class of every sample: its name or, where none is called so, its number from 0 on; None takes the classes in
    turn, by index.
    """
    index: str | None = None
    """Which samples: FIRST:END (END excluded) or a list such as 3,17,40. None is 0:NUM, and 0:16 without --num."""
    steps: Annotated[int | None, option("steps", _STEPS)] = None
    guidance: Annotated[float, option("guidance")] = 1.0
    sampler: Annotated[str | None, option("sampler", _DEFAULTS)] = None
    grid: Annotated[
        str | None, tyro.conf.arg(help=f"Which levels the steps visit: {', '.join(GRIDS)}. {_DEFAULTS}")
    ] = None
    sigma_min: float | None = None
    """With --grid karras or log_snr: the least noise, as a ratio sigma/alpha; None is the schedule's own."""
    sigma_max: float | None = None
    """With --grid karras or log_snr: the most noise, as a ratio sigma/alpha; None is the schedule's own."""
    eta: float | None = None
    """Share of fresh noise in the samplers that have one, from 0 (none) to 1 (as ddpm); None is the sampler's own."""
    temperature: float | None = None
    """Factor on the noise that samples start from, above 0; None is 1 with the default sampler, and else the model's
    own.
    """
    dtype: Dtype | None = None
    """Type that the network computes in: auto takes bfloat16 where the processor multiplies it, None is that of the
    run.
    """
    ema: float | None = None
    """Length of the average that is drawn from, as a relative standard deviation such as 0.07, of a run with
    --ema-snapshots.

    None takes the run's own average."""
    out: str | None = None
    """Where to write: a folder (one PNG each, of sounds one WAV), NAME.png (one grid) or NAME.npz (arrays in [-1, 1]);
    None is the folder RUN/samples.

    Samples that are there already are not drawn again. --force replaces those of other settings."""
    together: Annotated[int, option("together")] = 256
    shard_size: int | None = None
    """Write --num samples into the folder --out as files of so many each; `finalize` makes one file of them."""
    shards: str | None = None
    """With --shard-size: which shards this process draws, such as 0-9 (both included) or 3, for arrays of jobs; None is
    all.
    """
    verify: tyro.conf.FlagCreatePairsOff[bool] = False
    """With --shard-size: draw nothing, and say which shards are not complete."""
    distributed: cluster.Mode = "auto"
    """With --shard-size: share the shards with other processes: auto where SLURM, GKE or a TPU pod starts several, off
    never.
    """
    processes: int | None = None
    """With --shard-size: how many processes there are; None takes $JAX_NUM_PROCESSES, or what the cluster says."""
    process: int | None = None
    """With --shard-size: the number of this process, from 0 on; None takes $JAX_PROCESS_ID, or what the cluster
    says.
    """


@dataclasses.dataclass(frozen=True)
class ResolvedOptions(SampleOptions):
    """Options of which no default is open; see `settled`."""

    steps: int = MANY["steps"]
    sampler: str = MANY["sampler"]
    grid: str = MANY["grid"]


@dataclasses.dataclass(frozen=True)
class FinalizeOptions:
    """Make one file of the samples of a folder."""

    to: str
    """File to write: NAME.npz (arr_0, uint8 NHWC, and the labels arr_1), NAME.tar (one PNG per sample) or
    NAME.arrayrecord.
    """


@dataclasses.dataclass(frozen=True)
class ScoreOptions(FeatureOptions):
    """Measure how far the samples of a folder are from reference images."""

    reference: str | None = None
    """Pictures (whatever `train` takes), or an .npz of images (arr_0) or of statistics of such features (mu, sigma)."""
    background: tuple[int, int, int] | None = None
    """Colour under transparent reference pictures, such as 255 255 255; without one they are an error."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """skip leaves out reference pictures that cannot be read; raise stops and lists them."""
    save_statistics: str | None = None
    """Write the samples' own statistics to this .npz, to be the reference of others."""


def command(call: Callable[..., None]) -> SampleCommand:
    """How `sample RUN` draws images, by `call`, and what there is to do with the samples."""
    finalize = Late("gendiff.commands.images.sample_archives", "finalize")
    evaluate = Late("gendiff.commands.images.sample_scores", "evaluate")
    return SampleCommand(
        SampleOptions,
        call,
        check=check,
        finalize=Command(FinalizeOptions, finalize, check=check_archive),
        evaluate=Command(ScoreOptions, evaluate, check=check_scores),
    )


def check(options: SampleOptions) -> None:
    """ConfigError for numbers that no model takes, and options that exclude each other."""
    drawing_options.check(options, num=None)
    if options.temperature is not None and not 0 < options.temperature < math.inf:
        raise ConfigError(f"--temperature {options.temperature:g} is outside (0, inf)")
    if options.grid is not None:
        ranges.known("grid", [options.grid], GRIDS)
    if options.out is not None and "://" in options.out:
        raise ConfigError(f"--out {options.out} is a URL: write to a local file and copy it")
    if not sharded(options):
        indices(options)


def check_archive(options: FinalizeOptions) -> None:
    """ConfigError for a file that cannot be written."""
    _check_file("to", options.to, ENDINGS)


def _check_file(option: str, path: str, endings: tuple[str, ...]) -> None:
    out = run_folder.writable(option, path, file=True)
    if out.suffix not in endings:
        raise ConfigError(f"--{option} {path}: give a name that ends in {', '.join(endings)}")
    if not out.parent.is_dir():
        raise ConfigError(f"--{option} {path}: there is no folder {out.parent}")


def check_scores(options: ScoreOptions) -> None:
    """ConfigError where nothing is to be computed, options need each other, or a file cannot be written."""
    if options.reference is None and options.save_statistics is None:
        raise ConfigError("evaluate SAMPLES needs --reference PICTURES, --save-statistics FILE.npz, or both")
    feature_options.check(options)
    if options.save_statistics is not None:
        _check_file("save-statistics", options.save_statistics, (".npz",))


def sharded(options: SampleOptions) -> bool:
    """Whether the samples go into shards. ConfigError where options of shards come without a size, or with options that
    they exclude.
    """
    if options.shard_size is None:
        if excluded := [f"--{name}" for name in ("shards", "verify") if getattr(options, name)]:
            raise ConfigError(f"{excluded[0]} belongs to --shard-size: say how many samples a shard holds")
        return False
    if options.num is None or options.out is None or options.index is not None or options.force:
        raise ConfigError("--shard-size needs --num N and --out FOLDER, and takes neither --index nor --force")
    return True


def indices(options: SampleOptions) -> np.ndarray:
    """(n,) int32, which samples to draw. ConfigError for both or nonsensical options."""
    if options.num is not None and options.index is not None:
        raise ConfigError(f"--num {options.num} is short for --index 0:{options.num}: give one of the two, not both")
    text = f"0:{DEFAULT_NUM if options.num is None else options.num}" if options.index is None else options.index
    named = f"--num {options.num}" if options.index is None else f"--index {text}"
    first, colon, end = text.partition(":")
    try:
        ends = [int(first or 0), int(end) - 1] if colon else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--index {text}: give FIRST:END, such as 0:16, or a list, such as 3,17,40") from error
    count = ends[1] - ends[0] + 1 if colon else len(ends)
    if count < 1 or min(ends) < 0 or max(ends) > LARGEST_INDEX:
        raise ConfigError(
            f"{named} names {max(count, 0)} samples: at least one is needed, each from 0 to {LARGEST_INDEX}"
        )
    if count > MOST_FILES:
        raise ConfigError(
            f"{named} names {count} samples, more than {MOST_FILES}: add --shard-size 1000 and --out FOLDER"
        )
    return np.arange(ends[0], ends[1] + 1, dtype=np.int32) if colon else np.array(ends, np.int32)


def numbered(options: SampleOptions, names: Sequence[str], num_classes: int) -> SampleOptions:
    """The options with the number of the class in place of its name. ConfigError for a name that the model does not
    know.
    """
    if str(options.label) in names:
        return dataclasses.replace(options, label=list(names).index(str(options.label)))
    if isinstance(options.label, str) and num_classes:
        known = (
            f"; {errors.hint(options.label, names)}"
            if names
            else f": this model's classes have no names, give 0 … {num_classes - 1}"
        )
        raise ConfigError(f"--label {options.label}: no class is called so{known}")
    return options


def labels(options: SampleOptions, num_classes: int, index: np.ndarray) -> np.ndarray:
    """(n,) int32, the class of each sample; NO_LABEL without classes. ConfigError for a label that the model does not
    know.
    """
    if num_classes == 0:
        if options.label is not None or options.guidance != 1.0:
            raise ConfigError("--label and --guidance need a model with classes, and this one has none")
        return np.full(index.shape, NO_LABEL, np.int32)
    if options.label is None:
        return (index % num_classes).astype(np.int32)
    if isinstance(options.label, str) or not 0 <= options.label < num_classes:
        raise ConfigError(
            f"--label {options.label} is outside 0 … {num_classes - 1}: the model knows {num_classes} classes"
        )
    return np.full(index.shape, options.label, np.int32)


def resolve(options: SampleOptions, model: "Model") -> ResolvedOptions:
    """The options with what the defaults say in place of None; a temperature that is still None is the model's own."""
    free = options.sampler is None and options.grid is None and options.eta is None
    enough = options.steps is None or options.steps >= LEAST_FEW
    default = FEW if free and enough and model.levels is not None else MANY
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return ResolvedOptions(**values | {name: value for name, value in default.items() if values[name] is None})


def settings(options: ResolvedOptions) -> dict[str, object]:
    """What a sample depends on beside its index and label. Those of grid and average are left out where nothing was
    chosen.
    """
    always, chosen = (
        ("steps", "guidance", "sampler", "eta", "temperature", "seed"),
        ("grid", "sigma_min", "sigma_max", "ema"),
    )
    names = [*always, *(name for name in chosen if getattr(options, name) != getattr(ResolvedOptions, name))]
    return {name: getattr(options, name) for name in names}
