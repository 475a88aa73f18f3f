"""The workloads' networks as torch and diffusers have them, and their weights in safetensors files."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import save_file

from experiments.benchmarks.workloads import NETWORKS, Architecture, Workload

MODES = ("eager", "channels_last", "compiled")


def build(name: str, device: str) -> torch.nn.Module:
    """A network with random weights."""
    network = NETWORKS[name]
    torch.manual_seed(0)
    return (UNet2DModel(**network.settings) if network.kind == UNet2DModel.__name__ else _dit(network)).to(device)


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


def _dit(network: Architecture) -> DiTTransformer2DModel:
    model = DiTTransformer2DModel(**network.settings)
    # diffusers builds an embedder per block, where the paper has one for all; sharing it is less work for the peer, never more
    first = model.transformer_blocks[0].norm1.emb
    for each in model.transformer_blocks:
        each.norm1.emb = first
    return model
