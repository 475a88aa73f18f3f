"""What the field calls a thing is found by one grep and by one search of the site."""

import ast
import functools
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORMULAS = {
    "DDIM": "gendiff/diffusion/samplers/ancestral.py",
    "CFG": "gendiff/diffusion/guidance/classifier_free.py",
    "UniPC": "gendiff/diffusion/samplers/unipc.py",
    "v-prediction": "gendiff/diffusion/parameterization.py",
    "min-SNR": "gendiff/diffusion/weighting.py",
    "RoPE": "gendiff/networks/layers/rotary.py",
    "GQA": "gendiff/networks/layers/attention.py",
    "DPO": "gendiff/preferences/direct.py",
    "GRPO": "gendiff/preferences/advantages.py",
    "R3GAN": "gendiff/networks/adversarial/r3gan.py",
    "Chinchilla": "gendiff/scaling/fits/parametric.py",
    "tree-ring": "gendiff/provenance/image_watermarks.py",
    "FID": "gendiff/metrics/frechet.py",
    "LoRA": "gendiff/networks/lora.py",
}
"""Word -> the file that has the formula."""
TERMS = (
    *("batch size", "KV cache", "grouped-query attention", "mixed precision", "gradient checkpointing"),
    *("tensor parallelism", "nucleus", "fine-tuning", "ablation", "hyperparameter", "overfitting", "RLHF"),
    *("self-consistency", "chain of thought", "DeepCache", "early stopping", "gradient accumulation"),
)


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@functools.cache
def docstrings_by_file():
    return {str(path.relative_to(ROOT)): "\n".join(docstrings(path)) for path in sorted(ROOT.glob("gendiff/**/*.py"))}


PAGE = (ROOT / "experiments/documentation/pages/words.md").read_text()


def test_the_docstrings_of_a_formula_name_it_as_the_field_does():
    texts = docstrings_by_file()
    assert not [f"{file}: {word}" for word, file in FORMULAS.items() if word.lower() not in texts[file].lower()]


def test_the_page_of_words_has_every_term_and_its_names_exist():
    assert not [term for term in (*FORMULAS, *TERMS) if term.lower() not in PAGE.lower()]
    for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", PAGE):
        module, *rest = name.split(".")
        value = importlib.import_module(f"gendiff.{module}")
        for part in rest:
            value = getattr(value, part, None) or importlib.import_module(f"{value.__name__}.{part}")


def test_a_docstring_has_every_term_of_the_field():
    code = " ".join("\n".join(docstrings_by_file().values()).split()).lower()
    assert not [term for term in TERMS if term.lower() not in code]
