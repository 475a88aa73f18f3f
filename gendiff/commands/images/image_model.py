"""What a trained network of images is, everything that drawing from it needs, and the loss of its training."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax

from gendiff.core.types import NO_LABEL, Condition, Loss, Params, Scalar
from gendiff.data.audio import Spectrogram
from gendiff.diffusion import denoiser, guidance, objectives, weighting
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Predict

if TYPE_CHECKING:
    from gendiff.training.sharding import Rules


@dataclasses.dataclass(frozen=True)
class Model:
    """What drawing from a trained run needs; made from the run's config alone.

    predict: (params, x, t, *condition) -> output, as `gendiff.networks.pure` makes it. init: key -> params, as in
        training.
    schedule, parameterization: of gendiff.diffusion. shape: one sample's axes, such as (8, 8, 1).
    num_classes: labels are 0 … num_classes - 1 and the only condition; 0 for a model without conditions.
    levels: how many values a pixel has (digits: 17), to which samples are rounded; None leaves them as they are.
    names: a name for each class, shown in messages; may be empty. ema: the EMA track to sample from, by decay; None
        takes the first.
    temperature: of the noise that samples start from (gendiff.diffusion.sample).
    rules: how `--mesh tensor=N` splits the layers of the network (gendiff.training.sharding); () for a network without
        rules.
    sound: what makes a sound of a sample; None where samples are pictures.
    """

    predict: Predict
    init: Callable[[jax.Array], Params]
    schedule: Schedule
    parameterization: Parameterization
    shape: tuple[int, ...]
    num_classes: int = 0
    levels: int | None = None
    names: tuple[str, ...] = ()
    ema: float | None = None
    temperature: float = 1.0
    rules: "Rules" = ()
    sound: Spectrogram | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label, or its number where classes have no names."""
        return self.names or tuple(map(str, range(self.num_classes)))

    def denoiser(self, params: Params, *condition: Condition) -> NetworkDenoiser:
        """The network with these parameters under a condition."""
        return denoiser.from_network(self.predict, params, self.parameterization, *condition)

    def guided(self, params: Params, condition: Condition, scale: Scalar, absent: Condition = NO_LABEL) -> Denoiser:
        """The same, led away from the absent condition: classifier-free guidance, both predictions in one call."""
        conditional = self.denoiser(params, condition)
        return guidance.classifier_free(conditional, conditional.with_condition(absent), scale, batched=True)


@functools.lru_cache  # one object, so that all trainings of a network share a compiled step
def loss(model: Model, drop_condition: float = 0.0, null: Condition = NO_LABEL) -> Loss:
    """The squared error of the network's own target with a uniform weight, at levels spread evenly in u. null: of a
    dropped condition.
    """
    denoising = functools.partial(objectives.denoising, levels=weighting.stratified_levels(), null=null)
    return denoising(model.predict, model.schedule, model.parameterization, drop_condition=drop_condition)
