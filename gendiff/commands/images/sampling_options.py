"""Options of the `sample` command, and what they mean in numbers."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import tyro

from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import grids
from gendiff.diffusion.samplers import catalogue
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs import cluster, configuration, errors
from gendiff.runs.dtypes import Dtype

DEFAULT_NUM = 16
LARGEST_INDEX = 2**31 - 1
MOST_FILES = 100_000
"""Samples that are files of their own, or in memory at once; more need shards."""
_MADE = {name.replace(" ", "-"): method.make for name, method in catalogue.METHODS.items() if method.make and not method.learned_variance}
SAMPLERS: dict[str, Callable[[Schedule], Sampler]] = _MADE | {"ddpm": _MADE["ddpm-small"]}
"""Every sampler of the library for a network without learned variances, by its name in the catalogue with "-" for a space."""
BETWEEN: dict[str, Callable[..., Level]] = {"karras": grids.karras, "log_snr": grids.log_snr}
"""Grids between two ratios sigma/alpha."""
GRIDS: dict[str, Callable[..., Level]] = {"trailing": grids.trailing, "cosine": grids.cosine} | BETWEEN | {"resolved": grids.resolved}
"""Every grid that any schedule has."""
DEFAULT_GRID = "trailing"
FEW: dict[str, Any] = {"sampler": "unipc-2", "grid": "resolved", "steps": 8, "temperature": 1.0}
"""How pictures whose values are known are drawn unless options say otherwise: `few-step` and `few-step-text` hold it against `MANY`."""
LEAST_FEW = 4
"""Steps below which `MANY` is better: the levels of `FEW` are too far apart, as the curves of `few-step` show."""
MANY: dict[str, Any] = {"sampler": "ddim", "grid": DEFAULT_GRID, "steps": 50}
"""How all else is drawn; the temperature is the model's own."""
_ELSE = f"in fewer than {LEAST_FEW} steps, or where the values of pixels are not known, ddim on trailing"
_DEFAULTS = f"Without --sampler, --grid and --eta: unipc-2 on resolved; {_ELSE}."


@dataclasses.dataclass(frozen=True)
class SampleOptions:
    """Draw samples from the network of a run folder."""

    label: int | str | None = None
    """Class of every sample: its name or, where none is called so, its number from 0 on; None takes the classes in turn, by index."""
    num: int | None = None
    """Number of samples, the same as --index 0:NUM (16 without either)."""
    index: str | None = None
    """Which samples: FIRST:END (END excluded) or a list such as 3,17,40. A sample is the same whatever is drawn beside it."""
    steps: int | None = None
    """Steps of the sampler, at most the length of the schedule's table; None is 8 of the default sampler, and 50 of others."""
    guidance: float = 1.0
    """Scale of classifier-free guidance: 0 ignores the label, 1 is the conditional network, more is more typical and less diverse."""
    sampler: Annotated[str | None, tyro.conf.arg(help=f"Which sampler: {', '.join(SAMPLERS)}. {_DEFAULTS}")] = None
    grid: Annotated[str | None, tyro.conf.arg(help=f"Which levels the steps visit: {', '.join(GRIDS)}. {_DEFAULTS}")] = None
    sigma_min: float | None = None
    """With --grid karras or log_snr: the least noise, as a ratio sigma/alpha; None is the schedule's own."""
    sigma_max: float | None = None
    """With --grid karras or log_snr: the most noise, as a ratio sigma/alpha; None is the schedule's own."""
    eta: float | None = None
    """Share of fresh noise in the samplers that have one, from 0 (none) to 1 (as ddpm); None is the sampler's own."""
    temperature: float | None = None
    """Factor on the noise that samples start from, above 0; None is 1 with the default sampler, and else the model's own."""
    dtype: Dtype | None = None
    """Type that the network computes in: auto takes bfloat16 where the processor multiplies it, None is that of the run."""
    seed: int = 0
    """Seed of the samples' noise, from 0 to 2**32 - 1."""
    ema: float | None = None
    """Length of the average that is drawn from, as a relative standard deviation such as 0.07, of a run with --ema-snapshots.

    None takes the run's own average."""
    trained_seed: int | None = None
    """Which of the run's training seeds; None takes the first."""
    out: str | None = None
    """Where to write: a folder (one PNG each), NAME.png (one grid) or NAME.npz (arrays in [-1, 1]); None is the folder RUN/samples.

    Samples that are there already are not drawn again."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace samples of other settings, or the file that is there."""
    together: int = 256
    """Samples drawn at a time, which changes memory and speed only."""
    shard_size: int | None = None
    """Write --num samples into the folder --out as files of so many each; `finalize` makes one file of them."""
    shards: str | None = None
    """With --shard-size: which shards this process draws, such as 0-9 (both included) or 3, for arrays of jobs; None is all."""
    verify: tyro.conf.FlagCreatePairsOff[bool] = False
    """With --shard-size: draw nothing, and say which shards are not complete."""
    distributed: cluster.Mode = "auto"
    """With --shard-size: share the shards with other processes: auto where SLURM, GKE or a TPU pod starts several, off never."""
    processes: int | None = None
    """With --shard-size: how many processes there are; None takes $JAX_NUM_PROCESSES, or what the cluster says."""
    process: int | None = None
    """With --shard-size: the number of this process, from 0 on; None takes $JAX_PROCESS_ID, or what the cluster says."""


@dataclasses.dataclass(frozen=True)
class SettledOptions(SampleOptions):
    """Options of which no default is open; see `settled`."""

    steps: int = MANY["steps"]
    sampler: str = MANY["sampler"]
    grid: str = MANY["grid"]


def sharded(options: SampleOptions) -> bool:
    """Whether the samples go into shards. ConfigError where options of shards come without a size, or with options that they exclude."""
    if options.shard_size is None:
        if given := [f"--{name}" for name in ("shards", "verify") if getattr(options, name)]:
            raise ConfigError(f"{given[0]} belongs to --shard-size: say how many samples a shard holds")
        return False
    if options.num is None or options.out is None or options.index is not None or options.force:
        raise ConfigError("--shard-size needs --num N and --out FOLDER, and takes neither --index nor --force")
    _check_numbers(options)
    return True


def indices(options: SampleOptions) -> np.ndarray:
    """(n,) int32, which samples to draw. ConfigError for both or nonsensical options."""
    _check_numbers(options)
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
        raise ConfigError(f"{named} names {max(count, 0)} samples: at least one is needed, each from 0 to {LARGEST_INDEX}")
    if count > MOST_FILES:
        raise ConfigError(f"{named} names {count} samples, more than {MOST_FILES}: add --shard-size 1000 and --out FOLDER")
    return np.arange(ends[0], ends[1] + 1, dtype=np.int32) if colon else np.array(ends, np.int32)


def _check_numbers(options: SampleOptions) -> None:
    configuration.check_seed(options.seed)
    for name in ("together", "steps"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise ConfigError(f"--{name} {number} must be at least 1")
    if not 0 <= options.guidance < np.inf:
        raise ConfigError(f"--guidance {options.guidance:g} is outside [0, inf)")
    if options.temperature is not None and not 0 < options.temperature < np.inf:
        raise ConfigError(f"--temperature {options.temperature:g} is outside (0, inf)")


def numbered(options: SampleOptions, names: Sequence[str], num_classes: int) -> SampleOptions:
    """The options with the number of the class in place of its name. ConfigError for a name that the model does not know."""
    if str(options.label) in names:
        return dataclasses.replace(options, label=list(names).index(str(options.label)))
    if isinstance(options.label, str) and num_classes:
        known = f"; {errors.hint(options.label, names)}" if names else f": this model's classes have no names, give 0 … {num_classes - 1}"
        raise ConfigError(f"--label {options.label}: no class is called so{known}")
    return options


def labels(options: SampleOptions, num_classes: int, index: np.ndarray) -> np.ndarray:
    """(n,) int32, the class of each sample; NO_LABEL without classes. ConfigError for a label that the model does not know."""
    if num_classes == 0:
        if options.label is not None or options.guidance != 1.0:
            raise ConfigError("--label and --guidance need a model with classes, and this one has none")
        return np.full(index.shape, NO_LABEL, np.int32)
    if options.label is None:
        return (index % num_classes).astype(np.int32)
    if isinstance(options.label, str) or not 0 <= options.label < num_classes:
        raise ConfigError(f"--label {options.label} is outside 0 … {num_classes - 1}: the model knows {num_classes} classes")
    return np.full(index.shape, options.label, np.int32)


def settled(options: SampleOptions, model: Model) -> "SettledOptions":
    """The options with what the defaults say in place of None; a temperature that is still None is the model's own."""
    free = options.sampler is None and options.grid is None and options.eta is None
    enough = options.steps is None or options.steps >= LEAST_FEW
    default = FEW if free and enough and model.levels is not None else MANY
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return SettledOptions(**given | {name: value for name, value in default.items() if given[name] is None})


def settings(options: SettledOptions) -> dict[str, Any]:
    """What a sample depends on beside its index and label. Those of grid and average are left out where nothing was chosen."""
    always, chosen = ("steps", "guidance", "sampler", "eta", "temperature", "seed"), ("grid", "sigma_min", "sigma_max", "ema")
    names = [*always, *(name for name in chosen if getattr(options, name) != getattr(SettledOptions, name))]
    return {name: getattr(options, name) for name in names}


def levels(grid: str, between: tuple[float | None, float | None], steps: int, model: Model) -> Level:
    """The levels (steps + 1,) that are visited. ConfigError for an unknown grid, and for numbers that do not suit it or the model.

    between: the least and the most noise, as ratios sigma/alpha; None is the schedule's own.
    """
    if grid not in GRIDS:
        raise ConfigError(f"--grid {grid}: no grid has that name; {errors.hint(grid, GRIDS)}")
    given = [f"--{name} {value:g}" for name, value in zip(("sigma-min", "sigma-max"), between, strict=True) if value is not None]
    if given and grid not in BETWEEN:
        raise ConfigError(f"{given[0]} belongs to --grid {' or '.join(BETWEEN)}, and --grid {grid} finds its own levels")
    numbers = dict(zip(("sigma_min", "sigma_max"), between, strict=True)) if grid in BETWEEN else {}
    if grid == "resolved":
        if model.levels is None:
            hint = "use --grid log_snr with --sigma-min and --sigma-max"
            raise ConfigError(f"--grid resolved needs data whose values are known, and this model does not say how many there are: {hint}")
        numbers = {"resolution": 2 / (model.levels - 1), "norm": math.sqrt(math.prod(model.shape))}  # the largest norm within [-1, 1]
    try:
        return GRIDS[grid](model.schedule, steps, **numbers)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--steps {steps} of --grid {grid}: {error}") from error


def sampler(name: str, eta: float | None, schedule: Schedule) -> Sampler:
    """The sampler of that name. ConfigError for an unknown one, and for an eta that it does not have or that is out of range."""
    if name not in SAMPLERS:
        raise ConfigError(f"--sampler {name}: no sampler has that name; {errors.hint(name, SAMPLERS)}")
    try:
        chosen: Any = SAMPLERS[name](schedule)
        if eta is None:
            return chosen
        if "eta" not in (each.name for each in dataclasses.fields(chosen)):
            raise ConfigError(f"--eta {eta:g}: --sampler {name} has no such number")
        return dataclasses.replace(chosen, eta=eta)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"--sampler {name}: {error}") from error
