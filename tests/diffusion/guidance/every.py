"""Every rule of guidance, built from a network given a label and without one, at a scale; a new rule is one line here."""

import jax.numpy as jnp

from gendiff.core import arrays, records
from gendiff.diffusion import guidance


@records.record
class Leaning:
    """A classifier that sees a label (b,) in x, the better the more of the clean sample is left."""

    label: object

    def __call__(self, x, level):
        offset = arrays.flatten_samples(x) - 0.3 * self.label.astype(x.dtype)[:, None]
        return -arrays.expand(level.alpha, offset[:, 0]) * jnp.sum(offset**2, axis=1)


RULES = {
    "classifier_free": guidance.classifier_free,
    "classifier_free rescale": lambda given, free, scale, **how: guidance.classifier_free(given, free, scale, rescale=0.7, **how),
    "classifier_free interval": lambda given, free, scale, **how: guidance.classifier_free(
        given, free, guidance.interval(scale, 0.2, 5.0), **how
    ),
    "composed": lambda given, free, scale, **how: guidance.composed(free, [given, given.with_condition(2)], [scale, -0.5], **how),
    "cfg_plus_plus": guidance.cfg_plus_plus,
    "adaptive_projected": lambda given, free, scale, **how: guidance.adaptive_projected(
        given, free, scale, eta=0.3, norm_threshold=0.1, **how
    ),
}
"""Those that ask one network under several conditions, in one call (`batched=True`) or in several."""
EVERY = RULES | {
    "classifier_free batched": lambda given, free, scale: guidance.classifier_free(given, free, scale, batched=True),
    "autoguidance": lambda given, free, scale: guidance.autoguidance(given, records.replace(given, params={"gain": 0.3}), scale),
    "dynamic_threshold": lambda given, free, scale: guidance.dynamic_threshold(
        guidance.classifier_free(given, free, scale), 0.8, bound=0.5
    ),
    "classifier": lambda given, free, scale: guidance.classifier(free, Leaning(given.condition[0]), scale),
}
