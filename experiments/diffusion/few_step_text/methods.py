"""Every way to draw from a network that reads captions, and how many evaluations of the network it makes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from experiments.diffusion.few_step_text.config import Guiding
from experiments.diffusion.students import STUDENTS
from gendiff.core import records
from gendiff.diffusion import feature_cache, guidance, samplers, stateful_denoiser
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser
from gendiff.networks import DeepFeatures

DDIM, UNIPC, LEARNED = "DDIM", "UniPC 2, resolved levels", "UniPC 2, learned levels"
GUIDED_DDIM, GUIDED, GUIDED_MULTISTEP = "guided DDIM", "guided UniPC 2", "guided DPM-Solver++ 2M"
INTERVAL, ADAPTIVE, CACHED = "guided on an interval", "adaptive guidance", "guided, cached features"
UNTRAINED = "untrained network"
SHALLOW = DeepFeatures(1)
"""What a network keeps: all but its first convolution, its last block and its output."""


Ends = tuple[float, float]
NOWHERE, EVERYWHERE = (0.0, 0.0), (0.0, math.inf)
"""Where there is guidance: above the first sigma/alpha, up to the second one."""


@records.record
class Numbers:
    """The numbers of guidance as data of a program."""

    scale: Any
    low: Any
    high: Any
    stop: Any
    every: Any


Rule = Callable[[Any, Any, Numbers], Denoiser]
"""(conditional, unconditional, numbers) -> the denoiser that is sampled."""


def on_interval(conditioned: NetworkDenoiser, absent: NetworkDenoiser, numbers: Numbers) -> Denoiser:
    """Guidance on an interval, with one evaluation outside of it. One program serves all intervals, with none and with
    all levels too.
    """
    scale = guidance.interval(numbers.scale, numbers.low, numbers.high)
    return guidance.classifier_free(conditioned, absent, scale, batched=True)


def adaptive(conditioned: NetworkDenoiser, absent: NetworkDenoiser, numbers: Numbers) -> Denoiser:
    """Guidance until both predictions of all pictures of a call agree."""
    return guidance.adaptive_guidance(conditioned, absent, numbers.scale, threshold=numbers.stop, batched=True)


def cached(conditioned: NetworkDenoiser, absent: NetworkDenoiser, numbers: Numbers) -> Denoiser:
    """Guidance of a network that keeps its deep features from one step to the next."""
    both = [feature_cache(each, SHALLOW, numbers.every) for each in (conditioned, absent)]
    return stateful_denoiser.guided(guidance.classifier_free, both, numbers.scale)


def alone(conditioned: Denoiser, absent: Denoiser, numbers: Numbers) -> Denoiser:
    """The network that is told the caption, whatever it is."""
    return conditioned


@dataclass(frozen=True)
class Method:
    """One way to draw. Those of equal rule and sampler, with a second time or without, share a program.

    resolved: whether its levels are those that the data resolve, else they are `grids.trailing`. guided: where it
    guides; None is the interval of the network. student: the one that draws, which needs no guidance; empty where the
    network does.
    """

    rule: Rule
    sampler: Sampler
    resolved: bool
    guided: Ends | None
    student: str = ""

    @property
    def second_time(self) -> bool:
        """Whether its network is told one."""
        return bool(self.student) and STUDENTS[self.student].second_time

    def numbers(self, guiding: Guiding, interval: int = 2) -> Numbers:
        """For one network. interval: of cached features, steps from one evaluation of the whole network to the next."""
        low, high = self.guided or (guiding.low, guiding.high)
        return Numbers(
            scale=jnp.float32(guiding.scale),
            low=jnp.float32(low),
            high=jnp.float32(high),
            stop=jnp.float32(guiding.stop),
            every=jnp.int32(interval),
        )


_DDIM, _UNIPC, _MULTISTEP = samplers.ddim(), samplers.unipc(2), samplers.dpm_solver_multistep(2)
METHODS: dict[str, Method] = {
    DDIM: Method(on_interval, _DDIM, resolved=False, guided=NOWHERE),
    UNIPC: Method(on_interval, _UNIPC, resolved=True, guided=NOWHERE),
    LEARNED: Method(on_interval, _UNIPC, resolved=True, guided=NOWHERE),
    GUIDED_DDIM: Method(on_interval, _DDIM, resolved=False, guided=EVERYWHERE),
    GUIDED: Method(on_interval, _UNIPC, resolved=True, guided=EVERYWHERE),
    GUIDED_MULTISTEP: Method(on_interval, _MULTISTEP, resolved=False, guided=EVERYWHERE),
    INTERVAL: Method(on_interval, _UNIPC, resolved=True, guided=None),
    ADAPTIVE: Method(adaptive, stateful_denoiser.stateful(_UNIPC), resolved=True, guided=EVERYWHERE),
    CACHED: Method(cached, stateful_denoiser.stateful(_UNIPC), resolved=True, guided=EVERYWHERE),
    **{
        name: Method(alone, taught.sampler, resolved=False, guided=NOWHERE, student=name)
        for name, taught in STUDENTS.items()
    },
    UNTRAINED: Method(on_interval, _UNIPC, resolved=True, guided=EVERYWHERE),
}
"""By the name in tables. Those under guidance which save evaluations are held against GUIDED in as many steps.
UNTRAINED draws from fresh parameters."""
SAVING = (INTERVAL, ADAPTIVE, CACHED)


class Tally:
    """Evaluations of a network so far, one per sample: of the whole of it, and of what cached features leave to
    compute.
    """

    def __init__(self) -> None:
        self.whole, self.shallow = 0, 0

    def add_whole(self, count: int) -> None:
        """So many more evaluations of the whole network."""
        self.whole += count

    def add_shallow(self, count: int) -> None:
        """So many more of its shallow part."""
        self.shallow += count


@dataclass(frozen=True, eq=False)
class Counted:
    """A network whose evaluations are counted where they are made, also in a branch that only some steps take."""

    predict: Callable[..., Any]
    tally: Tally

    def __call__(self, params: Any, x: Any, t: Any, *condition: Any) -> Any:
        """As the network answers."""
        features = condition[-1] if condition else None
        shallow = isinstance(features, DeepFeatures) and features.features is not None
        count, add = x.shape[0], self.tally.add_shallow if shallow else self.tally.add_whole
        jax.debug.callback(lambda: add(count))
        return self.predict(params, x, t, *condition)
