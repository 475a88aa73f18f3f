"""Another clean sample for a prediction, and the noise that goes with it."""

from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.diffusion.types import Level, Prediction


def with_clean(prediction: Prediction, clean: Float[Array, "b *shape"], level: Level) -> Prediction:
    """The noise moves by -alpha/sigma times the change of clean, so that alpha * clean + sigma * noise stays what it was.

    That is (x - alpha * clean) / sigma where it was x, without the cancellation at small sigma: no change leaves the noise bit for bit.
    At sigma = 0, where nothing of x is noise, the noise stays.
    """
    ratio = arrays.safe_divide(arrays.expand(level.alpha, clean), arrays.expand(level.sigma, clean))
    return records.replace(prediction, clean=clean, noise=prediction.noise + ratio * (prediction.clean - clean))
