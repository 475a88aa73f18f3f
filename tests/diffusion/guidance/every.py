"""Every rule of guidance, built from a network given a label and without one, at a scale; a new rule is one line here."""

import jax.numpy as jnp

from gendiff import diffusion
from gendiff.core import arrays, records


@records.record
class Leaning:
    """A classifier that sees a label (b,) in x, the better the more of the clean sample is left."""

    label: object

    def __call__(self, x, level):
        offset = arrays.flatten_samples(x) - 0.3 * self.label.astype(x.dtype)[:, None]
        return -arrays.expand(level.alpha, offset[:, 0]) * jnp.sum(offset**2, axis=1)


EVERY = {
    "classifier_free": lambda given, free, scale: diffusion.guidance.classifier_free(given, free, scale),
    "classifier_free batched": lambda given, free, scale: diffusion.guidance.classifier_free(given, free, scale, batched=True),
    "classifier_free rescale": lambda given, free, scale: diffusion.guidance.classifier_free(given, free, scale, rescale=0.7),
    "classifier_free interval": lambda given, free, scale: diffusion.guidance.classifier_free(
        given, free, diffusion.guidance.interval(scale, 0.2, 5.0)
    ),
    "autoguidance": lambda given, free, scale: diffusion.guidance.autoguidance(given, records.replace(given, params={"gain": 0.3}), scale),
    "composed": lambda given, free, scale: diffusion.guidance.composed(free, [given, given.with_condition(2)], [scale, -0.5], batched=True),
    "cfg_plus_plus": lambda given, free, scale: diffusion.guidance.cfg_plus_plus(given, free, scale),
    "adaptive_projected": lambda given, free, scale: diffusion.guidance.adaptive_projected(given, free, scale, eta=0.3, norm_threshold=0.1),
    "dynamic_threshold": lambda given, free, scale: diffusion.guidance.dynamic_threshold(
        diffusion.guidance.classifier_free(given, free, scale), 0.8, bound=0.5
    ),
    "classifier": lambda given, free, scale: diffusion.guidance.classifier(free, Leaning(given.condition[0]), scale),
}
