"""What is timed, in words and arrays that both sides read: networks and the work done with them. Imports neither JAX nor torch."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal[
    "sample",
    "train",
    "sweep",
    "encode",
    "decode",
    "text",
    "block",
    "attention",
    "convolution",
    "matmul",
    "watermark",
    "prefill",
    "generate",
    "reply",
    "lookup",
    "adversarial",
    "next_token",
    "rollout",
    "ppo_step",
    "video_rollout",
    "video_train",
    "folder",
    "serve",
]
VIDEO = ("video_rollout", "video_train")
"""Kinds of work with clips."""
LANGUAGE = ("prefill", "generate", "reply", "lookup")
"""The kinds of work with language models that are trained."""
TEXT_MODELS = (*LANGUAGE, "next_token", "rollout", "ppo_step")
"""The kinds of work whose network is a language model."""
ADAMW: dict[str, Any] = {"rate": 3e-4, "betas": (0.9, 0.95), "decay": 0.1}
"""Of the training step of a language model, on either side (Touvron et al., 2023, section 2.3)."""
PPO: dict[str, Any] = {
    "epochs": 2,
    "minibatches": 2,
    "clip": 0.2,
    "value_clip": 0.2,
    "value_weight": 0.5,
    "gradient_clip": 1.0,
    "gamma": 1.0,
    "lam": 0.95,
    "beta": 0.05,
    "rate": 3e-5,
    "epsilon": 1e-5,
    "reference": 0.9,
}
"""Of an update by PPO, on either side; decays of moments and of weights are those of ADAMW. rate, epsilon: of AdamW, as usual in PPO, where
steps are small: with 1e-8 the rounding of a gradient near 0 would move its weight as far as any. reference: what the policy's weights are
multiplied by for the reference, so that the two differ."""
DCGAN_FILE = "pair.safetensors"
"""Where either side keeps the weights of a pair."""
DCGAN_RATE, DCGAN_BETAS, DCGAN_EPSILON = 2e-4, (0.5, 0.999), 1e-2
"""Adam's learning rate and decays (Radford et al., 2016, section 4). ε is larger than there: with 1e-8 the first step is the sign of each
gradient, so that the rounding of one near 0 moves its weight as far as any, and two right sides differ."""
VIDEO_FILE = "network.safetensors"
"""Where either side keeps the weights of a network of clips."""
SECRET = 15485863
"""The key of a watermark."""


@dataclass(frozen=True)
class Architecture:
    """A network by the name of its class in diffusers or transformers, and what that is told. num_classes: those of images, or None.

    "DCGAN" is a generator and its critic, and "VideoTransformer" a causal network of clips, of which either side has its own classes.
    """

    kind: Literal["UNet2DModel", "DiTTransformer2DModel", "AutoencoderKL", "CLIPTextModel", "LlamaForCausalLM", "DCGAN", "VideoTransformer"]
    settings: dict[str, Any]
    num_classes: int | None


def unet(
    size: int, channels: tuple[int, ...], *, attention: int = 0, groups: int = 32, classes: int | None = None, pixels: int = 3
) -> Architecture:
    """A U-Net whose feature maps of the size `attention` have it. classes: of a network of our experiments, with one block per level."""
    attended, own = [size // 2**level == attention for level in range(len(channels))], classes is not None
    settings = {
        "sample_size": size,
        "in_channels": pixels,
        "out_channels": pixels,
        "block_out_channels": channels,
        "layers_per_block": 1 if own or size < 32 else 2,
        "norm_num_groups": groups,
        "attention_head_dim": channels[-1] // 2 if own else 8,
        "attn_norm_num_groups": groups,
        "resnet_time_scale_shift": "scale_shift" if own else "default",
        "down_block_types": tuple("AttnDownBlock2D" if there else "DownBlock2D" for there in attended),
        "up_block_types": tuple("AttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attended)),
        "num_class_embeds": None if classes is None else classes + 1,
    }
    return Architecture("UNet2DModel", settings, classes)


def digits(*channels: int, groups: int = 8) -> Architecture:
    """A network of labelled digits."""
    return unet(8, channels, groups=groups, classes=10, pixels=1)


def dit(size: int, width: int, depth: int, heads: int, *, num_classes: int = 1000) -> Architecture:
    """A diffusion transformer with patches of 2×2 on latents of four channels."""
    settings = {
        "sample_size": size,
        "in_channels": 4,
        "num_layers": depth,
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "patch_size": 2,
        "num_embeds_ada_norm": num_classes,
    }
    return Architecture("DiTTransformer2DModel", settings, num_classes)


def autoencoder(size: int, channels: tuple[int, ...], blocks: int, *, groups: int = 32, attention: bool = True) -> Architecture:
    """The autoencoder of latent diffusion for pictures of three channels, with latents of four."""
    settings = {
        "sample_size": size,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "norm_num_groups": groups,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "mid_block_add_attention": attention,
    }
    return Architecture("AutoencoderKL", settings, None)


def clip(width: int, depth: int, heads: int, *, vocabulary: int = 49408) -> Architecture:
    """A text tower of CLIP, whose last two ids begin and end a text."""
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "max_position_embeddings": 77,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }
    return Architecture("CLIPTextModel", settings, None)


def llama(width: int, depth: int, heads: int, shared: int, *, mlp: int, vocabulary: int, context: int) -> Architecture:
    """A decoder of the family of Llama with `shared` heads of keys and values, tied as the models of SmolLM2 are."""
    settings = {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100_000.0,
        "tie_word_embeddings": True,
    }
    return Architecture("LlamaForCausalLM", settings, None)


def dcgan(size: int, width: int, noise: int) -> Architecture:
    """A generator and a critic of square pictures, with `width` channels at half of the size and twice as many at each half of that."""
    return Architecture("DCGAN", {"sample_size": size, "in_channels": 3, "width": width, "widest": 512, "noise": noise}, None)


def video(size: int, width: int, depth: int, heads: int, window: int) -> Architecture:
    """A causal transformer of grey clips with patches of 4×4, a frame of which sees `window` frames, itself included."""
    settings = {
        "sample_size": size,
        "in_channels": 1,
        "patch": 4,
        "width": width,
        "depth": depth,
        "heads": heads,
        "expansion": 4,
        "window": window,
        "rotary_base": 10.0,
    }
    return Architecture("VideoTransformer", settings, 10)


DEPTHS = (2, 4, 8, 16)
"""Layers of the DiTs that tell how the time to compile grows."""
NETWORKS: dict[str, Architecture] = {
    "unet32": unet(32, (64, 128, 128), attention=16),
    "dit_s2": dit(32, 384, 12, 6),
    "dit_xl2": dit(32, 1152, 28, 16),
    **{f"dit_deep{depth}": dit(8, 64, depth, 4, num_classes=10) for depth in DEPTHS},
    "digits": digits(32, 64),  # the network of experiments.diffusion.digits
    "digits_half": digits(16, 32),
    "digits_double": digits(64, 128),
    "digits_fourfold": digits(128, 256),
    "latents": unet(16, (16, 32, 64), groups=8, classes=1, pixels=4),  # that of experiments.diffusion.latent, which has one class
    "latents_vae": autoencoder(64, (16, 32, 64), 1, groups=8, attention=False),  # whose latents they are
    "sd_vae": autoencoder(128, (128, 256, 512, 512), 2),  # that of Stable Diffusion
    "clip_l": clip(768, 12, 12),  # the text encoder of Stable Diffusion 1
    "smollm2": llama(576, 30, 9, 3, mlp=1536, vocabulary=49152, context=8192),  # whose weights weights.smollm2 reads
    "byte_lm_small": llama(64, 2, 4, 4, mlp=172, vocabulary=256, context=256),
    "byte_lm_medium": llama(256, 4, 4, 4, mlp=688, vocabulary=256, context=256),
    "byte_lm_large": llama(512, 8, 8, 8, mlp=1376, vocabulary=256, context=256),
    "dcgan": dcgan(32, 64, 100),
    "tiny_dcgan": dcgan(8, 8, 6),
    "video": video(32, 256, 4, 8, window=8),
    "tiny_video": video(8, 16, 2, 2, window=3),
    "tiny_vae": autoencoder(8, (8, 16), 1, groups=4),
    "tiny_clip": clip(32, 2, 2, vocabulary=64),
    "tiny_smollm2": llama(16, 2, 4, 2, mlp=24, vocabulary=64, context=64),
    "tiny_byte_lm": llama(16, 2, 4, 4, mlp=24, vocabulary=32, context=64),
    "tiny_unet": unet(8, (8, 16), attention=4, groups=4),
    "tiny_digits": digits(8, 16, groups=4),
    "tiny_latents": unet(4, (8, 16), groups=4, classes=1, pixels=4),
    "tiny_dit": dit(8, 32, 2, 2, num_classes=10),
}


@dataclass(frozen=True)
class Workload:
    """One piece of work, which the bench repeats as often as it needs.

    Its fields are what travels between processes, also to processes of older checkouts: add fields, and rename none.

    kind: "sample" is a DDIM loop of `steps` on the linear 1000-step table (leading spacing, noise prediction), from a given x_T.
      "train" is an optimizer step of AdamW on fresh noise and levels. "sweep" samples at each of `scales` × `step_counts`, and pays for
      every compilation. "encode" and "decode" are the halves of an autoencoder: pictures to their most likely latents, normalised, and
      back. "text" encodes ids as vectors of tokens. "prefill" reads `tokens` ids of each text, as far as the logits of the next one;
      "generate" goes on with them by `steps` tokens, the likeliest each time. "reply" does the same as far as the token `stop` of its
      arrays, `steps` tokens at most, and "lookup" guesses the tokens of a reply by prompt lookup.
      "adversarial" is an optimizer step of a critic, then one of its generator, with given noise. "next_token" is one of a language model
      on texts of `tokens` ids, each of which predicts the next. "rollout" reads `tokens` ids of each text and draws `steps` more with their
      log-probabilities; "ppo_step" is an update of a policy and its critic by such rollouts, which are given.
      "video_rollout" draws clips of `tokens` frames, one frame after the other in `steps` steps of DDIM on the straight path, against the
      keys and values of frames before. "video_train" is an optimizer step of the same network on clips of `tokens` frames with a time
      each, with given targets. "folder" is whatever a case does with a folder of Stable Diffusion, with the settings `network` of
      sd_settings. "serve" answers requests for pictures, as many at a time as the batch.
      "block" is a residual block; "attention", "convolution" and "matmul" are the operations alone. "watermark" marks the logits of the
      next token of each text by a green list of a quarter of the `size` tokens; `tokens` stand before it.
    objective: "noise" (DDPM's) or "flow" (that of the digits experiment: flow matching, clipped gradients, one average of the parameters).
    guidance: scale of classifier-free guidance, None for none. passes: "batched" evaluates both halves in one call, "two" in two.
    size (in pixels), channels, tokens, heads, head_size: of a block or an operation. embedding: channels of a block's embedding.
    dtype: "float32" or "bfloat16", of activations; of language models also of weights, caches and, "int8", of weights alone.
    """

    kind: Kind
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
    def small(self) -> "Workload":
        """The same kind of work, tiny."""
        most = {"batch": 2, "steps": 3, "size": 8, "channels": 32, "embedding": 16, "tokens": 16}
        sizes: dict[str, Any] = {name: min(getattr(self, name), limit) for name, limit in most.items()}
        kinds = ("unet", "digits", "dit", "vae", "latents", "clip", "smollm2", "byte_lm", "dcgan", "video", "sd15", "sdxl")
        network = next((f"tiny_{word}" for word in kinds if word in self.network), "")
        return dataclasses.replace(self, **sizes, network=network, scales=self.scales[:2], step_counts=self.step_counts[:2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image: of the network's size, or of `size` where it is given."""
        settings = NETWORKS[self.network].settings
        side = self.size or settings["sample_size"]
        return side, side, settings["in_channels"]

    @property
    def loops(self) -> tuple[tuple[float | None, int], ...]:
        """(guidance scale, steps) of each loop over the network."""
        return tuple(itertools.product(self.scales, self.step_counts)) if self.kind == "sweep" else ((self.guidance, self.steps),)

    @property
    def calls(self) -> int:
        """Calls of the network on the whole batch; guidance makes two of one, a training step is one."""
        return sum(steps if scale is None else 2 * steps for scale, steps in self.loops)

    @property
    def tokens_done(self) -> int:
        """Tokens that a training step of a language model learns from, or that a rollout writes; 0 for other work."""
        return self.batch * {"next_token": self.tokens, "rollout": self.steps}.get(self.kind, 0)

    @property
    def flops(self) -> float:
        """Of an operation or a block by its formula, a multiplication and an addition counting 2; 0 for networks, which XLA counts."""
        if self.kind == "attention":
            return 4.0 * self.batch * self.heads * self.tokens**2 * self.head_size
        if self.kind in ("convolution", "block"):
            each = 18.0 * self.batch * (self.size * self.channels) ** 2
            return each if self.kind == "convolution" else 2 * each + 2.0 * self.batch * self.embedding * self.channels
        return 2.0 * self.size**3 if self.kind == "matmul" else 0.0


def from_json(fields: dict[str, Any]) -> Workload:
    """The workload of which these are the fields, read from JSON."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Workload(**given)


def arrays(workload: Workload) -> dict[str, np.ndarray]:
    """Every array that either side needs, always the same: images channels last, float32, labels int32."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    batch, channels, maps = workload.batch, workload.channels, (workload.batch, workload.size, workload.size, workload.channels)
    if workload.kind == "text":
        return {"ids": _texts(rng, NETWORKS[workload.network].settings["vocab_size"], batch, workload.tokens)}
    if workload.kind in TEXT_MODELS:
        vocabulary, length = NETWORKS[workload.network].settings["vocab_size"], workload.tokens + (workload.kind == "next_token")
        ids = {"ids": rng.integers(0, vocabulary, (batch, length)).astype(np.int32)}
        return ids | ({"stop": np.array([vocabulary - 1], np.int32)} if workload.kind in ("reply", "lookup") else {})
    if workload.kind == "watermark":
        logits = normal(batch, workload.size)
        return {"logits": logits, "ids": rng.integers(0, workload.size, (batch, workload.tokens)).astype(np.int32)}
    if workload.kind in ("encode", "decode"):
        settings, (height, width, pixels) = NETWORKS[workload.network].settings, workload.shape
        factor = 2 ** (len(settings["block_out_channels"]) - 1)
        latents = height // factor, width // factor, settings["latent_channels"]
        return {"x": normal(batch, *(latents if workload.kind == "decode" else (height, width, pixels)))}
    if workload.kind == "adversarial":
        return {"clean": np.tanh(normal(batch, *workload.shape)), "noise": normal(batch, NETWORKS[workload.network].settings["noise"])}
    if workload.kind in VIDEO:
        label = {"label": rng.integers(0, NETWORKS[workload.network].num_classes or 1, batch).astype(np.int32)}
        if workload.kind == "video_rollout":
            return label
        clips = batch, workload.tokens, *workload.shape
        return {"x": normal(*clips), "target": normal(*clips), "t": rng.uniform(0, 1000, clips[:2]).astype(np.float32), **label}
    if workload.network:
        images, classes = (batch, *workload.shape), NETWORKS[workload.network].num_classes
        labels = {} if classes is None else {"label": rng.integers(0, classes, batch).astype(np.int32)}
        if workload.kind in ("sample", "sweep"):
            return {"start": normal(*images), **labels}
        times = rng.integers(0, 1000, batch).astype(np.float32)
        return {"clean": np.tanh(normal(*images)), "x": normal(*images), "target": normal(*images), "t": times, **labels}
    if workload.kind == "block":
        return {"x": normal(*maps), "embedding": normal(batch, max(1, workload.embedding))}
    if workload.kind == "attention":
        return {name: normal(batch, workload.tokens, workload.heads, workload.head_size) for name in ("query", "key", "value")}
    if workload.kind == "convolution":
        return {"x": normal(*maps), "kernel": normal(3, 3, channels, channels) / np.sqrt(9 * channels, dtype=np.float32)}
    return {"x": normal(workload.size, workload.size) / np.sqrt(workload.size, dtype=np.float32)}


def _texts(rng: np.random.Generator, vocabulary: int, batch: int, tokens: int) -> np.ndarray:
    """Ids (batch, tokens) of texts of different lengths: the first id begins each, and the last ids repeat its end, as CLIP pads them."""
    ids = rng.integers(0, vocabulary - 2, (batch, tokens)).astype(np.int32)
    ids[:, 0] = vocabulary - 2
    ends = np.arange(tokens) >= rng.integers(2, tokens, (batch, 1))
    return np.where(ends, np.int32(vocabulary - 1), ids)


def marks(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(the share of logits that a watermark raised, in hundredths, what it added to the others, and to those), which any key leaves.

    Keys choose other tokens on each side, so that the logits themselves cannot be equal.
    """
    added = np.asarray(after, np.float64) - before
    raised = added > 1e-3
    return np.array([np.round(raised.mean(), 2), np.abs(added[~raised]).max(initial=0.0), added[raised].sum() / max(1, raised.sum())])


def request(
    workload: Workload, folder: Path, name: str = "inputs", weights: Path | None = None, given: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """What either side's `prepare` is told of a workload, whose arrays, or those `given` in their place, are written into the folder."""
    file, chosen = folder / f"{name}.npz", dict[str, Any](given or arrays(workload))
    np.savez(file, **chosen)
    return {"workload": dataclasses.asdict(workload), "arrays": str(file), "weights": str(weights or "")}
