"""The autoencoder experiment: the lack of high frequencies is split as it should be, controls can fail, and decoders
train alone.
"""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import autoencoder
from experiments.diffusion.autoencoder import edges, measures, networks
from experiments.diffusion.autoencoder.measures import Measure
from experiments.diffusion.autoencoder.networks import SUBJECTS, Pictures
from gendiff.commands.images import image_coding
from gendiff.diffusion.types import Batch
from gendiff.networks import pure
from gendiff.runs.progress import Progress
from gendiff.runs.study import Measurements
from tests.networks.rig import random_params
from tests.quickly import quickly

MEASURE = Measure(resamples=50)
CONFIG = dataclasses.replace(autoencoder.EXPERIMENT.smoke, factors=(2, 4), latent_channels=(1, 2))


def noise(seed=0, *shape):
    return np.random.default_rng(seed).normal(size=shape or (40, 16, 16, 3)).astype(np.float32)


def test_blurred_pictures_lack_high_frequencies_and_pictures_with_more_noise_have_too_many():
    images = noise()
    blurred = (
        images + np.roll(images, 1, axis=1) + np.roll(images, 1, axis=2) + np.roll(images, (1, 1), axis=(1, 2))
    ) / 4
    energies = [MEASURE.energy(each) for each in (images, blurred, 2 * images)]
    soft, hard = (MEASURE.lack(energies[0], each, paired=True) for each in energies[1:])
    assert 0.7 < soft[1] <= soft[0] <= soft[2] < 1
    assert hard == pytest.approx((-3, -3, -3), rel=1e-4)


def test_what_decoding_explains_is_its_lack_over_that_of_samples():
    true = np.random.default_rng(0).uniform(1, 2, 200)
    samples = 0.5 * np.random.default_rng(1).uniform(1, 2, 300)
    value, low, high = MEASURE.share(true, 0.8 * true, samples)
    assert value == pytest.approx(0.2 / (1 - samples.mean() / true.mean())) and low < value < high
    all_of_it, none_of_it = (MEASURE.share(true, decoded, samples)[0] for decoded in (0.5 * true, true))
    assert all_of_it == pytest.approx(1, abs=0.05) and none_of_it == 0


def test_a_share_of_nothing_is_no_number():
    true = np.random.default_rng(0).uniform(1, 2, 200)
    assert all(map(math.isnan, MEASURE.share(true, 0.8 * true, true[::-1])))
    assert all(map(math.isnan, MEASURE.mended(true, 1.1 * true, true)))


def test_half_of_a_lack_is_mended_where_half_of_it_is_left():
    true = np.random.default_rng(0).uniform(1, 2, 50)
    assert MEASURE.mended(true, 0.6 * true, 0.8 * true) == pytest.approx((0.5, 0.5, 0.5))
    assert MEASURE.excess(true, 0.6 * true, 0.8 * true)[0] == pytest.approx(0.2)


def test_bicubic_pictures_keep_a_smooth_picture_and_not_a_checkerboard():
    y, x = np.mgrid[:32, :32] / 31
    smooth, board = (
        np.repeat(image[None, ..., None], 3, -1).astype(np.float32)
        for image in (x - y, (-1.0) ** (31 * (x + y)).round())
    )
    assert np.abs(measures.smaller_and_larger(smooth, 2) - smooth).max() < 0.05
    assert np.abs(measures.smaller_and_larger(board, 2)).mean() < 0.3


@pytest.mark.slow
def test_the_parts_of_the_loss_on_edges_are_blind_to_what_is_no_edge():
    clean = jnp.asarray(noise(0, 2, 8, 8, 3))
    np.testing.assert_allclose(edges.neighbours(clean + 0.5, clean), 0, atol=1e-6)
    # a shift is of phases alone
    np.testing.assert_allclose(edges.amplitudes(jnp.roll(clean, 3, 1), clean), 0, atol=1e-4)
    np.testing.assert_allclose(
        edges.neighbours(0.5 * clean, clean), 0.5 * edges.neighbours(0 * clean, clean), rtol=1e-5
    )
    slow = jnp.cos(2 * jnp.pi * jnp.arange(8) / 8)[None, :, None, None]
    # one cycle in 8 pixels is below the cutoff
    np.testing.assert_allclose(edges.amplitudes(clean + slow, clean), 0, atol=1e-4)
    slope = jax.grad(lambda image: jnp.sum(edges.amplitudes(image, 0 * image)))(0 * clean)
    assert np.isfinite(slope).all()


def test_a_weight_of_zero_leaves_the_distance_of_pixels():
    clean = noise(0, 3, 8, 8, 3)
    loss = edges.loss(lambda params, latents: params * latents)

    @quickly
    def gradient_at(weight):
        return loss(jnp.float32(0.5), jax.random.key(0), Batch(clean=clean, condition=(jnp.asarray(clean), weight)))

    plain, metrics = gradient_at(np.zeros(3, np.float32))
    np.testing.assert_allclose(plain, np.abs(0.5 * clean).mean(), rtol=1e-6)
    expected = float(plain) + float(metrics["gradient"]) + float(metrics["amplitude"])
    np.testing.assert_allclose(gradient_at(np.ones(3, np.float32))[0], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def params():
    return random_params(networks.autoencoder(CONFIG, 2, 1), np.zeros((1, 2, 2, 3), np.float32))


def test_a_decoder_alone_decodes_as_the_autoencoder_does_and_the_encoder_gets_no_gradient(params):
    network = networks.autoencoder(CONFIG, 2, 1)
    loss, latents, clean = networks.decoding(network), noise(0, 2, 16, 16, 1), noise(1, 2, 32, 32, 3)
    inputs = jax.random.key(0), Batch(clean=clean, condition=(latents, np.zeros(2, np.float32)))
    slope, _ = jax.eval_shape(jax.grad(loss, has_aux=True), params["decoder"], *inputs)
    assert jax.tree.structure(slope) == jax.tree.structure(params["decoder"])
    both = quickly(
        lambda params, *inputs: (
            loss(params["decoder"], *inputs),
            pure(network, "decode")(params, inputs[1].condition[0]),
        )
    )
    (_, metrics), decoded = both(params, *inputs)
    np.testing.assert_allclose(metrics["reconstruction"], np.abs(decoded - clean).mean(), rtol=1e-4)


def test_the_first_seed_trains_every_autoencoder_and_the_others_the_chosen_one():
    full = autoencoder.EXPERIMENT.presets["full"]
    trainings = list(networks.autoencoders(full))
    assert len(trainings) == len(full.factors) * len(full.latent_channels)
    assert [each for each in trainings if len(each[2]) > 1] == [(full.factor, full.channels, full.seeds)]
    network = networks.autoencoder(full, 8, 16)
    assert network.factor == 8 and network.latent_channels == 16


def of_scales(decoded, samples, pixels, edged):
    """A seed of each subject, whose energies are these shares of the originals'."""
    energy = np.random.default_rng(0).uniform(0.95, 1.05, 60)
    training = {
        autoencoder.ORIGINALS: energy,
        autoencoder.DECODED: decoded * energy,
        autoencoder.LONGER: decoded * energy,
    }
    training[autoencoder.EDGES] = edged * energy
    samples = dict.fromkeys((autoencoder.SAMPLES, autoencoder.SAMPLES_EDGES), samples * energy) | {
        autoencoder.PIXELS: pixels * energy
    }
    psnr = {autoencoder.DECODED: energy + 20, autoencoder.LONGER: energy + 20, autoencoder.EDGES: energy + 19.5}
    return [
        row
        for each in SUBJECTS
        for row in autoencoder.softness(CONFIG, each, 0, training | samples, training, psnr, {})
    ]


def codes(first=20.0, more=3.0):
    """PSNR by set, of which each doubling of numbers gains `more`; bicubic pictures have 18 dB."""
    values, psnr = np.random.default_rng(0).uniform(-0.1, 0.1, 16), {}
    for subject, factor in itertools.product(SUBJECTS, CONFIG.factors):
        psnr[autoencoder.bicubic_name(subject, factor)] = np.full(16, 18.0)
        for channels in CONFIG.latent_channels:
            numbers = (networks.SIDE // factor) ** 2 * channels
            psnr[autoencoder.code_name(subject, factor, channels)] = first + more * math.log2(numbers / 64) + values
    return psnr


PICTURES = Pictures(*[{subject: np.random.default_rng(0).uniform(-1, 1, (16, 32, 32, 3)) for subject in SUBJECTS}] * 2)


def claims(soft, psnr, config=CONFIG):
    measured = Measurements([*autoencoder.gains(config, psnr, PICTURES), *soft])
    return {claim.id: claim for claim in autoencoder.STUDY.judge(measured)}


def test_claims_pass_where_the_essay_is_right():
    judged = claims(of_scales(0.6, 0.5, 0.9, 0.8), codes())
    assert {claim.verdict for claim in judged.values()} == {"PASS"}
    assert {row.id for row in autoencoder.ROWS} - set(judged) == {f"{subject}-more-channels-f8" for subject in SUBJECTS}
    assert judged["emoji-decoder-share"].value == pytest.approx(0.8) and judged[
        "emoji-pixels-sharper"
    ].value == pytest.approx(0.4)
    assert judged["textures-mended"].value == pytest.approx(0.5) and judged[
        "textures-mending-cost"
    ].value == pytest.approx(0.5)


def test_claims_fail_where_the_diffusion_model_is_what_is_soft_and_more_numbers_gain_nothing():
    judged = claims(of_scales(0.95, 0.5, 0.5, 0.95), codes(more=0.0))
    failed = "decoder-share", "pixels-sharper", "mended", "psnr", "psnr-aim", "smaller-factor", "more-channels-f4"
    assert {judged[f"emoji-{id}"].verdict for id in failed} == {"FAIL"}
    assert judged["emoji-samples-soft"].verdict == "PASS"
    sharp = claims(of_scales(1.0, 1.0, 1.0, 1.0), codes())
    assert sharp["emoji-samples-soft"].verdict == "FAIL" and math.isnan(sharp["emoji-decoder-share"].value)
    assert sharp["emoji-null"].verdict != "PASS"  # samples that lack nothing are as good as the originals


def test_one_factor_and_one_number_of_channels_leave_their_comparisons_out():
    ids = set(claims([], codes(), autoencoder.EXPERIMENT.smoke))
    assert ids == {f"{subject}-{id}" for subject in SUBJECTS for id in ("psnr", "psnr-aim", "rival", "mean-psnr")}


@pytest.mark.slow
def test_coding_and_normalised_latents_agree_whatever_is_done_together(params):
    images = noise(0, 6, 32, 32, 3)
    config = dataclasses.replace(CONFIG, together=4)
    coder, latents = networks.normalized(config, params, images, Progress(quiet=True))
    np.testing.assert_allclose((latents.mean(), latents.std()), (0, 1), atol=1e-3)
    plain = image_coding.Coder(networks.autoencoder(config, 2, 1), 4, Progress(quiet=True))
    codes, nats = plain.encode(params, images)
    np.testing.assert_allclose(coder.decode(params, latents), plain.decode(params, codes), atol=1e-3)
    assert nats.shape == (6,) and (nats > 0).all()
