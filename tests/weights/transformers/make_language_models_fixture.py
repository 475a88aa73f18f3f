"""Writes language_models_fixture.safetensors: the logits of transformers for the small models of
tiny_language_models.py. Run by hand:

pip install torch transformers
PYTHONPATH=. python tests/weights/transformers/make_language_models_fixture.py
"""

import pathlib
import tempfile

import jax
import torch
import transformers
from safetensors.numpy import save_file

from gendiff import networks
from gendiff.weights import language_models
from tests.weights.transformers import tiny_language_models


def main() -> None:
    tokens, logits = tiny_language_models.TOKENS, {}
    for name, config in tiny_language_models.CONFIGS.items():
        network = networks.LanguageModel(**language_models.module_of(config).network_fields(config))
        shapes = jax.eval_shape(lambda network=network: networks.init(network, jax.random.key(0), tokens))
        with tempfile.TemporaryDirectory() as folder:
            language_models.save(f"{folder}/model", tiny_language_models.random_params(shapes), config)
            model = (
                transformers.AutoModelForCausalLM.from_pretrained(f"{folder}/model", attn_implementation="eager")
                .double()
                .eval()
            )
            with torch.inference_mode():
                logits[name] = model(torch.tensor(tokens).long()).logits.float().numpy()
    about = {"made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, float64"}
    save_file(logits, pathlib.Path(__file__).with_name("language_models_fixture.safetensors"), metadata=about)


if __name__ == "__main__":
    main()
