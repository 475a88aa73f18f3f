"""Every case by name: what it asks, and the function that measures it."""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass

from experiments.benchmarks import cold_start, duel, growth, guidance
from experiments.benchmarks.findings import Findings
from experiments.benchmarks.setting import Setting
from experiments.benchmarks.workloads import Workload
from gendiff.core.errors import ConfigError


@dataclass(frozen=True)
class Case:
    """name: the word on the command line. measure: setting -> what was found. device: where it belongs."""

    name: str
    question: str
    measure: Callable[[Setting], Findings]
    device: str = "cpu"


@dataclass(frozen=True)
class Duelling:
    """Measures one workload on both sides. tiny: the workload of a smoke run. threshold: field of Thresholds for the ratio, or none."""

    name: str
    workload: Workload
    tiny: Workload
    threshold: str = ""
    modes: tuple[str, ...] = duel.MODES
    memory: bool = False
    share: str = ""

    def __call__(self, setting: Setting) -> Findings:
        workload = self.tiny if setting.config.tiny else self.workload
        modes = self.modes[:1] if setting.config.tiny else self.modes
        found = duel.fight(setting, self.name, workload, modes)
        return Findings(duels=(found,), threshold={self.name: self.threshold}, memory=self.memory, share={self.name: self.share})


def _duel(
    name: str,
    question: str,
    workload: Workload,
    tiny: dict[str, object],
    *,
    threshold: str = "",
    modes: tuple[str, ...] = duel.MODES,
    memory: bool = False,
    share: str = "",
    device: str = "cpu",
) -> Case:
    small = dataclasses.replace(workload, **tiny)  # type: ignore[arg-type]
    return Case(name, question, Duelling(name, workload, small, threshold, modes, memory, share), device)


_PLAIN = ("eager", "compiled")  # for networks that have no feature maps to lay out
_UNET: dict[str, object] = {"network": "tiny_unet", "batch": 2}
_DIT: dict[str, object] = {"network": "tiny_dit", "batch": 2}
_DIGITS: dict[str, object] = {"network": "tiny_digits", "batch": 2}
_SWEEP = Workload("sweep", "digits", batch=64, scales=(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), step_counts=(4, 6, 8, 12))

ALL = (
    _duel("matmul", "product of two 2048 × 2048 matrices", Workload("matmul", size=2048), {"size": 64}),
    _duel(
        "unet32_sample",
        "U-Net 32×32 of 6.5 M parameters, batch 16, DDIM",
        Workload("sample", "unet32", batch=16, steps=2),
        _UNET,
        threshold="sampling",
        memory=True,
    ),
    _duel("unet32_train", "the same, training step", Workload("train", "unet32", batch=16), _UNET, threshold="training", memory=True),
    _duel(
        "dit_sample",
        "DiT-S/2, 256 tokens, batch 8, DDIM",
        Workload("sample", "dit_s2", batch=8, steps=2),
        _DIT,
        threshold="sampling",
        modes=_PLAIN,
        memory=True,
        share="matmul_share",
    ),
    _duel(
        "dit_train",
        "the same, training step",
        Workload("train", "dit_s2", batch=8),
        _DIT,
        threshold="training",
        modes=_PLAIN,
        memory=True,
    ),
    _duel(
        "digits_sample_16",
        "the network of the digits demo, batch 16, DDIM in 50 steps",
        Workload("sample", "digits", batch=16, steps=50),
        _DIGITS | {"steps": 3},
        threshold="digits",
    ),
    _duel("digits_sample_128", "the same at batch 128, 10 steps", Workload("sample", "digits", batch=128, steps=10), _DIGITS),
    _duel(
        "digits_train_16",
        "the demo's training step at batch 16",
        Workload("train", "digits", batch=16, objective="flow"),
        _DIGITS,
        threshold="digits",
    ),
    _duel("digits_train_128", "the same at batch 128", Workload("train", "digits", batch=128, objective="flow"), _DIGITS),
    _duel(
        "unet_block",
        "residual block of an SD-1.x-sized U-Net: 64×64, 320 channels, batch 2",
        Workload("block", batch=2, size=64, channels=320, embedding=1280),
        {"size": 8, "channels": 32, "embedding": 16},
    ),
    _duel(
        "decoder_block",
        "residual block of a decoder at 512×512, 128 channels, batch 1",
        Workload("block", size=512, channels=128),
        {"size": 8, "channels": 32},
    ),
    _duel(
        "attention",
        "attention alone: batch 16, 256 tokens, 16 heads of 8",
        Workload("attention", batch=16, tokens=256, heads=16, head_size=8),
        {"tokens": 16},
        modes=_PLAIN,
    ),
    _duel(
        "attention_4096",
        "attention alone: batch 1, 4096 tokens, 8 heads of 40",
        Workload("attention", tokens=4096, heads=8, head_size=40),
        {"tokens": 16},
        modes=_PLAIN,
    ),
    _duel(
        "convolution_64",
        "3×3 convolution alone: batch 16, 32×32, 64 channels",
        Workload("convolution", batch=16, size=32, channels=64),
        {"size": 4, "channels": 4},
    ),
    _duel(
        "convolution_128",
        "3×3 convolution alone: batch 16, 16×16, 128 channels",
        Workload("convolution", batch=16, size=16, channels=128),
        {"size": 4, "channels": 4},
    ),
    Case("guidance", "classifier-free guidance in one batched pass against two, digits network, batch 64", guidance.measure),
    _duel(
        "sweep",
        "8 guidance scales × 4 step counts, digits network, batch 64, compilation included",
        _SWEEP,
        _DIGITS | {"scales": (1.0, 2.0), "step_counts": (2, 3)},
        threshold="sweep",
    ),
    Case("cold_start", "from a cold process to its first image, U-Net 32×32, 20 steps, batch 1", cold_start.measure),
    Case("growth", "time by batch, steps, resolution, parameters and devices (ours alone)", growth.measure),
    _duel(
        "gpu_unet_sample",
        "U-Net 32×32, batch 128, DDIM, bfloat16",
        Workload("sample", "unet32", batch=128, steps=50, dtype="bfloat16"),
        _UNET,
        threshold="gpu",
        memory=True,
        device="gpu",
    ),
    _duel(
        "gpu_unet_train",
        "the same, training step at batch 256",
        Workload("train", "unet32", batch=256, dtype="bfloat16"),
        _UNET,
        threshold="gpu",
        memory=True,
        device="gpu",
    ),
    _duel(
        "gpu_dit_sample",
        "DiT-XL/2, batch 32, DDIM, bfloat16",
        Workload("sample", "dit_xl2", batch=32, steps=20, dtype="bfloat16"),
        _DIT,
        threshold="gpu",
        modes=_PLAIN,
        memory=True,
        device="gpu",
    ),
    _duel(
        "gpu_dit_train",
        "DiT-XL/2, training step at batch 64, bfloat16",
        Workload("train", "dit_xl2", batch=64, dtype="bfloat16"),
        _DIT,
        threshold="gpu",
        modes=_PLAIN,
        memory=True,
        share="utilisation",
        device="gpu",
    ),
)


def chosen(names: tuple[str, ...], device: str) -> list[Case]:
    """The cases of those names, or all of the device. Raises ConfigError with the nearest name for one that is not there."""
    there = {case.name: case for case in ALL if case.device == device}
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(there)}"
            raise ConfigError(f"no case of the bench on {device} is called {name!r}; {hint}")
    return [there[name] for name in names or there]
