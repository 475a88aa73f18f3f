"""Our side of the cases with clips: frames of the noise that the peer gets, and a training step."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import cases, clips
from experiments.bench import weights as folders
from experiments.bench.workloads import NETWORKS, Workload
from gendiff import networks
from gendiff.scaling import accounting
from tests.experiments.studies.bench.ours_alone import changed, done
from tests.quickly import quickly

ROLLOUT = Workload("video_rollout", "tiny_video", batch=2, tokens=5, steps=2)
TRAIN = Workload("video_train", "tiny_video", batch=2, tokens=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of weights of both works."""
    return folders.folder(ROLLOUT, tmp_path_factory.mktemp("video"))


def test_frames_are_those_of_the_given_noise_along_the_straight_path_without_a_cache(weights, tmp_path):
    inputs = clips.inputs(ROLLOUT)
    outputs = done(ROLLOUT, tmp_path, weights, inputs)[1]["output"]
    network, frames = ROLLOUT.family.build(ROLLOUT), np.zeros_like(outputs)
    predict, params = quickly(networks.pure(network)), folders.read(ROLLOUT, weights)
    assert inputs["noise"].shape == (5, 2, 8, 8, 1) and inputs.keys() == {"label", "noise"}
    for frame in range(5):  # earlier frames are clean, and later ones are not seen
        frames[:, frame], times = inputs["noise"][frame], np.zeros((2, 5), np.float32)
        for u in (1.0, 0.5):
            times[:, frame] = 1000 * u
            frames[:, frame] -= 0.5 * np.asarray(predict(params, frames, times, inputs["label"]))[:, frame]
    np.testing.assert_allclose(outputs, frames, atol=1e-4)
    assert outputs.std() > 0.1


@pytest.mark.slow
def test_a_step_changes_every_parameter_and_answers_the_first_clip_and_the_loss(weights, tmp_path):
    side, answer = done(TRAIN, tmp_path, weights)
    params, metrics = side.ways["ours"].run()
    assert min(changed(TRAIN, weights, params)) > 1e-5 and float(metrics["loss"]) > 0
    assert answer["output"].shape == (4 * 64 + 1,) and np.isfinite(answer["output"]).all()


def test_flops_are_those_of_the_layers_and_of_frames_that_are_seen():
    sides = {case.name: case.workload for case in cases.ALL if case.workload.network == "video"}
    assert (
        sides.keys() == {"video_rollout", "video_train"}
        and NETWORKS["video"].settings.keys() == NETWORKS["tiny_video"].settings.keys()
    )
    network, label = TRAIN.family.build(TRAIN), jnp.zeros(2, jnp.int32)
    trained = accounting.count(network, jnp.zeros((2, 4, 8, 8, 1)), jnp.zeros((2, 4)), label, embeddings=True)
    assert clips.flops(TRAIN) == trained.training_flops
    frame = accounting.count(network, jnp.zeros((2, 1, 8, 8, 1)), jnp.zeros(2), label, embeddings=True).forward_flops
    attention_flops = 4 * 16 * 2 * 4 * 4 * (0 + 1 + 2 + 2 + 2)  # of a block, beside the frame itself
    assert 5 * 2 * frame + attention_flops * 2 * 2 < clips.flops(ROLLOUT) < 5 * 3 * frame + attention_flops * 2 * 3
