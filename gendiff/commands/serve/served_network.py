"""What draws the pictures of a server: a network with everything around it, whatever kind it is."""

import dataclasses
from collections.abc import Callable, Sequence

import jax

from gendiff.core.types import Condition, Params, Scalar
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser, Level


@dataclasses.dataclass(frozen=True)
class ReadTexts:
    """The texts of one request as a network takes them: pytrees of arrays whose shapes are those of every other
    request.

    notes: what a person should know of them, such as words that the network never read.
    """

    prompt: Condition
    negative: Condition
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ServedNetwork:
    """A network and its own ways, as pure functions but for `read`.

    name: what requests call it. about: one line for people. width, height: of its pictures. shape: of one latent.
    params: of all its parts. sampler: draws. grid: the levels (n + 1,) of n steps. most_steps: most steps of a grid.
    usual_steps: those of a request that says nothing.
    read: (prompt, negative prompt) -> ReadTexts; an empty negative prompt is what the network has learned for that, or
        plain guidance. Raises ApiError for texts that do not fit.
    encode: (params, prompt, negative of ReadTexts) -> (what the network is told, what it is led away from), both of
        arrays (1, …).
    guided: (params, told, away, scale) -> the denoiser.
    decode: (params, latents (b, …)) -> pictures (b, h, w, 3) in about [-1, 1].
    latents: (params, pictures) -> their latents.
    temperature: of the first noise (see `diffusion.sample`). libraries: as for `devices.compiler_options`. references:
        how many pictures the network can read beside the prompt, as one more condition on both sides.
    """

    name: str
    about: str
    width: int
    height: int
    shape: tuple[int, ...]
    params: Params
    sampler: Sampler
    grid: Callable[[int], Level]
    most_steps: int
    usual_steps: int
    read: Callable[[str, str], ReadTexts]
    encode: Callable[[Params, Condition, Condition], tuple[Condition, Condition]]
    guided: Callable[[Params, Condition, Condition, Scalar], Denoiser]
    decode: Callable[[Params, jax.Array], jax.Array]
    latents: Callable[[Params, jax.Array], jax.Array]
    temperature: float = 1.0
    libraries: bool = True
    references: int = 0

    @property
    def masks(self) -> bool:
        """Whether its sampler can draw a part of a picture."""
        return not sampling.has_noise_source(self.sampler)
