"""How the guidance experiment draws: one program a rule of guidance, which serves every scale, number of steps and seed."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.image_model import Model
from experiments.framework import devices
from experiments.framework.progress import Progress
from gendiff.core.types import NO_LABEL, Params, Scalar
from gendiff.diffusion import denoiser, grids, guidance, samplers, sampling
from gendiff.diffusion.types import Denoiser

LOW, HIGH = 0.2, 3.0
"""Noise levels sigma/alpha between which `interval` guides."""
RESCALE = 0.7
"""phi of `rescale`, the paper's."""

Rule = Callable[[Any, Any, Denoiser, Scalar], Denoiser]
"""(conditional, unconditional, a weaker network under the same condition, scale) -> the guided denoiser."""


def plain(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """Classifier-free guidance."""
    return guidance.classifier_free(given, absent, scale, batched=True)


def deaf(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """The null control: both predictions are without a label, so there is nothing to guide by."""
    return guidance.classifier_free(absent, absent, scale)


def interval(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """Guided between LOW and HIGH alone."""
    return guidance.classifier_free(given, absent, guidance.interval(scale, LOW, HIGH), batched=True)


def rescale(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """Guided samples get back most of the conditional one's deviation."""
    return guidance.classifier_free(given, absent, scale, batched=True, rescale=RESCALE)


def cfg_plus_plus(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """CFG++, whose scale lies in [0, 1]."""
    return guidance.cfg_plus_plus(given, absent, scale, batched=True)


def projected(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """APG without momentum, and without a bound on the norm."""
    return guidance.adaptive_projected(given, absent, scale, batched=True)


def autoguidance(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """Away from a smaller network that was trained for less time."""
    return guidance.autoguidance(given, weaker, scale)


def thresholded(given: Any, absent: Any, weaker: Denoiser, scale: Scalar) -> Denoiser:
    """Classifier-free guidance within dynamic thresholding."""
    return guidance.dynamic_threshold(plain(given, absent, weaker, scale))


CURES: Mapping[str, Rule] = {
    "interval": interval,
    "rescale": rescale,
    "CFG++": cfg_plus_plus,
    "APG": projected,
    "autoguidance": autoguidance,
    "thresholding": thresholded,
}
"""Rules that are said to keep what plain guidance loses."""


class Programs:
    """Samples of one kind of network by DDIM; sample i starts from the same noise and shows class i mod classes, whatever else differs.

    weaker: the model of autoguidance's second network. steps: the most steps.
    """

    def __init__(self, model: Model, weaker: Model, steps: int, together: int, progress: Progress) -> None:
        self._model, self._weaker, self._steps, self._together, self._progress = model, weaker, steps, together, progress
        self._draw = jax.jit(self._sample, static_argnames="rule", compiler_options=devices.compiler_options())

    def __call__(
        self, title: str, params: Params, count: int, scale: float, *, rule: Rule = plain, weaker: Params = None, steps: int | None = None
    ) -> np.ndarray:
        """(count, h, w, c) images, not clipped. weaker: parameters that only autoguidance needs. steps: None takes the most."""
        steps = self._steps if steps is None else steps
        levels = grids.padded(grids.trailing(self._model.schedule, steps), self._steps)
        drawn = []
        with self._progress.task(f"sample {title}", count) as task:
            for index in image_draws.parts(count, min(count, self._together)):
                images = self._draw(params, weaker, jnp.asarray(index), jnp.float32(scale), levels, jnp.int32(steps), rule=rule)
                drawn.append(np.asarray(images))
                task.update(min(sum(map(len, drawn)), count))
        return np.concatenate(drawn)[:count]

    def _sample(self, params: Params, weaker: Params, index: Any, scale: Any, levels: Any, steps: Any, *, rule: Rule) -> jax.Array:
        label = index % self._model.num_classes
        given, second = (
            denoiser.from_network(model.predict, values, model.parameterization, label)
            for model, values in ((self._model, params), (self._weaker, weaker))
        )
        guided = rule(given, given.with_condition(NO_LABEL), second, scale)
        return sampling.sample(
            jax.random.key(0),
            guided,
            samplers.ddim(),
            levels,
            self._model.shape,
            index,
            num_steps=steps,
            temperature=self._model.temperature,
        )
