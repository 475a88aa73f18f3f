"""Another clean sample for a prediction, and the noise that goes with it."""

from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.diffusion.types import Level, Prediction


def with_clean(prediction: Prediction, clean: Float[Array, "b *shape"], level: Level) -> Prediction:
    """The prediction with another clean sample and the noise that still explains x: what a rule of one's own returns.

    The noise moves by -alpha/sigma times the change of clean, so alpha * clean + sigma * noise stays what it was. That
    is (x - alpha * clean) / sigma where it was x, without the cancellation at small sigma: no change leaves the noise
    bit for bit.

    Args:
        prediction: of a denoiser at `level`.
        clean: (b, …) what takes the place of `prediction.clean`.
        level: () or (b,). At sigma = 0, where nothing of x is noise, the noise stays.
    """
    ratio = arrays.safe_divide(arrays.expand(level.alpha, clean), arrays.expand(level.sigma, clean))
    return records.replace(prediction, clean=clean, noise=prediction.noise + ratio * (prediction.clean - clean))
