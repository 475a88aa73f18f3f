"""Our side of the cases with clips: weights in torch's layout, frames of the noise that the peer gets, and a training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from experiments.benchmarks import cases, ours, video_work, workloads
from experiments.benchmarks.workloads import NETWORKS, VIDEO_FILE, Workload
from gendiff import networks
from gendiff.core import trees
from gendiff.scaling import accounting
from tests.quickly import quickly

ROLLOUT = Workload("video_rollout", "tiny_video", batch=2, tokens=5, steps=2)
TRAIN = Workload("video_train", "tiny_video", batch=2, tokens=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of weights of both works."""
    folder = tmp_path_factory.mktemp("video") / "weights"
    ours.write_weights(ROLLOUT, folder)
    return folder


def test_weights_have_torchs_layout_and_none_is_zero(weights):
    theirs = safetensors.numpy.load_file(weights / VIDEO_FILE)
    params = trees.paths(ours.parameters(TRAIN, ours.build(TRAIN), str(weights)))
    assert {video_work.their_name(path) for path in params} == theirs.keys()
    assert theirs["block_1.qkv.weight"].shape == (48, 16) and theirs["embedding.label"].shape == (11, 16)
    np.testing.assert_array_equal(params["block_1/qkv/kernel"], theirs["block_1.qkv.weight"].T)
    assert min(np.abs(array).mean() for array in theirs.values()) > 0.01


def test_frames_are_those_of_the_given_noise_along_the_straight_path_without_a_cache(weights, tmp_path):
    given, side = ours.inputs(ROLLOUT, weights), ours.OurSide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        side.prepare(**workloads.request(ROLLOUT, tmp_path, weights=weights, given=given))
        side.output(str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as stored:
        drawn = stored["output"]
    network, clips = ours.build(ROLLOUT), np.zeros_like(drawn)
    predict, params = quickly(networks.pure(network)), ours.parameters(ROLLOUT, network, str(weights))
    assert given["noise"].shape == (5, 2, 8, 8, 1) and given.keys() == {"label", "noise"}
    for frame in range(5):  # earlier frames are clean, and later ones are not seen
        clips[:, frame], times = given["noise"][frame], np.zeros((2, 5), np.float32)
        for u in (1.0, 0.5):
            times[:, frame] = 1000 * u
            clips[:, frame] -= 0.5 * np.asarray(predict(params, clips, times, given["label"]))[:, frame]
    np.testing.assert_allclose(drawn, clips, atol=1e-4)
    assert drawn.std() > 0.1


@pytest.mark.slow
def test_a_step_changes_every_parameter_and_answers_the_first_clip_and_the_loss(weights, tmp_path):
    side = ours.OurSide()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        side.prepare(**workloads.request(TRAIN, tmp_path, weights=weights))
        before = ours.parameters(TRAIN, ours.build(TRAIN), str(weights))
        params, metrics = side.work["ours"]()
        changed = jax.tree.map(lambda old, new: float(np.abs(np.asarray(old) - np.asarray(new)).max()), before, params)
        assert min(jax.tree.leaves(changed)) > 1e-5 and float(metrics["loss"]) > 0
        side.output(str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["output"].shape == (4 * 64 + 1,) and np.isfinite(stored["output"]).all()


def test_flops_are_those_of_the_layers_and_of_frames_that_are_seen():
    sides = {case.name: case.workload for case in cases.ALL if case.workload.network == "video"}
    assert sides.keys() == {"video_rollout", "video_train"} and NETWORKS["video"].settings.keys() == NETWORKS["tiny_video"].settings.keys()
    network, label = ours.build(TRAIN), jnp.zeros(2, jnp.int32)
    trained = accounting.count(network, jnp.zeros((2, 4, 8, 8, 1)), jnp.zeros((2, 4)), label, embeddings=True)
    assert video_work.flops(TRAIN) == trained.training_flops
    frame = accounting.count(network, jnp.zeros((2, 1, 8, 8, 1)), jnp.zeros(2), label, embeddings=True).forward_flops
    seen = 4 * 16 * 2 * 4 * 4 * (0 + 1 + 2 + 2 + 2)  # of a block, beside the frame itself
    assert 5 * 2 * frame + seen * 2 * 2 < video_work.flops(ROLLOUT) < 5 * 3 * frame + seen * 2 * 3
