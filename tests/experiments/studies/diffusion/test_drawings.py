"""Drawings in text-to-image: concepts are held out, measures tell right from wrong, claims can fail, and latents are
decoded.
"""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import ndimage

from experiments.diffusion import captioned_emoji, encoded_captions, sweeps, text_to_image
from experiments.diffusion.captioned_emoji import COLOURS, THINGS, Pictures
from experiments.diffusion.text_to_image import drawings as experiment
from experiments.diffusion.text_to_image import ordinary, train
from experiments.diffusion.text_to_image.drawings import CHOOSING, DECODED, MEAN, ONE_STEP, SEEN, SETS, UNTRAINED
from experiments.diffusion.text_to_image.ordinary import Prompt
from gendiff.commands.images import emoji_pictures, image_coding
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.networks import SIDE, Normalisation, Trained
from gendiff.core.errors import DataError
from gendiff.data import emoji, emoji_names
from gendiff.diffusion import grids, samplers
from gendiff.provenance import memorisation
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements
from tests.tables import table

STUDY = text_to_image.STUDY
CONFIG = dataclasses.replace(
    text_to_image.EXPERIMENT.smoke,
    drawings=dataclasses.replace(
        text_to_image.EXPERIMENT.smoke.drawings, seeds=(0, 1), scales=(0.0, 1.0, 3.0), candidates=8, prompts=100
    ),
)


@pytest.fixture(scope="module")
def drawings():
    """Of every eighth emoji, which are split as all are."""
    emoji_source = emoji.source(SIDE, captions=True)
    some = emoji.split(
        emoji.select(emoji_source, range(0, len(emoji_source), 8)), emoji_pictures.SHARE, seed=emoji_pictures.SPLIT_SEED
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emoji_pictures, "split", lambda *_: some)
        return captioned_emoji.load(text_to_image.EXPERIMENT.smoke.drawings)


def test_no_concept_of_a_training_drawing_is_held_out(drawings):
    training, held_out = drawings
    assert training.images.shape == (32, SIDE, SIDE, 3) and -1 <= training.images.min() < training.images.max() <= 1
    concepts = [{emoji_names.concept(caption) for caption in drawing.captions} for drawing in drawings]
    assert not concepts[0] & concepts[1] and len(held_out) == 32


def test_the_three_sets_share_no_drawing(drawings):
    training, held_out = drawings
    sets = experiment.chosen(training, held_out, 10)
    assert [len(drawing_set) for drawing_set in sets] == [10, 10, 10]
    assert len({caption for drawing_set in sets for caption in drawing_set.captions}) == 30
    assert set(sets[0].captions + sets[1].captions) <= set(training.captions) and set(sets[2].captions) <= set(
        held_out.captions
    )
    assert [len(drawing_set) for drawing_set in experiment.chosen(training, held_out, 100)] == [16, 16, 32]


def written(names, words, **changes):
    pictures = Pictures(np.zeros((len(names), 1, 1, 3)), names, words)
    return captioned_emoji.written(pictures, dataclasses.replace(CONFIG.drawings, **changes))


def test_each_drawing_has_its_name_and_its_name_with_the_keywords_that_are_new_and_fit():
    words = ("cat", "animal", "pet", "whiskers", "fur")
    result = written(("black cat", "dog"), (words, ()), captions="names", keywords=3)
    assert result == ["black cat", "black cat, animal, pet, whiskers", "dog", "dog"]
    long = tuple(f"extraordinarily unlikely number {n}" for n in range(6))
    text = written(("cat",), (long,), keywords=6)[1]
    assert text.startswith("cat, extraordinarily unlikely number 0") and "number 5" not in text and texts.fits(text)


def test_varied_captions_have_articles_and_keywords_in_other_ways_and_one_says_nothing_but_the_style():
    words = ("cat", "pet")
    both = written(("black cat", "black cat, in the style of noto"), (words, words), captions="varied")
    plain, styled = both[:7], both[7:]
    assert plain == [
        "black cat",
        "black cat, pet",
        "a black cat",
        "a cat",
        "cat, pet",
        "pet, black cat",
        emoji_names.NEGATIVE,
    ]
    assert styled == [f"{text}, in the style of noto" for text in plain]
    long = tuple(f"extraordinarily unlikely number {n}" for n in range(6))
    assert all(map(texts.fits, written(("cat, in the style of noto",), (long,), captions="varied", keywords=6)))


def test_captions_with_articles_are_the_first_three_of_the_varied_ones():
    names, words = ("black cat", "ox"), (("cat", "pet"), ())
    result = written(names, words, captions="articles")
    assert result == ["black cat", "black cat, pet", "a black cat", "ox", "ox", "an ox"]


def test_drawings_come_back_in_a_colour_that_their_caption_names_but_in_none_that_is_asked_for():
    numbers = dataclasses.replace(CONFIG.drawings, recoloured=100, combinations=("red star",))
    names = ("star", "cat face", "red heart", "flag of Fiji", "car", "cloud", *["key"] * 10)
    orange = np.full((8, 8, 3), -1.0) + np.array([2.0, 1.0, 0.0])
    images = np.stack([np.ones((8, 8, 3)) if name == "cloud" else orange for name in names]).astype(np.float32)
    pictures = Pictures(images, names, tuple((name,) for name in names))
    result = captioned_emoji.with_colours(pictures, numbers)
    assert np.array_equal(result.images[: len(names)], images) and result.captions[: len(names)] == names
    further = result.captions[len(names) :]
    colours = list(COLOURS)
    # "star" takes the first turn, "red", which is asked for; so does each colour of a cat; a car's is the third.
    assert further == ("green car", *[f"{colours[(3 + n) % 5]} key" for n in range(10)])
    assert result.keywords[len(names) :] == (("car",), *[("key",)] * 10)
    for caption, image in zip(further, result.images[len(names) :], strict=True):
        assert captioned_emoji.coloured(image[None], [caption.split()[0]]) == [1.0]


def test_few_drawings_come_back_where_few_are_asked_for():
    pictures = Pictures(np.tile(np.array([1.0, 0.0, -1.0], np.float32), (9, 8, 8, 1)), ("key",) * 9, ((),) * 9)
    assert [
        len(captioned_emoji.with_colours(pictures, dataclasses.replace(CONFIG.drawings, recoloured=n))) - 9
        for n in (0, 1, 5, 100)
    ] == [0, 1, 5, 9]


def test_no_training_caption_has_a_combination_that_is_asked_for():
    numbers = text_to_image.Config().drawings
    training = captioned_emoji.load(numbers)[0]
    further = captioned_emoji.with_colours(training, numbers).names[len(training) :]
    assert len(further) > 0.9 * numbers.recoloured
    requested = [*numbers.combinations, *(f"{colour} {thing}" for thing in THINGS for colour in COLOURS), "purple car"]
    for words in map(set, map(str.split, requested)):
        assert not [name for name in further if words <= set(name.lower().split())]


def test_drawings_of_one_style_are_those_whose_captions_name_it():
    pictures = Pictures(np.arange(3), ("cat", "cat, in the style of noto", "dog"), ((), ("a",), ()))
    assert pictures.styles == ("openmoji", "noto", "openmoji")
    assert pictures.of_style("openmoji").captions == ("cat", "dog") and pictures.of_style("noto").images.tolist() == [1]


def test_a_batch_pairs_each_text_with_its_own_drawing():
    clean = np.arange(6, dtype=np.float32)
    read = encoded_captions.Encoded({"ids": np.arange(12) // 2 * 10}, np.arange(12))
    batches = [train._batch(clean, read, 4, 0, step) for step in range(3)]
    for batch in batches:
        assert np.array_equal(batch.condition[0]["ids"], 10 * batch.clean)
    assert np.bincount(np.concatenate([batch.clean for batch in batches]).astype(int)).tolist() == [2] * 6


def test_combinations_are_those_that_no_caption_has():
    with_word, without, colours = captioned_emoji.combinations(["Red apple", "green apple slice"])
    assert "a red apple" not in with_word and "a green apple" not in with_word and "a blue apple" in with_word
    for prompt, plain, colour in zip(with_word, without, colours, strict=True):
        assert prompt.replace(f"{colour} ", "") == plain


@table("colour", COLOURS)
def test_the_share_of_a_colour_is_that_of_coloured_pixels_and_ignores_light_dark_and_grey(colour):
    picture = np.ones((4, 8, 8, 3))
    picture[:3, :, :2] = np.array(COLOURS[colour]) / 127.5 - 1
    picture[1, :, :2] = picture[1, :, :2] * 0.8 - 0.2  # darker
    other = next(name for name in COLOURS if name != colour)
    picture[2, :, 4:6] = np.array(COLOURS[other]) / 127.5 - 1
    np.testing.assert_allclose(captioned_emoji.coloured(picture, [colour] * 4), [1.0, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(captioned_emoji.coloured(picture, [other] * 4), [0.0, 0.0, 0.5, 0.0])


def test_a_drawing_is_retrieved_by_itself_and_a_wrong_one_at_chance(drawings):
    images = drawings[0].images
    assert experiment.retrieved(images, images, 32, experiment.squares).mean() == 1.0
    assert experiment.retrieved(np.roll(images, 1, axis=0), images, 32, experiment.squares).mean() == 0.0
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape)
    assert experiment.retrieved(noise, images, 4, experiment.squares).mean() < 0.6
    faded = 0.5 * images + 0.5 * images.mean(axis=0)
    shifted = np.roll(images, 1, axis=2)
    assert [experiment.retrieved(each, images, 32, experiment.squares).mean() for each in (faded, shifted)] == [
        1.0,
        1.0,
    ]


def test_the_classifier_misses_drawings_in_a_blur_where_squares_find_them(drawings):
    images = drawings[0].images[:32]
    blurred = np.stack([ndimage.gaussian_filter(image, (4, 4, 0)) for image in images])
    mean = np.broadcast_to(images.mean(axis=0), images.shape)
    sets = (images, blurred, mean)
    squares, classifier = (
        [experiment.retrieved(each, images, 16, experiment.likeness(name)).mean() for each in sets]
        for name in ("squares", "classifier")
    )
    assert squares[0] == classifier[0] == 1.0 and squares[1] > 0.9 and max(squares[2], classifier[2]) < 0.2
    assert classifier[1] < squares[1] - 0.2, (squares, classifier)


def rows(share, count=100):
    hits = (np.arange(count) < share * count).astype(float)
    return {"retrieved": hits, "clipped": hits, "contrast": hits}


def measured(
    drawings,
    *,
    on_seen=(0.0, 0.5, 0.9),
    unseen=(0.0, 0.1, 0.3),
    judged=None,
    gain=0.5,
    copied=False,
    both=0.8,
    others=0.0,
    **shares,
):
    """Of networks that are right about these shares at each scale; judged: of the captions that are judged, where they
    differ.
    """
    training, held_out = (half.rows(np.arange(16)) for half in drawings)
    by_set = dict(zip(SETS, (on_seen, judged or on_seen, unseen), strict=True))
    swept = {
        name: sweeps.sweep(CONFIG.drawings.scales, [[rows(share) for share in half]] * 2)
        for name, half in by_set.items()
    }
    noise = np.random.default_rng(0).uniform(-1, 1, (16, SIDE, SIDE, 3)).astype(np.float32)
    report = memorisation.memorisation_report(training.images if copied else noise, training.images, held_out.images)
    controls = {UNTRAINED: 0.0, DECODED: 1.0, MEAN: 0.0, ONE_STEP: 0.3} | shares
    arrays = {
        "asked": dict(zip(SETS, (training, training, held_out), strict=True)),
        "shown": {name: np.stack([noise[:8]] * 3) for name in SETS},
        "unseen": noise,
        "training": training,
        "combinations": (["a red cat"] * 4, np.stack([noise[:4]] * 2)),
        "explored": np.stack([np.stack([noise[:8]] * 2)] * 3),
        "steps": (1, 2),
    }
    control_rows = {name: rows(share) for name, share in controls.items()}
    judged_rows = experiment.judge(CONFIG.drawings, swept, control_rows, [np.full(20, gain)] * 2, report, arrays)
    prompts = {"prompts": [Prompt("cat"), Prompt("cat", "red")], "pictures": noise[:2], "both": np.array([1.0, 0.0])}
    ordinary_rows = [
        Measured(name, {"both": (share, share, share)}, None, 20, "ordinary", prompts)
        for name, share in {
            ordinary.NOUNS: both,
            ordinary.COMBINATIONS: both,
            ordinary.REAL: 1 - others,
            ordinary.OTHERS: others,
        }.items()
    ]
    return Measurements([*judged_rows, *ordinary_rows])


def test_claims_pass_where_drawings_are_right_and_fail_where_they_are_not(drawings):
    right = list(STUDY.judge(measured(drawings)))
    assert {claim.verdict for claim in right if claim.id != "emoji-copies"} == {"PASS"}
    bad = {
        "on_seen": (0.5, 0.2, 0.1),
        "unseen": (0.0, 0.0, 0.0),
        "gain": 0.0,
        "copied": True,
        "both": 0.3,
        "others": 0.5,
    }
    pictures = measured(drawings, **bad, **{UNTRAINED: 0.9, DECODED: 0.3, MEAN: 0.9, ONE_STEP: 1.0})
    wrong = {claim.id: claim.verdict for claim in STUDY.judge(pictures)}
    assert set(wrong) == {claim.id for claim in right} and pictures[0].measures["w"] == CONFIG.drawings.scales[0]
    failing = {"emoji-retrieved-unseen", "emoji-untrained", "emoji-decoded", "emoji-colour-follows", "emoji-copies"}
    failing |= {"emoji-mean-picture", "emoji-one-step", "emoji-ordinary-nouns", "emoji-ordinary-combinations"}
    failing |= {"emoji-ordinary-drawings", "emoji-ordinary-others"}
    assert {id for id, verdict in wrong.items() if verdict == "FAIL"} >= failing


def test_the_scale_is_chosen_by_other_training_captions_than_those_that_are_judged(drawings):
    pictures = measured(drawings, judged=(0.9, 0.1, 0.2))
    assert pictures[0].measures["w"] == CONFIG.drawings.scales[2] and pictures.mean(f"emoji, {SEEN}", "own")[
        0
    ] == pytest.approx(0.2)
    assert len([row for row in pictures if row.group == "emoji scales" and row.name == CHOOSING]) == 3


@pytest.mark.slow
def test_figures_show_every_set(drawings, tmp_path):
    pictures, folder = measured(drawings), RunFolder(tmp_path)
    figures = [draw(pictures, folder) for draw in (*STUDY.figures[3:9], STUDY.figures[-1])]
    assert {each.file for each in figures} == {
        f"emoji_{name}.png" for name in ("seen", "unseen", "combinations", "ordinary", "nearest", "curves", "gallery")
    }
    assert all((tmp_path / each.file).stat().st_size > 1000 for each in figures)


def test_a_trained_network_of_latents_is_a_pipeline_whose_pictures_are_decoded_latents(monkeypatch):
    monkeypatch.setattr(texts, "ENCODER", texts.ENCODER.clone(depth=1))
    normalisation = Normalisation(scale=2.0, shift=0.5)
    model, coder = networks.model(CONFIG, networks.EMOJI), networks.autoencoder(CONFIG.drawings, normalisation)
    assert coder.scale == 2.0 and coder.shift == 0.5
    parts = {"network": jax.eval_shape(model.init, jax.random.key(0))}
    parts["decoder"] = jax.eval_shape(image_coding.init(networks.autoencoder(CONFIG.drawings)), jax.random.key(0))
    example = jax.ShapeDtypeStruct((1, texts.LENGTH), np.int32)
    parts["text"] = jax.eval_shape(lambda: networks.networks.init(texts.ENCODER, jax.random.key(0), example))
    trained = Trained(CONFIG, networks.EMOJI, parts, normalisation)
    words, levels = texts.tokens(["a red cat"]), grids.trailing(model.schedule, 2)
    draw = trained.pipeline(samplers.ddim())
    images = jax.eval_shape(
        lambda params: draw(params, jax.random.key(0), words, words, 2.0, levels, np.arange(3)), parts
    )
    assert images.shape == (3, SIDE, SIDE, 3) and draw.shape == (SIDE // 4, SIDE // 4, CONFIG.drawings.latent_channels)


def test_an_autoencoder_without_its_normalisation_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(image_coding, "restore", lambda *_: {})
    with pytest.raises((DataError, FileNotFoundError), match="normalisation.json"):
        train.restore_autoencoder(CONFIG, RunFolder(tmp_path))
    (tmp_path / train.AUTOENCODER / train.NORMALISATION).write_text('{"scale": 2.0, "shift": 0.5}')
    assert train.restore_autoencoder(CONFIG, RunFolder(tmp_path)) == ({}, Normalisation(2.0, 0.5))
