"""The workloads' networks as gendiff has them, fresh or with the weights of a peer."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.workloads import NETWORKS, UNet, Workload
from gendiff import networks
from gendiff.core.types import Params
from gendiff.weights import diffusers_dit, diffusers_unet, files


def build(workload: Workload, weights: str = "") -> Any:
    """The network of a workload, with the fields that the configuration in the folder `weights` asks for.

    Training on a CPU takes the convolution whose gradients XLA:CPU runs fast.
    """
    size = NETWORKS[workload.network]
    options: dict[str, Any] = {} if workload.dtype == "float32" else {"dtype": workload.dtype}
    if not isinstance(size, UNet):
        fields = diffusers_dit.network_fields(files.load_config(weights)) if weights else _dit_fields(size)
        return networks.DiT(**fields, **options)
    if workload.kind == "train" and jax.default_backend() == "cpu":
        options["convolution"] = "fast_backward"
    return networks.UNet(**(diffusers_unet.network_fields(files.load_config(weights)) if weights else _unet_fields(size)), **options)


def parameters(workload: Workload, network: Any, weights: str = "") -> Params:
    """Parameters of the network: those in the folder `weights`, or fresh ones."""
    example = (jnp.zeros((1, *workload.shape)), jnp.zeros((1,)), *labels_of(workload, jnp.zeros((1,), jnp.int32)))

    def init(key: jax.Array) -> Params:
        return networks.init(network, key, *example)

    if not weights:
        return jax.jit(init)(jax.random.key(0))
    stored = files.load_folder(Path(weights))
    rules = diffusers_unet if isinstance(NETWORKS[workload.network], UNet) else diffusers_dit
    return rules.params(stored.config, stored.arrays, jax.eval_shape(init, jax.random.key(0)))


def labels_of(workload: Workload, labels: Any) -> tuple[Any, ...]:
    """The condition of the network: (labels,), or () where it has no classes."""
    return () if NETWORKS[workload.network].num_classes is None else (labels,)


def _unet_fields(size: UNet) -> dict[str, Any]:
    return {
        "channels": size.channels,
        "blocks": size.blocks,
        "attention": size.attention,
        "head_size": size.head_size,
        "groups": size.groups,
        "modulation": size.modulation,
        "num_classes": size.num_classes,
    }


def _dit_fields(size: Any) -> dict[str, Any]:
    return {"patch": size.patch, "width": size.width, "depth": size.depth, "heads": size.heads, "num_classes": size.num_classes}
