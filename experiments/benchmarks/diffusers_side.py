"""The process of diffusers with a folder of Stable Diffusion, answering `side_process`."""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers

from experiments.benchmarks import sd_settings
from experiments.benchmarks.folder_works import FolderWorks
from experiments.benchmarks.sd_settings import FOLDERS, NEGATIVE, PROMPT, SPREAD


class DiffusersSide(FolderWorks):
    """One folder, and any number of works with its parts, which are read when a work needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.dtype, self.settings = "", torch.float32, ""
        self.parts: dict[str, Any] = {}
        torch.manual_seed(0)

    def write(self, folder: str, settings: str, dtype: str = "float32") -> int:
        """Write a folder as diffusers does, its weights at random; the answer is how many numbers they are."""
        about, count = FOLDERS[settings], 0
        place = Path(folder)
        for part, config in about.parts.items():
            module = with_random_weights(_built(config).to(getattr(torch, dtype)))
            count += sum(value.numel() for value in module.parameters())
            module.save_pretrained(place / part)
            del module
            gc.collect()
        sd_settings.write_texts(place, settings)
        return count

    def open(self, folder: str, settings: str, dtype: str = "float32") -> None:
        """Name the folder of the works to come."""
        self.folder, self.settings, self.dtype = folder, settings, getattr(torch, dtype)

    def load(self) -> dict[str, float]:
        """Read the whole pipeline: seconds, and peak memory until then."""
        begin = time.perf_counter()
        self._pipeline()
        return {"seconds": time.perf_counter() - begin, "peak_mib": self._peak()}

    def forget(self) -> None:
        """Give back the memory of works and parts."""
        self.work.clear()
        self.parts.clear()
        gc.collect()

    def _array(self, stored: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(stored.copy()).to(self.dtype)

    def _ready(self, kind: str, arrays: str, **options: Any) -> Callable[[], Any]:
        work = super()._ready(kind, arrays, **options)

        def without_gradients() -> Any:
            with torch.inference_mode():
                return work()

        return without_gradients

    def _text(self, given: dict[str, torch.Tensor], **_: Any) -> Callable[[], Any]:
        pipe = self._pipeline()
        return lambda: pipe.encode_prompt(PROMPT, "cpu", 1, False)[0]

    def _encode(self, given: dict[str, torch.Tensor], **_: Any) -> Callable[[], Any]:
        vae = self._part("vae")
        x = _first(given["picture"])
        return lambda: vae.encode(x).latent_dist.mode() * vae.config.scaling_factor

    def _decode(self, given: dict[str, torch.Tensor], **_: Any) -> Callable[[], Any]:
        vae = self._part("vae")
        z = _first(given["start"])
        return lambda: vae.decode(z / vae.config.scaling_factor).sample

    def _step(self, given: dict[str, torch.Tensor], mode: str, **_: Any) -> Callable[[], Any]:
        network, x = self._part("unet"), _first(given["x"])
        if mode == "channels_last":
            network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        call = torch.compile(network) if mode == "compiled" else network
        return lambda: call(x, given["t"], given["tokens"]).sample

    def _draw(self, given: dict[str, torch.Tensor], steps: int, scale: float, **_: Any) -> Callable[[], Any]:
        pipe = self._pipeline()
        texts: dict[str, Any] = {"prompt": PROMPT} | ({"negative_prompt": NEGATIVE} if scale != 1 else {})
        start, size = _first(given["start"]), FOLDERS[self.settings].size
        options = {"height": size, "width": size, "num_inference_steps": steps, "guidance_scale": scale, "output_type": "pt"}
        return lambda: pipe(**texts, latents=start, **options).images

    def _part(self, name: str) -> Any:
        """Read once, alone or with all others."""
        if name not in self.parts:
            kind = getattr(diffusers, FOLDERS[self.settings].parts[name]["_class_name"])
            self.parts[name] = kind.from_pretrained(Path(self.folder) / name, torch_dtype=self.dtype).eval()
        return self.parts[name]

    def _pipeline(self) -> Any:
        if "pipeline" not in self.parts:
            kind = getattr(diffusers, FOLDERS[self.settings].pipeline)
            given = {name: module for name, module in self.parts.items() if name in FOLDERS[self.settings].parts}
            pipe = kind.from_pretrained(self.folder, torch_dtype=self.dtype, **given)
            pipe.set_progress_bar_config(disable=True)
            self.parts |= {"pipeline": pipe, "unet": pipe.unet, "vae": pipe.vae}
        return self.parts["pipeline"]

    def _numpy(self, result: torch.Tensor) -> np.ndarray:
        return (result.movedim(-3, -1) if result.ndim == 4 else result).float().numpy()


def with_random_weights(module: Any) -> Any:
    """Every parameter at random, so that those which start at 0 count too; outputs are near 1 in size."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim == 1:
                value.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, SPREAD)
            else:
                value.normal_(0.0, value[0].numel() ** -0.5)
    return module.eval()


def _built(config: dict[str, Any]) -> Any:
    if "_class_name" in config:
        own = {key: value for key, value in config.items() if not key.startswith("_")}
        return getattr(diffusers, config["_class_name"])(**own)
    own = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    return getattr(transformers, config["architectures"][0])(transformers.CLIPTextConfig(**own))


def _first(images: torch.Tensor) -> torch.Tensor:
    """From channels last to channels first."""
    return images.movedim(-1, -3).contiguous()


if __name__ == "__main__":
    DiffusersSide().serve()
