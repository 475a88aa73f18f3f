"""What is timed, as data that both sides read: networks, the work done with them, and cases. Imports neither JAX nor
torch.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

FAMILIES = {
    **dict.fromkeys(("sample", "train", "sweep"), "image_networks"),
    **dict.fromkeys(("decode", "attention", "convolution", "matmul", "watermark"), "single_calls"),
    "adversarial": "dcgan",
    **dict.fromkeys(("next_token", "rollout"), "byte_lm"),
    "ppo_step": "ppo",
    **dict.fromkeys(("video_rollout", "video_train"), "clips"),
    **dict.fromkeys(("prefill", "generate", "reply", "lookup"), "smollm2"),
    "race": "race_draws",
    "folder": "stable_diffusion",
    **dict.fromkeys(("device_evaluation", "device_training", "device_writing"), "device_rates"),
}
"""Kind of a workload -> the module that does it, on either side.

`inputs(workload, weights)` makes its arrays, `init(workload, key)` its parameters, `flops(workload)` counts its
operations. `ours(workload, given, weights, **options)` and `theirs(workload, given, weights, mode, **options)` make it
ready, each with its imports.
"""
LANGUAGE = ("prefill", "generate", "reply", "lookup")
"""The kinds of work with language models that are trained."""


class Way(NamedTuple):
    """A side's way to do a work. run: does it once. answer: what of its result is compared, by name."""

    run: Callable[[], Any]
    answer: Callable[[Any], Mapping[str, Any]] = lambda result: {"output": result}


@dataclass(frozen=True)
class Architecture:
    """A network by the name of its class in diffusers or transformers, and what that is told. num_classes: those of
    images, or None.

    "DCGAN" is a generator and its critic, and "VideoTransformer" a causal network of clips, which the peer has as
    functions.
    """

    kind: str
    settings: dict[str, Any]
    num_classes: int | None = None


def unet(
    size: int, channels: tuple[int, ...], classes: int | None = None, pixels: int = 3, **more: int
) -> Architecture:
    """A U-Net. classes: of a network of our experiments, with one block per level.

    more: groups of norms, and the size of the feature maps that have attention.
    """
    attended = [size // 2**level == more.get("attention") for level in range(len(channels))]
    has_classes = classes is not None
    groups = more.get("groups", 32)
    settings = {"sample_size": size, "in_channels": pixels, "out_channels": pixels, "block_out_channels": channels}
    settings |= {"norm_num_groups": groups, "attn_norm_num_groups": groups}
    settings["attention_head_dim"] = channels[-1] // 2 if has_classes else 8
    settings["layers_per_block"] = 1 if has_classes or size < 32 else 2
    settings["num_class_embeds"] = None if classes is None else classes + 1
    settings["resnet_time_scale_shift"] = "scale_shift" if has_classes else "default"
    settings["down_block_types"] = tuple("AttnDownBlock2D" if there else "DownBlock2D" for there in attended)
    settings["up_block_types"] = tuple("AttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attended))
    return Architecture("UNet2DModel", settings, classes)


def digits(*channels: int, groups: int = 8) -> Architecture:
    """A network of labelled digits."""
    return unet(8, channels, groups=groups, classes=10, pixels=1)


def dit(size: int, width: int, depth: int, heads: int, *, num_classes: int = 1000) -> Architecture:
    """A diffusion transformer with patches of 2×2 on latents of four channels."""
    settings = {"sample_size": size, "in_channels": 4, "patch_size": 2, "num_embeds_ada_norm": num_classes}
    settings |= {"num_layers": depth, "num_attention_heads": heads, "attention_head_dim": width // heads}
    return Architecture("DiTTransformer2DModel", settings, num_classes)


def autoencoder(
    size: int, channels: tuple[int, ...], blocks: int, groups: int = 32, attention: bool = True
) -> Architecture:
    """The autoencoder of latent diffusion for pictures of three channels, with latents of four."""
    settings: dict[str, Any] = {"sample_size": size, "in_channels": 3, "out_channels": 3, "latent_channels": 4}
    settings |= {"block_out_channels": channels, "layers_per_block": blocks, "norm_num_groups": groups}
    settings |= {"mid_block_add_attention": attention, "down_block_types": ("DownEncoderBlock2D",) * len(channels)}
    return Architecture("AutoencoderKL", settings | {"up_block_types": ("UpDecoderBlock2D",) * len(channels)})


def llama(
    width: int, depth: int, heads: int, shared: int, mlp: int, vocabulary: int, context: int = 256
) -> Architecture:
    """A decoder of the family of Llama with `shared` heads of keys and values, tied as the models of SmolLM2 are."""
    settings = {"model_type": "llama", "vocab_size": vocabulary, "hidden_size": width, "intermediate_size": mlp}
    settings |= {"num_hidden_layers": depth, "num_attention_heads": heads, "num_key_value_heads": shared}
    settings |= {"rms_norm_eps": 1e-5, "rope_theta": 100_000.0, "tie_word_embeddings": True}
    return Architecture("LlamaForCausalLM", settings | {"max_position_embeddings": context})


def dcgan(size: int, width: int, noise: int) -> Architecture:
    """A generator and a critic of pictures: `width` channels at half of the size, twice as many at each half of it."""
    return Architecture("DCGAN", {"sample_size": size, "in_channels": 3, "width": width, "widest": 512, "noise": noise})


def video(size: int, width: int, depth: int, heads: int, window: int) -> Architecture:
    """A causal transformer of grey clips with patches of 4×4; a frame sees `window` frames, itself included."""
    settings = {"sample_size": size, "in_channels": 1, "patch": 4, "width": width, "depth": depth, "heads": heads}
    return Architecture("VideoTransformer", settings | {"expansion": 4, "window": window, "rotary_base": 10.0}, 10)


NETWORKS: dict[str, Architecture] = {
    "unet32": unet(32, (64, 128, 128), attention=16),
    "dit_s2": dit(32, 384, 12, 6),
    "dit_xl2": dit(32, 1152, 28, 16),
    "digits": digits(32, 64),  # the network of experiments.diffusion.digits
    "digits_half": digits(16, 32),
    "digits_double": digits(64, 128),
    "digits_fourfold": digits(128, 256),
    # that of experiments.diffusion.latent, which has one class
    "latents": unet(16, (16, 32, 64), groups=8, classes=1, pixels=4),
    "latents_vae": autoencoder(64, (16, 32, 64), 1, groups=8, attention=False),  # whose latents they are
    "smollm2": llama(576, 30, 9, 3, mlp=1536, vocabulary=49152, context=8192),  # whose weights weights.smollm2 reads
    "smollm2_large": llama(2048, 24, 32, 32, mlp=8192, vocabulary=49152, context=8192),  # SmolLM2-1.7B
    "byte_lm_small": llama(64, 2, 4, 4, mlp=172, vocabulary=256),
    "byte_lm_medium": llama(256, 4, 4, 4, mlp=688, vocabulary=256),
    "byte_lm_large": llama(512, 8, 8, 8, mlp=1376, vocabulary=256),
    "dcgan": dcgan(32, 64, 100),
    "tiny_dcgan": dcgan(8, 8, 6),
    "video": video(32, 256, 4, 8, window=8),
    "tiny_video": video(8, 16, 2, 2, window=3),
    "tiny_vae": autoencoder(8, (8, 16), 1, groups=4),
    "tiny_smollm2": llama(16, 2, 4, 2, mlp=24, vocabulary=64, context=64),
    "tiny_byte_lm": llama(16, 2, 4, 4, mlp=24, vocabulary=32, context=64),
    "tiny_unet": unet(8, (8, 16), attention=4, groups=4),
    "tiny_digits": digits(8, 16, groups=4),
    "tiny_latents": unet(4, (8, 16), groups=4, classes=1, pixels=4),
    "tiny_dit": dit(8, 32, 2, 2, num_classes=10),
}


@dataclass(frozen=True)
class Workload:
    """One piece of work, which the bench repeats as often as it needs. Its fields travel between processes: add some,
    and rename none.

    kind: one of FAMILIES, whose module says what it is. network: one of NETWORKS, or of `device_rates.PARTS`.
    steps: of DDIM, or tokens that are written. objective: "noise" (DDPM's) or "flow" (that of the digits experiment).
    guidance: scale of classifier-free guidance, None for none. passes: "batched" evaluates both halves in one call,
        "two" in two.
    tokens: that are read, or frames of a clip. size (in pixels), channels, tokens, heads, head_size: of an operation.
    embedding: of no work any more. dtype: of activations; of language models also of weights and caches; "int8": of
        weights.
    """

    kind: str
    network: str = ""
    batch: int = 1
    steps: int = 1
    objective: str = "noise"
    guidance: float | None = None
    passes: str = "batched"
    scales: tuple[float, ...] = ()
    step_counts: tuple[int, ...] = ()
    size: int = 0
    channels: int = 0
    embedding: int = 0
    tokens: int = 0
    heads: int = 0
    head_size: int = 0
    dtype: str = "float32"

    @property
    def family(self) -> ModuleType:
        """The module that does it."""
        return importlib.import_module(f"experiments.bench.{FAMILIES[self.kind]}")

    @property
    def small(self) -> "Workload":
        """The same kind of work, tiny."""
        most = {"batch": 2, "steps": 3, "size": 8, "channels": 32, "tokens": 16}
        sizes: dict[str, Any] = {name: min(getattr(self, name), limit) for name, limit in most.items()}
        kinds = (
            "unet",
            "digits",
            "dit",
            "vae",
            "latents",
            "smollm2",
            "byte_lm",
            "dcgan",
            "video",
            "sd15",
            "sdxl",
            "flux",
            "klein",
            "z_image",
        )
        network = next((f"tiny_{word}" for word in kinds if word in self.network), "")
        return dataclasses.replace(
            self, **sizes, network=network, scales=self.scales[:2], step_counts=self.step_counts[:2]
        )

    @property
    def architecture(self) -> Architecture:
        """Its network."""
        return NETWORKS[self.network]

    @property
    def settings(self) -> dict[str, Any]:
        """What its network is told."""
        return NETWORKS[self.network].settings

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image: of the network's size, or of `size` where it is given."""
        side = self.size or self.settings["sample_size"]
        return side, side, self.settings["in_channels"]

    @property
    def loops(self) -> tuple[tuple[float | None, int], ...]:
        """(guidance scale, steps) of each loop over the network."""
        return (
            tuple(itertools.product(self.scales, self.step_counts))
            if self.kind == "sweep"
            else ((self.guidance, self.steps),)
        )

    @property
    def calls(self) -> int:
        """Calls of the network on the whole batch; guidance makes two of one, a training step is one."""
        return sum(steps if scale is None else 2 * steps for scale, steps in self.loops)

    @property
    def tokens_done(self) -> int:
        """Tokens that a training step of a language model learns from, or that a rollout writes; 0 for other work."""
        return self.batch * {"next_token": self.tokens, "rollout": self.steps}.get(self.kind, 0)


def from_json(fields: Mapping[str, Any]) -> Workload:
    """The workload of which these are the fields, read from JSON."""
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Workload(**settings)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers in float32."""
    return rng.normal(size=shape).astype(np.float32)


MODES = ("eager", "channels_last", "static_cache", "compiled")
FLAT = ("DiTTransformer2DModel", "CLIPTextModel", "LlamaForCausalLM", "VideoTransformer")
"""Networks without feature maps."""


@dataclass(frozen=True)
class Case:
    """One question of the bench.

    name: the word on the command line. device: where it belongs. measure: (case, setting) -> Findings; None for one
        duel.
    absent: why it cannot be measured here, what to install included; empty where it can. Tiny works need
        nothing. pairs: rounds, at most.
    left_out: why a mode of the peer takes no part, by mode.
    threshold, share: fields of Thresholds that its ratio, or its share of a rate, must reach. memory: whether peak
        memory is a claim.
    by_vendor: the threshold on processors of a vendor, by `processor.vendor`.
    exact: whether agreement is judged by the peer in float64: see `Thresholds.agreement_rounding`.
    """

    name: str
    question: str
    workload: Workload
    threshold: str = ""
    share: str = ""
    memory: bool = False
    device: str = "cpu"
    measure: Callable[["Case", Any], Any] | None = None
    absent: Callable[[], str] | None = None
    pairs: int = 1000
    left_out: Mapping[str, str] = field(default_factory=dict)
    by_vendor: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False

    @property
    def modes(self) -> tuple[str, ...]:
        """The peer's modes; "channels_last" only where there are feature maps to lay out, "static_cache" only where
        there is a cache.
        """
        network = NETWORKS.get(self.workload.network)
        flat = self.workload.kind in ("attention", "watermark") if network is None else network.kind in FLAT
        there = {"channels_last": not flat, "static_cache": self.workload.kind in LANGUAGE}
        return tuple(mode for mode in MODES if there.get(mode, True) and mode not in self.left_out)
