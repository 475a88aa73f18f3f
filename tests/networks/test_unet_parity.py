"""The U-Net equals `diffusers`' UNet2DModel for equal weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks

torch = pytest.importorskip("torch", reason="needs torch and diffusers: pip install gendiff[peers]")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: pip install gendiff[peers]")

NAMES = {
    "conv1": "convolution_0",
    "conv2": "convolution_1",
    "conv_shortcut": "shortcut",
    "norm1": "norm_0",
    "norm2": "norm_1",
    "time_emb_proj": "embedding",
    "group_norm": "norm",
    "conv_norm_out": "output_norm",
    "conv_in": "input",
    "conv_out": "output",
}


@pytest.mark.peers
@pytest.mark.parametrize("resampling", ["convolution", "block"])
def test_unet_equals_diffusers_unet2dmodel_given_its_weights(resampling: str):
    torch.manual_seed(0)
    kind = {"convolution": "conv", "block": "resnet"}[resampling]
    theirs = diffusers.UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=({"convolution": "DownBlock2D", "block": "ResnetDownsampleBlock2D"}[resampling], "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        downsample_type=kind,
        upsample_type=kind,
        num_class_embeds=11,
    ).eval()
    ours = networks.unet.diffusers_unet((32, 64), 1, attention=(8,), groups=8, num_classes=10, resampling=resampling)
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    t, label = np.array([3.0, 900.0], np.float32), np.array([4, networks.embeddings.NO_LABEL], np.int32)

    params = renamed({name: value.numpy() for name, value in theirs.state_dict().items()}, levels=2)
    example = jax.eval_shape(networks.pure(ours), params, x, t, label)
    assert example.shape == x.shape
    expected_tree = jax.eval_shape(lambda: networks.init(ours, jax.random.key(0), jnp.asarray(x), jnp.asarray(t), label))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, expected_tree)

    with torch.no_grad():
        expected = theirs(torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(t), torch.tensor([4, 10])).sample.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(jax.jit(networks.pure(ours))(params, x, t, label), expected, atol=1e-4)


def renamed(weights: dict[str, np.ndarray], levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in weights.items():
        *place, leaf = name.split(".")
        if place[0] == "class_embedding":
            tree.setdefault("embedding", {})["label"] = value
            continue
        head, tail = _place(place, levels)
        if leaf == "weight":
            leaf = "kernel" if value.ndim > 1 else "scale"
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            value = value[0, 0] if tail == "shortcut" else value
        node = tree.setdefault(head, {})
        node = node.setdefault(tail, {}) if tail else node
        if tail in ("to_q", "to_k", "to_v"):
            node = tree[head].setdefault("qkv", {})
            tree[head].pop(tail, None)
            parts = [node[leaf]] if leaf in node else []
            value = np.concatenate([*parts, value], -1)  # state_dict lists q, k, v in this order
        node[leaf] = value
    return tree


def _place(place: list[str], levels: int) -> tuple[str, str]:
    if place[0] == "time_embedding":
        return "embedding", {"linear_1": "time_0", "linear_2": "time_1"}[place[1]]
    if place[0] in ("conv_in", "conv_out", "conv_norm_out"):
        return NAMES[place[0]], ""
    if place[0] == "mid_block":
        head = "middle_attention" if place[1] == "attentions" else f"middle_{place[2]}"
        rest = place[3:]
    else:
        way, level = ("down", int(place[1])) if place[0] == "down_blocks" else ("up", levels - 1 - int(place[1]))
        kind, number, rest = place[2], place[3], place[4:]
        head = {"resnets": f"{way}_{level}_{number}", "attentions": f"{way}_{level}_{number}_attention"}.get(kind, f"{way}_{level}_resize")
    if rest[0] == "to_out":
        return head, "output"
    return head, {"conv": "convolution"}.get(rest[0], NAMES.get(rest[0], rest[0]))
