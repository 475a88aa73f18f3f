"""Our side of the cases with clips: rollouts of the causal network of clips against its cache, and a training step of it.

Both sides draw noise of their own while they are timed. For the comparison the peer gets ours, so that both must draw the same frames.
"""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from experiments.benchmarks import next_token_work
from experiments.benchmarks.workloads import NETWORKS, VIDEO_FILE, Workload
from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import Metrics, Params
from gendiff.diffusion import grids, parameterization, samplers, sampling, schedules, video
from gendiff.diffusion.types import Level
from gendiff.runs import devices
from gendiff.scaling import accounting

Arrays = Mapping[str, jax.Array]
SEED = 0
"""Of the key of every rollout."""


class Clips(NamedTuple):
    """A batch that is trained on: clips, their times (b, f), labels (b,), and what the network should answer."""

    x: Any
    t: Any
    label: Any
    target: Any


def build(workload: Workload) -> networks.VideoTransformer:
    """The causal network, which works frame by frame."""
    network = NETWORKS[workload.network]
    names = ("patch", "width", "depth", "heads", "expansion", "window", "rotary_base")
    fields: dict[str, Any] = {name: network.settings[name] for name in names}
    return networks.VideoTransformer(num_classes=network.num_classes, attention="causal", block=1, added_positions=True, **fields)


def parameters(workload: Workload, network: networks.VideoTransformer, weights: str = "") -> Params:
    """Those in a folder, or fresh ones."""
    init = functools.partial(networks.init, network)
    example = jnp.zeros((1, 1, *workload.shape)), jnp.zeros((1,)), jnp.zeros((1,), jnp.int32)
    if not weights:
        return jax.jit(init)(jax.random.key(0), *example)
    theirs = safetensors.numpy.load_file(Path(weights) / VIDEO_FILE)
    like = jax.eval_shape(init, jax.random.key(0), *example)

    def read(path: Any, _: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        array = theirs[their_name(name)]
        return jnp.asarray(array.T if name.endswith("kernel") else array)

    return jax.tree_util.tree_map_with_path(read, like)


def write_weights(workload: Workload, folder: Path) -> None:
    """Random weights as the peer's side keeps them, in its layout. No layer is zero."""
    rng, like = np.random.default_rng(0), jax.eval_shape(functools.partial(parameters, workload, build(workload)))
    arrays = {}
    for path, leaf in trees.paths(like).items():
        scale = math.sqrt(leaf.shape[0]) if len(leaf.shape) > 1 else 10.0
        shape = leaf.shape[::-1] if path.endswith("kernel") else leaf.shape
        arrays[their_name(path)] = (rng.normal(size=shape) / scale).astype(np.float32)
    folder.mkdir(parents=True)
    safetensors.numpy.save_file(arrays, folder / VIDEO_FILE, metadata={"format": "pt"})


def their_name(path: str) -> str:
    """From a path of ours to the name of torch."""
    return path.replace("/kernel", "/weight").replace("/", ".")


def inputs(workload: Workload) -> dict[str, np.ndarray]:
    """The noise that each frame is made from, "noise" (f, b, h, w, c), by the rule that `diffusion.video.rollout` states."""
    key, levels, index = jax.random.key(SEED), _levels(workload), jnp.arange(workload.batch)

    def drawn(frame: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, frame), 0)
        return sampling.start_of(own, levels, (1, *workload.shape), index, None)[1][:, 0]

    return {"noise": np.asarray(jax.jit(jax.vmap(drawn))(jnp.arange(workload.tokens)))}


def roll(workload: Workload, network: networks.VideoTransformer, params: Params, label: jax.Array) -> jax.Array:
    """Clips (b, f, h, w, c), frame by frame. Finished frames are written into the cache as they are, without noise."""
    cache: Any = networks.frame_cache(network, workload.batch, workload.tokens, *workload.shape[:2])
    drawn = video.rollout(
        jax.random.key(SEED),
        networks.pure(network),
        params,
        parameterization.flow(),
        cache,
        samplers.ddim(),
        _levels(workload),
        workload.shape,
        jnp.arange(workload.batch),
        block=1,
        num_blocks=workload.tokens,
        condition=(label,),
    )
    return drawn.frames


def roller(workload: Workload, network: networks.VideoTransformer, params: Params, given: Arrays) -> Callable[[], jax.Array]:
    """A rollout of arrays["label"]; the answer is its frames."""
    draw = devices.compiled(devices.jit(functools.partial(roll, workload, network)), params, given["label"])
    return lambda: draw(params, given["label"])


def trainer(workload: Workload, network: networks.VideoTransformer, params: Params, given: Arrays) -> Callable[[], Any]:
    """A step of AdamW; the answer is (parameters after it, metrics). The state is donated, so the parameters are copied first."""
    predict = networks.pure(network)

    def loss(params: Params, key: jax.Array, batch: Clips) -> tuple[jax.Array, Metrics]:
        return jnp.mean(jnp.square(predict(params, batch.x, batch.t, batch.label) - batch.target)), {}

    return next_token_work.stepped(loss, params, Clips(*(given[name] for name in Clips._fields)))


def answers(workload: Workload, network: networks.VideoTransformer, given: Arrays, result: Any) -> dict[str, np.ndarray]:
    """The frames of a rollout; of a training step, what the network answers to the first clip after it, and the loss of it."""
    if workload.kind == "video_rollout":
        return {"output": np.asarray(result)}
    params, metrics = result
    output = _read(network)(params, *(given[name][:1] for name in ("x", "t", "label")))
    return {"output": np.append(np.asarray(output).ravel(), float(metrics["loss"]))}


def flops(workload: Workload) -> float:
    """Of the work by formula. Training counts all pairs of tokens, hidden or not, and a rollout those of frames that are seen.

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
    pairs = batch * tokens**2 * sum(min(frame, NETWORKS[workload.network].settings["window"] - 1) for frame in range(workload.tokens))
    earlier = 4 * network.width * pairs * (workload.steps * network.depth + network.depth - 1)
    return float(workload.tokens * (workload.steps * counted.forward_flops + writing) + earlier)


def _levels(workload: Workload) -> Level:
    return grids.trailing(schedules.flow(), workload.steps)


@functools.lru_cache(maxsize=2)
def _read(network: networks.VideoTransformer) -> Callable[..., jax.Array]:
    return jax.jit(networks.pure(network))
