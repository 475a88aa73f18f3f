"""The model_index.json of a folder: which pipeline it is, which parts it has, and which of them are left out here.

Every entry is known or refused by name. A part of a library beside diffusers and transformers would be code in
the folder: none is run.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from gendiff.core import choices, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.foreign_files import Config
from gendiff.pipelines.diffusers_schedulers import configurations

NAME = "model_index.json"
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
UNET, DIT, AUTOENCODER = ("UNet2DConditionModel",), ("DiTTransformer2DModel", "Transformer2DModel"), ("AutoencoderKL",)
FLUX_TRANSFORMER, SD3_TRANSFORMER = ("FluxTransformer2DModel",), ("SD3Transformer2DModel",)
Z_IMAGE_TRANSFORMER = ("ZImageTransformer2DModel",)
FLUX_2_TRANSFORMER, FLUX_2_AUTOENCODER = ("Flux2Transformer2DModel",), ("AutoencoderKLFlux2",)
TEXT, PROJECTED_TEXT, T5 = ("CLIPTextModel",), ("CLIPTextModelWithProjection",), ("T5EncoderModel",)
QWEN, QWEN_TOKENIZER = ("Qwen3Model", "Qwen3ForCausalLM"), ("Qwen2Tokenizer", "Qwen2TokenizerFast")
ENCODERS = (*TEXT, *PROJECTED_TEXT, *T5)
TOKENIZER, T5_TOKENIZER = ("CLIPTokenizer", "CLIPTokenizerFast"), ("T5Tokenizer", "T5TokenizerFast")
SCHEDULER = tuple(configurations.DEFAULTS)
SKIPPED: Mapping[str, str] = {
    "safety_checker": "a judge of finished pictures, which changes nothing of how they are drawn",
    "feature_extractor": "it prepares pictures for the safety checker or an image encoder",
    "image_encoder": "it is for adapters that read pictures, which have no match here",
}
"""Parts that are left out, and why."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of pipeline.

    Args:
        name: in words.
        needs: the name of each part -> its classes.
        may_lack: parts that may be null.
        settings: further entries -> the values that can be followed; () for any value of a type that its reader checks.
        tokens: text encoders whose tokens stand side by side, group behind group.
        pooled: text encoders whose pooled encodings go along, side by side.
        penultimate: whether CLIP's tokens are those of the last block but one.
        guided: whether pictures are led away from the empty text where there is no negative one.
        straight: whether its network answers the velocity of flow matching.
        side: of the latents of the training, where no configuration tells.
        longest: tokens of a row of T5, or of a message.
        empirical: whether the shift of noise depends on size and steps by numbers of its pipeline.
        even: whether its steps spread noise evenly from 1 to 1 / steps before the scheduler shifts it.
        read: numbers of the hidden states of a language model that encode a prompt; −1 is the last. (): there is none.
        masked: whether its network sees no padding of texts.
        thinking: whether the message to it leaves room for thoughts.
        references: how many pictures its network may read beside the prompt.
        blends: whether diffusers interpolates a mask at the size of the network's patches.
    """

    name: str
    needs: Mapping[str, tuple[str, ...]]
    may_lack: tuple[str, ...] = ()
    settings: Mapping[str, tuple[object, ...]] = dataclasses.field(default_factory=dict)
    tokens: tuple[tuple[str, ...], ...] = ()
    pooled: tuple[str, ...] = ()
    penultimate: bool = False
    guided: bool = True
    straight: bool = False
    side: int | None = None
    longest: int = 0
    empirical: bool = False
    even: bool = False
    read: tuple[int, ...] = ()
    masked: bool = False
    thinking: bool = True
    references: int = 0
    blends: bool = False


_WITH_TEXT = {"scheduler": SCHEDULER, "text_encoder": TEXT, "tokenizer": TOKENIZER, "unet": UNET, "vae": AUTOENCODER}
_BOOLEANS = (True, False, None)
STABLE = Kind(
    "Stable Diffusion", _WITH_TEXT, settings={"requires_safety_checker": _BOOLEANS}, tokens=(("text_encoder",),)
)
XL = Kind(
    "Stable Diffusion XL",
    _WITH_TEXT | {"text_encoder_2": PROJECTED_TEXT, "tokenizer_2": TOKENIZER},
    ("text_encoder", "tokenizer"),
    {
        "force_zeros_for_empty_prompt": _BOOLEANS,
        "add_watermarker": (None, False, True),  # of their own package; provenance.image_watermarks has others
        "requires_aesthetics_score": _BOOLEANS,
    },
    tokens=(("text_encoder", "text_encoder_2"),),
    pooled=("text_encoder_2",),
    penultimate=True,
)
CLASSES = Kind(
    "DiT", {"scheduler": SCHEDULER, "transformer": DIT, "vae": AUTOENCODER}, settings={"id2label": ()}, side=32
)
FLUX = Kind(
    "FLUX.1",
    {
        **{"scheduler": SCHEDULER, "text_encoder": TEXT, "tokenizer": TOKENIZER},
        **{"text_encoder_2": T5, "tokenizer_2": T5_TOKENIZER},
        **{"transformer": FLUX_TRANSFORMER, "vae": AUTOENCODER},
    },
    tokens=(("text_encoder_2",),),
    pooled=("text_encoder",),
    guided=False,
    straight=True,
    side=128,
    longest=512,
    even=True,
)
FILL = dataclasses.replace(FLUX, name="FLUX.1 Fill")
KONTEXT = dataclasses.replace(FLUX, name="FLUX.1 Kontext", references=1)
SD3 = Kind(
    "Stable Diffusion 3",
    {
        **{"scheduler": SCHEDULER, "text_encoder": PROJECTED_TEXT, "tokenizer": TOKENIZER},
        **{"text_encoder_2": PROJECTED_TEXT, "tokenizer_2": TOKENIZER},
        **{"text_encoder_3": T5, "tokenizer_3": T5_TOKENIZER},
        **{"transformer": SD3_TRANSFORMER, "vae": AUTOENCODER},
    },
    ("text_encoder_3", "tokenizer_3"),
    tokens=(("text_encoder", "text_encoder_2"), ("text_encoder_3",)),
    pooled=("text_encoder", "text_encoder_2"),
    penultimate=True,
    straight=True,
    side=128,
    longest=256,
)
Z_IMAGE = Kind(
    "Z-Image",
    {
        **{"scheduler": SCHEDULER, "text_encoder": QWEN, "tokenizer": QWEN_TOKENIZER},
        **{"transformer": Z_IMAGE_TRANSFORMER, "vae": AUTOENCODER},
    },
    tokens=(("text_encoder",),),
    guided=False,
    straight=True,
    side=128,
    longest=512,
    even=True,
    read=(-2,),
    masked=True,
)
FLUX_2 = Kind(
    "FLUX.2 [klein]",
    {
        **{"scheduler": SCHEDULER, "text_encoder": QWEN, "tokenizer": QWEN_TOKENIZER},
        **{"transformer": FLUX_2_TRANSFORMER, "vae": FLUX_2_AUTOENCODER},
    },
    settings={"is_distilled": _BOOLEANS},
    tokens=(("text_encoder",),),
    guided=False,
    straight=True,
    side=128,
    longest=512,
    even=True,
    empirical=True,
    read=(9, 18, 27),
    thinking=False,
    references=10,
    blends=True,
)
FLUX_2_BASE = dataclasses.replace(FLUX_2, name="FLUX.2 [klein] base", guided=True)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"), STABLE
    ),
    **dict.fromkeys(
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"), XL
    ),
    "DiTPipeline": CLASSES,
    **dict.fromkeys(
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"), SD3
    ),
    **dict.fromkeys(("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"), FLUX),
    "FluxFillPipeline": FILL,
    **dict.fromkeys(("FluxKontextPipeline", "FluxKontextInpaintPipeline"), KONTEXT),
    **dict.fromkeys(("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline"), Z_IMAGE),
    **dict.fromkeys(("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"), FLUX_2),
}
"""The class of a pipeline -> what is needed of it."""


@dataclasses.dataclass(frozen=True)
class ModelIndex:
    """The content of a model_index.json that can be followed.

    Args:
        folder: where it is.
        pipeline: its class.
        parts: the name of each part -> its class.
        settings: its further entries.
        skipped: parts that are there and left out.
        labels: the number of each class by its names, of a DiT; empty where the file has none.
    """

    folder: Path
    pipeline: str
    parts: Mapping[str, str]
    settings: Config
    skipped: tuple[str, ...]
    labels: Mapping[str, int]

    @property
    def kind(self) -> Kind:
        """The kind of pipeline."""
        kind = KINDS[self.pipeline]
        return FLUX_2_BASE if kind is FLUX_2 and not self.settings["is_distilled"] else kind


def read(folder: str | os.PathLike[str]) -> ModelIndex:
    """Read the model_index.json of a folder.

    Raises:
        DataError: path first, for a missing or damaged file, a pipeline or a part of a class without a match, and an
            unknown entry.
    """
    root = Path(folder)
    single = " (a single file of weights goes with the folder of the same model's settings)"
    file = foreign_files.regular(root / NAME, single if root.is_file() else "")
    content = foreign_files.json_object(file)
    pipeline = content.get("_class_name")
    if not isinstance(pipeline, str):
        raise DataError(f"{file}: _class_name = {pipeline!r} is no class of diffusers: code in a folder is never run")
    if pipeline not in KINDS:
        raise DataError(f"{file}: {pipeline} is not supported yet: there are {', '.join(KINDS)}")
    kind = KINDS[pipeline]
    entries = {name: value for name, value in content.items() if not name.startswith("_")}
    parts = _parts(file, kind, entries)
    skipped = tuple(name for name in SKIPPED if _is_there(file, name, entries.get(name)))
    for name, value in entries.items():
        if name in kind.needs or name in SKIPPED:
            continue
        if name not in kind.settings:
            raise DataError(f"{file}: {name} = {_shown(value)} is an entry that is not known for {pipeline}")
        allowed = kind.settings[name]
        if allowed and not any(type(value) is type(each) and value == each for each in allowed):  # 0 is not False
            raise DataError(f"{file}: {name} = {_shown(value)} is not supported, only {', '.join(map(repr, allowed))}")
    return ModelIndex(
        root,
        pipeline,
        parts,
        {name: entries.get(name) for name in kind.settings},
        skipped,
        _labels(file, entries.get("id2label")),
    )


def write(index: ModelIndex, file: Path) -> None:
    """Write a model_index.json like that of a folder, with null for the parts that are left out."""
    content = foreign_files.json_object(index.folder / NAME) | {name: [None, None] for name in index.skipped}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _parts(file: Path, kind: Kind, entries: Config) -> dict[str, str]:
    """The class of each part that is there."""
    parts = {}
    for name, classes in kind.needs.items():
        if not _is_there(file, name, entries.get(name)):
            if name not in kind.may_lack:
                raise DataError(f"{file}: has no {name}, which {kind.name} needs")
            continue
        _, class_name = entries[name]
        try:
            choices.choice(name, class_name, classes)
        except ValueError as error:
            raise DataError(f"{file}: {error}") from None
        parts[name] = class_name
    lacking = [name for name in kind.may_lack if name not in parts]
    if lacking and len(lacking) < len(kind.may_lack):
        raise DataError(
            f"{file}: has no {', '.join(lacking)}, and has {', '.join(name for name in kind.may_lack if name in parts)}"
        )
    return parts


def _is_there(file: Path, name: str, entry: object) -> bool:
    """Whether a part is there, as in ["diffusers", "AutoencoderKL"]; [null, null] stands for none."""
    if entry is None or entry == [None, None]:
        return False
    if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry)):
        raise DataError(f"{file}: {name} = {_shown(entry)} must be a library and a class")
    if entry[0] not in LIBRARIES:
        raise DataError(
            f"{file}: {name} = {_shown(entry)} is of none of {', '.join(LIBRARIES)}: code in a folder is never run"
        )
    return True


def _labels(file: Path, labels: object) -> dict[str, int]:
    """Number of each class by each of its names, which commas separate."""
    if labels is None:
        return {}
    if not isinstance(labels, dict) or not all(
        number.isdecimal() and len(number) < 10 and isinstance(words, str) for number, words in labels.items()
    ):
        raise DataError(f"{file}: id2label must give the number of each class its names")
    named = {word.strip(): int(number) for number, words in labels.items() for word in words.split(",")}
    return dict(sorted(named.items()))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
