"""A language model that also reads and denoises images.

Tokens of texts and patches of images are one sequence of one transformer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gendiff.core import checks
from gendiff.core.packed import PackedKernel
from gendiff.core.records import record
from gendiff.core.types import ArrayLike, KVCache, Numeric, PyTree
from gendiff.networks.blocks.routing import Routing
from gendiff.networks.images import dit
from gendiff.networks.layers import Compute, dense, image_inputs
from gendiff.networks.layers.embeddings import Embedding, grid_positions
from gendiff.networks.layers.rotary import Rotary
from gendiff.networks.texts.language_model import PADDING, LanguageModel, ModelCache


@record
class Picture:
    """An image among texts: the noised x and its time, as a denoiser reads them.

    Args:
        x: (b, h, w, c) floating, at its level of noise.
        t: (b,) the time of that level.
    """

    x: Numeric
    t: Numeric


class MixedAnswer(NamedTuple):
    """The output of the network for a tuple of parts.

    Attributes:
        outputs: one for each part: logits (b, s, v) of the token after each one of a text, what is predicted of a
            picture (b, h, w, c).
        cache: with this part in it, or None.
        routing: a `Routing` per block; () without experts.
    """

    outputs: tuple[jax.Array, ...]
    cache: KVCache
    routing: tuple[Routing, ...] = ()


class MultimodalTransformer(LanguageModel):
    """A `LanguageModel` of documents with images: logits after tokens, and the output of a denoiser for patches.

    It is called with ids alone, and then is the language model of the same parameters, or with a tuple of parts, texts
    and pictures.

    Every token sees what stands before it. The patches of a picture see each other too: all stand at one place, the
    last one of as many places as the picture has patches. They are told rows and columns by fixed sines, which are
    added, and by rotary positions, which turn queries and keys beside their place. The time is added to the patches of
    its picture and reaches nothing before them.

    Args:
        patch: side of a patch's square of pixels.
        picture_base: of the frequencies of rows and columns, above 1.

    Other fields are those of `LanguageModel`; `width` is divisible by 4, positions are "rotary" and there is no window.

    References:
        Zhou et al., 2024 (Transfusion), sections 3.2 and 3.3, for one transformer, attention and patches by linear
        layers (from memory).
    """

    patch: int = 2
    picture_base: float = 100.0

    @nn.compact
    def __call__(
        self,
        tokens: Int[ArrayLike, "b s"] | tuple[ArrayLike | Picture, ...],
        cache: ModelCache | None = None,
        every: bool = True,
        segments: Int[ArrayLike, "b s"] | None = None,
    ) -> PyTree:
        """Predict the token after each one, and from each picture what a denoiser predicts.

        Args:
            tokens: (b, s) ids, for which all is as in `LanguageModel`. Or a tuple of parts in their order, each a
                `Picture`, or (b, s) ids of a text, behind which PADDING may stand.
            cache: what stands before, as `language.cache` builds it, without a window. With it there is one part per
                call.
            every: as in `LanguageModel`, for ids alone.
            segments: as in `LanguageModel`, for ids alone.

        Returns:
            An `Answer` for ids, and a `MixedAnswer` for parts.

        Raises:
            ValueError: for inputs or fields against the rules above, for parts of unequal batches or channels, for more
                places than `context` or than the cache has room for, and for parts with `every=False` or segments.
            TypeError: for ids that are no integers, and pictures that are not floating.
        """
        if not isinstance(tokens, tuple):
            return super().__call__(tokens, cache, every, segments)
        if not every or segments is not None:
            raise ValueError("every=False and segments are for ids alone: pass them without a tuple")
        self._check_fields()
        self._check_parts(tokens, cache)
        return self._mixed(tokens, cache)

    def denoise(
        self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], cache: ModelCache | None = None
    ) -> Float[Array, "b h w c"]:
        """Predict from pictures what a denoiser predicts, given what the cache holds, which stays as it is.

        `networks.pure(network, "denoise")` is a network for `diffusion.from_network`, whose condition is the cache.

        Args:
            x: (b, h, w, c) pictures.
            t: (b,) one time per picture.
            cache: what stands before them, with room for them. None: nothing.

        Raises:
            ValueError: as a call does.
            TypeError: as a call does.
        """
        output: jax.Array = self((Picture(x, t),), cache).outputs[0]
        return output

    def places(self, part: ArrayLike | Picture) -> int:
        """How many places a part takes at most: those of its tokens, or of its patches."""
        if not isinstance(part, Picture):
            return part.shape[1]
        rows, columns = self._grid(part)
        return rows * columns

    def _grid(self, picture: Picture) -> tuple[int, int]:
        _, height, width, _ = picture.x.shape
        return height // self.patch, width // self.patch

    def _mixed(self, parts: tuple[ArrayLike | Picture, ...], cache: ModelCache | None) -> MixedAnswer:
        table, compute = self._table()
        is_image = [isinstance(part, Picture) for part in parts]
        texts = [jnp.asarray(part) for part in parts if not isinstance(part, Picture)]
        pictures = [part for part in parts if isinstance(part, Picture)]
        start = jnp.zeros(_batch(parts[0]), jnp.int32) if cache is None else cache.length
        positions, count = self._positions(parts, start)
        if cache is not None:
            cache = cache.opened(count, positions.shape[1])

        vectors = [self._token_vectors(table, ids).astype(compute.dtype) for ids in texts]
        x = jnp.concatenate(_in_order(is_image, vectors, self._patch_vectors(pictures, compute)), 1)
        x, layers, routing = self._blocks(x, positions, None, cache, compute)
        pieces = _cut(self._output_norm(x, compute), [self.places(part) for part in parts])
        of_texts = [piece for piece, is_picture in zip(pieces, is_image, strict=True) if not is_picture]
        of_pictures = [piece for piece, is_picture in zip(pieces, is_image, strict=True) if is_picture]
        outputs = _in_order(
            is_image,
            self._text_outputs(of_texts, table, compute),
            self._picture_outputs(of_pictures, pictures, compute),
        )
        return MixedAnswer(tuple(outputs), None if cache is None else cache.advanced(layers, count), routing)

    def _positions(
        self, parts: tuple[ArrayLike | Picture, ...], start: Int[Array, " b"]
    ) -> tuple[Int[Array, "b s axes"], Int[Array, " b"]]:
        """Place, row and column of each token, and how many places are taken.

        Texts alone have places only, as a `LanguageModel` has.
        """
        end, positions = start, []
        for part in parts:
            if isinstance(part, Picture):
                end = end + self.places(part)
                at = np.indices(self._grid(part)).reshape(2, -1).T
                position = jnp.broadcast_to(end[:, None, None] - 1, (end.shape[0], len(at), 1))
                grid = jnp.broadcast_to(jnp.asarray(at, position.dtype)[None], (*position.shape[:2], 2))
                positions.append(jnp.concatenate([position, grid], -1))
            else:
                present = jnp.asarray(part) != PADDING
                position = jnp.where(present, end[:, None] + jnp.arange(part.shape[1], dtype=end.dtype)[None], -1)
                positions.append(jnp.pad(position[..., None], ((0, 0), (0, 0), (0, 2))))
                end = end + jnp.sum(present, 1, dtype=end.dtype)
        axes = 3 if any(isinstance(part, Picture) for part in parts) else 1
        return jnp.concatenate(positions, 1)[..., :axes], end - start

    def _patch_vectors(self, pictures: Sequence[Picture], compute: Compute) -> list[jax.Array]:
        """Those of the patches of each picture (b, s, d)."""
        if not pictures:
            return []
        cut = [dit.patches(jnp.asarray(picture.x).astype(compute.dtype), self.patch) for picture in pictures]
        y = dense(self.width, compute, "picture_input")(jnp.concatenate(cut, 1))
        times = jnp.concatenate([jnp.asarray(picture.t) for picture in pictures])
        coordinates = jnp.split(
            Embedding(256, self.width, None, compute, name="picture_embedding")(times, None), len(pictures)
        )
        vectors = zip(_cut(y, [patches.shape[1] for patches in cut]), coordinates, pictures, strict=True)
        grids = [jnp.asarray(grid_positions(*self._grid(picture), self.width), compute.dtype) for picture in pictures]
        return [y + time[:, None] + grid[None] for (y, time, _), grid in zip(vectors, grids, strict=True)]

    def _text_outputs(
        self, pieces: list[jax.Array], table: jax.Array | PackedKernel, compute: Compute
    ) -> list[jax.Array]:
        if not pieces:
            return []
        x = jnp.concatenate(pieces, 1)
        return _cut(self._headed(x, table, compute), [piece.shape[1] for piece in pieces])

    def _picture_outputs(
        self, pieces: list[jax.Array], pictures: Sequence[Picture], compute: Compute
    ) -> list[jax.Array]:
        if not pieces:
            return []
        channels = pictures[0].x.shape[-1]
        y = dense(self.patch**2 * channels, compute, "picture_output", zero=True)(jnp.concatenate(pieces, 1))
        cut = _cut(y, [piece.shape[1] for piece in pieces])
        images = [dit.image(y, *self._grid(picture), self.patch) for y, picture in zip(cut, pictures, strict=True)]
        return [y.astype(picture.x.dtype) for y, picture in zip(images, pictures, strict=True)]

    def _rotary(self, local: bool = False) -> Rotary:
        plain = super()._rotary(local)
        return Rotary(plain.base, plain.stretched, beside=self.picture_base)

    def _check_fields(self) -> None:
        super()._check_fields()
        checks.integer("patch", self.patch, 1)
        checks.in_range("picture_base", self.picture_base, 1.0, float("inf"), open_low=True)
        if self.positions != "rotary":
            raise ValueError(f"positions = {self.positions!r} say nothing of rows and columns: use 'rotary'")
        if self.window is not None:
            raise ValueError(f"window = {self.window} would cut pictures: use None")

    def _check_parts(self, parts: tuple[ArrayLike | Picture, ...], cache: ModelCache | None) -> None:
        if not parts:
            raise ValueError("there is no part: pass a tuple of texts (b, s) and pictures")
        for number, part in enumerate(parts):
            if isinstance(part, Picture):
                image_inputs.check(part.x, part.t, self.patch, "patch")
            elif part.ndim != 2 or part.shape[1] < 1:
                raise ValueError(
                    f"part {number} has shape {part.shape}: a text is (texts, tokens) with at least one token"
                )
            else:
                checks.ids(f"part {number}", part, self.vocabulary, also=PADDING)
        for what, sizes in (
            ("samples", {_batch(part) for part in parts}),
            ("channels", {part.x.shape[-1] for part in parts if isinstance(part, Picture)}),
        ):
            if len(sizes) > 1:
                raise ValueError(f"parts have {sorted(sizes)} {what}: all need the same number")
        taken = sum(map(self.places, parts))
        if taken > self.context:
            raise ValueError(f"the parts take {taken} places, and the network was made for {self.context} (context)")
        if cache is not None and len(parts) > 1:
            raise ValueError(
                f"{len(parts)} parts with a cache: pass one after the other, each with the cache that the one before "
                "gave"
            )
        if cache is not None and cache.window is not None:
            raise ValueError(
                f"the cache has window = {cache.window}, which would cut pictures: use cache.full, cache.int8 or "
                "cache.paged"
            )


def _batch(part: ArrayLike | Picture) -> int:
    return (part.x if isinstance(part, Picture) else part).shape[0]


def _cut(x: jax.Array, lengths: Sequence[int]) -> list[jax.Array]:
    """The parts of x (b, s, …) that have these lengths."""
    return jnp.split(x, np.cumsum(lengths)[:-1], 1)


def _in_order(is_picture: Sequence[bool], texts: Sequence[jax.Array], pictures: Sequence[jax.Array]) -> list[jax.Array]:
    """What belongs to texts and to pictures, in the order of the parts."""
    left = {False: iter(texts), True: iter(pictures)}
    return [next(left[kind]) for kind in is_picture]
