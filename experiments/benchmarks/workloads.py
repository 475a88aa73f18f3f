"""What is timed, in words that both sides read: networks and the work done with them. Imports neither JAX nor torch."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["sample", "train", "sweep", "block", "attention", "convolution", "matmul"]


@dataclass(frozen=True)
class Architecture:
    """A network by diffusers' name of its class, and what diffusers is told to build it. size: of the image or latent, in pixels."""

    kind: Literal["UNet2DModel", "DiTTransformer2DModel"]
    settings: dict[str, Any]
    size: int
    num_classes: int | None

    @property
    def image_channels(self) -> int:
        return self.settings["in_channels"]


def unet(
    size: int,
    channels: tuple[int, ...],
    *,
    attention: tuple[int, ...] = (),
    head_size: int = 8,
    groups: int = 32,
    digits: bool = False,
) -> Architecture:
    """A U-Net whose feature maps of the sizes `attention` have it. digits: for labelled digits, with one block per level instead of two."""
    attended = [size // 2**level in attention for level in range(len(channels))]
    settings = {
        "sample_size": size,
        "in_channels": 1 if digits else 3,
        "out_channels": 1 if digits else 3,
        "block_out_channels": channels,
        "layers_per_block": 1 if digits or size < 32 else 2,
        "norm_num_groups": groups,
        "attention_head_dim": head_size,
        "attn_norm_num_groups": groups,
        "resnet_time_scale_shift": "scale_shift" if digits else "default",
        "down_block_types": tuple("AttnDownBlock2D" if there else "DownBlock2D" for there in attended),
        "up_block_types": tuple("AttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attended)),
        "num_class_embeds": 11 if digits else None,
    }
    return Architecture("UNet2DModel", settings, size, 10 if digits else None)


def dit(size: int, width: int, depth: int, heads: int, *, num_classes: int = 1000) -> Architecture:
    """A diffusion transformer with patches of 2×2 on latents of four channels."""
    settings = {
        "sample_size": size,
        "in_channels": 4,
        "num_layers": depth,
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "patch_size": 2,
        "num_embeds_ada_norm": num_classes,
    }
    return Architecture("DiTTransformer2DModel", settings, size, num_classes)


NETWORKS: dict[str, Architecture] = {
    "unet32": unet(32, (64, 128, 128), attention=(16,)),
    "dit_s2": dit(32, 384, 12, 6),
    "dit_xl2": dit(32, 1152, 28, 16),
    # the network of experiments.diffusion.digits, whose two heads at 64 channels have 32 each
    "digits": unet(8, (32, 64), head_size=32, groups=8, digits=True),
    "digits_half": unet(8, (16, 32), head_size=16, groups=8, digits=True),
    "digits_double": unet(8, (64, 128), head_size=64, groups=8, digits=True),
    "digits_fourfold": unet(8, (128, 256), head_size=128, groups=8, digits=True),
    "tiny_unet": unet(8, (8, 16), attention=(4,), groups=4),
    "tiny_digits": unet(8, (8, 16), groups=4, digits=True),
    "tiny_dit": dit(8, 32, 2, 2, num_classes=10),
}


@dataclass(frozen=True)
class Workload:
    """One piece of work, which the bench repeats as often as it needs.

    Its fields are what travels between processes, also to processes of older checkouts: add fields, and rename none.

    kind: "sample" is a DDIM loop of `steps` on the linear 1000-step table (leading spacing, noise prediction), from a given x_T.
      "train" is an optimizer step of AdamW on fresh noise and levels. "sweep" samples at each of `scales` × `step_counts`, and pays for
      every compilation. "block" is a residual block; "attention", "convolution" and "matmul" are the operations alone.
    objective: "noise" (DDPM's) or "flow" (that of the digits experiment: flow matching, clipped gradients, one average of the parameters).
    guidance: scale of classifier-free guidance, None for none. passes: "batched" evaluates both halves in one call, "two" in two.
    size (in pixels), channels, tokens, heads, head_size: of a block or an operation. embedding: channels of a block's embedding.
    dtype: "float32" or "bfloat16", of activations.
    """

    kind: Kind
    network: str = ""
    batch: int = 1
    steps: int = 1
    objective: str = "noise"
    guidance: float | None = None
    passes: str = "batched"
    scales: tuple[float, ...] = ()
    step_counts: tuple[int, ...] = ()
    size: int = 0
    channels: int = 0
    embedding: int = 0
    tokens: int = 0
    heads: int = 0
    head_size: int = 0
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image: of the network's size, or of `size` where it is given."""
        network = NETWORKS[self.network]
        side = self.size or network.size
        return side, side, network.image_channels

    @property
    def calls(self) -> int:
        """Calls of the network on the whole batch; guidance makes two of one, a training step is one."""
        once = 2 if self.guidance is not None or self.kind == "sweep" else 1
        return once * (len(self.scales) * sum(self.step_counts) if self.kind == "sweep" else self.steps)

    @property
    def flops(self) -> float:
        """Of an operation or a block by its formula, a multiplication and an addition counting 2; 0 for networks, which XLA counts."""
        if self.kind == "attention":
            return 4.0 * self.batch * self.heads * self.tokens**2 * self.head_size
        if self.kind in ("convolution", "block"):
            each = 18.0 * self.batch * (self.size * self.channels) ** 2
            return each if self.kind == "convolution" else 2 * each + 2.0 * self.batch * self.embedding * self.channels
        return 2.0 * self.size**3 if self.kind == "matmul" else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, from which `from_json` makes an equal workload."""
        return dataclasses.asdict(self)


def from_json(fields: dict[str, Any]) -> Workload:
    """The workload that `as_json` wrote."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Workload(**given)
