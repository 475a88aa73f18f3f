"""Layers in NumPy and float64, which networks are compared with: nothing is compiled for them."""

import jax
import numpy as np


def exact(params):
    """Parameters in float64."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def linear(params, x):
    return x @ params["kernel"] + params["bias"]


def convolved(params, x, around=((1, 1), (1, 1)), stride=1):
    """Each window of x (b, h, w, c), multiplied and summed. around: zeros before and after rows and columns."""
    kernel = params["kernel"]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), *around, (0, 0))), kernel.shape[:2], (1, 2))
    return np.einsum("brsihw,hwio->brso", windows[:, ::stride, ::stride], kernel) + params["bias"]


def group_normed(params, x, groups, epsilon):
    parts = x.reshape(*x.shape[:3], groups, -1)
    mean, variance = parts.mean((1, 2, 4), keepdims=True), parts.var((1, 2, 4), keepdims=True)
    return ((parts - mean) / np.sqrt(variance + epsilon)).reshape(x.shape) * params["scale"] + params["bias"]


def silu(x):
    return x / (1 + np.exp(-x))
