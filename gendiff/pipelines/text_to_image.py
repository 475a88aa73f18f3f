"""From a prompt to a picture: encode the text, guide a network from noise to a latent, decode.

It is one function of arrays.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Shaped

from gendiff import diffusion, networks
from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Count, Params, Scalar
from gendiff.data.texts.tokenizer import Tokens
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.diffusion.types import Denoiser, Level, Predict

PARTS = ("text", "network", "decoder")
"""Names of the parameters: of the text encoder, the network and the decoder."""


@records.record
class TextToImage:
    """Prompts to images by classifier-free guidance (CFG).

    `jax.jit(pipeline)` compiles once per shape of an image and of a prompt. Parameters, key, prompts, guidance scale,
    levels, number of steps and index are data. Image i is a function of
    (parameters, prompt i, key, index[i]), as promise 2 says.

    Args:
        encode: (params, ids, mask) -> `networks.Text`, as `networks.pure(text_encoder)`.
        predict: (params, x, t, text) -> output, as `networks.pure(unet)`.
        parameterization: what the output of `predict` means.
        sampler: such as `samplers.ddim()`.
        shape: of one latent (h, w, c), or of one picture where there is no decoder.
        decode: (params, latents) -> pictures, as `networks.pure(autoencoder, "decode")`. None: `predict` works on
            pictures.

    References:
        Rombach et al., 2022, section 3.3; Ho & Salimans, 2022, Eq. 6.
    """

    encode: Callable[..., networks.Text] = records.static()
    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    sampler: Sampler
    shape: tuple[int, ...] = records.static()
    decode: Callable[[Params, jax.Array], jax.Array] | None = records.static(default=None)

    def __call__(
        self,
        params: Mapping[str, Params],
        key: jax.Array,
        prompt: Tokens,
        negative: Tokens,
        scale: Scalar,
        levels: Level,
        index: Integer[ArrayLike, "b"],
        *,
        num_steps: Count | None = None,
        start: Shaped[ArrayLike, "b *shape"] | None = None,
        on_level: OnLevel | None = None,
    ) -> Float[Array, "b h w c"]:
        """Draw a picture for each entry of `index`.

        Args:
            params: {"text", "network", "decoder"}: the parameters of each part; "decoder" is left out where there is
                none.
            key: one typed key.
            prompt: of b texts, or of one that holds for all.
            negative: what the pictures are led away from, likewise; `nothing(prompt)` for plain guidance.
            scale: () or (b,) at least 0, of guidance; 1 is none.
            levels: the grid (t + 1,), from noise to clean.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            num_steps: how many intervals to run, 1 … t (default t).
            start: (b, *shape) latents in place of the first noise.
            on_level: as for `diffusion.sample`, with latents.

        Returns:
            (b, h, w, c) pictures, in [-1, 1] where those of the training were.

        Raises:
            ValueError: for missing parts, for texts that do not align with `index`, and as `diffusion.sample` does.
            TypeError: as `diffusion.sample` does.
        """
        denoise = self.denoiser(params, prompt, negative, scale)
        latents = diffusion.sample(
            key, denoise, self.sampler, levels, self.shape, index, num_steps=num_steps, start=start, on_level=on_level
        )
        return latents if self.decode is None else self.decode(params["decoder"], latents)

    def denoiser(self, params: Mapping[str, Params], prompt: Tokens, negative: Tokens, scale: Scalar) -> Denoiser:
        """The guided denoiser of a prompt, for `diffusion.editing`, `diffusion.inpainting` and loops of one's own.

        Args:
            params: as in a call.
            prompt: as in a call.
            negative: as in a call.
            scale: as in a call.

        Raises:
            ValueError: for missing parts, and for texts of unequal length.
        """
        self._check(params)
        if prompt.ids.shape[1] != negative.ids.shape[1]:
            lengths = f"{prompt.ids.shape[1]} and {negative.ids.shape[1]}"
            raise ValueError(f"prompt and negative have {lengths} tokens: one tokenizer gives both the same length")
        condition, away = (self.encoded(params, text) for text in (prompt, negative))
        return self.guided(params, condition, away, scale)

    def encoded(self, params: Mapping[str, Params], text: Tokens) -> networks.Text:
        """Texts as the network reads them, for callers that draw with them more than once.

        Args:
            params: as in a call.
            text: of b texts. One without a token, as `empty_prompt` makes it, stays one.
        """
        ids, mask = jnp.asarray(text.ids), jnp.asarray(text.mask)
        there = mask | ~mask.any(-1, keepdims=True)  # an encoder refuses a text without a token
        return records.replace(self.encode(params["text"], ids, there), mask=mask)

    def guided(
        self, params: Mapping[str, Params], condition: networks.Text, away: networks.Text, scale: Scalar
    ) -> Denoiser:
        """The guided denoiser of texts that are `encoded`.

        Args:
            params: as in a call.
            condition: what pictures show, of b texts or of one.
            away: what they are led away from, likewise.
            scale: as in a call.
        """
        conditional = diffusion.from_network(self.predict, params["network"], self.parameterization, condition)
        return diffusion.guidance.classifier_free(conditional, conditional.with_condition(away), scale, batched=True)

    def _check(self, params: Mapping[str, Params]) -> None:
        needed = PARTS if self.decode is not None else PARTS[:-1]
        if missing := [name for name in needed if name not in params]:
            raise ValueError(
                f"params has no {', '.join(missing)}: it holds the parameters of {', '.join(needed)} under these names"
            )
        checks.integer("the axes of shape", len(self.shape), 1)


def empty_prompt(prompt: Tokens) -> Tokens:
    """The null prompt, in the shape of a prompt: networks take it for NO_TEXT, the captions that training dropped.

    It has no token, not even those that begin and end a text. Also known as: unconditional prompt.

    Args:
        prompt: of any texts.
    """
    return prompt._replace(mask=prompt.mask & False)
