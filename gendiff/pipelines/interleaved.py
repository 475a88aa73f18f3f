"""The loss of documents of texts and pictures: next tokens and denoising in one network."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.renamed import renamed_keywords
from gendiff.core.types import ArrayLike, Loss, Metrics, Params, PyTree
from gendiff.diffusion import objectives, process, weighting
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Predict, Prediction
from gendiff.language import Texts
from gendiff.language.objective import surprise
from gendiff.networks import Picture


@records.record
class Interleaved:
    """A batch of documents that are made of the same parts in the same order.

    Attributes:
        parts: each a `language.Texts` without segments and bytes, or clean pictures (b, h, w, c).
    """

    parts: tuple[Texts | ArrayLike, ...]


@records.record
class InterleavedLoss(objectives.NetworkLoss):
    """The loss of `next_token_and_denoising`."""

    schedule: Schedule = records.static()
    levels: weighting.LevelSampler = records.static()
    levels_before_text: weighting.LevelSampler = records.static()
    image_weight: float = records.static()
    drop_text: float = records.static()
    z_loss: float = records.static()

    def __call__(
        self, params: Params, key: jax.Array, batch: Interleaved | tuple[Interleaved, ...]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch, or for several whose tokens and pictures count alike."""
        documents = batch if isinstance(batch, tuple) else (batch,)
        tokens: list[tuple[jax.Array, ...]] = []
        errors: list[tuple[jax.Array, ...]] = []
        for document, document_key in zip(documents, jax.random.split(key, len(documents)), strict=True):
            parts_key, network_key = jax.random.split(document_key)
            parts = _checked(document)
            inputs, targets = self._inputs(parts_key, parts)
            chance = {"key": network_key} if self.stochastic else {}
            answer: Any = self.predict(params, inputs, **chance)  # a MixedAnswer: this network has several outputs
            for part, output, target in zip(inputs, answer.outputs, targets, strict=True):
                if isinstance(part, Picture):
                    errors.append(self.error_and_weight(output.astype(part.x.dtype), *target))
                else:
                    tokens.append(_next_tokens(part, target, output))
        loss = jnp.zeros(())
        metrics: Metrics = {}
        if tokens:
            logits, target, counts = map(jnp.concatenate, zip(*tokens, strict=True))
            loss, metrics = surprise(logits, target, counts, self.z_loss)
        if errors:
            error, weight = map(jnp.concatenate, zip(*errors, strict=True))
            loss, metrics = loss + self.image_weight * jnp.mean(weight * error), metrics | {"mse": jnp.mean(error)}
        return loss, metrics

    def _inputs(
        self, key: jax.Array, parts: tuple[Texts | jax.Array, ...]
    ) -> tuple[tuple[jax.Array | Picture, ...], list[PyTree]]:
        """Inputs of the network for each part, and targets: weights of tokens, or level and target of a picture."""
        drop_key, *keys = jax.random.split(key, 1 + len(parts))
        is_text = [isinstance(part, Texts) for part in parts]
        samples = len(parts[0].tokens if isinstance(parts[0], Texts) else parts[0])
        dropped = jax.random.bernoulli(drop_key, self.drop_text, (samples, 1))
        inputs: list[jax.Array | Picture] = []
        targets: list[PyTree] = []
        for number, (part, part_key) in enumerate(zip(parts, keys, strict=True)):
            if isinstance(part, Texts):
                tokens = jnp.asarray(part.tokens)
                inputs.append(tokens if all(is_text[number:]) else jnp.where(dropped, without_words(tokens), tokens))
                targets.append(part.weight)
            else:
                level_key, noise_key = jax.random.split(part_key)
                level = (self.levels_before_text if any(is_text[number:]) else self.levels)(
                    level_key, self.schedule, len(part)
                )
                noise = jax.random.normal(noise_key, part.shape, part.dtype)
                x = process.add_noise(part, noise, level)
                inputs.append(Picture(self.parameterization.scale_in(x, level), level.t_for(x)))
                targets.append((level, Prediction(part, noise)))
        return tuple(inputs), targets


@renamed_keywords(picture_weight="image_weight")
def next_token_and_denoising(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    image_weight: float = 5.0,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    levels_before_text: weighting.LevelSampler | None = None,
    drop_text: float = 0.1,
    z_loss: float = 0.0,
    stochastic: bool | None = None,
) -> Loss:
    """A loss of tokens and images: mean −log p(next token) plus `image_weight` times the mean denoising error.

    Also known as: Transfusion.

    The first token of each text is no target, as it has no text before it. So it should be one that begins texts.

    Args:
        predict: the network, (params, parts) -> an answer with `outputs`, such as
            `networks.pure(networks.MultimodalTransformer(…))`.
        schedule: the noise path.
        parameterization: what the output for a picture means.
        image_weight: at least 0.
        weight: the factor on each picture's error, as of `denoising`; default `weighting.uniform()`.
        levels: how levels of pictures are drawn; default `weighting.uniform_levels()`.
        levels_before_text: the same for pictures with a text behind them, which speaks of them; default
            `uniform_levels((0.0, 0.5))`.
        drop_text: share of documents in [0, 1] in which texts with a picture behind them are `without_words`, for
            guidance.
        z_loss: at least 0, as of `language.objective.next_token`.
        stochastic: whether the network gets a fresh `key=` at every call. None asks its attribute `stochastic`.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), for an `Interleaved` or a tuple of these, whose tokens and
        pictures count alike. Metrics are `nll` (nats per token), `accuracy` and the unweighted `mse`, each where the
        batch has such parts.

    Raises:
        ValueError: for numbers outside the ranges above, and as `denoising` does for a schedule without signal.

    References:
        Zhou et al., 2024 (Transfusion), Eq. 4 and section 4.1, for the weight 5 and less noise before captions (from
        memory).
    """
    checks.in_range("image_weight", image_weight, 0.0, math.inf, open_high=True)
    checks.in_range("drop_text", drop_text, 0.0, 1.0)
    checks.in_range("z_loss", z_loss, 0.0, math.inf, open_high=True)
    objectives.refuse_lost_signal(parameterization, schedule)
    return InterleavedLoss(
        *objectives.path_fields(predict, schedule, parameterization, weight, levels, stochastic),
        levels_before_text or weighting.uniform_levels((0.0, 0.5)),
        float(image_weight),
        float(drop_text),
        float(z_loss),
    )


def without_words(tokens: Int[ArrayLike, "b s"]) -> Int[Array, "b s"]:
    """The first token of each text alone, which begins it: what stands for no text in training and in guidance.

    Args:
        tokens: (b, s) ids, behind which −1 may stand.
    """
    ids = jnp.asarray(tokens)
    return jnp.where(jnp.arange(ids.shape[1])[None] == 0, ids, -1)


def _next_tokens(tokens: jax.Array, weight: ArrayLike | None, logits: jax.Array) -> tuple[jax.Array, ...]:
    """Logits (n, v), targets (n,) and weights (n,) of the tokens behind the first ones."""
    target = tokens[:, 1:]
    counts = (target >= 0).astype(arrays.at_least_float32(logits.dtype))
    if weight is not None:
        counts = counts * jnp.asarray(weight)[:, 1:].astype(counts.dtype)
    return logits[:, :-1].reshape(-1, logits.shape[-1]), target.reshape(-1), counts.reshape(-1)


def _checked(document: Interleaved) -> tuple[Texts | jax.Array, ...]:
    """Its parts. Raises TypeError or ValueError for what is none."""
    if not isinstance(document, Interleaved):
        raise TypeError(
            f"batch is a {type(document).__name__}: pass pipelines.Interleaved((texts, pictures)), or a tuple of these"
        )
    if not document.parts:
        raise ValueError("the document has no part: pass pipelines.Interleaved((texts, pictures))")
    parts: list[Texts | jax.Array] = []
    for number, part in enumerate(document.parts):
        if not isinstance(part, Texts):
            checks.floating(f"part {number}", part)
            parts.append(jnp.asarray(part))
        elif part.segments is not None or part.bytes is not None:
            raise ValueError(
                f"part {number} has segments or bytes: texts of documents stand alone in their rows, and are told by "
                "nats"
            )
        else:
            parts.append(part)
    return tuple(parts)
