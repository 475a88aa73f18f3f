"""Our side of the case with DCGAN computes what torch's layers say, by weights in torch's layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from experiments.benchmarks import dcgan_work, ours, workloads
from experiments.benchmarks.workloads import DCGAN_FILE, NETWORKS, Workload
from gendiff import networks
from tests.quickly import quickly
from tests.tables import table

WORK = Workload("adversarial", "tiny_dcgan", batch=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(our parameters, torch's arrays by name) of one file."""
    folder = tmp_path_factory.mktemp("dcgan") / "weights"
    ours.write_weights(WORK, folder)
    built = ours.build(WORK)
    return ours.parameters(WORK, built, str(folder)), safetensors.numpy.load_file(folder / DCGAN_FILE), folder


def convolved(x, weight, bias):
    """Conv2d(…, 4, 2, 1): x (b, c, h, w), weight (f, c, 4, 4)."""
    return jax.lax.conv_general_dilated(x, weight, (2, 2), ((1, 1), (1, 1))) + bias[None, :, None, None]


def transposed(x, weight, bias):
    """ConvTranspose2d(…, 4, 2, 1): x (b, c, h, w), weight (c, f, 4, 4)."""
    kernel, around = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), ((2, 2), (2, 2))
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), around, lhs_dilation=(2, 2)) + bias[None, :, None, None]


def test_the_pair_is_that_of_torchs_layers(pair):
    params, theirs, _ = pair
    given = workloads.arrays(WORK)

    @quickly
    def drawn(noise):
        y = (noise @ theirs["generator.input.weight"].T + theirs["generator.input.bias"][None]).reshape(2, -1, 4, 4)
        y = y / jnp.sqrt(jnp.mean(y**2, 1, keepdims=True) + 1e-6) * theirs["generator.norm_4.weight"][None, :, None, None]
        return jnp.tanh(transposed(jnp.maximum(y, 0), theirs["generator.output.weight"], theirs["generator.output.bias"]))

    @quickly
    def judged(clean):
        y = convolved(clean.transpose(0, 3, 1, 2), theirs["critic.halve_4.weight"], theirs["critic.halve_4.bias"])
        y = jnp.where(y > 0, y, 0.2 * y).reshape(2, -1)
        return (y @ theirs["critic.head.output.weight"].T + theirs["critic.head.output.bias"][None])[:, 0]

    generate, criticise = (quickly(networks.pure(network)) for network in ours.build(WORK))
    np.testing.assert_allclose(generate(params["generator"], given["noise"]), drawn(given["noise"]).transpose(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(criticise(params["critic"], given["clean"]), judged(given["clean"]), atol=1e-5)


@table(("path", "shape"), [("generator/double_8/kernel", (2, 2, 5, 12)), ("critic/halve_4/kernel", (2, 2, 20, 3))])
def test_a_kernel_keeps_all_its_numbers_in_the_other_layout(path, shape):
    theirs = np.arange(np.prod(shape)).reshape(dcgan_work.their_shape(path, shape))
    turned = dcgan_work.to_ours(path, theirs, shape)
    assert theirs.shape[2:] == (4, 4) and turned.shape == shape
    np.testing.assert_array_equal(np.sort(turned.ravel()), np.arange(np.prod(shape)))


@pytest.mark.slow
def test_a_step_changes_both_networks_and_answers_pictures_and_losses(pair, tmp_path):
    _, _, folder = pair
    side = ours.OurSide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        assert side.prepare(**workloads.request(WORK, tmp_path, weights=folder))["first"] > 0
        answers = []
        for name in ("one", "two"):
            side.output(str(tmp_path / f"{name}.npz"))
            with np.load(tmp_path / f"{name}.npz") as stored:
                answers.append(stored["output"])
    pictures = 2 * np.prod(WORK.shape)
    assert answers[0].shape == (pictures + 2,) and np.isfinite(answers).all() and np.abs(answers[0][:pictures]).max() <= 1
    assert not np.array_equal(answers[0], answers[1]) and side.flops() > 1e5
    assert NETWORKS["dcgan"].settings.keys() == NETWORKS["tiny_dcgan"].settings.keys()
