"""Every sampler by its name draws with real transformers of folders, and a sample does not depend on its neighbours."""

import jax
import numpy as np
import pytest

from gendiff.commands import drawing_options, drawing_programs
from gendiff.pipelines.stable_diffusion import open_model
from tests.pipelines.stable_diffusion import tiny_folders
from tests.quickly import quickly

pytest.importorskip("tokenizers", reason="needs the extra [text]")

SOME = ("dpm_solver_multistep-2", "ddpm", "heun")
"""One with memory, one that draws noise, one that asks the network twice: these are drawn alone, too."""
NAMES = {"flux": drawing_options.SAMPLERS, "sd3": SOME, "flux_2": SOME, "z_image": SOME}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_samplers_draw_finite_latents_that_do_not_depend_on_their_neighbours(tmp_path, name):
    model = open_model(tiny_folders.write(tmp_path, name))
    params, key = jax.device_put(model.params()), jax.random.key(0)
    condition, _ = quickly(lambda params: model.pipeline(1, 8, 8).conditions(params, model.prompt("cat"), None))(params)
    for sampler in NAMES[name]:
        chosen = drawing_programs.sampler(sampler, None, model.scheduler.schedule)
        pipeline = model.latent(3, 8, 8, sampler=chosen)
        draw = quickly(lambda index, pipeline=pipeline: pipeline.latents(params, key, condition, None, 2.0, index))
        both, other = (np.asarray(draw(np.int32(index))) for index in ([3, 17], [17, 5]))
        alone = np.asarray(draw(np.int32([17]))) if sampler in SOME else other  # which is another program
        assert np.isfinite(both).all() and np.abs(both[0] - both[1]).max() > 0.1, sampler
        for again in (other, alone):
            np.testing.assert_allclose(again[0], both[1], atol=1e-5 * max(1, np.abs(both).max()), err_msg=sampler)
