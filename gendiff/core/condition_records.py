"""Records of the conditions beside the label: a text, an image size, a guidance scale, an end time, a hint, images."""

from gendiff.core import records
from gendiff.core.arrays import ArrayLike, Scalar

NO_TEXT = False
"""The empty text: it takes the place of a `Text`, as NO_LABEL takes the place of a label.

One value replaces all leaves of a condition, and no token is there.
"""


@records.record
class Text:
    """A caption per sample, as a text encoder gives it.

    Args:
        tokens: (b, k, e) floating, the encoding of each token.
        mask: (b, k) booleans, which tokens are there. The rest is padding, of which nothing reaches an output, not even
            NaN.
        pooled: (b, p) floating, one encoding of the whole caption, or None. Networks with `pooled_channels` need it,
            others ignore it.
    """

    tokens: ArrayLike
    mask: ArrayLike
    pooled: ArrayLike | None = None


@records.record
class ImageSize:
    """The size and crop of an image before training; in sampling, those of the requested image.

    Small or cut training pictures then need not be left out, nor shape what is drawn.

    Args:
        original: (b, 2) height and width of the picture as it was found, in pixels.
        crop: (b, 2) how many rows above and columns to the left were cut off; 0 for a centred subject.
        target: (b, 2) height and width of the picture that the network sees. None for networks with
            `image_size="score"`.
        score: (b,) how much people like the picture, of 10, for networks with `image_size="score"`. Others ignore it.

    References:
        Podell et al., 2023, section 2.2 (from memory).
    """

    original: ArrayLike
    crop: ArrayLike
    target: ArrayLike | None = None
    score: ArrayLike | None = None


@records.record
class GuidanceScale:
    """The guidance scale as a condition, for a network distilled from classifier-free guidance (CFG).

    The network answers at once what guidance makes of two answers.

    Args:
        scale: (b,) or () numbers, at least 0, one per sample or one for all. FLUX.1 [dev] was trained with scales of
            about 1 to 10.

    References:
        Meng et al., 2023, section 3.1 (from memory).
    """

    scale: Scalar


@records.record
class EndTime:
    """The time at which a step ends that begins at the network's time.

    The network predicts at once what many small steps would add up to. Also known as: second time, as in the field
    `second_time` of a network.

    Args:
        t: (b,) or () numbers on the scale of the network's time, one per sample or one for all.

    References:
        Frans et al., 2024, section 3; Geng et al., 2025, section 4.1 (from memory).
    """

    t: Scalar


@records.record
class Hint:
    """A control image for a ControlNet, such as edges, depths or poses, which a sample follows.

    Args:
        image: (b, H, W, c) in [0, 1], several times as high and wide as x (see `ControlNet`).
        scale: () or (b,) how much of what the ControlNet says the U-Net adds; 0 is nothing, and 1 is what it was
            trained with.

    References:
        Zhang et al., 2023, section 3 (from memory).
    """

    image: ArrayLike
    scale: Scalar = 1.0


@records.record
class ReferenceImages:
    """Images that a network reads beside x, such as one that a prompt says how to change. They are clean at all times.

    Args:
        images: each (b, h, w, c) floating, with the channels of x. Their sizes may be any that the network can cut into
            patches.

    References:
        Black Forest Labs, 2025 (FLUX.1 Kontext, arXiv 2506.15742), section 3 (from memory).
    """

    images: tuple[ArrayLike, ...]


@records.record
class History:
    """The frames of clips as those after them read them, in training: clean, or with little noise.

    A network that reads previous frames takes them from here, where frames of its input x are noisy. Each frame reads
    those before it alone. Without it, and when clips are drawn, they come from x and from the cache.

    Args:
        clips: (b, f, h, w, c), of the shape of x.

    References:
        Ho et al., 2022 (video diffusion models), section 3, for frames that are told to others (from memory).
    """

    clips: ArrayLike
