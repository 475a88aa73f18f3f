"""The generator and critic of R3GAN: residual blocks with grouped convolutions, without norms.

Huang et al., 2024.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, packed
from gendiff.networks.adversarial.critic import PictureCritic
from gendiff.networks.adversarial.generator import PictureGenerator
from gendiff.networks.adversarial.pyramid import FIRST, GAIN, Pyramid, leaky
from gendiff.networks.layers import Compute, dense, initializers, parameter
from gendiff.networks.layers.convolution import GroupedConvolution
from gendiff.networks.layers.resampling import bilinear_double, bilinear_halve


class R3GANBlock(nn.Module):
    """x + contract(leaky(grouped(leaky(expand(x))))): two convolutions of single pixels around a grouped one of 3 × 3.

    The last convolution starts at 0, so that a fresh block is its input. The others start smaller the more blocks the
    network has, by blocks^(−1/4): then one step of the optimizer changes the network by as much whatever its depth is.

    Args:
        blocks: of the whole network.
        expansion: channels inside of the block over those of its input.
        group_width: channels of a group of the grouped convolution; divides the channels inside.
        compute: how to compute.

    References:
        Huang et al., 2024, section 4.2; Zhang et al., 2019 (Fixup), section 3, for how it starts (from memory).
    """

    blocks: int
    expansion: int
    group_width: int
    compute: Compute = Compute()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Add to x what the block computes."""
        inside, gain = self.expansion * x.shape[-1], GAIN * self.blocks**-0.25
        y = leaky(dense(inside, self.compute, "expand", gain=gain)(x))
        y = leaky(GroupedConvolution(self.group_width, self.compute, gain, name="grouped")(y))
        return x + dense(x.shape[-1], self.compute, "contract", zero=True, bias=False)(y)


class R3GANPyramid(Pyramid):
    """The fields that both networks have beside those of `Pyramid`.

    Args:
        blocks: residual blocks per size of maps.
        expansion: channels inside of a block over those of its input.
        group_width: channels of a group of the grouped convolutions; divides the channels inside of every block.
    """

    width: int = 32
    blocks: int = 2
    expansion: int = 2
    group_width: int = 16

    def _check(self) -> None:
        super()._check()
        checks.counts(self, "blocks", "expansion", "group_width")

    def _block(self, side: int, number: int, compute: Compute) -> R3GANBlock:
        total = self.blocks * len(self._sides())
        return R3GANBlock(total, self.expansion, self.group_width, compute, name=f"block_{side}_{number}")

    def _basis(self, std: float, compute: Compute) -> Float[Array, "1 h w c"]:
        """A learned map of 4 × 4 pixels."""
        shape = (FIRST, FIRST, self._channels(FIRST))
        return packed.as_array(parameter(self, "basis", initializers.normal(std), shape), compute.dtype)[None]


class R3GANGenerator(R3GANPyramid, PictureGenerator):
    """The generator of R3GAN: noise to images, by residual blocks and bilinear doublings.

    It begins with a learned map of 4 × 4 pixels, whose channels the noise weighs, and ends with a linear layer. There
    is no norm and no function after the last layer, so pixels have any value. A fresh network is linear, as its blocks
    add 0. The label's vector stands beside the noise, as in the paper.

    The fields are those of `Pyramid`, and blocks, expansion and group_width as `R3GANPyramid` has them. The paper's
    network for 32 × 32 pixels has width = widest = 768 and 64 numbers of noise.

    References:
        Huang et al., 2024, section 4 and App. on architectures; their published code for filters and gains.
    """

    def _drawn(self, z: Float[Array, "b d"], compute: Compute) -> Float[Array, "b h w c"]:
        y = self._basis(1.0, compute) * dense(self._channels(FIRST), compute, "input", bias=False)(z)[:, None, None, :]
        for side in self._sides():
            if side > FIRST:
                if self._channels(side) != y.shape[-1]:
                    y = dense(self._channels(side), compute, f"channels_{side}", bias=False)(y)
                y = bilinear_double(y)
            for number in range(self.blocks):
                y = self._block(side, number, compute)(y)
        return dense(self.image_channels, compute, "output", bias=False)(y)


class R3GANCritic(R3GANPyramid, PictureCritic):
    """The critic of R3GAN: images to logits, by residual blocks and bilinear halvings.

    A linear layer comes first, and a weighted sum over the last 4 × 4 pixels of each channel last. It is the mirror of
    `R3GANGenerator`, with no norm either. The paper's answer to a label is v_label · y alone; here w · y + b is added.

    The fields are those of `Pyramid` and `PictureCritic`, of which the paper has features="none", and blocks, expansion
    and group_width as `R3GANPyramid` has them.

    References:
        Huang et al., 2024, section 4 and App. on architectures; their published code for filters and gains.
    """

    def _judged(self, y: Float[Array, "b h w c"], compute: Compute) -> Float[Array, "b a"]:
        y = dense(self._channels(self.size), compute, "input", bias=False)(y)
        for side in reversed(self._sides()):
            if side < self.size:
                y = bilinear_halve(y)
                if self._channels(side) != y.shape[-1]:
                    y = dense(self._channels(side), compute, f"channels_{side}", bias=False)(y)
            for number in range(self.blocks):
                y = self._block(side, number, compute)(y)
        return jnp.sum(self._basis(1 / FIRST, compute) * y, (1, 2))
