"""Options that say by which features images are compared. JAX is not loaded."""

import dataclasses
from typing import Literal

from gendiff.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class FeatureOptions:
    """Which features of the images are compared."""

    features: Literal["random-convolutions", "pixels", "classifier", "inception"] = "random-convolutions"
    """A small network with fixed random weights, the pixels, the pool of EfficientNet-Lite0, or of Inception-v3.

    The classifier needs the extra `judge`, and Inception its weights."""
    inception_weights: str | None = None
    """Parameters of Inception-v3 by torchvision's names, a .safetensors or .pth file, as pytorch-fid's."""
    resize: Literal["clean-fid", "tf"] = "clean-fid"
    """How Inception's pictures get 299 pixels: bicubic with antialiasing, or as TensorFlow 1 did, bilinear without."""


def check(options: FeatureOptions) -> None:
    """ConfigError for weights of Inception that are missing or not wanted."""
    if (options.features == "inception") != (options.inception_weights is not None):
        raise ConfigError("--features inception and --inception-weights FILE need each other")
