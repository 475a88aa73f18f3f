"""The networks that `--network` names, each built for the size and the classes of the data. JAX is not loaded for their
names.
"""

from typing import TYPE_CHECKING

from gendiff.core.errors import ConfigError
from gendiff.runs import dtypes, ranges

if TYPE_CHECKING:
    from gendiff import networks

UNETS: dict[str, tuple[tuple[int, ...], int]] = {
    "unet-small": ((32, 32, 64), 1),
    "unet-base": ((128, 256, 256), 2),
}
"""Channels, the finest level first, and residual blocks per level."""
COARSEST = 8
"""Pixels that the shorter side of a U-Net's coarsest level has at most, if it can be halved so often."""
WIDTHS = {"tiny": (32, 1, 2), "s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
"""Width, depth and heads of the diffusion transformers of Peebles & Xie (2023, Table 1), and of one for trying things
out.
"""
PATCHES = (2, 4, 8, 16)
DIT, LIGHTNING = "dit", "lightning-dit"
NAMES = (*UNETS, *(f"{kind}-{width}/{patch}" for kind in (DIT, LIGHTNING) for width in WIDTHS for patch in PATCHES))
REMAT: dict[str, bool | str] = {"none": False, "products": "products", "all": True}
"""What --remat says -> the field of a network."""


def build(
    name: str, shape: tuple[int, ...], classes: int, dtype: str = "float32", remat: str = "none"
) -> "networks.UNet | networks.DiT":
    """The network for pictures of this shape (h, w, c). classes: 0 for none. ConfigError where the shape does not fit
    it.
    """
    from gendiff import networks  # loads JAX

    ranges.known("network", [name], NAMES)
    num_classes, computed = classes or None, dtypes.of_network(dtype)
    if name in UNETS:
        listed, blocks = UNETS[name]
        count = _levels(shape[:2])
        channels = (listed + listed[-1:] * count)[:count]
        head_size = min(32, channels[-1])
        return networks.UNet(
            channels,
            blocks,
            (),
            head_size=head_size,
            groups=8,
            attention_levels=(count - 1,),
            num_classes=num_classes,
            dtype=computed,
            remat=REMAT[remat],
        )
    kind, _, size_and_patch = name.rpartition("-")
    size, patch = size_and_patch.split("/")
    if any(side % int(patch) for side in shape[:2]):
        raise ConfigError(
            f"--network {name}: patches of {patch} pixels do not divide pictures of {shape[0]} × {shape[1]}"
        )
    width, depth, heads = WIDTHS[size]
    network = networks.DiT(int(patch), width, depth, heads, num_classes=num_classes, dtype=computed, remat=REMAT[remat])
    return _lightning(network) if kind == LIGHTNING else network


def remark(name: str, shape: tuple[int, ...]) -> str:
    """A sentence where an odd side leaves a U-Net fewer levels than a size close by would; "" elsewhere."""
    side, levels = min(shape[:2]), _levels(shape[:2])
    near = side - side % 2 ** max(0, (side // COARSEST).bit_length() - 1)
    if name not in UNETS or _levels((near, near)) <= levels:
        return ""
    word = "level" if levels == 1 else "levels"
    odd = " × ".join(str(each // 2 ** (levels - 1)) for each in shape[:2])
    return (
        f"{odd} pixels cannot be halved: the network has {levels} {word}, and --size {near} would have "
        f"{_levels((near, near))}"
    )


def _lightning(network: "networks.DiT") -> "networks.DiT":
    """The same with the blocks of LightningDiT (Yao et al., 2025). An MLP has as many parameters as a plain one of four
    times the width.
    """
    return network.clone(
        norm="rms",
        norm_heads=True,
        rotary_channels=(network.width // network.heads // 2,) * 2,
        gated=True,
        activation="silu",
        mlp_width=8 * network.width // 3,
    )


def _levels(sides: tuple[int, ...]) -> int:
    """How many levels halve the sides until the shorter has at most COARSEST pixels, or one of them is odd."""
    count = 1
    while min(sides) > COARSEST and not any(side % 2 for side in sides):
        sides, count = tuple(side // 2 for side in sides), count + 1
    return count
