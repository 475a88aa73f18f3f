"""The peer's side of the cases with clips: the causal network in torch, written for speed, its rollouts, and a step of AdamW.

Queries, keys and values are one product, and attention is torch's own. Keys and values of earlier frames stand in slots that are made once;
a frame that is drawn takes the slot of one that is seen no more, so that nothing is moved. Eager steps see the slots that are filled.
Compiled ones, whose shapes must not change, see all slots through a mask until each is filled.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from experiments.benchmarks.torch_next_token import stepped, turned
from experiments.benchmarks.workloads import NETWORKS, VIDEO_FILE, Workload

Arrays = Mapping[str, torch.Tensor]
EPSILON, WAVES, PERIOD = 1e-6, 256, 10_000.0
"""Of the norms, and of the numbers that tell a time."""


class Place(NamedTuple):
    """Where a frame that is drawn stands: the turns of its tokens, its slot, how many slots are seen, and which where not all are."""

    cos: torch.Tensor
    sin: torch.Tensor
    slot: Any
    seen: int
    mask: torch.Tensor | None


class Slots:
    """Keys and values (b, heads, slots, tokens of a frame, size) of one block."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def write(self, key: torch.Tensor, value: torch.Tensor, place: Place) -> None:
        """Puts a frame (b, heads, 1, tokens, size) into its slot."""
        if isinstance(place.slot, int):
            self.keys[:, :, place.slot], self.values[:, :, place.slot] = key[:, :, 0], value[:, :, 0]
        else:
            self.keys.index_copy_(2, place.slot, key)
            self.values.index_copy_(2, place.slot, value)

    def read(self, place: Place) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (b, heads, k, size) of the slots that are seen."""
        return self.keys[:, :, : place.seen].flatten(2, 3), self.values[:, :, : place.seen].flatten(2, 3)


class Embedding(nn.Module):
    """Times and labels as vectors (b, f, width)."""

    waves: torch.Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.time_0, self.time_1 = nn.Linear(WAVES, width), nn.Linear(width, width)
        self.label = nn.Parameter(torch.randn(classes + 1, width))
        waves = torch.exp(-math.log(PERIOD) * torch.arange(WAVES // 2, dtype=torch.float64) / (WAVES // 2))
        self.register_buffer("waves", waves.float(), persistent=False)

    def forward(self, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        angles = t[..., None] * self.waves
        time = self.time_1(functional.silu(self.time_0(torch.cat([angles.cos(), angles.sin()], -1))))
        return functional.silu(time + self.label[label][:, None])


class Block(nn.Module):
    """Attention and an MLP on tokens (b, f, s, width), each of which the embedding of a frame shifts, scales and gates."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.width, self.heads = settings["width"], settings["heads"]
        inner = settings["expansion"] * self.width
        self.modulation = nn.Linear(self.width, 6 * self.width)
        self.qkv, self.output = nn.Linear(self.width, 3 * self.width), nn.Linear(self.width, self.width)
        self.mlp_0, self.mlp_1 = nn.Linear(self.width, inner), nn.Linear(inner, self.width)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: Any) -> torch.Tensor:
        """Of whole clips."""
        changes = self._changes(embedding)
        query, key, value = self._heads(self.qkv(_normed(x, *changes[:2])), 3)
        query, key = turned(query, cos, sin), turned(key, cos, sin)
        return self._rest(x, query, key.flatten(2, 3), value.flatten(2, 3), mask, changes)

    def drawn(self, x: torch.Tensor, embedding: torch.Tensor, place: Place, slots: Slots) -> torch.Tensor:
        """Of a frame, which stands in its slot then."""
        changes = self._changes(embedding)
        query, key, value = self._heads(self.qkv(_normed(x, *changes[:2])), 3)
        slots.write(turned(key, place.cos, place.sin), value, place)
        return self._rest(x, turned(query, place.cos, place.sin), *slots.read(place), place.mask, changes)

    def kept(self, x: torch.Tensor, embedding: torch.Tensor, place: Place, slots: Slots) -> None:
        """Puts a frame into its slot, and does no more."""
        both = slice(2 * self.width)
        changes = functional.linear(embedding, self.modulation.weight[both], self.modulation.bias[both])
        shift, scale = changes.unsqueeze(-2).chunk(2, -1)
        weight, bias = self.qkv.weight[self.width :], self.qkv.bias[self.width :]
        key, value = self._heads(functional.linear(_normed(x, shift, scale), weight, bias), 2)
        slots.write(turned(key, place.cos, place.sin), value, place)

    def _rest(self, x: Any, query: Any, key: Any, value: Any, mask: Any, changes: Any) -> torch.Tensor:
        _, _, gate_0, shift_1, scale_1, gate_1 = changes
        y = functional.scaled_dot_product_attention(query.flatten(2, 3), key, value, attn_mask=mask)
        x = torch.addcmul(x, gate_0, self.output(y.transpose(1, 2).reshape(x.shape)))
        y = functional.gelu(self.mlp_0(_normed(x, shift_1, scale_1)), approximate="tanh")
        return torch.addcmul(x, gate_1, self.mlp_1(y))

    def _changes(self, embedding: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.modulation(embedding).unsqueeze(-2).chunk(6, -1)

    def _heads(self, y: torch.Tensor, parts: int) -> torch.Tensor:
        """Queries, keys and values, or the last two: (parts, b, heads, f, s, size)."""
        return y.unflatten(-1, (parts, self.heads, -1)).permute(3, 0, 4, 1, 2, 5)


class Model(nn.Module):
    """Clips (b, f, h, w, c) with times (b, f) and labels (b,) to what is predicted of them. frames: the longest clip."""

    added: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    mask: torch.Tensor

    def __init__(self, settings: dict[str, Any], classes: int, frames: int) -> None:
        super().__init__()
        self.patch, self.side, width = settings["patch"], settings["sample_size"] // settings["patch"], settings["width"]
        self.window, pixels = settings["window"], settings["patch"] ** 2 * settings["in_channels"]
        self.input, self.embedding = nn.Linear(pixels, width), Embedding(width, classes)
        self.depth = settings["depth"]
        for number in range(self.depth):
            self.add_module(f"block_{number}", Block(settings))
        self.output_modulation, self.output = nn.Linear(width, 2 * width), nn.Linear(width, pixels)
        angles = self._angles(frames, width // settings["heads"], settings["rotary_base"])
        every = torch.arange(frames).repeat_interleave(self.side**2)
        seen = (every[None] <= every[:, None]) & (every[None] > every[:, None] - self.window)
        tables = {"cos": torch.cat([angles.cos()] * 2, -1).float(), "sin": torch.cat([-angles.sin(), angles.sin()], -1).float()}
        for name, table in (tables | {"mask": seen, "added": self._added(width).float()}).items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        embedding, frames = self.embedding(t, label), x.shape[1]
        y = self.input(self._patches(x)) + self.added
        mask = self.mask[: frames * self.side**2, : frames * self.side**2]
        for number in range(self.depth):
            y = self.get_submodule(f"block_{number}")(y, embedding, self.cos[:frames], self.sin[:frames], mask)
        return self._image(y, embedding)

    def drawn(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor, place: Place, slots: list[Slots]) -> torch.Tensor:
        """The prediction of a frame (b, 1, h, w, c), whose time (1, 1) all clips share, behind those in the slots."""
        embedding = self.embedding(t, label)
        y = self.input(self._patches(x)) + self.added
        for number, own in enumerate(slots):
            y = self.get_submodule(f"block_{number}").drawn(y, embedding, place, own)
        return self._image(y, embedding)

    def kept(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor, place: Place, slots: list[Slots]) -> None:
        """Puts a frame into its slot in every block."""
        embedding = self.embedding(t, label)
        y = self.input(self._patches(x)) + self.added
        for number, own in enumerate(slots[:-1]):
            y = self.get_submodule(f"block_{number}").drawn(y, embedding, place, own)
        self.get_submodule(f"block_{len(slots) - 1}").kept(y, embedding, place, slots[-1])

    def _patches(self, x: torch.Tensor) -> torch.Tensor:
        b, f, _, _, c = x.shape
        squares = x.reshape(b, f, self.side, self.patch, self.side, self.patch, c).transpose(3, 4)
        return squares.reshape(b, f, self.side**2, self.patch**2 * c)

    def _image(self, y: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        y = self.output(_normed(y, *self.output_modulation(embedding).unsqueeze(-2).chunk(2, -1)))
        squares = y.unflatten(-1, (self.patch, self.patch, -1)).unflatten(2, (self.side, self.side))
        return squares.transpose(3, 4).flatten(4, 5).flatten(2, 3)

    def _added(self, width: int) -> torch.Tensor:
        """Fixed positions (s, width), those of the column first."""
        frequencies = PERIOD ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
        row, column = torch.meshgrid(*[torch.arange(self.side)] * 2, indexing="ij")
        angles = [place.reshape(-1, 1) * frequencies for place in (column, row)]
        return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], -1)

    def _angles(self, frames: int, size: int, base: float) -> torch.Tensor:
        """(f, s, size / 2) by how much pairs of channels turn: those of the frame, of the row, and of the column."""
        each = (size // 2 + 1) // 3
        places = torch.meshgrid(torch.arange(frames), torch.arange(self.side), torch.arange(self.side), indexing="ij")
        counts = size // 2 - 2 * each, each, each
        parts = [
            at.reshape(frames, -1, 1) * base ** (-torch.arange(count, dtype=torch.float64) / count)
            for at, count in zip(places, counts, strict=True)
        ]
        return torch.cat(parts, -1)


class Drawn(NamedTuple):
    """Frames (f, b, 1, h, w, c) of a rollout, and the program that draws such ones of noise (f, b, h, w, c)."""

    frames: torch.Tensor
    again: Callable[[torch.Tensor], torch.Tensor]


def opened(workload: Workload, folder: Path) -> Model:
    """The network with the weights of a folder, which gets random ones, none of them zero, where it is not there."""
    network, file = NETWORKS[workload.network], folder / VIDEO_FILE
    module = Model(network.settings, network.num_classes or 0, workload.tokens)
    if not file.exists():
        for value in module.parameters():
            nn.init.normal_(value, std=value.shape[-1] ** -0.5 if value.ndim > 1 else 0.1)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}, str(file))
    module.load_state_dict(load_file(str(file)))
    return module


def roller(workload: Workload, module: Model, arrays: Arrays, mode: str) -> Callable[[], Drawn]:
    """A rollout of arrays["label"], with noise of its own."""
    module, label, compiled = module.eval(), arrays["label"].long(), mode == "compiled"
    steps: tuple[Callable[..., Any], ...] = (advanced, module.kept)
    draw, keep = (torch.compile(step) if compiled else step for step in steps)
    shape = workload.tokens, len(label), *workload.shape
    slots, levels = empty(module, len(label), label.device), torch.linspace(1, 0, workload.steps + 1, device=label.device)
    places = [place(module, frame, fixed=compiled) for frame in range(workload.tokens)]

    def again(noise: torch.Tensor) -> torch.Tensor:
        frames = []
        for own, x in zip(places, noise.unsqueeze(2), strict=True):
            for begin, end in zip(levels[:-1], levels[1:], strict=True):
                x = draw(module, x, begin, end, label, own, slots)
            keep(x, levels[-1:, None], label, own, slots)
            frames.append(x)
        return torch.stack(frames)

    def work() -> Drawn:
        with torch.inference_mode():
            return Drawn(again(torch.randn(shape, device=label.device)), again)

    return work


def advanced(
    module: Model, x: torch.Tensor, begin: torch.Tensor, end: torch.Tensor, label: torch.Tensor, place: Place, slots: list[Slots]
) -> torch.Tensor:
    """A step of DDIM on the straight path, from one noise level () to the next."""
    return x + (end - begin) * module.drawn(x, 1000 * begin.reshape(1, 1), label, place, slots)


def place(module: Model, frame: int, *, fixed: bool) -> Place:
    """Where a frame stands. fixed: shapes are those of all other frames."""
    window, cos, sin = module.window, module.cos[frame : frame + 1], module.sin[frame : frame + 1]
    if not fixed:
        return Place(cos, sin, frame % window, min(frame + 1, window), None)
    filled = torch.arange(window, device=cos.device).repeat_interleave(module.side**2)[None] <= frame
    return Place(cos, sin, torch.tensor([frame % window], device=cos.device), window, filled if frame + 1 < window else None)


def empty(module: Model, batch: int, device: torch.device) -> list[Slots]:
    """Slots for as many frames as one sees, itself included, in each block."""
    block = module.get_submodule("block_0")
    shape = batch, block.heads, module.window, module.side**2, block.width // block.heads
    return [Slots(shape, device) for _ in range(module.depth)]


def frames(workload: Workload, module: Model, arrays: Arrays, drawn: Drawn) -> dict[str, np.ndarray]:
    """The frames (b, f, h, w, c) of the noise that is given."""
    with torch.inference_mode():
        clips = drawn.again(arrays["noise"]).squeeze(2).transpose(0, 1)
    return {"output": clips.float().cpu().numpy()}


def trainer(workload: Workload, module: Model, arrays: Arrays, mode: str) -> Callable[[], torch.Tensor]:
    """A step on what is given; the answer is the loss before it."""
    given, target = (arrays["x"], arrays["t"], arrays["label"].long()), arrays["target"]
    return stepped(module, mode, lambda call: functional.mse_loss(call(*given), target))


def answers(workload: Workload, module: Model, arrays: Arrays, loss: torch.Tensor) -> dict[str, np.ndarray]:
    """What the network answers to the first clip after the step, and the loss of it."""
    with torch.inference_mode():
        output = module(arrays["x"][:1], arrays["t"][:1], arrays["label"][:1].long())
    return {"output": np.append(output.float().cpu().numpy().ravel(), float(loss))}


def _normed(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=EPSILON), 1 + scale)
