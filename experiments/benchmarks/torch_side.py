"""The peer's process: torch with diffusers and transformers, answering `side_process`."""

import copy
import functools
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import save_file

from experiments.benchmarks import torch_dcgan, torch_next_token, torch_ppo, torch_rollout, torch_video, workloads
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import LANGUAGE, NETWORKS, VIDEO, Workload

Arrays = Mapping[str, torch.Tensor]
Work = Callable[[], torch.Tensor]
OPENED: dict[str, Callable[..., Any]] = {
    "adversarial": torch_dcgan.opened,
    **dict.fromkeys(("next_token", "rollout", "ppo_step"), torch_next_token.opened),
    **dict.fromkeys(VIDEO, torch_video.opened),
}
"""Kind of a workload -> (workload, folder of weights) -> its module, where diffusers and transformers have none."""
ANSWERS: dict[str, Callable[..., Any]] = {
    "adversarial": torch_dcgan.answers,
    "next_token": torch_next_token.answers,
    "rollout": torch_rollout.answers,
    "ppo_step": torch_ppo.answers,
    "video_rollout": torch_video.frames,
    "video_train": torch_video.answers,
}
"""Kind of a workload -> (workload, module, arrays, result) -> what of the result is compared; without one it is the result."""


class TorchSide(Side):
    """One workload, with a work for each mode: "eager", "channels_last", "static_cache" or "compiled"."""

    def __init__(self) -> None:
        super().__init__()
        self.device = os.environ.get("BENCH_DEVICE", "cpu")
        self.workload = Workload("matmul")
        self.arrays: dict[str, torch.Tensor] = {}
        self.module: Any = None

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str = "") -> None:
        """Builds the workload's module with the weights in that folder, or from a fixed seed, which then go to the folder."""
        self.workload = workloads.from_json(workload)
        with np.load(arrays) as stored:
            self.arrays = {name: torch.from_numpy(stored[name].copy()).to(self.device) for name in stored.files}
        torch.manual_seed(0)
        if not weights:
            return
        if self.workload.kind in LANGUAGE:
            from experiments.benchmarks import torch_language  # here, for other works start without transformers

            self.module = torch_language.opened(self.workload, weights)
        elif self.workload.kind in OPENED:
            self.module = OPENED[self.workload.kind](self.workload, Path(weights)).to(self.device)
        elif Path(weights).exists():
            kind = getattr(diffusers, NETWORKS[self.workload.network].kind)
            self.module = kind.from_pretrained(weights, low_cpu_mem_usage=False).to(self.device)
        else:
            self.module = build(self.workload).to(self.device)
            save(self.module, Path(weights))

    def mode(self, name: str) -> dict[str, float]:
        """Makes the mode ready by doing the work once (see Side._first)."""
        begin = time.perf_counter()
        module = copy.deepcopy(self.module) if self.work else self.module  # layout and training of one mode do not touch another
        works: dict[str, Callable[..., Work]] = {"sample": _sampler, "sweep": _sampler, "train": _trainer}
        works |= dict.fromkeys(("encode", "decode", "text"), _called)
        works |= {"adversarial": torch_dcgan.trainer, "next_token": torch_next_token.trainer}
        works |= {"rollout": torch_rollout.writer, "ppo_step": torch_ppo.trainer}
        works |= {"video_rollout": torch_video.roller, "video_train": torch_video.trainer}
        if self.workload.kind in LANGUAGE:
            from experiments.benchmarks import torch_language

            works = {"prefill": torch_language.prefill, "generate": torch_language.generate}
            if self.workload.kind == "generate":
                self.answers[name] = lambda _: torch_language.answers(self.workload, module, self.arrays, name)
        elif self.workload.kind == "watermark":
            from experiments.benchmarks import torch_language

            works["watermark"] = torch_language.watermark
            before = self.arrays["logits"].numpy()
            self.answers[name] = lambda after: {"output": workloads.marks(before, after.numpy())}
        elif self.workload.kind in ANSWERS:
            self.answers[name] = functools.partial(ANSWERS[self.workload.kind], self.workload, module, self.arrays)
        self.work[name] = works.get(self.workload.kind, _alone)(self.workload, module, self.arrays, name)
        return self._first(name, begin)

    def gradient(self, folder: str) -> float:
        """The mean squared error of the network's (x, t, label) against arrays["target"]; its gradients go to the folder as weights do."""
        predict = predictor(self.module.eval(), "eager")  # no dropped labels: both sides must see the same
        output = predict(to_torch(self.arrays["x"]), self.arrays["t"], self.arrays.get("label"))
        loss = torch.nn.functional.mse_loss(output, to_torch(self.arrays["target"]))
        loss.backward()
        save(self.module, Path(folder), gradients=True)
        self.module.zero_grad(set_to_none=True)
        return float(loss)

    def about(self) -> dict[str, Any]:
        """Versions and settings."""
        packages = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "numpy")}
        device = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"python": sys.version.split()[0], **packages, "threads": torch.get_num_threads(), "device": device}

    def _wait(self, result: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _numpy(self, result: torch.Tensor) -> np.ndarray:
        images = self.workload.kind not in ("train", "text", "attention", "matmul", *LANGUAGE)
        return (result.movedim(-3, -1) if images else result).float().cpu().numpy()

    def _peak(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else super()._peak()


def build(workload: Workload) -> Any:
    """A network, or the residual block of Stable Diffusion's U-Net (without an embedding that of its decoder), with random weights."""
    if not workload.network:
        channels, embedding = workload.channels, workload.embedding or None
        return ResnetBlock2D(in_channels=channels, out_channels=channels, temb_channels=embedding, groups=32, eps=1e-5)
    network = NETWORKS[workload.network]
    if network.kind == "CLIPTextModel":
        import transformers  # here, for other works start without it

        return transformers.CLIPTextModel(transformers.CLIPTextConfig(**network.settings))
    model = getattr(diffusers, network.kind)(**network.settings)
    # diffusers builds an embedder per block, where the paper has one for all; sharing it is less work for the peer, never more
    for each in getattr(model, "transformer_blocks", ()):
        each.norm1.emb = model.transformer_blocks[0].norm1.emb
    return model


def save(module: Any, folder: Path, gradients: bool = False) -> None:
    """Its weights, or their gradients under the same names, as diffusers would save them: config.json and one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach() for name, value in module.state_dict().items()}
    if gradients:
        state |= {name: value.grad for name, value in module.named_parameters(remove_duplicate=False) if value.grad is not None}
    copies = {name: value.float().cpu().contiguous().clone() for name, value in state.items()}  # shared tensors are written apart
    save_file(copies, str(folder / "diffusion_pytorch_model.safetensors"))
    config = getattr(module, "config", {})
    settings = dict(config) if isinstance(config, dict) else json.loads(config.to_json_string())  # diffusers', or transformers'
    kept = {key: value for key, value in settings.items() if not key.startswith("_")}
    (folder / "config.json").write_text(json.dumps({"_class_name": type(module).__name__, **kept}), encoding="utf-8")


def _sampler(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Work:
    """DDIM from arrays["start"] in every loop. A sweep forgets compiled code first, since its compilation counts."""
    start, label = to_torch(arrays["start"], mode), arrays.get("label")
    predict = predictor(module.eval(), mode)

    def work() -> torch.Tensor:
        nonlocal predict
        if workload.kind == "sweep" and mode == "compiled":
            torch.compiler.reset()
            predict = predictor(module, mode)
        with torch.inference_mode(), _precision(workload, start):
            drawn = [_ddim(workload, predict, start, label, scale, steps) for scale, steps in workload.loops]
        return torch.stack(drawn) if workload.kind == "sweep" else drawn[0]

    return work


def _ddim(workload: Workload, predict: Callable[..., Any], x: torch.Tensor, label: Any, scale: float | None, steps: int) -> torch.Tensor:
    scheduler = diffusers.DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False)
    scheduler.set_timesteps(steps)
    null = None if scale is None else torch.full_like(label, NETWORKS[workload.network].num_classes)
    for t in scheduler.timesteps:
        if scale is None:
            noise = predict(x, t, label)
        elif workload.passes == "batched":
            given, free = predict(torch.cat([x, x]), t, torch.cat([label, null])).chunk(2)
            noise = torch.lerp(free, given, scale)
        else:
            noise = torch.lerp(predict(x, t, null), predict(x, t, label), scale)
        x = scheduler.step(noise.to(x.dtype), t, x).prev_sample
    return x


def _trainer(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Work:
    """An optimizer step on arrays["clean"] (and "label"); the answer is the loss."""
    clean, label, predict = to_torch(arrays["clean"], mode), arrays.get("label"), predictor(module.train(), mode)
    network, flow = NETWORKS[workload.network], workload.objective == "flow"
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)
    average = [value.detach().clone() for value in parameters] if flow else []
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(clean.device)

    def work() -> torch.Tensor:
        noise = torch.randn_like(clean)
        if flow:
            u = torch.rand(len(clean), device=clean.device)
            alpha, sigma, t, target = 1 - u, u, 1000 * u, noise - clean
        else:
            t = torch.randint(1000, (len(clean),), device=clean.device)
            alpha, sigma, target = kept[t].sqrt(), (1 - kept[t]).sqrt(), noise
        x = alpha[:, None, None, None] * clean + sigma[:, None, None, None] * noise
        given = label
        if label is not None and network.kind == "UNet2DModel":  # the DiT drops labels by itself
            given = torch.where(torch.rand(len(clean), device=clean.device) < 0.1, network.num_classes or 0, label)
        with _precision(workload, clean):
            loss = torch.nn.functional.mse_loss(predict(x, t, given).float(), target)
        loss.backward()
        if flow:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if flow:
            torch._foreach_lerp_(average, [value.detach() for value in parameters], 0.01)
        return loss.detach()

    return work


def _called(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Work:
    """A half of an autoencoder, with the scale of latents that pipelines apply beside it, or a text encoder, as far as its tokens."""
    module = module.eval().to(memory_format=layout(mode))
    if workload.kind == "text":
        function, given = lambda ids: module(input_ids=ids).last_hidden_state, arrays["ids"].long()
    elif workload.kind == "encode":
        scale = module.config.scaling_factor
        function, given = lambda x: module.encode(x).latent_dist.mode() * scale, to_torch(arrays["x"], mode)
    else:
        scale = module.config.scaling_factor
        function, given = lambda x: module.decode(x / scale).sample, to_torch(arrays["x"], mode)
    call = torch.compile(function) if mode == "compiled" else function

    def work() -> torch.Tensor:
        with torch.inference_mode(), _precision(workload, arrays.get("x", given)):
            return call(given)

    return work


def _alone(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Work:
    """A residual block, or attention, a 3×3 convolution or a matrix product."""
    function, functional, given = module, torch.nn.functional, [arrays.get("x"), arrays.get("x")]
    if workload.kind == "block":
        function, given = module.eval(), [to_torch(arrays["x"], mode), arrays["embedding"] if workload.embedding else None]
    elif workload.kind == "attention":
        function = lambda *parts: functional.scaled_dot_product_attention(*parts).transpose(1, 2)  # noqa: E731
        given = [arrays[name].transpose(1, 2) for name in ("query", "key", "value")]
    elif workload.kind == "convolution":
        function = functools.partial(functional.conv2d, padding=1)
        given = [to_torch(arrays["x"], mode), arrays["kernel"].permute(3, 2, 0, 1).contiguous(memory_format=layout(mode))]
    call = laid_out(function or torch.matmul, mode)

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return call(*given)

    return work


def predictor(module: Any, mode: str) -> Callable[..., torch.Tensor]:
    """A diffusers network behind one signature: (x, t () or (b,), label (b,) or None) -> prediction."""
    forward = laid_out(module, mode)
    return lambda x, t, label: forward(x, timestep=t.expand(len(x)).to(x.device), class_labels=label).sample


def laid_out(module: Any, mode: str) -> Any:
    """The module or function in a mode. What it computes stays the same."""
    if mode == "compiled":
        return torch.compile(module)
    return module.to(memory_format=layout(mode)) if isinstance(module, torch.nn.Module) else module


def to_torch(x: torch.Tensor, mode: str = "eager") -> torch.Tensor:
    """(b, h, w, c) as torch wants them, contiguous in the mode's layout."""
    return x.permute(0, 3, 1, 2).contiguous(memory_format=layout(mode))


def layout(mode: str) -> torch.memory_format:
    return torch.channels_last if mode == "channels_last" else torch.contiguous_format


def _precision(workload: Workload, x: torch.Tensor) -> Any:
    return torch.autocast(x.device.type, torch.bfloat16, enabled=workload.dtype == "bfloat16")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", "0")) or torch.get_num_threads())
    torch.set_float32_matmul_precision("highest")
    diffusers.utils.logging.set_verbosity_error()
    TorchSide().serve()
