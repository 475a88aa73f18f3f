"""The workloads in torch: each builder answers a function that does the work once and returns what came out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler

from experiments.benchmarks.peers import torch_models
from experiments.benchmarks.workloads import NETWORKS, Workload

Arrays = Mapping[str, torch.Tensor]
Work = Callable[[], torch.Tensor]


class TorchNetwork:
    """A diffusers network in one mode behind one signature: (x, t (b,), label (b,) or None) -> prediction."""

    def __init__(self, workload: Workload, module: torch.nn.Module, mode: str) -> None:
        self.workload, self.module, self.mode = workload, module, mode
        self.is_dit = NETWORKS[workload.network].kind == "DiTTransformer2DModel"
        self.null = NETWORKS[workload.network].num_classes
        self.forward: Callable[..., Any] = torch_models.laid_out(module, mode)

    def __call__(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        if self.is_dit:
            return self.forward(x, timestep=t, class_labels=label).sample
        return self.forward(x, t).sample if self.null is None else self.forward(x, t, class_labels=label).sample


def sampler(network: TorchNetwork, arrays: Arrays) -> Work:
    """DDIM from arrays["start"], with labels arrays["label"] where the network has classes."""
    workload, start, label = network.workload, _images(arrays["start"], network.mode), arrays.get("label")
    network.module.eval()

    def work() -> torch.Tensor:
        with torch.inference_mode(), _precision(workload, start.device):
            return _ddim(network, start, label, workload.steps, workload.guidance, workload.passes)

    return work


def sweep(network: TorchNetwork, arrays: Arrays) -> Work:
    """A loop over scales and step counts. Compiled code is forgotten first, since its compilation counts."""
    workload, start, label = network.workload, _images(arrays["start"], network.mode), arrays["label"]
    network.module.eval()

    def work() -> torch.Tensor:
        if network.mode == "compiled":
            torch.compiler.reset()
            network.forward = torch_models.laid_out(network.module, network.mode)
        with torch.inference_mode(), _precision(workload, start.device):
            drawn = [
                _ddim(network, start, label, steps, scale, workload.passes) for scale in workload.scales for steps in workload.step_counts
            ]
        return torch.stack(drawn)

    return work


def _ddim(network: TorchNetwork, x: torch.Tensor, label: torch.Tensor | None, steps: int, scale: float | None, passes: str) -> torch.Tensor:
    scheduler = DDIMScheduler(1000, 1e-4, 0.02, "linear", clip_sample=False)
    scheduler.set_timesteps(steps)
    null = None if label is None else torch.full_like(label, network.null or 0)
    for t in scheduler.timesteps:
        if scale is None:
            noise = network(x, t.expand(len(x)).to(x.device), label)
        elif passes == "batched":
            assert label is not None and null is not None
            both = network(torch.cat([x, x]), t.expand(2 * len(x)).to(x.device), torch.cat([label, null]))
            noise = torch.lerp(both[len(x) :], both[: len(x)], scale)
        else:
            times = t.expand(len(x)).to(x.device)
            noise = torch.lerp(network(x, times, null), network(x, times, label), scale)
        x = scheduler.step(noise.to(x.dtype), t, x).prev_sample
    return x


def trainer(network: TorchNetwork, arrays: Arrays) -> Work:
    """An optimizer step on arrays["clean"] (and "label"); the answer is the loss."""
    workload, clean, label = network.workload, _images(arrays["clean"], network.mode), arrays.get("label")
    network.module.train()
    parameters = list(network.module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)
    average = [value.detach().clone() for value in parameters] if workload.objective == "flow" else []
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(clean.device)

    def work() -> torch.Tensor:
        noise = torch.randn_like(clean)
        if workload.objective == "flow":
            u = torch.rand(len(clean), device=clean.device)
            alpha, sigma, t = 1 - u, u, 1000 * u
            target = noise - clean
        else:
            t = torch.randint(1000, (len(clean),), device=clean.device)
            alpha, sigma, target = kept[t].sqrt(), (1 - kept[t]).sqrt(), noise
        x = alpha[:, None, None, None] * clean + sigma[:, None, None, None] * noise
        given = label
        if label is not None and not network.is_dit:  # the DiT drops labels by itself
            given = torch.where(torch.rand(len(clean), device=clean.device) < 0.1, network.null or 0, label)
        with _precision(workload, clean.device):
            loss = torch.nn.functional.mse_loss(network(x, t, given).float(), target)
        loss.backward()
        if average:
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average:
            torch._foreach_lerp_(average, [value.detach() for value in parameters], 0.01)
        return loss.detach()

    return work


def gradient(network: TorchNetwork, arrays: Arrays) -> torch.Tensor:
    """Backward of the mean squared error of network(x, t, label) against arrays["target"]; the gradients stay in the module."""
    network.module.eval()  # no dropped labels: both sides must see the same
    network.module.zero_grad(set_to_none=True)
    loss = torch.nn.functional.mse_loss(network(_images(arrays["x"], ""), arrays["t"], arrays.get("label")), _images(arrays["target"], ""))
    loss.backward()
    return loss.detach()


def block(workload: Workload, module: torch.nn.Module, arrays: Arrays, mode: str) -> Work:
    """A residual block on arrays["x"], with arrays["embedding"] where it takes one."""
    laid, x, embedding = torch_models.laid_out(module.eval(), mode), _images(arrays["x"], mode), arrays.get("embedding")

    def work() -> torch.Tensor:
        with torch.inference_mode(), _precision(workload, x.device):
            return laid(x, embedding if workload.embedding else None)

    return work


def operation(workload: Workload, arrays: Arrays, mode: str) -> Work:
    """attention: of arrays "query", "key", "value" (b, s, heads, size). convolution: 3×3. matmul: of a square matrix with itself."""
    functional = torch.nn.functional

    def attention() -> torch.Tensor:
        parts = (arrays[name].transpose(1, 2) for name in ("query", "key", "value"))
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2)

    if workload.kind == "attention":
        call: Work = attention
    elif workload.kind == "convolution":
        x, kernel = _images(arrays["x"], mode), arrays["kernel"].permute(3, 2, 0, 1)
        kernel = kernel.contiguous(memory_format=torch.channels_last if mode == "channels_last" else torch.contiguous_format)
        call = lambda: functional.conv2d(x, kernel, padding=1)  # noqa: E731
    else:
        call = lambda: arrays["x"] @ arrays["x"]  # noqa: E731
    chosen = torch.compile(call) if mode == "compiled" else call

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return chosen()

    return work


def _images(x: torch.Tensor, mode: str) -> torch.Tensor:
    """(b, h, w, c) as torch wants them, contiguous in the mode's layout."""
    moved = x.permute(0, 3, 1, 2)
    return moved.contiguous(memory_format=torch.channels_last if mode == "channels_last" else torch.contiguous_format)


def _precision(workload: Workload, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=workload.dtype == "bfloat16")
