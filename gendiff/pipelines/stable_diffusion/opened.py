"""A folder of diffusers as networks, tokenizers and a scheduler of this library.

Its parameters are read when they are asked for.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import checks
from gendiff.core.types import Params
from gendiff.data.texts.row_tokenizer import RowTokenizer
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Level
from gendiff.pipelines.diffusers_schedulers import configurations
from gendiff.pipelines.diffusers_schedulers.scheduler import Scheduler
from gendiff.pipelines.stable_diffusion import (
    fitting_parts,
    folder_scheduler,
    latent_pipeline,
    model_index,
    model_parts,
    prompts,
)
from gendiff.pipelines.stable_diffusion.latent_pipeline import Guide, LatentPipeline
from gendiff.pipelines.stable_diffusion.model_index import ModelIndex
from gendiff.pipelines.stable_diffusion.model_parts import TOKENIZERS, TOWERS, Part
from gendiff.pipelines.stable_diffusion.prompt_pipeline import PromptPipeline
from gendiff.pipelines.stable_diffusion.prompts import Prompt
from gendiff.pipelines.stable_diffusion.text_towers import TextTowers
from gendiff.weights.quantised.packed_reading import OnPacked

EMBEDDED_SCALE = 3.5
"""The guidance scale that FLUX.1 [dev] is told where a negative prompt leads as well."""


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A folder without its parameters. Built by `open_model`.

    Args:
        index: its model_index.json.
        parts: those with parameters, by their names.
        tokenizers: one for each text encoder.
        scheduler: what its scheduler says.
        notes: what was taken in another way than the files say, in words.
        dtype: of parameters and activations but those of the autoencoder, which is float32.
        like_diffusers: whether levels, steps and prompts are those of diffusers where these leave the published form.
        storage: how kernels are kept in memory, but for those of the autoencoder.
        mesh: devices that share the parameters of every part (see `split_parts`); None: each part is on one device.
    """

    index: ModelIndex
    parts: Mapping[str, Part]
    tokenizers: tuple[RowTokenizer, ...]
    scheduler: Scheduler
    notes: tuple[str, ...]
    dtype: str
    like_diffusers: bool
    storage: str = "full"
    mesh: jax.sharding.Mesh | None = None

    @property
    def autoencoder(self) -> networks.Autoencoder:
        """Of the latents."""
        network: networks.Autoencoder = self.parts["vae"].network
        return network

    @property
    def network(self) -> networks.UNet | networks.DiT | networks.SingleStreamTransformer:
        """The network of latents."""
        network: networks.UNet | networks.DiT | networks.SingleStreamTransformer = self.parts[self.network_name].network
        return network

    @property
    def network_name(self) -> str:
        """Its name in the folder: "unet" or "transformer"."""
        return "unet" if "unet" in self.parts else "transformer"

    @property
    def paints(self) -> bool | str:
        """Whether the network is one for inpainting, as `LatentPipeline` has it."""
        further = self.parts[self.network_name].channels - 2 * self.autoencoder.latent_channels
        return latent_pipeline.PIXELS if further == self.autoencoder.factor**2 else further == 1

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the pictures that the network was trained for, if its configuration tells."""
        return model_parts.size(self.index, self.parts)

    @property
    def multiple(self) -> int:
        """What divides height and width of a picture."""
        network = self.network
        return self.autoencoder.factor * (
            2 ** (len(network.channels) - 1) if isinstance(network, networks.UNet) else network.patch
        )

    def part_params(self, name: str, on_packed: OnPacked | None = None) -> Params:
        """Read the parameters of one part.

        Args:
            name: of the part.
            on_packed: is told what `storage` loses of each kernel.

        Raises:
            DataError: path first.
            CheckpointMismatchError: path first, as `rules.to_ours` does.
        """
        if name == "vae":
            return self.parts[name].params(mesh=self.mesh)
        return self.parts[name].params(jnp.dtype(self.dtype), self.storage, on_packed, self.mesh)

    def params(self, on_packed: OnPacked | None = None) -> dict[str, Params]:
        """Read all parameters, as the pipelines take them: {"text": {…}, "network", "autoencoder"}.

        Peak memory is that of the parameters and one array of the files.

        Args:
            on_packed: is told what `storage` loses of each kernel.

        Raises:
            DataError: path first.
            CheckpointMismatchError: path first, as `rules.to_ours` does.
        """
        return arranged({name: self.part_params(name, on_packed) for name in self.parts})

    def prompt(
        self,
        texts: str | Sequence[str],
        *,
        weighted: bool | None = None,
        too_long: str | None = None,
        padded: bool = True,
    ) -> Prompt:
        """Texts as the pipeline takes them; with `prompts.aligned` a prompt and a negative one get as many rows.

        Args:
            texts: one or several.
            weighted: as for `prompts.encode`; None: True unless `like_diffusers`.
            too_long: as for `prompts.encode`; None: "chunks", or "warn" with `like_diffusers`.
            padded: False cuts rows behind the words for a model that leaves padding out, which is Z-Image: short
                prompts then cost less, pictures are equal but for rounding, and longer prompts need another program.

        Raises:
            ValueError: for a model without text encoders, and as `prompts.encode` does.
        """
        return self._encoded(texts, weighted, too_long, padded=padded)

    def negative(
        self,
        texts: str | Sequence[str] = "",
        *,
        weighted: bool | None = None,
        too_long: str | None = None,
        padded: bool = True,
    ) -> Prompt:
        """Negative texts, as `prompt` takes them; an empty one becomes zeros where the folder says so.

        Also known as: negative prompt.
        """
        zeros = self.index.kind is model_index.XL and self.index.settings["force_zeros_for_empty_prompt"] is not False
        return self._encoded(texts, weighted, too_long, zeros, padded)

    def pipeline(
        self,
        steps: int,
        height: int | None = None,
        width: int | None = None,
        *,
        sampler: Sampler | None = None,
        guide: Guide = latent_pipeline.classifier_free,
    ) -> PromptPipeline:
        """From prompts to pictures of one size.

        Args:
            steps: how often diffusers would ask the network (see `Scheduler.grid`).
            height: of a picture in pixels; None: that of the training.
            width: likewise.
            sampler: another one than that of the scheduler, on its grid.
            guide: rule of guidance.

        Raises:
            ValueError: for a model that draws classes, and as `latent` does.
        """
        if not self.tokenizers:
            raise ValueError(f"{self.index.pipeline} draws classes: use latent(steps), whose condition is a label")
        names, kind = tuple(name for name in TOWERS if name in self.parts), self.index.kind
        groups = [tuple(name for name in group if name in names) for group in kind.tokens]
        towers = TextTowers(
            names,
            tuple(networks.pure(self.parts[name].network) for name in names),
            kind.pooled,
            tuple(filter(None, groups)),
            None if all(groups) else (kind.longest, self.network.text_channels or 0),
            kind.masked,
        )
        latent = self.latent(steps, height, width, sampler=sampler, guide=guide)
        return PromptPipeline(towers, latent, self.autoencoder.factor, self.network.image_size)

    def latent(
        self,
        steps: int,
        height: int | None = None,
        width: int | None = None,
        *,
        sampler: Sampler | None = None,
        guide: Guide = latent_pipeline.classifier_free,
    ) -> LatentPipeline:
        """From conditions to pictures: for a DiT condition = (labels,) and away = (NO_LABEL,).

        Arguments are those of `pipeline`.

        Raises:
            ValueError: for sizes that `multiple` does not divide, none where the folder tells none, for other sizes
                than that of the training with a network of fixed positions, for more than its table of positions, and
                for steps outside the noise path.
        """
        rows, columns = self.sides(height, width)
        levels, factor = self.grid(steps, rows, columns), self.autoencoder.factor
        return LatentPipeline(
            networks.pure(self.network),
            self.scheduler.parameterization,
            self.scheduler.sampler(steps) if sampler is None else sampler,
            levels,
            (rows // factor, columns // factor, self.autoencoder.latent_channels),
            networks.pure(self.autoencoder, "encode"),
            networks.pure(self.autoencoder, "decode"),
            guide,
            self.scheduler.temperature(levels),
            self.network.out_channels == 2 * self.autoencoder.latent_channels,
            self.paints,
            EMBEDDED_SCALE if getattr(self.network, "guidance", False) else None,
            self.multiple // factor if self.index.kind.blends else None,
        )

    def sides(self, height: int | None = None, width: int | None = None) -> tuple[int, int]:
        """Height and width of a picture; None is that of the training.

        Raises:
            ValueError: as `latent` does.
        """
        return self._side(0, height), self._side(1, width)

    def grid(self, steps: int, height: int, width: int) -> Level:
        """The levels of so many steps, which depend on the size of the picture where the scheduler says so.

        Raises:
            ValueError: for steps outside the noise path.
        """
        fields, tokens, sigmas, log_shift = self.scheduler.configuration.fields, None, None, None
        if fields.get("use_dynamic_shifting"):
            tokens = (height // self.multiple) * (width // self.multiple)
            log_shift = empirical_log_shift(tokens, steps) if self.index.kind.empirical else None
        if self.index.kind.even and self.scheduler.configuration.name == configurations.FLOW:
            checks.integer("steps", steps, 1)
            sigmas = np.linspace(1.0, 1 / steps, steps)
        return self.scheduler.grid(steps, tokens=tokens, sigmas=sigmas, log_shift=log_shift)

    def _encoded(
        self,
        texts: str | Sequence[str],
        weighted: bool | None,
        too_long: str | None,
        zeros: bool = False,
        padded: bool = True,
    ) -> Prompt:
        if not self.tokenizers:
            raise ValueError(f"{self.index.pipeline} draws classes and reads no prompts")
        return prompts.encode(
            self.tokenizers,
            [texts] if isinstance(texts, str) else texts,
            weighted=not self.like_diffusers if weighted is None else weighted,
            too_long=("warn" if self.like_diffusers else "chunks") if too_long is None else too_long,
            zeros_for_empty=zeros,
            padded=padded or not self.index.kind.masked,
        )

    def _side(self, axis: int, value: int | None) -> int:
        """Height (0) or width (1) of a picture, checked."""
        name, default = ("height", "width")[axis], None if self.size is None else self.size[axis]
        side = default if value is None else value
        if side is None:
            raise ValueError(f"{name} = None, and {self.index.folder} does not tell the size of its pictures: give it")
        checks.integer(name, side, self.multiple)
        if side % self.multiple:
            raise ValueError(
                f"{name} = {side} must be a multiple of {self.multiple}, as {side // self.multiple * self.multiple} is"
            )
        network = self.network
        if not isinstance(network, networks.DiT) or network.rotary_channels is not None:
            return side
        if network.position_table is None and side != default:
            raise ValueError(f"{name} = {side}: this network draws pictures of its own size only, {name} = {default}")
        if network.position_table is not None and side > network.position_table * self.multiple:
            most = network.position_table * self.multiple
            raise ValueError(f"{name} = {side}: this network has positions for at most {name} = {most}")
        return side


def empirical_log_shift(tokens: int, steps: int) -> float:
    """The logarithm of the shift of FLUX.2: linear in the tokens of a picture for 10 and for 200 steps.

    Between and beyond these it is linear in steps. More than 4300 tokens have that of 200 steps.

    References:
        The code of FLUX.2 (from memory), and Flux2KleinPipeline of diffusers 0.42 for the numbers.
    """
    many, few = 0.00016927 * tokens + 0.45666666, 8.73809524e-05 * tokens + 1.89833333
    return many if tokens > 4300 else many + (many - few) / 190 * (steps - 200)


def open_model(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    variant: str | None = None,
    dtype: str = "float32",
    remat: bool | str = False,
    like_diffusers: bool = False,
    storage: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Opened:
    """Open a folder of Stable Diffusion, FLUX, Z-Image or a DiT, without reading its parameters.

    Names, shapes and types of the arrays of all parts are checked.

    Args:
        path: a folder with a model_index.json, as diffusers writes it.
        weights: a single file, as model sites have them, whose arrays take the place of those of the folder. For Stable
            Diffusion 1, 2, XL and the refiner it is a `.safetensors` file of all parts: the folder then needs settings
            and tokenizers, a few MB. For Stable Diffusion 3, FLUX and Z-Image it is a `.safetensors` or `.gguf` file of
            the transformer; of safetensors it may hold other parts too.
        variant: of the files of weights, as in "fp16". None: those without a variant; where there are none, those of
            the only one.
        dtype: of parameters and activations, "float32" or "bfloat16"; the autoencoder is float32.
        remat: as of the networks: True computes blocks again in the backward pass rather than keep them, for gradients
            in little memory.
        like_diffusers: take levels, steps, the start and the reading of prompts from diffusers where these leave the
            published form.
        storage: how the kernels of the network and of text encoders are kept in memory. "full": as arrays of `dtype`.
            "int8" or "float8": in one byte for each number. "int4": in half a byte with scales of 32 inputs, and
            convolutions in one byte. "as-file": as their file has them, with the tables of tokens. None: "as-file" with
            a `.gguf` file, and else "full". Layers unpack what they compute with; activations stay in `dtype`. What is
            lost is told to `on_packed` where parameters are read.
        mesh: devices that share the parameters of every part, as `training.sharding.mesh` builds it; each array goes
            straight to its places (see `split_parts`). None: JAX's default device has all.

    Raises:
        DataError: path first, for missing or damaged files, a class, setting or part without a match, and parts that do
            not fit each other.
        ImportError: without the package of the extra `text`, for a model that reads prompts, and that of `language`,
            for GGUF.
        CheckpointMismatchError: path first, for weights that lack an array, hold another, or have one of another shape.
        ValueError: for an unknown dtype or storage, and for a variant of single weights.
    """
    if storage is None:
        storage = "full" if weights is None or not model_parts.is_gguf(weights) else "as-file"
    checks.choice("dtype", dtype, model_parts.DTYPES)
    checks.choice("storage", storage, tuple(model_parts.STORAGES))
    index = model_index.read(path)
    scheduler, notes = folder_scheduler.read(index, like_diffusers=like_diffusers)
    parts: dict[str, Part] = {}
    context = {"penultimate": index.kind.penultimate}
    single = model_parts.open_single(index, weights, variant)
    fields = {"dtype": None if dtype == "float32" else dtype, "remat": remat}
    open_part = functools.partial(model_parts.opened, index, variant=variant, single=single, fields=fields)
    for name in TOWERS:
        if name in index.parts:
            parts[name] = open_part(name, context=context)
    pooled = getattr(parts["text_encoder_2"].network, "projection", None) if "text_encoder_2" in parts else None
    for name in ("unet", "transformer", "vae"):
        if name in index.parts:
            parts[name] = open_part(name, context={"pooled_channels": pooled})
    tokenizers = tuple(
        model_parts.tokenizer(index, name, like_transformers=like_diffusers)
        for name in TOKENIZERS
        if name in index.parts
    )
    model = Opened(index, parts, tokenizers, scheduler, notes, dtype, like_diffusers, storage, mesh)
    fitting_parts.check(model.index, parts, tokenizers)
    for part in parts.values():
        part.check(copies=False)
    return model


def arranged(parts: Mapping[str, Params]) -> dict[str, Params]:
    """The parameters of parts by their names in the folder, as pipelines take them."""
    text = {name: parts[name] for name in TOWERS if name in parts}
    network = parts["unet"] if "unet" in parts else parts["transformer"]
    return ({"text": text} if text else {}) | {"network": network, "autoencoder": parts["vae"]}
