"""The workloads' networks as torch and diffusers have them, and their weights in safetensors files."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import save_file

from experiments.benchmarks.workloads import NETWORKS, DiT, UNet, Workload

MODES = ("eager", "channels_last", "compiled")


def build(name: str, device: str) -> torch.nn.Module:
    """A network with random weights."""
    network = NETWORKS[name]
    torch.manual_seed(0)
    return (_unet(network) if isinstance(network, UNet) else _dit(network)).to(device)


def block(workload: Workload, device: str) -> torch.nn.Module:
    """The residual block of Stable Diffusion's U-Net, or without an embedding that of its decoder."""
    torch.manual_seed(0)
    channels = workload.channels
    return ResnetBlock2D(in_channels=channels, out_channels=channels, temb_channels=workload.embedding or None, groups=32, eps=1e-5).to(
        device
    )


def laid_out(module: torch.nn.Module, mode: str) -> torch.nn.Module:
    """The module in one of `MODES`. What it computes stays the same."""
    if mode == "channels_last":
        return module.to(memory_format=torch.channels_last)
    return torch.compile(module) if mode == "compiled" else module


def save(module: torch.nn.Module, folder: Path, gradients: bool = False) -> None:
    """Its weights, or their gradients under the same names, as diffusers would save them: config.json and one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach() for name, value in module.state_dict().items()}
    if gradients:
        state |= {name: value.grad for name, value in module.named_parameters(remove_duplicate=False) if value.grad is not None}
    copies = {name: value.float().cpu().contiguous().clone() for name, value in state.items()}  # shared tensors are written apart
    save_file(copies, str(folder / "diffusion_pytorch_model.safetensors"))
    settings: Any = getattr(module, "config", {})
    kept = {key: value for key, value in dict(settings).items() if not key.startswith("_")}
    (folder / "config.json").write_text(json.dumps({"_class_name": type(module).__name__, **kept}), encoding="utf-8")


def _unet(network: UNet) -> UNet2DModel:
    levels = [network.size // 2**level for level in range(len(network.channels))]
    attended = [size in network.attention for size in levels]
    return UNet2DModel(
        sample_size=network.size,
        in_channels=network.image_channels,
        out_channels=network.image_channels,
        block_out_channels=network.channels,
        layers_per_block=network.blocks,
        norm_num_groups=network.groups,
        attention_head_dim=network.head_size,
        attn_norm_num_groups=network.groups,
        resnet_time_scale_shift="default" if network.modulation == "shift" else network.modulation,
        down_block_types=tuple("AttnDownBlock2D" if there else "DownBlock2D" for there in attended),
        up_block_types=tuple("AttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attended)),
        num_class_embeds=None if network.num_classes is None else network.num_classes + 1,
    )


def _dit(network: DiT) -> DiTTransformer2DModel:
    model = DiTTransformer2DModel(
        sample_size=network.size,
        in_channels=network.image_channels,
        num_layers=network.depth,
        num_attention_heads=network.heads,
        attention_head_dim=network.width // network.heads,
        patch_size=network.patch,
        num_embeds_ada_norm=network.num_classes,
    )
    # diffusers builds an embedder a block, where the paper has one for all; sharing it is less work for the peer, never more
    first = model.transformer_blocks[0].norm1.emb
    for each in model.transformer_blocks:
        each.norm1.emb = first
    return model
