"""The numbers of the scaling-train experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several, Share, Some

Width = Annotated[int, msgspec.Meta(ge=8, le=4096, multiple_of=8)]
Depth = Annotated[int, msgspec.Meta(ge=1, le=64)]
Budget = Annotated[float, msgspec.Meta(ge=1e3, le=1e30)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    interior: Share = 1.0
    """Share of the budgets whose best size lies between the smallest and the largest one trained, at least."""
    r_squared: Annotated[float, msgspec.Meta(le=1)] = 0.97
    """R² of the line through the logs of the budgets and of their least losses, at least."""
    bend: float = 0.0
    """Exponent of the best size by Kaplan's protocol less that of matched horizons, at least."""
    rate: NonNegative = 0.02
    """Loss at the learning rate of the width rule above the least at the rates beside it, at either of two sizes, at most."""
    gain: Positive = 0.2
    """Least loss of the smallest budget above that of the largest, in nats per byte, at least; texts of shuffled bytes must miss it."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The networks and the budgets of one kind of data."""

    widths: Some[Width]
    """Channels of a token in each network, from the smallest network on."""
    depths: Some[Depth]
    """Blocks of each."""
    budgets: Distinct[Budget]
    """Operations of a training, rising."""
    batch: Count
    """Texts or pictures per step."""
    rate: Positive
    """Peak learning rate times the width: the rule for all widths."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of initial parameters and of the order of the data; each trains every network."""
    together: bool = True
    """Whether all seeds of a network train side by side in one program, or one after another."""
    text: Sweep = Sweep(
        widths=(8, 16, 24, 32, 48, 64, 80),
        depths=(2, 2, 2, 2, 2, 2, 2),
        budgets=(3e10, 1e11, 3e11, 1e12),
        batch=4,
        rate=0.3,
    )
    """Language models of bytes."""
    pictures: Sweep = Sweep(
        widths=(24, 32, 48, 64, 96, 128),
        depths=(2, 2, 2, 2, 2, 2),
        budgets=(1e11, 3e11, 1e12, 3e12),
        batch=32,
        rate=0.1,
    )
    """Diffusion transformers of rendered shapes. A token has 12 numbers, and a width is more than 1.5 times as many."""
    length: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 128
    """Bytes of a row of text."""
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    """Share of the files that is not trained on."""
    judged: Annotated[int, msgspec.Meta(ge=8, le=2**20)] = 512
    """Rows of held-out text, and held-out pictures."""
    least_steps: Count = 40
    """A network is left out of a budget that gives it fewer steps."""
    horizon: Several = 8000
    """Steps of the fixed horizon of Kaplan's protocol, the same for all sizes."""
    warm_up: Share = 0.05
    """Share of the horizon over which the learning rate rises."""
    final: Share = 0.1
    """Share of the peak learning rate that is left at the horizon."""
    factors: Distinct[Positive] = (0.5, 2.0)
    """Learning rates beside the rule's, as factors on it."""
    checked: tuple[int, int] = (1, 4)
    """Which two networks of text are trained at these rates, by number from 0 on, with the second budget."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW on matrices."""
    clip: Positive = 1.0
    """Largest global norm of the gradient."""
    checkpoint_every: Count = 2000
    """Steps between checkpoints."""
    resamples: Several = 1000
    """Draws behind each interval of an exponent."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for name in ("text", "pictures"):
        _check_sweep(name, getattr(config, name))
    networks = len(config.text.widths)
    first, second = config.checked
    if not 0 <= first < second < networks:
        raise ConfigError(f"--checked {first} {second}: two rising numbers from 0 to {networks - 1} are needed, those of --text.widths")


def _check_sweep(name: str, of: Sweep) -> None:
    ranges.rising(f"{name}.budgets", of.budgets)
    if len(of.budgets) < 2:
        raise ConfigError(f"--{name}.budgets {ranges.shown(of.budgets)} must be two or more: what grows with them is asked for")
    if len(of.widths) != len(of.depths):
        both = f"--{name}.widths {ranges.shown(of.widths)} and --{name}.depths {ranges.shown(of.depths)}"
        raise ConfigError(f"{both} must be as many: one of each for every network")
