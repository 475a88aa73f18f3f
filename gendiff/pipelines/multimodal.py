"""Images from texts, texts from images, and log p of answers about an image: one network, and one cache for both."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, Shaped

from gendiff import diffusion, language, networks
from gendiff.core import records
from gendiff.core.renamed import renamed_function
from gendiff.core.types import ArrayLike, Count, KVCache, Params, Scalar
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.diffusion.types import Denoiser, Level
from gendiff.language import decoding, scoring
from gendiff.language.decoding import Generated
from gendiff.language.processors import Processor
from gendiff.pipelines.interleaved import without_words


@records.record
class Multimodal:
    """A trained `networks.MultimodalTransformer` at work.

    Every method is one pure function of arrays: call it under `jit`.

    What a document says so far stands in a cache: `read` puts texts and clean pictures behind it, `draw` and `write` go
    on with it. The other methods do that from the beginning. Sample i is a function of (parameters, what it is given,
    key, index[i]), as promise 2 says.

    Args:
        network: that was trained by `next_token_and_denoising`.
        parameterization: what its output for a picture means.
        sampler: of pictures, such as `samplers.ddim()`.
        clean: the level of clean pictures, as `schedule.clean`.

    References:
        Zhou et al., 2024 (Transfusion), section 3.4, for denoising between texts in one sequence (from memory).
    """

    network: networks.MultimodalTransformer = records.static()
    parameterization: Parameterization = records.static()
    sampler: Sampler
    clean: Level

    def read(self, params: Params, cache: KVCache, part: Shaped[ArrayLike, "b ..."]) -> KVCache:
        """The cache with one more part.

        Args:
            params: of the network.
            cache: what stands before, such as `language.cache.full(network, b, capacity)`.
            part: (b, s) ids of texts, behind which −1 may stand, or (b, h, w, c) clean pictures.
        """
        inputs: ArrayLike | networks.Picture = part
        if jnp.issubdtype(part.dtype, jnp.floating):
            x = jnp.asarray(part)
            inputs = networks.Picture(self.parameterization.scale_in(x, self.clean), self.clean.t_for(x))
        return networks.pure(self.network)(params, (inputs,), cache).cache

    def draw(
        self,
        key: jax.Array,
        params: Params,
        cache: KVCache,
        away: KVCache,
        scale: Scalar,
        levels: Level,
        shape: tuple[int, int, int],
        index: Integer[ArrayLike, "b"],
        *,
        num_steps: Count | None = None,
        start: Shaped[ArrayLike, "b h w c"] | None = None,
        on_level: OnLevel | None = None,
    ) -> Float[Array, "b h w c"]:
        """Draw a picture behind the contents of each row of a cache.

        The cache stays as it is: `read` the picture to go on behind it.

        Args:
            key: one typed key.
            params: of the network.
            cache: of b documents, with room for the picture.
            away: what pictures are led away from: another cache of that kind, such as one of texts `without_words`.
            scale: () or (b,) at least 0, of classifier-free guidance; 1 is none.
            levels: the grid (t + 1,), from noise to clean.
            shape: (h, w, c) of one picture.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            num_steps: how many intervals to run, 1 … t (default t).
            start: (b, h, w, c) in place of the first noise.
            on_level: as for `diffusion.sample`.
        """
        denoise = self.denoiser(params, cache, away, scale)
        return diffusion.sample(
            key, denoise, self.sampler, levels, shape, index, num_steps=num_steps, start=start, on_level=on_level
        )

    def denoiser(self, params: Params, cache: KVCache, away: KVCache, scale: Scalar) -> Denoiser:
        """The guided denoiser of pictures behind a cache, for `diffusion.editing` and loops of one's own.

        Arguments are those of `draw`.
        """
        predict = networks.pure(self.network, "denoise")
        conditional = diffusion.from_network(predict, params, self.parameterization, cache)
        return diffusion.guidance.classifier_free(conditional, conditional.with_condition(away), scale, batched=True)

    def image_from_text(
        self,
        key: jax.Array,
        params: Params,
        text: Int[ArrayLike, "b s"],
        scale: Scalar,
        levels: Level,
        shape: tuple[int, int, int],
        index: Integer[ArrayLike, "b"],
        **options: Any,  # of `draw`, which checks them
    ) -> Float[Array, "b h w c"]:
        """Draw a picture that each text describes, led away from pictures of a text without words.

        Args:
            key: one typed key.
            params: of the network.
            text: (b, s) ids, begun as in training, behind which −1 may stand.
            scale: () or (b,) at least 0, of classifier-free guidance; 1 is none.
            levels: the grid (t + 1,), from noise to clean.
            shape: (h, w, c) of one picture.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            **options: num_steps, start and on_level of `draw`.
        """
        room = text.shape[1] + self._patches(shape)
        cache = self.read(params, self._empty(len(text), room), text)
        away = self.read(params, self._empty(len(text), room), without_words(text))
        return self.draw(key, params, cache, away, scale, levels, shape, index, **options)

    def text_from_image(
        self,
        key: jax.Array,
        params: Params,
        pictures: Float[ArrayLike, "b h w c"],
        prompt: Int[ArrayLike, "b p"],
        index: Integer[ArrayLike, "b"],
        *,
        max_tokens: int,
        processor: Processor | None = None,
        stop: Int[ArrayLike, "n"] | Sequence[int] = (),
        **options: Any,  # of `language.generate`, which checks them
    ) -> Generated:
        """Write a text behind each picture and the beginning of that text.

        Also known as: image captioning, visual question answering (VQA).

        Args:
            key: one typed key.
            params: of the network.
            pictures: (b, h, w, c) clean.
            prompt: (b, p) ids that begin the text, such as a question, behind which −1 may stand.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            max_tokens: the largest number of tokens to write, at least 1.
            processor: (logits, context) -> logits, as of `language.generate`.
            stop: ids behind any of which a text ends, as of `language.generate`.
            **options: others of `language.generate`.
        """
        room = self._patches(pictures.shape[1:]) + prompt.shape[1] + max_tokens
        cache = self.read(params, self._empty(len(pictures), room), pictures)
        return self.write(
            key, params, cache, prompt, index, max_tokens=max_tokens, processor=processor, stop=stop, **options
        )

    def write(
        self,
        key: jax.Array,
        params: Params,
        cache: KVCache,
        prompt: Int[ArrayLike, "b p"],
        index: Integer[ArrayLike, "b"],
        **options: Any,  # of `language.generate`, which checks them
    ) -> Generated:
        """Write a text behind what each row of a cache holds.

        Arguments are those of `language.generate`, which it is.
        """
        return language.generate(key, self._next_logits(params), cache, prompt, index, **options)

    def log_likelihood(
        self,
        params: Params,
        pictures: Float[ArrayLike, "b h w c"],
        question: Int[ArrayLike, "b q"],
        answers: Int[ArrayLike, "b k a"] | Int[ArrayLike, "k a"],
    ) -> Float[Array, "b k"]:
        """Log p of each of some answers behind a picture and a question: the largest one is what the network answers.

        Args:
            params: of the network.
            pictures: (b, h, w, c) clean.
            question: (b, q) ids, at least one per row, behind which −1 may stand.
            answers: (k, a) ids of the answers that are allowed, or (b, k, a) for each picture, behind which −1 may
                stand. Those of unequal length compare as training weighed them if each ends with a token that says so.
        """
        prompt, length = decoding.checked_prompt(question)
        allowed = jnp.broadcast_to(jnp.asarray(answers), (len(prompt), *answers.shape[-2:])).astype(prompt.dtype)
        last = jnp.maximum(length - 1, 0)[:, None]
        before = jnp.where(jnp.arange(prompt.shape[1])[None] < last, prompt, -1)
        room = self._patches(pictures.shape[1:]) + prompt.shape[1] + allowed.shape[2]
        cache = self.read(params, self._empty(len(prompt), room), pictures)
        cache = self.read(params, cache, before)
        first = jnp.take_along_axis(prompt, last, 1)

        def of_one(answer: Int[Array, "b a"]) -> Float[Array, " b"]:
            return jnp.sum(scoring.log_probs(self._next_logits(params), cache, jnp.concatenate([first, answer], 1)), 1)

        return jax.vmap(of_one, in_axes=1, out_axes=1)(allowed)

    picture_from_text = renamed_function("Multimodal.picture_from_text", image_from_text)
    text_from_picture = renamed_function("Multimodal.text_from_picture", text_from_image)

    def _next_logits(self, params: Params) -> language.NextLogits:
        return language.from_network(networks.pure(self.network), params)

    def _empty(self, documents: int, room: int) -> KVCache:
        return language.cache.full(self.network, documents, room, self.network.dtype or jnp.float32)

    def _patches(self, shape: tuple[int, ...]) -> int:
        return self.network.places(networks.Picture(jax.ShapeDtypeStruct((1, *shape), jnp.float32), None))
