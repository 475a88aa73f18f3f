"""One-step generators: the clean prediction of a denoising network at pure noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import Condition, Params
from gendiff.diffusion import denoiser, objectives
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Predict


@records.record
class OneStep:
    """(params, noise, *condition) -> samples. Built by `one_step`."""

    predict: Predict = records.static()
    schedule: Schedule = records.static()
    parameterization: Parameterization = records.static()

    def __call__(
        self, params: Params, noise: Float[Array, "b *shape"], *condition: Condition
    ) -> Float[Array, "b *shape"]:
        """The samples (b, …) of standard normal noise (b, …)."""
        level = jax.tree.map(jnp.asarray, self.schedule.noisiest)
        generator = denoiser.from_network(self.predict, params, self.parameterization, *condition)
        return generator(arrays.expand(level.sigma, noise) * noise, level).clean


def one_step(predict: Predict, schedule: Schedule, parameterization: Parameterization) -> OneStep:
    """The generator whose sample is the network's clean prediction at the noisiest level, for x = sigma · noise.

    Also known as: one-step student (DMD).

    It is what `samplers.ddim()` draws on `grids.trailing(schedule, 1)`, so a trained generator is sampled by
    `diffusion.sample` too. As (params, noise, *condition) -> samples it is also a generator of the adversarial chapter.

    Args:
        predict: the network, (params, x, t, *condition) -> output. It may begin as the teacher.
        schedule: the noise path.
        parameterization: what the network's output means.

    Raises:
        ValueError: for noise prediction on a schedule that reaches alpha = 0.
    """
    objectives.refuse_lost_signal(parameterization, schedule)
    return OneStep(predict, schedule, parameterization)
