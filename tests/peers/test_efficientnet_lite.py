"""EfficientNet-Lite0 of efficientnet_lite_pytorch gives the same features and logits as ours, by the real weights."""

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.weights import efficientnet_lite0
from tests.quickly import quickly

torch = pytest.importorskip("torch", reason="needs torch: make test-peers")
published = pytest.importorskip("efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4


@pytest.mark.parametrize("side", [224, 128])
def test_features_and_logits_are_equal(side):
    model = published.EfficientNet.from_name("efficientnet-lite0", image_size=side).eval()
    model.load_state_dict(torch.load(efficientnet_lite0.path(), weights_only=True))
    x = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    with torch.inference_mode():
        images = torch.tensor(x).permute(0, 3, 1, 2)
        features, logits = model.extract_features(images).mean((2, 3)).numpy(), model(images).numpy()
    network = networks.EfficientNetLite(precision="highest")
    params = efficientnet_lite0.params(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x)))
    here = quickly(networks.pure(network))(params, x)
    for ours, theirs in ((here.features, features), (here.logits, logits)):
        print(f"{side}: differ by at most {np.abs(ours - theirs).max():.2g}, of {theirs.std():.2g}")
        assert theirs.std() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME)
