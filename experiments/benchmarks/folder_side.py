"""Our process with a folder of Stable Diffusion, answering `side_process` as that of diffusers does."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from experiments.benchmarks import sd_settings
from experiments.benchmarks.folder_works import FolderWorks
from experiments.benchmarks.sd_settings import FOLDERS, NEGATIVE, PROMPT, SPREAD
from gendiff import networks
from gendiff.core.types import Params
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened
from gendiff.pipelines.stable_diffusion.model_parts import READERS
from gendiff.runs import compile_cache, devices
from gendiff.weights import rules


class FolderSide(FolderWorks):
    """One folder, and any number of works with its parts, which are read when a work needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Opened | None = None
        self.read: dict[str, Params] = {}

    def write(self, folder: str, settings: str, dtype: str = "float32") -> int:
        """Write a folder in the form of diffusers, its weights at random; the answer is how many numbers they are."""
        place, count = Path(folder), 0
        sd_settings.write_texts(place, settings)
        for part, config in FOLDERS[settings].parts.items():
            arrays = _random_arrays(config)
            count += sum(array.size for array in arrays.values())
            stem = READERS[_kind(config)].stem
            file = place / part / f"{stem}.safetensors"
            safetensors.numpy.save_file({name: array.astype(jnp.dtype(dtype)) for name, array in arrays.items()}, file, {"format": "pt"})
        return count

    def open(self, folder: str, settings: str, dtype: str = "float32") -> None:
        """Open the folder of the works to come, without its weights."""
        self.model, self.read = stable_diffusion.open_model(folder, dtype=dtype, like_diffusers=True), {}

    def load(self) -> dict[str, float]:
        """Read all weights: seconds, and peak memory until then."""
        begin = time.perf_counter()
        jax.block_until_ready([self._part(name) for name in self._opened.parts])
        return {"seconds": time.perf_counter() - begin, "peak_mib": self._peak()}

    def _array(self, stored: np.ndarray) -> jax.Array:
        return jnp.asarray(stored)

    def _text(self, given: dict[str, jax.Array], **_: Any) -> Callable[[], Any]:
        model = self._opened
        pipeline, prompt = model.pipeline(1), model.prompt(PROMPT)
        towers = {name: self._part(name) for name in pipeline.towers.names}
        return functools.partial(self._jit(lambda towers, prompt: pipeline.towers(towers, prompt).tokens), towers, prompt)

    def _encode(self, given: dict[str, jax.Array], **_: Any) -> Callable[[], Any]:
        encode = networks.pure(self._opened.autoencoder, "encode")
        return functools.partial(devices.jit(lambda params, x: encode(params, x).mode()), self._part("vae"), given["picture"])

    def _decode(self, given: dict[str, jax.Array], **_: Any) -> Callable[[], Any]:
        return functools.partial(devices.jit(networks.pure(self._opened.autoencoder, "decode")), self._part("vae"), given["start"])

    def _step(self, given: dict[str, jax.Array], **_: Any) -> Callable[[], Any]:
        model = self._opened
        dtype = jnp.dtype(model.dtype)
        text = networks.Text(given["tokens"].astype(dtype), jnp.ones(given["tokens"].shape[:2], bool))
        inputs = self._part(model.network_name), given["x"].astype(dtype), given["t"], text
        return functools.partial(devices.compiled(self._jit(networks.pure(model.network)), *inputs), *inputs)

    def _draw(self, given: dict[str, jax.Array], steps: int, scale: float, **_: Any) -> Callable[[], Any]:
        model = self._opened
        pipeline, prompt, negative = model.pipeline(steps), model.prompt(PROMPT), None
        if scale != 1:
            prompt, negative = stable_diffusion.aligned(prompt, model.negative(NEGATIVE))
        params = stable_diffusion.arranged({name: self._part(name) for name in model.parts})

        def draw(params: Any, prompt: Any, negative: Any, scale: Any, start: Any) -> jax.Array:
            pictures = pipeline(params, jax.random.key(0), prompt, negative, scale, jnp.arange(1), start=start)
            return jnp.clip((pictures + 1) / 2, 0, 1)

        inputs = params, prompt, negative, jnp.float32(scale), given["start"]
        return functools.partial(devices.compiled(self._jit(draw), *inputs), *inputs)

    @property
    def _opened(self) -> Opened:
        assert self.model is not None
        return self.model

    def _jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return devices.jit(function, libraries=devices.libraries_suit(self._opened.dtype))

    def _part(self, name: str) -> Params:
        """Read once."""
        if name not in self.read:
            self.read[name] = jax.tree.map(jnp.asarray, self._opened.part_params(name))
            devices.give_back_memory()
        return self.read[name]

    def _wait(self, result: Any) -> None:
        jax.block_until_ready(result)


def _kind(config: dict[str, Any]) -> str:
    return config.get("_class_name") or config["architectures"][0]


def _random_arrays(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Of a part, by the names of its file, with the distribution that the side of diffusers draws from."""
    reader, rng = READERS[_kind(config)], np.random.default_rng(0)
    told = {"pooled_channels": config["projection_class_embeddings_input_dim"] - 6 * 256} if "addition_embed_type" in config else {}
    network = reader.network(config, told, {})
    like = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *reader.example(network, config.get("in_channels"))))
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), like)
    arrays = {}
    for name, array in rules.to_theirs(params, reader.rules(config)).items():
        middle = 1.0 if array.ndim == 1 and "norm" in name and name.endswith("weight") else 0.0
        arrays[name] = middle + (SPREAD if array.ndim == 1 else array[0].size ** -0.5) * array
    return arrays


if __name__ == "__main__":
    devices.give_back_memory()
    compile_cache.use()
    FolderSide().serve()
