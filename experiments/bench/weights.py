"""Weights that both sides read from one folder: random ones, but for those of a language model that pip brings.

Networks of diffusers and transformers are kept by their names, others by our paths. Neither JAX nor torch is imported
before it is used.
"""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import gendiff
from experiments.bench.lazily import (
    files,
    jax,
    jnp,
    language_models,
    networks,
    rules,
    safetensors,
    smollm2_file,
    torch_safetensors,
    trees,
)
from experiments.bench.workloads import LANGUAGE, NETWORKS, Workload

NAMED = {
    "UNet2DModel": ("UNet", "diffusers_unet"),
    "DiTTransformer2DModel": ("DiT", "diffusers_dit"),
    "AutoencoderKL": ("Autoencoder", "diffusers_autoencoder"),
}
"""Class of a peer -> (ours, the module of `gendiff.weights` with its names)."""
OWN = "weights.safetensors"


def folder(workload: Workload, parent: Path) -> Path | None:
    """The folder of the work's weights in `place`, written unless it is there; None where it has none."""
    if not workload.network:
        return None
    path = parent / workload.network
    if not path.exists():
        write(workload, path)
    return path


def write(workload: Workload, parent: Path) -> None:
    """A new folder of weights. Raises ImportError, with the command that installs it, without the package of real
    ones.
    """
    if workload.network == "smollm2":
        return save(workload, smollm2_file.params(shapes(workload)), parent)
    save(workload, random_params(shapes(workload)), parent)


def save(workload: Workload, params: Any, parent: Path, **settings: Any) -> None:
    """Parameters into a new folder, as the peer reads them. settings: more of a config.json of diffusers."""
    if workload.kind in LANGUAGE:
        return language_models.save(parent, params, workload.settings)
    parent.mkdir(parents=True)
    if workload.architecture.kind in NAMED:
        _, naming, network_config = named(workload)
        (parent / "config.json").write_text(json.dumps(network_config | settings), encoding="utf-8")
        file = f"{files.STEM}.safetensors"
        arrays = rules.to_theirs(params, naming.rules(network_config))
    else:
        arrays, file = {path: np.asarray(leaf) for path, leaf in trees.paths(params).items()}, OWN
    safetensors.save_file(arrays, parent / file, metadata={"format": "pt"})


def read(workload: Workload, parent: str | Path | None = None) -> Any:
    """Our parameters of a folder or, of a language model, a GGUF file; without one fresh ones. All are on the
    device.
    """
    if not parent:
        return jax.jit(functools.partial(workload.family.init, workload))(jax.random.key(0))
    like, parent = shapes(workload), Path(parent)
    if workload.kind in LANGUAGE:
        params = language_models.load(parent).params(like)
    elif workload.architecture.kind in NAMED:
        stored = files.load_folder(parent, files.STEM)
        params = named(workload)[1].params(stored.config, stored.arrays, like)
    else:
        params = trees.nested(files.load(parent / OWN))
    return jax.tree.map(jnp.asarray, params)


def tensors(parent: str | Path, device: Any) -> dict[str, Any]:
    """Torch's parameters of a folder of ours, by our paths; matrices are (out, in), as its linear layers take them."""
    stored = {name: value.to(device) for name, value in torch_safetensors.load_file(Path(parent) / OWN).items()}
    turned = {
        name: value.T.contiguous() for name, value in stored.items() if name.endswith("kernel") and value.ndim == 2
    }
    return {name: value.requires_grad_() for name, value in (stored | turned).items()}


def shapes(workload: Workload) -> Any:
    """Abstract parameters, which hold no memory."""
    return jax.eval_shape(functools.partial(workload.family.init, workload), jax.random.key(0))


def random_params(like: Any) -> Any:
    """Random weights of moderate size. No layer is zero, so that an output depends on every one."""
    rng = np.random.default_rng(0)

    def one(path: str, leaf: Any) -> np.ndarray:
        spread = math.prod(leaf.shape[:-1]) ** -0.5 if path.endswith("kernel") else 0.3 if len(leaf.shape) > 1 else 0.1
        return (spread * rng.normal(size=leaf.shape) + path.endswith("scale")).astype(np.float32)

    return jax.tree.unflatten(jax.tree.structure(like), [one(*each) for each in trees.paths(like).items()])


def named(workload: Workload) -> tuple[Any, Any, dict[str, Any]]:
    """(our class, the module with its names, its config.json) of a network of diffusers or transformers."""
    network = NETWORKS[workload.network]
    ours, naming = NAMED[network.kind]
    settings = {"_class_name": network.kind} | network.settings
    return getattr(networks, ours), getattr(gendiff.weights, naming), settings
