"""Prompts to pictures by a Stable Diffusion folder: text encoders, U-Net and autoencoder as one function of arrays."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff import networks
from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Condition, Count, Params, Scalar
from gendiff.diffusion.sampling import OnLevel
from gendiff.diffusion.types import Denoiser
from gendiff.pipelines.stable_diffusion import edits
from gendiff.pipelines.stable_diffusion.edits import Edit
from gendiff.pipelines.stable_diffusion.latent_pipeline import Continued, LatentPipeline
from gendiff.pipelines.stable_diffusion.prompts import Prompt
from gendiff.pipelines.stable_diffusion.text_towers import TextTowers

Words = Prompt | networks.Text
"""A prompt, or its encoding, which gradients can reach."""
SCORE, AWAY_SCORE = 6.0, 2.5
"""How much people like a picture, of 10: what a network that is told a score draws, and what it is led away from."""


@records.record
class PromptPipeline:
    """Prompts to pictures: `jax.jit(pipeline)` compiles once per shape of a picture and number of rows of a prompt.

    Parameters, key, prompts, guidance scale, levels, sizes, pictures, masks and index are data.

    Args:
        towers: the text encoders.
        latent: the network of latents with its sampler and autoencoder.
        factor: how many times smaller a latent is than its picture.
        image_size: what the network is told of the size of a picture: False, True or "score", as the field of
            `networks.UNet`.
    """

    towers: TextTowers
    latent: LatentPipeline
    factor: int = records.static(default=8)
    image_size: bool | str = records.static(default=False)

    __eq__, __hash__ = object.__eq__, object.__hash__  # jit asks for both, and levels are arrays, which have none

    def __call__(
        self,
        params: Mapping[str, Params],
        key: jax.Array,
        prompt: Words,
        negative: Words | None,
        scale: Scalar,
        index: Integer[ArrayLike, "b"],
        *,
        sizes: tuple[networks.ImageSize, networks.ImageSize] | None = None,
        hint: networks.Hint | None = None,
        references: Sequence[ArrayLike] = (),
        change: Edit | None = None,
        start: ArrayLike | None = None,
        num_steps: Count | None = None,
        on_level: OnLevel | None = None,
    ) -> Float[Array, "b h w c"]:
        """Draw a picture for each entry of `index`, in about [-1, 1].

        Args:
            params: {"text": {…}, "network", "autoencoder"}: the parameters of each text encoder by its name, and of the
                other parts.
            key: one typed key.
            prompt: of b texts, or of one that holds for all.
            negative: what pictures are led away from, with as many rows (`prompts.aligned`); None for no guidance.
            scale: () or (b,) at least 0, of guidance; 1 is none.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            sizes: what a network with `image_size` is told with the prompt and with the negative one; None:
                `told_sizes`.
            hint: a picture that samples shall follow, for a pipeline of `adapters.controlled`, which needs one.
            references: pictures (1 or b, h, w, 3) in [-1, 1] that FLUX.1 Kontext and FLUX.2 read beside the prompt, as
                the one that it says how to change. Their sizes may be any that `factor` and the network's patches
                divide.
            change: a picture to begin from, as `edits.edit` makes it.
            start: (b, h, w, c) latents in place of the first noise.
            num_steps: how many intervals to run (default all).
            on_level: as for `diffusion.sample`, with latents.

        Raises:
            ValueError: for missing parameters, prompts of unequal numbers of rows, and as `LatentPipeline` does.
            TypeError: as `LatentPipeline` does.
        """
        condition, away = self.conditions(params, prompt, negative, sizes, hint, references)
        inputs = params, key, condition, away, scale, index
        return self.latent(*inputs, change=change, start=start, num_steps=num_steps, on_level=on_level)

    def conditions(
        self,
        params: Mapping[str, Params],
        prompt: Words,
        negative: Words | None,
        sizes: tuple[networks.ImageSize, networks.ImageSize] | None = None,
        hint: networks.Hint | None = None,
        references: Sequence[ArrayLike] = (),
    ) -> tuple[tuple[Condition, ...], tuple[Condition, ...] | None]:
        """What the network is told with the prompt and with the negative one, for the methods of `latent`.

        Arguments are those of a call.

        Raises:
            ValueError: for missing parameters, prompts of unequal numbers of rows, and references that are no pictures.
            TypeError: for references that are not floating.
        """
        texts = [self._text(params, words) for words in ((prompt,) if negative is None else (prompt, negative))]
        if len({text.tokens.shape[1] for text in texts}) > 1:
            raise ValueError(
                "prompt and negative have unequal numbers of rows: prompts.aligned(prompt, negative) makes them equal"
            )
        if self.image_size is False:
            if sizes is not None:
                raise ValueError("sizes are for networks that are told the size of a picture, and this one is not")
            both: tuple[tuple[Condition, ...], ...] = tuple((text,) for text in texts)
        else:
            both = tuple(zip(texts, self.told_sizes() if sizes is None else sizes, strict=False))
        further: tuple[Condition, ...] = () if hint is None else (hint,)
        if references:
            images = tuple(self.latent.encoded(params, edits.checked(each)) for each in references)
            further = (*further, networks.ReferenceImages(images))
        both = tuple((*each, *further) for each in both)
        return both[0], both[1] if negative is not None else None

    def denoiser(
        self,
        params: Mapping[str, Params],
        prompt: Words,
        negative: Words | None,
        scale: Scalar,
        change: Edit | None = None,
        sizes: tuple[networks.ImageSize, networks.ImageSize] | None = None,
        hint: networks.Hint | None = None,
        references: Sequence[ArrayLike] = (),
    ) -> Denoiser:
        """The guided denoiser of a prompt, for loops of one's own and functions of `diffusion`.

        Arguments are those of a call.
        """
        condition, away = self.conditions(params, prompt, negative, sizes, hint, references)
        return self.latent.denoiser(params, condition, away, scale, change)

    def told_sizes(self) -> tuple[networks.ImageSize, networks.ImageSize]:
        """Sizes of uncropped pictures of the drawn size; scores are 6 for the prompt, 2.5 for the negative one."""
        side = np.array([self.latent.shape[:2]], np.float32) * self.factor
        crop = np.zeros((1, 2), np.float32)
        if self.image_size == "score":
            good, bad = (
                networks.ImageSize(side, crop, score=np.array([score], np.float32)) for score in (SCORE, AWAY_SCORE)
            )
            return good, bad
        return networks.ImageSize(side, crop, side), networks.ImageSize(side, crop, side)

    def _text(self, params: Mapping[str, Params], words: Words) -> networks.Text:
        if not isinstance(words, Prompt):
            return words
        if "text" not in params:
            raise ValueError("params has no text: it holds the parameters of the text encoders by their names")
        return self.towers(params["text"], words)


def refined(
    base: PromptPipeline,
    refiner: PromptPipeline,
    params: tuple[Mapping[str, Params], Mapping[str, Params]],
    key: jax.Array,
    prompts: tuple[Words, Words],
    negatives: tuple[Words, Words] | None,
    scale: Scalar,
    index: Integer[ArrayLike, "b"],
    *,
    entry: int,
    on_level: OnLevel | None = None,
) -> Float[Array, "b h w c"]:
    """Draw with a base down to an entry of the grid, and with a refiner from there, as Stable Diffusion XL does.

    Also known as: ensemble of expert denoisers.

    The refiner walks the rest of the base's grid, and its steps go on counting, so no noise is drawn twice.

    Args:
        base: whose grid is walked.
        refiner: for latents of the same autoencoder and noise path.
        params: of base and refiner.
        key: one typed key.
        prompts: the same texts as base and refiner read them.
        negatives: likewise; None for no guidance.
        scale: () or (b,) at least 0, of guidance.
        index: (b,) integers 0 … 2**32 - 1 that name the samples.
        entry: how many steps the base takes, 1 … t - 1; `handed_over` finds it for a share of the noise.
        on_level: as for `diffusion.sample`; the refiner's steps are counted from 1 again.

    Raises:
        ValueError: for an entry outside the grid, and as `PromptPipeline` does.

    References:
        Podell et al., 2023, section 2.5 (from memory).
    """
    checks.integer("entry", entry, 1, len(base.latent.levels) - 2)
    away: tuple[Words | None, Words | None] = (None, None) if negatives is None else negatives
    condition, told_away = base.conditions(params[0], prompts[0], away[0])
    latents = base.latent.latents(
        params[0], key, condition, told_away, scale, index, num_steps=entry, on_level=on_level
    )
    sampler = Continued(refiner.latent.sampler, entry)
    second = records.replace(refiner.latent, levels=base.latent.levels[entry:], sampler=sampler)
    condition, told_away = refiner.conditions(params[1], prompts[1], away[1])
    return second(params[1], key, condition, told_away, scale, index, start=latents, on_level=on_level)


def handed_over(pipeline: PromptPipeline, share: float, largest: float = 1000.0) -> int:
    """How many steps of a grid lie in the first `share` of the times, such as 0.8 for Stable Diffusion XL.

    Also known as: denoising_end of diffusers.

    Args:
        pipeline: whose grid is asked, with concrete levels.
        share: in (0, 1), of the times from `largest` down.
        largest: the number of times of the noise path.

    Raises:
        ValueError: for a share outside (0, 1), and one that leaves base or refiner without a step.
    """
    checks.in_range("share", share, 0.0, 1.0, open_low=True, open_high=True)
    starts = np.asarray(pipeline.latent.levels.t)[:-1]
    count = int(np.sum(starts >= round(largest * (1 - share))))
    if not 1 <= count < len(starts):
        raise ValueError(
            f"share = {share:g} of {len(starts)} steps gives {count} to the base: both need at least one, so take more "
            "steps"
        )
    return count
