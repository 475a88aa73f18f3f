"""Inception-v3 of torchvision, and pytorch-fid's change of its pooling, give the same features as ours on random
weights.
"""

import jax
import numpy as np
import pytest

from gendiff import networks, weights
from tests.quickly import quickly

torch = pytest.importorskip("torch", reason="needs torch and torchvision: make test-peers")
torchvision = pytest.importorskip("torchvision", reason="needs torch and torchvision: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4


@pytest.fixture(scope="module")
def model():
    """Theirs, with its classifiers, every parameter and statistic away from its start, and features near 1 in size."""
    network = torchvision.models.inception_v3(weights=None, aux_logits=True, init_weights=False).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.ndim == 4:  # keeps the size of what a ReLU halves
                value.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
            elif value.ndim == 1:
                noise = torch.rand(value.shape, generator=generator)
                value.copy_(0.5 + noise if name.endswith(("bn.weight", "running_var")) else 0.4 * noise - 0.2)
    network.fc = torch.nn.Identity()
    return network


class PoolsOfTheFirstNetwork:
    """torch.nn.functional, whose averages leave out the padding; the one in the last block, of 2048 channels, is a
    maximum.
    """

    def __getattr__(self, name):
        return getattr(torch.nn.functional, name)

    def avg_pool2d(self, x, kernel_size, stride, padding=0):
        functional = torch.nn.functional
        if x.shape[1] == 2048:
            return functional.max_pool2d(x, kernel_size, stride, padding)
        return functional.avg_pool2d(x, kernel_size, stride, padding, count_include_pad=False)


def theirs(model, x):
    with torch.inference_mode():
        return model(torch.tensor(x).permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize("shape", [(2, 299, 299, 3), (1, 139, 107, 3)], ids=str)
@pytest.mark.parametrize("variant", ["torchvision", "fid"])
def test_features_are_equal(model, variant, shape, monkeypatch):
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    published = theirs(model, x)
    if variant == "fid":
        monkeypatch.setattr(torchvision.models.inception, "F", PoolsOfTheFirstNetwork())
    there = theirs(model, x)
    assert there.shape == (len(x), 2048) and 0.1 < there.std() < 10
    assert (np.abs(there - published).max() > 100 * SAME) == (variant == "fid")  # so that the two are told apart
    network = networks.Inception(variant, precision="highest")
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x))
    here = quickly(networks.pure(network))(weights.torchvision_inception.params(arrays, like), x)
    print(f"{variant} {shape}: differ by at most {np.abs(here - there).max():.2g}, of {there.std():.2g}")
    np.testing.assert_allclose(here, there, rtol=0, atol=SAME)


def test_our_parameters_return_to_theirs(model):
    theirs = {name: value.numpy() for name, value in model.state_dict().items()}
    like = jax.eval_shape(
        lambda: networks.init(networks.Inception(), jax.random.key(0), np.zeros((1, 75, 75, 3), np.float32))
    )
    again = weights.rules.to_theirs(
        weights.torchvision_inception.params(theirs, like), weights.torchvision_inception.rules()
    )
    assert all(np.array_equal(array, theirs[name]) for name, array in again.items())
    left = {name for name in theirs if name not in again}
    assert all(name.startswith("AuxLogits.") or name.endswith("num_batches_tracked") for name in left)
