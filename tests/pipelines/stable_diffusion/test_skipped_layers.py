"""Skip-layer guidance: what it adds, in which steps, and what it refuses."""

import numpy as np

from gendiff import networks
from gendiff.core.types import NO_LABEL
from gendiff.pipelines.stable_diffusion import skipping
from tests.networks import rig
from tests.pipelines.stable_diffusion import cheap_parts
from tests.quickly import quickly
from tests.refusals import refusals

NETWORK = networks.DiT(patch=2, width=8, depth=2, heads=2, num_classes=3)
PIPELINE = cheap_parts.latent(predict=networks.pure(NETWORK))
LABEL, AWAY = (np.int32([1]),), (np.int32([NO_LABEL]),)


def test_the_answer_without_a_block_is_led_away_from_in_the_steps_of_its_share_alone():
    x = np.random.default_rng(0).normal(size=(2, *cheap_parts.SHAPE)).astype(np.float32)
    params = {
        "network": rig.random_params(NETWORK, x, np.zeros(2, np.float32), np.zeros(2, np.int32)),
        "autoencoder": {},
    }
    skipped = skipping(PIPELINE, (1,), 2.0, stop=0.5)
    weaker = cheap_parts.latent(predict=networks.pure(NETWORK.clone(skipped=(1,))))

    @quickly
    def answers(params, x, level):
        plain, added = (each.denoiser(params, LABEL, AWAY, 3.0)(x, level).noise for each in (PIPELINE, skipped))
        conditional, without = (each.denoiser(params, LABEL, None, 3.0)(x, level).noise for each in (PIPELINE, weaker))
        return plain, added, conditional - without

    for step in range(4):
        plain, added, change = answers(params, x, PIPELINE.levels[step])
        expected = plain + 2.0 * change if step == 1 else plain
        np.testing.assert_allclose(added, expected, atol=1e-5)
        assert np.abs(change).max() > 0.01


test_what_cannot_be_left_out_is_refused = refusals(
    (lambda: skipping(cheap_parts.latent()), "this pipeline has another network", TypeError),
    (lambda: skipping(PIPELINE), "layers = 7"),
    (lambda: skipping(PIPELINE, ()), "name at least one block"),
    (lambda: skipping(PIPELINE, (1,), -1.0), "scale"),
    (lambda: skipping(PIPELINE, (1,), stop=1.5), "stop"),
)
