"""Operations (FLOPs) and bytes of transformers, for training and serving tokens and for drawing pictures.

Every function is plain arithmetic. Arguments may be NumPy arrays, which broadcast. A multiplication and an addition are
two operations. Norms, activations and softmax are left out, as is usual: they are a small part of the operations,
though not always of the time.
"""

import dataclasses
import math

import numpy as np

from gendiff.core import checks
from gendiff.core.renamed import renamed
from gendiff.scaling.quantities import Number, not_negative


@dataclasses.dataclass(frozen=True)
class DecoderSize:
    """The sizes of a Llama-like decoder, dense or with a mixture of experts: no biases, RMS norms, rotary positions.

    Args:
        vocabulary: number of ids.
        width: channels of a token.
        depth: number of blocks.
        heads: number of heads of queries.
        head_size: channels of a head.
        mlp_width: width of an MLP, or of one expert.
        key_value_heads: number of heads of keys and values. None: as many as `heads`.
        gated: whether MLPs have a gate, a third matrix.
        tied: whether the table of tokens is also the last layer.
        experts: number of MLPs per block, with a router where there are several.
        top_k: how many of them each token goes to.
    """

    vocabulary: int
    width: int
    depth: int
    heads: int
    head_size: int
    mlp_width: int
    key_value_heads: int | None = None
    gated: bool = True
    tied: bool = True
    experts: int = 1
    top_k: int = 1

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "depth", "heads", "head_size", "mlp_width", "experts"):
            checks.integer(name, getattr(self, name), 1)
        checks.integer("key_value_heads", self.shared_heads, 1)
        checks.integer("top_k", self.top_k, 1, self.experts)

    @property
    def shared_heads(self) -> int:
        """Number of heads of keys and values."""
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def parameters(self) -> int:
        """The number of all parameters, which memory holds."""
        norms = self.width * (2 * self.depth + 1)
        return self.vocabulary * self.width * (1 if self.tied else 2) + norms + self.depth * self._block(self.experts)

    @property
    def active(self) -> int:
        """Entries of the matrices that multiply one token: with the last layer, without the embedding."""
        return self.vocabulary * self.width + self.depth * self._block(self.top_k)

    def attention_flops(self, context: Number) -> Number:
        """Operations of attention, in one forward pass, of a token with this context (see `attention_flops`)."""
        return attention_flops(context, self.depth, self.heads, self.head_size)

    def cache_bytes(self, tokens: Number, bytes_per_number: Number = 2.0) -> Number:
        """Return the bytes of the keys and values of one text (see `cache_bytes`)."""
        return cache_bytes(tokens, self.depth, self.shared_heads, self.head_size, bytes_per_number)

    def _block(self, experts: int) -> int:
        attention = 2 * self.width * self.head_size * (self.heads + self.shared_heads)
        router = self.width * self.experts if self.experts > 1 else 0
        return attention + router + experts * (3 if self.gated else 2) * self.width * self.mlp_width


def forward_flops(parameters: Number, tokens: Number = 1, attention: Number = 0.0) -> Number:
    """Operations of a forward pass: tokens · (2 parameters + attention).

    Args:
        parameters: that each token is multiplied by; of a mixture of experts, the active ones.
        tokens: their number.
        attention: operations per token that grow with the context, as `attention_flops` gives them.

    References:
        Kaplan et al., 2020, section 2.1; Austin et al., How to Scale Your Model, 2025, Transformers.
    """
    not_negative(parameters=parameters, tokens=tokens, attention=attention)
    return tokens * (2 * parameters + attention)


def training_flops(parameters: Number, tokens: Number, attention: Number = 0.0) -> Number:
    """Operations of training: 3 forward passes, which is 6 · parameters · tokens where attention is left out.

    The backward pass takes two products for each one of the forward pass. Recomputation (remat) comes on top.

    Args:
        parameters: that each token is multiplied by.
        tokens: their number, over all epochs.
        attention: operations per token of one forward pass.
    """
    return 3 * forward_flops(parameters, tokens, attention)


def attention_flops(context: Number, layers: Number, heads: Number, head_size: Number) -> Number:
    """Operations per token, forward, of the products with keys and values: 4 · context · layers · heads · head_size.

    Args:
        context: how many tokens it sees, itself included: the context in decoding, `mean_seen` for a whole text.
        layers: number of blocks.
        heads: number of heads of queries; sharing keys among them spares bytes, not operations.
        head_size: channels of a head.

    References:
        Austin et al., How to Scale Your Model, 2025, Transformers: 12 B T² N H per layer in training, without the
        causal mask.
    """
    not_negative(context=context, layers=layers, heads=heads, head_size=head_size)
    return 4 * context * layers * heads * head_size


def mean_seen(tokens: Number, window: Number = math.inf) -> Number:
    """The mean number of tokens that a token of a text sees under a causal mask, itself included.

    Args:
        tokens: of the text, at least 1.
        window: how many tokens each one sees at most.
    """
    checks.in_range("tokens", tokens, 1.0, math.inf)
    checks.in_range("window", window, 1.0, math.inf)
    ramp: Number = np.minimum(tokens, window)
    return (ramp * (ramp + 1) / 2 + (tokens - ramp) * ramp) / tokens


def weight_bytes(parameters: Number, bits: Number = 16.0, group: Number = math.inf, group_bits: Number = 0.0) -> Number:
    """Bytes of parameters: parameters · (bits + group_bits / group) / 8.

    Args:
        parameters: all of them, those of every expert too.
        bits: of each.
        group: how many share a scale.
        group_bits: bits of what they share: 16 for one scale in bfloat16.
    """
    not_negative(parameters=parameters, bits=bits, group_bits=group_bits)
    checks.in_range("group", group, 1.0, math.inf)
    return parameters * (bits + group_bits / group) / 8


def cache_bytes(
    tokens: Number, layers: Number, key_value_heads: Number, head_size: Number, bytes_per_number: Number = 2.0
) -> Number:
    """Bytes of the keys and values of one text: 2 · bytes_per_number · head_size · key_value_heads · layers · tokens.

    Args:
        tokens: of the text, or the window where that is less.
        layers: number of blocks.
        key_value_heads: heads of keys and values.
        head_size: channels of a head.
        bytes_per_number: 2 for bfloat16, 1 for int8.

    References:
        Austin et al., How to Scale Your Model, 2025, Inference.
    """
    not_negative(
        tokens=tokens,
        layers=layers,
        key_value_heads=key_value_heads,
        head_size=head_size,
        bytes_per_number=bytes_per_number,
    )
    return 2 * bytes_per_number * head_size * key_value_heads * layers * tokens


def image_flops(
    parameters: Number, patches: Number, steps: Number, *, guided: bool, attention: Number = 0.0, decoder: Number = 0.0
) -> Number:
    """Operations of one picture of a diffusion transformer.

    They are steps · (2 if guided) · patches · (2 parameters + attention) + decoder.

    Args:
        parameters: of the network, that each patch is multiplied by.
        patches: tokens of a picture.
        steps: evaluations of the network, guidance aside: a second-order method takes two per step.
        guided: whether each evaluation is one with the condition and one without (classifier-free guidance).
        attention: operations per patch that grow with the number of patches, as `attention_flops(patches, …)` gives
            them.
        decoder: operations that turn the latent into pixels.
    """
    not_negative(steps=steps, decoder=decoder)
    return steps * (2 if guided else 1) * forward_flops(parameters, patches, attention) + decoder


__getattr__ = renamed("scaling.cost", {"picture_flops": ("scaling.cost.image_flops", image_flops)})
