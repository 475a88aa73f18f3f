"""Clips by a causal transformer, ours beside torch: rollouts against its cache, and a training step.

"video_rollout" draws clips of `tokens` frames, one after the other in `steps` steps of DDIM on the straight path,
against the keys and values of frames before; both sides draw their noise while they are timed, and for the comparison
the peer gets ours. "video_train" is a step of AdamW on clips of `tokens` frames with a time each, with given targets.
The peer is written for speed. Keys and values of earlier frames stand in slots that are made once; a frame takes the
slot of one that is seen no more. Eager steps see the slots that are filled. Compiled ones, whose shapes must not
change, see all slots through a mask until each is filled.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import training_steps, weights
from experiments.bench.byte_lm import turned
from experiments.bench.lazily import (
    accounting,
    devices,
    functional,
    grids,
    jax,
    jnp,
    networks,
    parameterization,
    samplers,
    sampling,
    schedules,
    torch,
    video,
)
from experiments.bench.workloads import Case, Way, Workload, normal

SEED = 0
"""Of the key of every rollout."""
EPSILON, WAVES, PERIOD = 1e-6, 256, 10_000.0
"""Of the norms, and of the numbers that tell a time."""


def inputs(workload: Workload, _: Any = None) -> dict[str, np.ndarray]:
    """Labels, and the noise (f, b, h, w, c) that frames are made from, by the rule of `diffusion.video.rollout`; or
    clips and targets.
    """
    rng = np.random.default_rng(0)
    label = {"label": rng.integers(0, workload.architecture.num_classes or 1, workload.batch).astype(np.int32)}
    if workload.kind == "video_train":
        clips = workload.batch, workload.tokens, *workload.shape
        x, target = normal(rng, *clips), normal(rng, *clips)
        return {"x": x, "t": rng.uniform(0, 1000, clips[:2]).astype(np.float32), **label, "target": target}
    key, levels, index = jax.random.key(SEED), _levels(workload), jnp.arange(workload.batch)

    def noise_of(frame: Any) -> Any:
        of_frame = jax.random.fold_in(jax.random.fold_in(key, frame), 0)
        return sampling.start_of(of_frame, levels, (1, *workload.shape), index, None)[1][:, 0]

    return label | {"noise": np.asarray(jax.jit(jax.vmap(noise_of))(jnp.arange(workload.tokens)))}


def build(workload: Workload) -> Any:
    """Our network, which works frame by frame."""
    names = ("patch", "width", "depth", "heads", "expansion", "window", "rotary_base")
    fields: dict[str, Any] = {name: workload.settings[name] for name in names} | {
        "num_classes": workload.architecture.num_classes
    }
    return networks.VideoTransformer(attention="causal", block=1, added_positions=True, **fields)


def init(workload: Workload, key: Any) -> Any:
    """Its parameters."""
    return networks.init(
        build(workload), key, jnp.zeros((1, 1, *workload.shape)), jnp.zeros(1), jnp.zeros(1, jnp.int32)
    )


def flops(workload: Workload) -> float:
    """By formula. Training counts all pairs of tokens, hidden or not, and a rollout those of frames that are seen.

    The pass that writes a frame ends with the keys and values of the last block.
    """
    network, training_step = build(workload), workload.kind == "video_train"
    batch, frames = workload.batch, workload.tokens if training_step else 1
    x = jax.ShapeDtypeStruct((batch, frames, *workload.shape), np.float32)
    t = jax.ShapeDtypeStruct((batch, frames) if training_step else (batch,), np.float32)
    counted = accounting.count(network, x, t, jax.ShapeDtypeStruct((batch,), np.int32), embeddings=True)
    if training_step:
        return float(counted.training_flops)
    last = f"block_{network.depth - 1}"
    skipped = (last, *(f"{last}/{name}" for name in ("output", "mlp_0", "mlp_1")), "output_modulation", "output")
    writing = counted.forward_flops - sum(counted.layers[name] for name in skipped)
    tokens = math.prod(workload.shape[:2]) // network.patch**2
    pairs = batch * tokens**2 * sum(min(frame, network.window - 1) for frame in range(workload.tokens))
    earlier = 4 * network.width * pairs * (workload.steps * network.depth + network.depth - 1)
    return float(workload.tokens * (workload.steps * counted.forward_flops + writing) + earlier)


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """The frames (b, f, h, w, c) of a rollout; or a step, compared by what is answered to the first clip after it, and
    its loss.
    """
    network, params = build(workload), weights.read(workload, folder)
    predict = networks.pure(network)
    if workload.kind == "video_train":
        read = jax.jit(predict)

        def loss(params: Any, key: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return jnp.mean(jnp.square(predict(params, batch["x"], batch["t"], batch["label"]) - batch["target"])), {}

        def answer(done: Any) -> dict[str, Any]:
            output = read(done[0], *(arrays[name][:1] for name in ("x", "t", "label")))
            return {"output": np.append(np.asarray(output).ravel(), float(done[1]["loss"]))}

        return Way(training_steps.ours(loss, params, arrays), answer)

    def roll(params: Any, label: Any) -> Any:
        cache: Any = networks.frame_cache(network, workload.batch, workload.tokens, *workload.shape[:2])
        rest = samplers.ddim(), _levels(workload), workload.shape, jnp.arange(workload.batch)
        blocks: dict[str, Any] = {"block": 1, "num_blocks": workload.tokens, "condition": (label,)}
        return video.rollout(
            jax.random.key(SEED), predict, params, parameterization.flow(), cache, *rest, **blocks
        ).frames

    fixed = params, arrays["label"]
    return Way(functools.partial(devices.compiled(devices.jit(roll), *fixed), *fixed))


def _levels(workload: Workload) -> Any:
    return grids.trailing(schedules.flow(), workload.steps)


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same by torch, in the mode "eager" or "compiled"."""
    label, compiled = arrays["label"].long(), mode == "compiled"
    model = Model(workload, weights.tensors(folder, label.device))
    if workload.kind == "video_train":
        call: Any = torch.compile(model.all_frames) if compiled else model.all_frames

        def answer(loss: Any) -> dict[str, Any]:
            with torch.inference_mode():
                return {
                    "output": torch.cat(
                        [model.all_frames(arrays["x"][:1], arrays["t"][:1], label[:1]).flatten(), loss[None]]
                    )
                }

        optimizer = training_steps.torch_adamw(model.weights.values())
        loss = lambda: functional.mse_loss(call(arrays["x"], arrays["t"], label), arrays["target"])  # noqa: E731
        return Way(training_steps.theirs(loss, optimizer), answer)
    steps: tuple[Callable[..., Any], ...] = (advanced, model.one_frame)
    draw, keep = (torch.compile(step) if compiled else step for step in steps)
    slots, levels = model.slots(len(label)), torch.linspace(1, 0, workload.steps + 1, device=label.device)
    places = [model.position(frame, fixed=compiled) for frame in range(workload.tokens)]

    def again(noise: Any) -> Any:
        frames = []
        for position, x in zip(places, noise.unsqueeze(2), strict=True):
            for begin, end in zip(levels[:-1], levels[1:], strict=True):
                x = draw(model, x, begin, end, label, position, slots)
            keep(x, levels[-1:, None], label, position, slots, True)
            frames.append(x)
        return torch.stack(frames)

    def roll(noise: Any = None) -> Any:
        with torch.inference_mode():
            return again(
                torch.randn(workload.tokens, len(label), *workload.shape, device=label.device)
                if noise is None
                else noise
            )

    return Way(roll, lambda _: {"output": roll(arrays["noise"]).squeeze(2).transpose(0, 1)})


def advanced(model: "Model", x: Any, begin: Any, end: Any, label: Any, position: "Place", slots: list["Slots"]) -> Any:
    """A step of DDIM on the straight path, from one noise level () to the next."""
    return x + (end - begin) * model.one_frame(x, 1000 * begin.reshape(1, 1), label, position, slots)


class Place(NamedTuple):
    """Where a frame that is drawn stands: the turns of its tokens, its slot, how many slots are seen, and which where
    not all are.
    """

    cos: Any
    sin: Any
    slot: Any
    seen: int
    mask: Any


class Slots(NamedTuple):
    """Keys and values (b, heads, slots, tokens of a frame, size) of one block."""

    keys: Any
    values: Any

    def write(self, key: Any, value: Any, position: Place) -> None:
        """Puts a frame (b, heads, 1, tokens, size) into its slot."""
        if isinstance(position.slot, int):
            self.keys[:, :, position.slot], self.values[:, :, position.slot] = key[:, :, 0], value[:, :, 0]
        else:
            self.keys.index_copy_(2, position.slot, key)
            self.values.index_copy_(2, position.slot, value)


class Model:
    """Clips (b, f, h, w, c) with times (b, f) and labels (b,) to what is predicted of them, by torch. weights: by our
    paths.
    """

    def __init__(self, workload: Workload, stored: dict[str, Any]) -> None:
        settings, self.weights, device = workload.settings, stored, stored["input/kernel"].device
        self.patch, self.window, self.depth, self.heads = (
            settings[name] for name in ("patch", "window", "depth", "heads")
        )
        self.side, self.width, frames = settings["sample_size"] // self.patch, settings["width"], workload.tokens
        waves = torch.exp(-math.log(PERIOD) * torch.arange(WAVES // 2, dtype=torch.float64) / (WAVES // 2))
        numbers = torch.arange(frames).repeat_interleave(self.side**2)
        mask = (numbers[None] <= numbers[:, None]) & (numbers[None] > numbers[:, None] - self.window)
        angles = self._angles(frames, self.width // self.heads, settings["rotary_base"])
        cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([-angles.sin(), angles.sin()], -1)
        self.waves, self.cos, self.sin, self.added = (
            each.float().to(device) for each in (waves, cos, sin, self._added())
        )
        self.mask = mask.to(device)

    def all_frames(self, x: Any, t: Any, label: Any) -> Any:
        """Of whole clips."""
        embedding, y, frames = self._embedding(t, label), self._patches(x), x.shape[1]
        position = Place(
            self.cos[:frames], self.sin[:frames], None, 0, self.mask[: frames * self.side**2, : frames * self.side**2]
        )
        for number in range(self.depth):
            y = self._block(f"block_{number}", y, embedding, position, None)
        return self._image(y, embedding)

    def one_frame(self, x: Any, t: Any, label: Any, position: Place, slots: list[Slots], store: bool = False) -> Any:
        """The prediction of a frame (b, 1, h, w, c), whose time (1, 1) all clips share, behind those in the slots,
        where it stands then.

        store: it is put into its slot in each block, and no more is done.
        """
        embedding, y = self._embedding(t, label), self._patches(x)
        for number in range(self.depth):
            y = self._block(
                f"block_{number}", y, embedding, position, slots[number], store and number == self.depth - 1
            )
        return None if store else self._image(y, embedding)

    def position(self, frame: int, *, fixed: bool) -> Place:
        """Where a frame stands. fixed: shapes are those of all other frames."""
        cos, sin, slot = self.cos[frame : frame + 1], self.sin[frame : frame + 1], frame % self.window
        if not fixed:
            return Place(cos, sin, slot, min(frame + 1, self.window), None)
        filled = torch.arange(self.window, device=cos.device).repeat_interleave(self.side**2)[None] <= frame
        return Place(
            cos, sin, torch.tensor([slot], device=cos.device), self.window, filled if frame + 1 < self.window else None
        )

    def slots(self, batch: int) -> list[Slots]:
        """For as many frames as one sees, itself included, in each block."""
        shape = batch, self.heads, self.window, self.side**2, self.width // self.heads
        return [Slots(*(torch.zeros(shape, device=self.cos.device) for _ in range(2))) for _ in range(self.depth)]

    def _linear(self, x: Any, name: str, rows: slice = slice(None)) -> Any:
        return functional.linear(x, self.weights[f"{name}/kernel"][rows], self.weights[f"{name}/bias"][rows])

    def _embedding(self, t: Any, label: Any) -> Any:
        """Times and labels as vectors (b, f, width)."""
        silu, angles = functional.silu, t[..., None] * self.waves
        time = self._linear(torch.cat([angles.cos(), angles.sin()], -1), "embedding/time_0")
        return silu(self._linear(silu(time), "embedding/time_1") + self.weights["embedding/label"][label][:, None])

    def _block(
        self, name: str, x: Any, embedding: Any, position: Place, slots: Slots | None, store: bool = False
    ) -> Any:
        """Attention and an MLP on tokens (b, f, s, width), each of which the embedding of a frame shifts, scales and
        gates.

        store: keys and values alone are computed, and put into the slots.
        """
        width = self.width
        changes = (
            self._linear(embedding, f"{name}/modulation", slice(2 * width if store else None))
            .unsqueeze(-2)
            .chunk(2 if store else 6, -1)
        )
        joined = self._linear(self._normed(x, *changes[:2]), f"{name}/qkv", slice(width if store else 0, None))
        *queries, key, value = joined.unflatten(-1, (2 if store else 3, self.heads, -1)).permute(3, 0, 4, 1, 2, 5)
        key = turned(key, position.cos, position.sin)
        if slots is not None:
            slots.write(key, value, position)
            key, value = slots.keys[:, :, : position.seen], slots.values[:, :, : position.seen]
        if store:
            return None
        query, (_, _, gate_0, shift_1, scale_1, gate_1) = (
            turned(queries[0], position.cos, position.sin).flatten(2, 3),
            changes,
        )
        y = functional.scaled_dot_product_attention(
            query, key.flatten(2, 3), value.flatten(2, 3), attn_mask=position.mask
        )
        x = torch.addcmul(x, gate_0, self._linear(y.transpose(1, 2).reshape(x.shape), f"{name}/output"))
        y = functional.gelu(self._linear(self._normed(x, shift_1, scale_1), f"{name}/mlp_0"), approximate="tanh")
        return torch.addcmul(x, gate_1, self._linear(y, f"{name}/mlp_1"))

    def _normed(self, x: Any, shift: Any, scale: Any) -> Any:
        return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=EPSILON), 1 + scale)

    def _patches(self, x: Any) -> Any:
        b, f, _, _, c = x.shape
        squares = x.reshape(b, f, self.side, self.patch, self.side, self.patch, c).transpose(3, 4)
        return self._linear(squares.reshape(b, f, self.side**2, self.patch**2 * c), "input") + self.added

    def _image(self, y: Any, embedding: Any) -> Any:
        y = self._linear(
            self._normed(y, *self._linear(embedding, "output_modulation").unsqueeze(-2).chunk(2, -1)), "output"
        )
        squares = y.unflatten(-1, (self.patch, self.patch, -1)).unflatten(2, (self.side, self.side))
        return squares.transpose(3, 4).flatten(4, 5).flatten(2, 3)

    def _added(self) -> Any:
        """Fixed positions (s, width), those of the column first."""
        frequencies = PERIOD ** (-torch.arange(self.width // 4, dtype=torch.float64) / (self.width // 4))
        row, column = torch.meshgrid(*[torch.arange(self.side)] * 2, indexing="ij")
        angles = [position.reshape(-1, 1) * frequencies for position in (column, row)]
        return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], -1)

    def _angles(self, frames: int, size: int, base: float) -> Any:
        """(f, s, size / 2) by how much pairs of channels turn: those of the frame, of the row, and of the column."""
        each = (size // 2 + 1) // 3
        places = torch.meshgrid(torch.arange(frames), torch.arange(self.side), torch.arange(self.side), indexing="ij")
        rates = [
            base ** (-torch.arange(count, dtype=torch.float64) / count) for count in (size // 2 - 2 * each, each, each)
        ]
        return torch.cat([at.reshape(frames, -1, 1) * rate for at, rate in zip(places, rates, strict=True)], -1)


ROLLOUT = Workload("video_rollout", "video", batch=8, tokens=16, steps=4)
DRAWN = "8 clips of 16 frames of 32×32, frame by frame with a causal transformer and its cache, DDIM in 4 steps"
TRAINED = "training step of the same network, 8 clips of 8 frames with a time each"
CASES = (
    Case("video_rollout", DRAWN, ROLLOUT),
    Case("video_train", TRAINED, Workload("video_train", "video", batch=8, tokens=8)),
)
