"""Tiny pipelines of diffusers, written by save_pretrained and opened here: the same tokens, the same pictures from the
same noise.
"""

import numpy as np
import pytest

from gendiff import networks
from gendiff.data import clip_tokenizer
from gendiff.pipelines.stable_diffusion import adapters, aligned, edit, handed_over, inspect, open_model, refined, save
from tests.pipelines.stable_diffusion import peer_draws, tiny_folders
from tests.pipelines.stable_diffusion.peer_cases import VARIANTS
from tests.pipelines.stable_diffusion.peer_draws import (
    INDEX,
    KEY,
    STEPS,
    edited,
    hole,
    in_unit_range,
    noise_of,
    picture,
)
from tests.pipelines.stable_diffusion.tiny_folders import FOLDERS
from tests.quickly import quickly

torch = pytest.importorskip("torch", reason="needs torch, diffusers and transformers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch, diffusers and transformers: make test-peers")
transformers = pytest.importorskip("transformers", reason="needs torch, diffusers and transformers: make test-peers")

from tests.pipelines.stable_diffusion.peer_pipelines import (  # noqa: E402
    CASES,
    built,
    built_control,
    built_fill,
    channels_first,
    channels_last,
    filled,
    latents,
    of_class,
    samples,
    without_chance,
)

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(pipeline of diffusers, the folder that it wrote, by shards of 20 kB where it can) by name."""
    saved = {}
    for name in FOLDERS:
        changes = {"transformer": peer_draws.CLASSES} if name == "dit" else {}
        pipe, folder = built(name, **changes), tmp_path_factory.mktemp(name)
        pipe.save_pretrained(folder, max_shard_size="20KB")
        saved[name] = pipe, folder
    return saved


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_diffusers_wrote_has_no_problem(folders, name):
    result = inspect(folders[name][1])
    assert not result.problems, result.problems
    assert any(len(part.files) > 1 for part in result.parts)  # shards


TEXTS = ("", "red cat", "A  Dog!", "it's a dog's cat, re-read", "dog" * 9, "cat. 42", "<|endoftext|> cat", "!cat!")


@pytest.mark.parametrize("padding", [tiny_folders.END, "!"])
def test_tokens_are_those_of_transformers(tmp_path, padding):
    settings = tiny_folders.TOKENIZER | {"pad_token": padding, "model_max_length": 40}
    ours = clip_tokenizer.load(tiny_folders.write_tokenizer(tmp_path, settings), like_transformers=True)
    theirs = transformers.CLIPTokenizer(
        vocab=tiny_folders.VOCABULARY,
        merges=list(tiny_folders.MERGES),
        pad_token=padding,
        unk_token=tiny_folders.END,
        model_max_length=40,
    )
    for text in TEXTS:
        expected = theirs(text, padding="max_length", truncation=True).input_ids
        assert ours.row(ours.ids(text)).tolist() == list(expected), text


@pytest.mark.parametrize("name", CASES)
def test_a_guided_run_ends_where_that_of_diffusers_does(folders, name):
    run_alike(*folders[CASES[name].folder], CASES[name])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_of_other_settings_ends_where_that_of_diffusers_does(tmp_path, name):
    case = VARIANTS[name]
    pipe = built(case.folder, **case.changes)
    pipe.save_pretrained(tmp_path)
    run_alike(pipe, tmp_path, case)


def run_alike(pipe, folder, case):
    start = latents(case)
    expected, pictures = samples(pipe, case, start)
    result, painted = peer_draws.ours(folder, case, start)
    assert expected.std() > 0.1 and pictures.std() > 0.05
    np.testing.assert_allclose(result, expected, atol=SAME * np.sqrt(np.mean(expected**2)))
    np.testing.assert_allclose(painted, pictures, atol=SAME)


@pytest.mark.parametrize("name", [name for name in CASES if name in FOLDERS])
def test_a_folder_that_was_written_here_draws_the_same_in_diffusers(folders, tmp_path, name):
    case, (pipe, folder) = CASES[name], folders[name]
    model = open_model(folder)
    save(tmp_path / "again", model, model.params())
    again = type(pipe).from_pretrained(
        tmp_path / "again", **({"safety_checker": None} if name == "stable" else {"add_watermarker": False})
    )
    again.set_progress_bar_config(disable=True)
    start = latents(case)
    np.testing.assert_allclose(samples(again, case, start)[1], samples(pipe, case, start)[1], atol=1e-5)


IMAGE_TO_IMAGE = {
    "stable": "StableDiffusionImg2ImgPipeline",
    "flux": "FluxImg2ImgPipeline",
    "sd3": "StableDiffusion3Img2ImgPipeline",
    "z_image": "ZImageImg2ImgPipeline",
}


@pytest.mark.parametrize("name", IMAGE_TO_IMAGE)
def test_a_picture_to_begin_from_ends_where_that_of_diffusers_does(folders, name):
    pipe, folder = folders[name]
    image, _ = picture()
    result, noise = edited(folder, edit(image, first=STEPS - int(STEPS * 0.6)))
    size = {} if name == "stable" else {"height": 16, "width": 16}
    expected = begun_from(with_parts_of(pipe, name, IMAGE_TO_IMAGE[name]), name, noise, image, strength=0.6, **size)
    np.testing.assert_allclose(result, expected, atol=SAME)


def with_parts_of(pipe, name, kind):
    """Another class of theirs with the parts of a pipeline."""
    more = {"stable": {"requires_safety_checker": False}, "flux_2": {"is_distilled": True}}
    result = getattr(diffusers, kind)(**pipe.components, **more.get(name, {}))
    result.set_progress_bar_config(disable=True)
    return result


def begun_from(pipe, name, noise, image, **options):
    """What theirs draws from a picture and a noise."""
    options |= {"prompt": "red cat", "image": channels_first((image + 1) / 2)}
    options |= {} if name in ("flux", "flux_2") else {"negative_prompt": "dog"}
    options |= {} if name == "stable" else {"max_sequence_length": 12}
    options |= {"num_inference_steps": STEPS, "guidance_scale": 3.0}
    if name == "z_image":  # 0 there is no guidance
        options |= {"guidance_scale": 0.0, "max_sequence_length": 40}
    if name == "flux_2":  # its noise is that of patches
        options |= {"max_sequence_length": 48}
        noise = channels_last(pipe._patchify_latents(channels_first(noise)))
    with without_chance(pipe, noise), torch.inference_mode():
        return channels_last(pipe(**options, output_type="pt").images)


INPAINTING = {
    "StableDiffusionInpaintPipeline": "stable",
    "FluxInpaintPipeline": "flux",
    "FluxKontextInpaintPipeline": "flux",
    "StableDiffusion3InpaintPipeline": "sd3",
    "ZImageInpaintPipeline": "z_image",
    "Flux2KleinInpaintPipeline": "flux_2",
}


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("kind", INPAINTING)
def test_a_picture_painted_into_ends_where_that_of_diffusers_does(folders, tmp_path, kind, strength):
    name = INPAINTING[kind]
    pipe, _ = folders[name]
    if name == "sd3":  # they paint in latents of 16 channels only
        vae = {"latent_channels": 16, "shift_factor": 0.0}  # a shift they forget before they decode
        pipe = built(name, transformer={"in_channels": 16, "out_channels": 16}, vae=vae)
    pipe = with_parts_of(pipe, name, kind)
    pipe.save_pretrained(tmp_path)
    image, mask = hole()
    change = edit(image, mask, first=STEPS - int(STEPS * strength), paste=False, like_diffusers=True)
    result, noise = edited(tmp_path, change)
    options = {"mask_image": channels_first(mask), "strength": strength, "height": 16, "width": 16}
    if "Kontext" in kind:  # else it takes sizes of its own
        options |= {"_auto_resize": False}
    expected = begun_from(pipe, name, noise, image, **options)
    np.testing.assert_allclose(result, expected, atol=SAME)


def test_a_network_for_inpainting_ends_where_that_of_diffusers_does(folders):
    pipe, folder = folders["inpaint"]
    image, mask = picture()
    result, noise = edited(folder, edit(image, mask, paste=False))
    with without_chance(pipe, noise), torch.inference_mode():
        options = {
            "prompt": "red cat",
            "negative_prompt": "dog",
            "image": channels_first((image + 1) / 2),
            "mask_image": channels_first(mask),
        }
        options |= {"height": 16, "width": 16, "strength": 1.0}
        expected = pipe(**options, num_inference_steps=STEPS, guidance_scale=3.0, output_type="pt").images
    np.testing.assert_allclose(result, channels_last(expected), atol=SAME)


def test_fill_ends_where_that_of_diffusers_does(tmp_path):
    pipe = built_fill()
    pipe.save_pretrained(tmp_path)
    np.testing.assert_allclose(peer_draws.filled(tmp_path), filled(pipe), atol=SAME)


def test_a_class_ends_where_that_of_diffusers_does(folders):
    pipe, folder = folders["dit"]
    np.testing.assert_allclose(peer_draws.of_class(folder), of_class(pipe), atol=SAME)


def test_a_refiner_goes_on_where_that_of_diffusers_does(folders):
    (base, folder), (finish, other) = folders["xl"], folders["refiner"]
    models = open_model(folder, like_diffusers=True), open_model(other, like_diffusers=True)
    first, second = (model.pipeline(STEPS) for model in models)
    prompts, negatives = (
        tuple(getattr(model, kind)(text) for model in models)
        for kind, text in (("prompt", "red cat"), ("negative", ""))
    )
    entry = handed_over(first, 0.6)
    draw = quickly(lambda params: refined(first, second, params, KEY, prompts, negatives, 3.0, INDEX, entry=entry))
    result = draw(tuple(model.params() for model in models))
    options = {"prompt": "red cat", "num_inference_steps": STEPS, "guidance_scale": 3.0}
    with torch.inference_mode():
        noise = channels_first(noise_of(first.latent.shape))
        between = base(**options, latents=noise, height=16, width=16, denoising_end=0.6, output_type="latent").images
        expected = finish(**options, image=between, denoising_start=0.6, output_type="pt").images
    assert entry == 3
    np.testing.assert_allclose(in_unit_range(result), channels_last(expected), atol=SAME)


def test_a_controlnet_that_diffusers_wrote_leads_to_the_same_picture(folders, tmp_path):
    pipe, folder = folders["stable"]
    their_control, hint = built_control(), (picture()[0] + 1) / 2
    their_control.save_pretrained(tmp_path)
    model = open_model(folder, like_diffusers=True)
    control, plain = adapters.open_control(tmp_path, model), model.pipeline(STEPS)
    pipeline, params = adapters.controlled(plain, control), adapters.with_control(model.params(), control.params())
    prompt, negative = aligned(model.prompt("red cat"), model.negative("dog"))
    hints = networks.Hint(hint, 0.7)
    result = quickly(lambda params: pipeline(params, KEY, prompt, negative, 3.0, INDEX, hint=hints))(params)
    kind = diffusers.StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=their_control, requires_safety_checker=False
    )
    options = {
        "prompt": "red cat",
        "negative_prompt": "dog",
        "image": channels_first(hint),
        "controlnet_conditioning_scale": 0.7,
    }
    with torch.inference_mode():
        options |= {"latents": channels_first(noise_of(pipeline.latent.shape)), "guidance_scale": 3.0}
        options |= {"num_inference_steps": STEPS}
        expected = kind(**options, output_type="pt").images
    np.testing.assert_allclose(in_unit_range(result), channels_last(expected), atol=SAME)
