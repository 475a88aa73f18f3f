"""Our side of the case with DCGAN: its pair of networks, weights by the names of `torch_dcgan`, and a step of critic and generator."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from experiments.benchmarks.workloads import DCGAN_BETAS, DCGAN_EPSILON, DCGAN_FILE, DCGAN_RATE, NETWORKS, Workload
from gendiff import adversarial, networks
from gendiff.adversarial import losses
from gendiff.adversarial.step import Step
from gendiff.core import trees
from gendiff.core.types import Params
from gendiff.runs import devices, program_costs
from gendiff.training import optimizers

Arrays = Mapping[str, jax.Array]


class Pair(NamedTuple):
    """Both networks."""

    generator: networks.DCGANGenerator
    critic: networks.DCGANCritic


def build(workload: Workload, convolution: str = "") -> Pair:
    """Both networks. convolution: by default the one whose gradients this backend computes fast."""
    settings = NETWORKS[workload.network].settings
    fields: dict[str, Any] = {name: settings[name] for name in ("width", "widest")}
    fields |= {"size": settings["sample_size"], "image_channels": settings["in_channels"]}
    fields["convolution"] = convolution or ("fast_backward" if jax.default_backend() == "cpu" else "direct")
    return Pair(networks.DCGANGenerator(**fields), networks.DCGANCritic(**fields))


def parameters(workload: Workload, pair: Pair, weights: str = "") -> Params:
    """{"generator", "critic"}: those in a folder, or fresh ones."""

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key)
        noise = jnp.zeros((1, NETWORKS[workload.network].settings["noise"]))
        made = networks.init(pair.generator, keys[0], noise), networks.init(pair.critic, keys[1], jnp.zeros((1, *workload.shape)))
        return dict(zip(Pair._fields, made, strict=True))

    if not weights:
        return jax.jit(init)(jax.random.key(0))
    theirs = safetensors.numpy.load_file(Path(weights) / DCGAN_FILE)
    like = jax.eval_shape(init, jax.random.key(0))
    ours = {path: to_ours(path, theirs[their_name(path)], leaf.shape) for path, leaf in trees.paths(like).items()}
    return jax.tree_util.tree_map_with_path(lambda path, _: jnp.asarray(ours[jax.tree_util.keystr(path, simple=True, separator="/")]), like)


def write_weights(workload: Workload, folder: Path) -> None:
    """Random weights as the peer's side keeps them, in its layout."""
    rng, like = np.random.default_rng(0), jax.eval_shape(functools.partial(parameters, workload, build(workload)))
    arrays = {}
    for path, leaf in trees.paths(like).items():
        shape = their_shape(path, leaf.shape)
        scale = math.sqrt(math.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 10.0
        arrays[their_name(path)] = (rng.normal(size=shape) / scale + path.endswith("scale")).astype(np.float32)
    folder.mkdir(parents=True)
    safetensors.numpy.save_file(arrays, folder / DCGAN_FILE, metadata={"format": "pt"})


def trainer(workload: Workload, pair: Pair, params: Params, given: Arrays) -> Callable[[], Any]:
    """A step of the critic and one of the generator on arrays["clean"]; the answer is (parameters of the generator, metrics)."""
    step = _step(pair, given["noise"])
    held = [_start(params)]
    run = devices.compiled(devices.jit(step, donate_argnums=0), held[0], given["clean"])

    def work() -> Any:
        held[0], metrics = run(held[0], given["clean"])
        return held[0].params, metrics

    return work


def answers(workload: Workload, pair: Pair, given: Arrays, result: Any) -> dict[str, np.ndarray]:
    """Pictures of the generator after the step, and both losses of it, which depend on every weight and every gradient."""
    params, metrics = result
    pictures = np.asarray(_drawn(pair)(params, given["noise"]))
    return {"output": np.concatenate([pictures.ravel(), [float(metrics[name]) for name in ("loss", "generator_loss")]])}


def flops(workload: Workload) -> float:
    """Of a step by XLA's count, with plain convolutions."""
    pair = build(workload, "direct")
    noise = jax.ShapeDtypeStruct((workload.batch, NETWORKS[workload.network].settings["noise"]), np.float32)
    clean = jax.ShapeDtypeStruct((workload.batch, *workload.shape), np.float32)
    state = jax.eval_shape(_start, jax.eval_shape(functools.partial(parameters, workload, pair)))
    return program_costs.flops(jax.jit(lambda state, clean, noise: _step(pair, noise)(state, clean)).lower(state, clean, noise))


def their_name(path: str) -> str:
    """From a path of ours to the name of torch."""
    return path.replace("/kernel", "/weight").replace("/scale", "/weight").replace("/", ".")


def to_ours(path: str, theirs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One array of torch's layout in ours."""
    if path.endswith("input/bias"):  # (c, 4, 4) -> (4, 4, c)
        return theirs.reshape(-1, 4, 4).transpose(1, 2, 0).reshape(shape)
    if not path.endswith("kernel"):
        return theirs
    if "/halve_" in path:  # (f, c, 4, 4) -> (2, 2, (2, 2, c), f)
        return _squares(theirs.transpose(2, 3, 1, 0)).transpose(0, 2, 1, 3, 4, 5).reshape(shape)
    if len(shape) == 4:  # (c, f, 4, 4) -> (2, 2, c, (2, 2, f)), turned round
        return _squares(theirs.transpose(2, 3, 0, 1))[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5).reshape(shape)
    if path.endswith("input/kernel"):  # ((c, 4, 4), noise) -> (noise, (4, 4, c))
        return theirs.reshape(-1, 4, 4, shape[0]).transpose(3, 1, 2, 0).reshape(shape)
    return theirs.reshape(1, -1, 4, 4).transpose(2, 3, 1, 0).reshape(shape)  # (1, (c, 4, 4)) -> ((4, 4, c), 1)


def their_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of torch's array."""
    if not path.endswith("kernel"):
        return shape
    if "/halve_" in path:
        return shape[3], shape[2] // 4, 4, 4
    return (shape[2], shape[3] // 4, 4, 4) if len(shape) == 4 else shape[::-1]


def _squares(kernel: np.ndarray) -> np.ndarray:
    """(4, 4, c, d) as (2, 2, 2, 2, c, d): squares of 2 × 2, and the pixels within, along each axis in turn."""
    return kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])


@functools.lru_cache(maxsize=2)
def _drawn(pair: Pair) -> Callable[..., jax.Array]:
    return jax.jit(networks.pure(pair.generator))


def _start(params: Params) -> adversarial.AdversarialState:
    return adversarial.start(params["generator"], params["critic"], _adam(), _adam(), jax.random.key(0), ema=())


def _step(pair: Pair, noise: jax.Array) -> Step:
    def the_same(key: jax.Array, count: int) -> jax.Array:
        # noise is drawn as in any training, and then replaced by what the peer has as well
        return jnp.where(jax.random.normal(key, noise.shape) > 1e9, 0.0, noise)

    generate, criticise = (networks.pure(network) for network in pair)
    return adversarial.make_step(generate, criticise, losses.non_saturating(), _adam(), _adam(), noise=the_same)


def _adam() -> optax.GradientTransformation:
    return optimizers.FiniteUpdates(*optax.adam(DCGAN_RATE, b1=DCGAN_BETAS[0], b2=DCGAN_BETAS[1], eps=DCGAN_EPSILON))
