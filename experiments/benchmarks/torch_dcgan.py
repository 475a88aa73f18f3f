"""The peer's side of the case with DCGAN: the same pair of networks in torch, and a step of critic and generator as its example has it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from experiments.benchmarks.workloads import DCGAN_BETAS, DCGAN_EPSILON, DCGAN_FILE, DCGAN_RATE, NETWORKS, Workload

Arrays = Mapping[str, torch.Tensor]
FIRST = 4
"""Pixels per side of the coarsest maps."""


class PixelNorm(nn.Module):
    """Division by the root of the mean square over the channels of a pixel, then a gain per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.weight[:, None, None]


class Generator(nn.Module):
    """Noise to pictures."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.sides = _sides(settings)
        before = _channels(settings, FIRST)
        self.input = nn.Linear(settings["noise"], FIRST * FIRST * before)
        for side in self.sides:
            channels = _channels(settings, side)
            if side > FIRST:
                self.add_module(f"double_{side}", nn.ConvTranspose2d(before, channels, 4, 2, 1))
            self.add_module(f"norm_{side}", PixelNorm(channels))
            before = channels
        self.output = nn.ConvTranspose2d(before, settings["in_channels"], 4, 2, 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        x = self.input(noise).unflatten(1, (-1, FIRST, FIRST))
        for side in self.sides:
            if side > FIRST:
                x = self.get_submodule(f"double_{side}")(x)
            x = functional.relu(self.get_submodule(f"norm_{side}")(x))
        return torch.tanh(self.output(x))


class Critic(nn.Module):
    """Pictures to logits."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.sides = _sides(settings)[::-1]
        before = settings["in_channels"]
        for side in self.sides:
            channels = _channels(settings, side)
            self.add_module(f"halve_{side}", nn.Conv2d(before, channels, 4, 2, 1))
            before = channels
        self.head = nn.ModuleDict({"output": nn.Linear(FIRST * FIRST * before, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for side in self.sides:
            x = functional.leaky_relu(self.get_submodule(f"halve_{side}")(x), 0.2)
        return self.head["output"](x.flatten(1))[:, 0]


def build(workload: Workload) -> nn.Module:
    """Both networks with random weights."""
    settings = NETWORKS[workload.network].settings
    return nn.ModuleDict({"generator": Generator(settings), "critic": Critic(settings)})


def opened(workload: Workload, folder: Path) -> nn.Module:
    """Both networks with the weights of a folder, which gets random ones where it is not there."""
    module, file = build(workload), folder / DCGAN_FILE
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}, str(file))
    module.load_state_dict(load_file(str(file)))
    return module


def trainer(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Callable[[], Any]:
    """A step of the critic, then one of the generator on the same generated pictures; the answer is both losses."""
    layout = torch.channels_last if mode == "channels_last" else torch.contiguous_format
    module = module.train().to(memory_format=layout)
    clean, noise = arrays["clean"].permute(0, 3, 1, 2).contiguous(memory_format=layout), arrays["noise"]
    networks = [module["generator"], module["critic"]]
    generate, criticise = [torch.compile(each) for each in networks] if mode == "compiled" else networks
    parameters = [list(each.parameters()) for each in networks]
    how = {"lr": DCGAN_RATE, "betas": DCGAN_BETAS, "eps": DCGAN_EPSILON, "fused": True}
    of_generator, of_critic = (torch.optim.Adam(each, **how) for each in parameters)

    def work() -> torch.Tensor:
        fake = generate(noise)
        loss = functional.softplus(-criticise(clean)).mean() + functional.softplus(criticise(fake.detach())).mean()
        of_critic.zero_grad(set_to_none=True)
        loss.backward()
        of_critic.step()
        generator_loss = functional.softplus(-criticise(fake)).mean()
        of_generator.zero_grad(set_to_none=True)
        generator_loss.backward(inputs=parameters[0])  # no gradient of the critic's parameters
        of_generator.step()
        return torch.stack([loss.detach(), generator_loss.detach()])

    return work


def answers(workload: Workload, module: Any, arrays: Arrays, losses: torch.Tensor) -> dict[str, np.ndarray]:
    """Pictures of the generator after the step, channels last, and both losses of it."""
    with torch.inference_mode():
        pictures = module["generator"](arrays["noise"]).movedim(1, -1)
    return {"output": np.concatenate([pictures.float().cpu().numpy().ravel(), losses.float().cpu().numpy()])}


def _sides(settings: dict[str, Any]) -> list[int]:
    """Pixels per side of all maps but the picture's, the coarsest first."""
    finest = settings["sample_size"] // 2
    return [side for side in (FIRST << level for level in range(16)) if side <= finest]


def _channels(settings: dict[str, Any], side: int) -> int:
    return min(settings["width"] * settings["sample_size"] // (2 * side), settings["widest"])
