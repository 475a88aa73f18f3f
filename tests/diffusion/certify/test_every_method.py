"""Every method of the catalogue is certified, with as few steps as its order can be fitted to. The experiment `certify`
is finer.
"""

import jax.numpy as jnp
import pytest

from gendiff.core import records
from gendiff.diffusion import certify, sampling, schedules
from gendiff.diffusion.certify import METHODS
from tests.variants import some_slow

COARSEST = {1: 64, 2: 16, 3: 16, 4: 8, None: 8} | {"churn": 128, "fixed_path": 128, "unipc 3": 64, "deis 4": 32}
"""Of five numbers of steps, each twice the one before: by order or by name. Larger ones where the start-up shows
longer.
"""


@records.record
class HalfWay(sampling.Sampler):
    """A sampler whose network predicts the middle of both variances as well."""

    sampler: object

    def step(self, noise, denoise, state, level, cleaner, left):
        def with_share(x, level):
            prediction = denoise(x, level)
            return records.replace(prediction, variance_share=jnp.full_like(prediction.clean, 0.5))

        return self.sampler.step(noise, with_share, state, level, cleaner, left)


FIRST_ORDER = [
    name for name, method in METHODS.items() if 1 in method.stated.values() and not name.startswith(("ddim", "ddpm"))
]
"""They are DDIM, which samplers/test_ancestral.py shows, or run along a path, which takes long."""


@pytest.mark.parametrize("name", some_slow(METHODS, [*FIRST_ORDER, "churn", "ddpm large"]))
def test_every_method_is_what_its_theory_says(name):
    method = METHODS[name]
    sampler = HalfWay(method.make(schedules.flow())) if method.learned_variance else method.make(schedules.flow())
    order = next(iter(method.stated.values()), None)
    coarsest = COARSEST.get(name, COARSEST[order])
    certificate = certify.certify(
        sampler,
        method,
        steps=tuple(coarsest * 2**k for k in range(5)),
        starts=256 if method.along_path else 8,
        sigma_max=2.0 if method.order else 1.0,
    )
    assert certificate.passes, str(certificate)
    assert certificate.stochastic == (method.order is None)
    for curve in certificate.curves:
        assert curve.evaluations == tuple(sampler.evaluations(n) for n in curve.steps)
        if curve.stated is None and curve.kind == "strong":
            # fresh noise in each step: the end points of n and 2n steps do not approach each other
            assert curve.fit.order is None
    if method.along_path:
        assert "a source of its own" in certificate.curve("weak").fit.reason
