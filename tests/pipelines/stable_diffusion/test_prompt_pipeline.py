"""From prompts to pictures: the pipeline is the composition of its parts, keeps the promises of samples, and hands over
to a refiner.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import diffusion, networks
from gendiff.core import records
from gendiff.pipelines.stable_diffusion import edit, handed_over, refined
from tests.pipelines.stable_diffusion import cheap_parts
from tests.pipelines.stable_diffusion.cheap_parts import LEVELS, PARAMS, SHAPE, mask, picture, pipeline, prompt
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.traced import Traced

KEY = jax.random.key(3)
INDEX = np.arange(3, dtype=np.int32)
PROMPT, NEGATIVE = prompt(4, 7, 9), prompt(2)
PIPELINE = pipeline()
draw = Traced(lambda pipeline, *arguments, **options: pipeline(*arguments, **options), quickly)


def samples(model=PIPELINE, inputs=PROMPT, negative=NEGATIVE, scale=3.0, index=INDEX, **options):
    return np.asarray(draw(model, PARAMS, KEY, inputs, negative, scale, index, **options))


def rows(inputs, chosen):
    return records.replace(
        inputs, ids=(inputs.ids[0][chosen],), weights=(inputs.weights[0][chosen],), blank=inputs.blank[chosen]
    )


def test_it_is_the_composition_of_its_parts():
    @quickly
    def composed(params):
        text, away = (PIPELINE.towers(params["text"], words) for words in (PROMPT, NEGATIVE))
        inputs = diffusion.from_network(
            cheap_parts.predict, params["network"], diffusion.parameterization.velocity(), text
        )
        guided = diffusion.guidance.classifier_free(inputs, records.replace(inputs, condition=(away,)), 3.0)
        latents = diffusion.sample(KEY, guided, diffusion.samplers.ddim(1.0), LEVELS, SHAPE, INDEX)
        return cheap_parts.decode(params["autoencoder"], latents)

    pictures = samples()
    assert pictures.shape == (3, 4, 8, 3)
    np.testing.assert_allclose(pictures, composed(PARAMS), atol=1e-5)


def test_a_picture_is_a_function_of_its_own_prompt_and_index():
    full, order = samples(), np.array([2, 0, 1])
    np.testing.assert_allclose(samples(inputs=rows(PROMPT, order), index=INDEX[order]), full[order], atol=1e-6)
    alone = samples(inputs=rows(PROMPT, np.array([1, 1, 1])), index=INDEX[[1, 1, 1]])
    np.testing.assert_allclose(alone, np.broadcast_to(full[1], full.shape), atol=1e-6)
    assert not np.allclose(samples(inputs=rows(PROMPT, order)), full, atol=1e-3)


def test_one_program_serves_all_prompts_scales_keys_and_beginnings():
    change = edit(picture(), mask(), first=1)
    settings = [
        (KEY, PROMPT, NEGATIVE, 3.0, INDEX, change),
        (jax.random.key(1), prompt(1, 2, 3), prompt(5), 7.5, INDEX + 9, edit(picture(1), 1 - mask(), first=3)),
    ]
    counted = Traced(lambda *inputs: PIPELINE(PARAMS, *inputs[:5], change=inputs[5]), quickly)
    first, second = (counted(*inputs[:3], jnp.float32(inputs[3]), *inputs[4:]) for inputs in settings)
    assert counted.traces == 1 and not np.allclose(first, second)


def test_a_pipeline_is_equal_to_itself_alone_so_that_jit_may_keep_its_program():
    for one, other in ((PIPELINE, pipeline()), (PIPELINE.latent, pipeline().latent)):
        assert (
            one == one
            and one != other
            and hash(one) != hash(other)
            and jax.tree.structure(one) == jax.tree.structure(other)
        )


def test_guidance_of_scale_1_and_none_are_the_same_pictures():
    np.testing.assert_allclose(samples(scale=1.0), samples(negative=None), atol=1e-6)
    assert not np.allclose(samples(scale=2.0), samples(scale=1.0), atol=1e-3)


guidance = diffusion.guidance
plain = functools.partial(guidance.classifier_free, batched=True)
RULES = {
    "rescaled": functools.partial(plain, rescale=0.7),
    "adaptive_projected": functools.partial(guidance.adaptive_projected, eta=0.5, norm_threshold=2.0, batched=True),
    "cfg_plus_plus": functools.partial(guidance.cfg_plus_plus, batched=True),
    "interval": lambda inputs, away, scale: plain(inputs, away, guidance.interval(scale, 1, 50)),
    "dynamic_threshold": lambda inputs, away, scale: guidance.dynamic_threshold(plain(inputs, away, scale), 0.9),
}


@table("rule", RULES)
def test_every_rule_of_guidance_may_guide(rule):
    guided = pipeline(guide=RULES[rule])
    shaped = jax.eval_shape(lambda scale: guided(PARAMS, KEY, PROMPT, NEGATIVE, scale, INDEX), jnp.float32(0.8))
    assert shaped.shape == (3, 4, 8, 3)
    if rule == "adaptive_projected":
        pictures = samples(guided, scale=0.8)
        assert np.isfinite(pictures).all() and not np.allclose(pictures, samples(scale=0.8), atol=1e-3)


# Pictures to begin from.


def test_an_edit_begins_anywhere_between_noise_and_the_picture():
    inputs = picture()
    full, untouched = (samples(change=edit(inputs, first=first)) for first in (0, len(LEVELS) - 1))
    np.testing.assert_allclose(full, samples(), atol=1e-5)
    np.testing.assert_allclose(untouched, np.broadcast_to(inputs, untouched.shape), atol=1e-5)
    near, far = (np.abs(samples(change=edit(inputs, first=first)) - inputs).mean() for first in (3, 1))
    assert 0 < near < far


def test_what_a_mask_keeps_comes_back_to_the_last_bit_and_the_rest_is_drawn():
    inputs, painted = picture(), mask()

    @quickly
    def draw():
        condition, away = PIPELINE.conditions(PARAMS, PROMPT, NEGATIVE)
        latents = PIPELINE.latent.latents(PARAMS, KEY, condition, away, 3.0, INDEX, change=edit(inputs, painted))
        return [
            PIPELINE.latent.finished(PARAMS, latents, edit(inputs, painted, paste=paste)) for paste in (True, False)
        ]

    pictures, decoded = map(np.asarray, draw())
    outside = np.broadcast_to(painted == 0, pictures.shape)
    assert np.array_equal(pictures[outside], np.broadcast_to(inputs, pictures.shape)[outside])
    assert np.abs(pictures - inputs)[~outside].mean() > 0.1
    far = np.broadcast_to(np.repeat(np.repeat(painted[:, ::2, ::2] == 0, 2, 1), 2, 2), pictures.shape).copy()
    far[:, :2, :2] = False  # the square of the single pixel
    np.testing.assert_allclose(decoded[far], pictures[far], atol=1e-5)


# The size of the picture, and the refiner.


def test_a_network_is_told_the_size_that_is_drawn_and_a_score_for_each_side_of_guidance():
    sized, scored = pipeline(image_size=True), pipeline(image_size="score")
    for condition in sized.told_sizes():
        assert (
            condition.original.tolist() == condition.target.tolist() == [[4, 8]]
            and not condition.crop.any()
            and condition.score is None
        )
    assert [condition.score.tolist() for condition in scored.told_sizes()] == [[6.0], [2.5]]
    text, empty = (networks.Text(np.full((1, 5, 2), value, np.float32), np.ones((1, 5), bool)) for value in (1.0, 0.0))
    other = networks.ImageSize(np.float32([[64, 64]]), np.float32([[0, 0]]), np.float32([[4, 8]]))
    (prompted, size), (unsaid, same) = sized.conditions(PARAMS, text, empty, (other, sized.told_sizes()[1]))
    assert prompted is text and unsaid is empty and size is other and same.original.tolist() == [[4, 8]]
    (_, good), (_, bad) = scored.conditions(PARAMS, text, empty)
    assert (good.score, bad.score) == (6.0, 2.5)
    assert np.abs(samples(scored) - samples()).max() > 0.01


def test_a_refiner_that_is_the_base_itself_changes_nothing_noise_included(entry=2):
    inputs = (PARAMS, PARAMS), KEY, (PROMPT, PROMPT), (NEGATIVE, NEGATIVE), 3.0, INDEX
    both = quickly(functools.partial(refined, PIPELINE, PIPELINE, entry=entry))(*inputs)
    np.testing.assert_allclose(both, samples(), atol=1e-5)


def test_the_base_takes_the_steps_whose_times_lie_in_its_share():
    counts = [handed_over(PIPELINE, share, 100.0) for share in (0.2, 0.5, 0.7)]
    assert counts == [1, 2, 3]  # of the times 99, 74, 49 and 24


# Gradients.


def test_gradients_reach_the_encoding_of_a_prompt_and_the_first_latents():
    def brightness(tokens, start):
        text = networks.Text(tokens, jnp.ones(tokens.shape[:2], bool))
        return jnp.mean(PIPELINE(PARAMS, KEY, text, PIPELINE.towers(PARAMS["text"], NEGATIVE), 3.0, INDEX, start=start))

    tokens, start = np.ones((3, 5, 2), np.float32), np.ones((3, *SHAPE), np.float32)
    for slope in quickly(jax.grad(brightness, (0, 1)))(tokens, start):
        assert np.isfinite(slope).all() and np.all(np.abs(slope) > 0)


def test_references_are_told_as_latents_on_both_sides_of_guidance():
    def predict(params, x, t, text, references):
        first, second = (image.mean((1, 2, 3))[:, None, None, None] for image in references.images)
        return cheap_parts.predict(params, x, t, text) + first + 2 * second

    reading = pipeline(predict=predict)
    references = picture(1), picture(2)[:, :, :4]
    result = samples(reading, references=references)
    latents = [2.0 * float(each.mean()) for each in references]  # the autoencoder doubles

    def moved(params, x, t, text):
        return cheap_parts.predict(params, x, t, text) + latents[0] + 2 * latents[1]

    np.testing.assert_allclose(result, samples(pipeline(predict=moved)), atol=1e-5)
    assert not np.allclose(result, samples(reading, references=references[::-1]), atol=1e-3)


def mistake(model=PIPELINE, params=PARAMS, inputs=PROMPT, negative=NEGATIVE, **options):
    return lambda: jax.eval_shape(
        lambda: model(params, KEY, inputs, negative, 3.0, INDEX, **options)
    )  # computes nothing


SIZE = networks.ImageSize(np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2)))
test_mistakes_are_refused = refusals(
    (mistake(params={"network": PARAMS["network"]}), "params has no text"),
    (mistake(params={"text": PARAMS["text"]}), "params has no network, autoencoder"),
    (mistake(params={**PARAMS, "text": {}}), "params has no one"),
    (mistake(negative=prompt(1, rows=2)), "unequal numbers of rows"),
    (mistake(sizes=(SIZE, SIZE)), "sizes are for networks that are told the size"),
    (mistake(change=edit(picture()), start=np.zeros((3, *SHAPE), np.float32)), "give one of the two"),
    (mistake(change=edit(picture()[:, :3])), "no multiple of the latents"),
    (mistake(change=edit(picture(), mask()), model=pipeline(diffusion.samplers.pndm())), "sampler without memory"),
    (mistake(pipeline(paints=True)), "this network paints into a picture"),
    (mistake(references=(picture()[0],)), r"\(1 or b, h, w, 3\) is needed"),
    (mistake(references=(np.full((1, 4, 8, 3), 255.0, np.float32),)), "255"),
    (lambda: edit(np.full((1, 4, 8, 3), 9, np.uint8)), "must be a floating array", TypeError),
    (lambda: edit(picture()[0]), r"\(1 or b, h, w, 3\) is needed"),
    (lambda: edit(picture(), mask()[:, :2]), r"\(1 or b, 4, 8, 1\), the size of the picture"),
    (lambda: edit(picture(), 2 * mask()), r"is outside \[0, 1\]"),
    (lambda: handed_over(PIPELINE, 1.0), r"share = 1 is outside \(0, 1\)"),
    (lambda: handed_over(PIPELINE, 0.999, 100.0), "gives 4 to the base: both need at least one"),
    (
        lambda: refined(PIPELINE, PIPELINE, (PARAMS,) * 2, KEY, (PROMPT,) * 2, None, 1.0, INDEX, entry=4),
        r"entry = 4 is outside \[1, 3\]",
    ),
)
