"""The blocks that models of diffusers share: rules for their parameters, and former names of their attention."""

import numpy as np

from gendiff.weights import layouts
from gendiff.weights.rules import Arrays, Rule, convolution, linear, norm

FORMER_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def residual(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for a `ResnetBlock2D`, which is `networks.blocks.ResidualBlock`."""
    return (
        *norm(f"{theirs}.norm1", f"{ours}/norm_0"),
        *convolution(f"{theirs}.conv1", f"{ours}/convolution_0"),
        *linear(f"{theirs}.time_emb_proj", f"{ours}/embedding"),
        *norm(f"{theirs}.norm2", f"{ours}/norm_1"),
        *convolution(f"{theirs}.conv2", f"{ours}/convolution_1"),
        *linear(f"{theirs}.conv_shortcut", f"{ours}/shortcut", layouts.Patches(1)),
    )


def attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for an `Attention` over the pixels of a map, which is `networks.attention.ImageAttention`."""
    return (
        *norm(f"{theirs}.group_norm", f"{ours}/norm"),
        *linear(f"{theirs}.to_q {theirs}.to_k {theirs}.to_v", f"{ours}/qkv"),
        *linear(f"{theirs}.to_out.0", f"{ours}/output"),
    )


def renamed(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays with the present names of attention layers in place of those before diffusers 0.13."""

    def now(name: str) -> str:
        head, former, leaf = (*name.rsplit(".", 2), "", "")[:3]
        return f"{head}.{FORMER_NAMES[former]}.{leaf}" if ".attentions." in name and former in FORMER_NAMES else name

    return {now(name): array for name, array in arrays.items()}
