"""From what a network is told to a picture: guidance, sampler, decoder.

It is one function of arrays, whatever the network reads.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Shaped

from gendiff import diffusion, networks
from gendiff.core import records, sample_keys
from gendiff.core.types import ArrayLike, Condition, Count, Keys, Noise, Params, Scalar, State
from gendiff.diffusion import editing, inpainting
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.diffusion.types import Denoiser, Level, Predict
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
from gendiff.pipelines.stable_diffusion import edits
from gendiff.pipelines.stable_diffusion.edits import Edit

PARTS = ("network", "autoencoder")
PIXELS = "pixels"
"""What `paints` is where a mask has a channel for each pixel of a latent."""
Guide = Callable[[Denoiser, Denoiser, Scalar], Denoiser]
"""(conditional, unconditional, scale) -> the guided denoiser."""


def classifier_free(conditional: Denoiser, unconditional: Denoiser, scale: Scalar) -> Denoiser:
    """Plain guidance with both predictions from one call of the network."""
    return diffusion.guidance.classifier_free(conditional, unconditional, scale, batched=True)


@records.record
class LatentPipeline:
    """A network of latents with everything around it.

    Parameters, key, conditions, scale, levels and index are data. Picture i is a function of (parameters, its
    conditions, key, index[i]).

    Args:
        predict: (params, x, t, *condition) -> output.
        parameterization: what the output means.
        sampler: such as `samplers.ddim()`.
        levels: the grid (t + 1,), from noise to clean.
        shape: of one latent (h, w, c).
        encode: (params, pictures) -> a `DiagonalGaussian`, as `networks.pure(autoencoder, "encode")`.
        decode: (params, latents) -> pictures.
        guide: rule of guidance, (conditional, unconditional, scale) -> denoiser: `classifier_free`, or a rule of
            `diffusion.guidance` with its other arguments bound.
        temperature: () of the first noise (see `diffusion.sample`).
        learned_variance: whether the network answers twice the channels.
        paints: whether it is a network for inpainting, which reads `Surroundings` beside x. "pixels": its mask has a
            channel for each pixel of a latent.
        embedded_scale: () the guidance scale that a network distilled from guidance is told where pictures are led away
            from something as well; without that it is told the scale of the call. None for other networks.
        blended_patch: the side of the patches of latents over which a mask is `edits.blended` where an edit is like
            diffusers; None: it is `edits.nearest`.

    References:
        Rombach et al., 2022, section 3.3.
    """

    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    sampler: Sampler
    levels: Level
    shape: tuple[int, int, int] = records.static()
    encode: Callable[..., DiagonalGaussian] = records.static()
    decode: Callable[..., jax.Array] = records.static()
    guide: Guide = records.static(default=classifier_free)
    temperature: Scalar = 1.0
    learned_variance: bool = records.static(default=False)
    paints: bool | str = records.static(default=False)
    embedded_scale: Scalar | None = None
    blended_patch: int | None = records.static(default=None)

    __eq__, __hash__ = object.__eq__, object.__hash__  # jit asks for both, and levels are arrays, which have none

    def __call__(
        self,
        params: Mapping[str, Params],
        key: jax.Array,
        condition: tuple[Condition, ...],
        away: tuple[Condition, ...] | None,
        scale: Scalar,
        index: Integer[ArrayLike, "b"],
        *,
        change: Edit | None = None,
        start: Shaped[ArrayLike, "b *shape"] | None = None,
        num_steps: Count | None = None,
        on_level: OnLevel | None = None,
    ) -> Float[Array, "b h w c"]:
        """Draw a picture for each entry of `index`, in about [-1, 1].

        Args:
            params: {"network", "autoencoder"}: the parameters of each.
            key: one typed key.
            condition: the conditions, each as `diffusion.from_network` takes them.
            away: those that pictures are led away from; None for no guidance, which is half of the work.
            scale: () or (b,) at least 0, of guidance; without `away` it has no effect.
            index: (b,) integers 0 … 2**32 - 1 that name the samples.
            change: a picture to begin from, as `edits.edit` makes it.
            start: (b, *shape) latents in place of the first noise.
            num_steps: how many intervals to run (default all).
            on_level: as for `diffusion.sample`, with latents.

        Raises:
            ValueError: for missing parts, a network for inpainting without a picture and a mask, and as
                `diffusion.sample` does.
            TypeError: as `diffusion.sample` does.
        """
        inputs = params, key, condition, away, scale, index
        latents = self.latents(*inputs, change=change, start=start, num_steps=num_steps, on_level=on_level)
        return self.finished(params, latents, change)

    def latents(
        self,
        params: Mapping[str, Params],
        key: jax.Array,
        condition: tuple[Condition, ...],
        away: tuple[Condition, ...] | None,
        scale: Scalar,
        index: Integer[ArrayLike, "b"],
        *,
        change: Edit | None = None,
        start: Shaped[ArrayLike, "b *shape"] | None = None,
        num_steps: Count | None = None,
        on_level: OnLevel | None = None,
    ) -> Float[Array, "b h w c"]:
        """Draw latents, without decoding them. Arguments and errors are those of a call."""
        self._check(params, change, start)
        denoise = self.denoiser(params, condition, away, scale, change)
        if change is None:
            inputs = key, denoise, self.sampler, self.levels, self.shape, index
            heat = self.temperature if start is None else 1.0
            return diffusion.sample(*inputs, num_steps=num_steps, start=start, temperature=heat, on_level=on_level)
        clean = jnp.broadcast_to(self.encoded(params, change.picture), (*jnp.shape(index), *self.shape))
        sampler = self.sampler
        if change.mask is not None and not self.paints:
            sampler = self._repainting(change, change.mask, clean, sample_keys.keys_of(key, index))
        edited = key, denoise, sampler, self.levels, clean, index
        return editing.from_entry(
            *edited, first=change.first, num_steps=num_steps, temperature=self.temperature, on_level=on_level
        )

    def denoiser(
        self,
        params: Mapping[str, Params],
        condition: tuple[Condition, ...],
        away: tuple[Condition, ...] | None,
        scale: Scalar,
        change: Edit | None = None,
    ) -> Denoiser:
        """The guided denoiser alone, for your own loops, `diffusion.inversion`, `diffusion.posterior` and others.

        Args:
            params: as in a call.
            condition: as in a call.
            away: as in a call.
            scale: as in a call.
            change: as in a call; only a network for inpainting looks at it.
        """
        predict = self.predict
        if self.embedded_scale is not None:
            scales = networks.GuidanceScale(jnp.asarray(scale if away is None else self.embedded_scale, jnp.float32))
            condition, away = (*condition, scales), None if away is None else (*away, scales)
        if self.paints and change is not None and change.mask is not None:
            predict = edits.Inpainting(self.predict)
            around = edits.surroundings(
                lambda x: self.encoded(params, x),
                change.picture,
                change.mask,
                self.factor(change),
                pixels=self.paints == PIXELS,
            )
            condition, away = (around, *condition), None if away is None else (around, *away)
        conditional = diffusion.from_network(
            predict, params["network"], self.parameterization, *condition, learned_variance=self.learned_variance
        )
        return (
            conditional
            if away is None
            else self.guide(conditional, records.replace(conditional, condition=tuple(away)), scale)
        )

    def encoded(self, params: Mapping[str, Params], picture: ArrayLike) -> Float[Array, "b h w c"]:
        """The most likely latents of pictures (b, h, w, 3) in [-1, 1]."""
        return self.encode(params["autoencoder"], jnp.asarray(picture)).mode()

    def finished(
        self, params: Mapping[str, Params], latents: Float[Array, "b h w c"], change: Edit | None = None
    ) -> Float[Array, "..."]:
        """The pictures (b, h, w, 3) of latents; what a mask keeps comes from the picture that was begun from."""
        pictures = self.decode(params["autoencoder"], latents)
        if change is None or change.mask is None or not change.paste:
            return pictures
        return jnp.where(edits.binary(change.mask) > 0, pictures, jnp.asarray(change.picture).astype(pictures.dtype))

    def factor(self, change: Edit) -> int:
        """How many times smaller latents are than the picture.

        Raises:
            ValueError: for a picture of another size than that of `shape`.
        """
        rows, columns = change.picture.shape[1:3]
        factor = rows // self.shape[0]
        if (factor * self.shape[0], factor * self.shape[1]) != (rows, columns):
            raise ValueError(
                f"picture is {rows} by {columns}, no multiple of the latents, {self.shape[0]} by {self.shape[1]}"
            )
        return factor

    def _repainting(self, change: Edit, mask: ArrayLike, clean: Float[Array, "b h w c"], keys: Keys) -> Sampler:
        """The sampler whose every step ends with what the mask keeps."""
        factor = self.factor(change)
        if not change.like_diffusers:
            return inpainting.repaint(self.sampler, clean, edits.of_latents(mask, factor))
        noise = sample_keys.first_noise(keys, self.shape, clean.dtype)
        patch = self.blended_patch
        small = edits.nearest(mask, factor) if patch is None else edits.blended(mask, factor, patch)
        return inpainting.repaint(self.sampler, clean, small, noise)

    def _check(self, params: Mapping[str, Params], change: Edit | None, start: ArrayLike | None) -> None:
        if missing := [name for name in PARTS if name not in params]:
            raise ValueError(
                f"params has no {', '.join(missing)}: it holds the parameters of {', '.join(PARTS)} under these names"
            )
        if change is not None and start is not None:
            raise ValueError(
                "start is for draws from noise, and change is a picture to begin from: give one of the two"
            )
        if self.paints and (change is None or change.mask is None):
            raise ValueError("this network paints into a picture: give change = edits.edit(picture, mask)")
        if change is not None:
            self.factor(change)


@records.record
class Continued(Sampler):
    """A sampler that goes on where another one stopped, so that no step draws its noise again.

    Args:
        sampler: the one that goes on.
        done: () how many steps were taken before.
    """

    sampler: Sampler
    done: Count = 0

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """That of the inner sampler."""
        return self.sampler.init(x)

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """That of the inner sampler."""
        return self.sampler.step(noise, denoise, state, level, cleaner, left)

    def evaluations(self, steps: int) -> int:
        """Those of the inner sampler."""
        return self.sampler.evaluations(steps)

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        """That of the inner sampler for a step that much later."""
        return self.sampler.noise_for_step(keys, step + self.done, level, cleaner)
