"""`gendiff tune` on a tiny Llama of bytes: exact masks, three losses, a run that resumes, an adapter that chats."""

import json
import math
import shutil

import jax
import numpy as np
import pytest

from gendiff import language, networks, weights
from gendiff.commands import catalogue, command_line
from gendiff.commands.chat import models
from gendiff.commands.tune import EXPERIMENT, encoded_rows, judge, rewards, rows, train
from gendiff.commands.tune.config import Config
from gendiff.core import trees
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from tests.networks.rig import moved, random_params
from tests.quickly import quickly
from tests.tables import table

pytest.importorskip("tokenizers", reason="needs the extra [language]")

QUIET = Progress(quiet=True)
LLAMA = {
    **{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 257, "hidden_size": 16},
    **{"intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"max_position_embeddings": 128, "tie_word_embeddings": True},
}
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content | trim }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
CONVERSATION = [
    *({"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Yo "}),
    *({"role": "user", "content": "Two?"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "Bye"}),
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    network = networks.LanguageModel(**weights.transformers_llama.network_fields(LLAMA))
    weights.language_models.save(folder, random_params(network, np.zeros((1, 2), np.int32)), LLAMA)
    language.tokens.plain().special_library.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": TEMPLATE, "eos_token": language.tokens.END_OF_TEXT}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def written(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return str(path)


def job(config, tmp_path):
    (tmp_path / "run").mkdir(exist_ok=True)
    return train.prepared(config, RunFolder(tmp_path / "run"), QUIET)


def run(*words):
    return command_line.main(tuple(map(str, words)), catalogue.EXPERIMENTS)


def test_an_answer_and_its_end_count_and_nothing_else(llama, tmp_path):
    others = ({"prompt": f"{word}?", "completion": "1 "} for word in ("One", "Two", "Six"))
    data = written(tmp_path / "rows.jsonl", {"messages": CONVERSATION}, "", *others)
    config = Config(data=data, model=str(llama), batch=1)
    read, chat = rows.read(config), models.opened(str(llama))
    parts = encoded_rows.encoded(config, chat, read)
    lines = [{row.line for row in part} for part in (read.training, read.held_out)]
    assert lines[0] | lines[1] == {1, 3, 4, 5} and not lines[0] & lines[1] and len(read.table) == 5
    texts = set()
    for tokens, weight in (pair for part in parts for pair in zip(part["tokens"], part["weight"], strict=True)):
        prompt, answer = (
            chat.tokenizer.decode(tokens[side & (tokens >= 0)], special=True) for side in (weight == 0, weight == 1)
        )
        texts.add((prompt, answer))
    first = "[user] Hi\n[assistant] "
    assert texts == {
        (first, "Yo<|endoftext|>"),
        (f"{first}Yo<|endoftext|>\n[user] Two?\n[assistant] ", "2<|endoftext|>"),
        *((f"[user] {word}?\n[assistant] ", "1<|endoftext|>") for word in ("One", "Two", "Six")),
    }
    plain = encoded_rows.encoded(Config(data=data, model=str(llama), batch=1, plain=True), chat, read)
    plain_texts = {chat.tokenizer.decode(tokens[tokens >= 0]) for part in plain for tokens in part["tokens"]}
    assert {"One?1 ", "Hi Yo ", "Two?2"} <= plain_texts


@table(
    ("name", "text", "answer", "reward"),
    [
        *[("exact", " 4\n", "4", True), ("exact", "4.", "4", False), ("contains", "It is PARIS.", "Paris", True)],
        *[
            ("contains", "Parisian", "Paris", False),
            ("number", "2 + 2 is 4.0.", "4", True),
            ("number", "no", "4", False),
        ],
        *[
            ("number", "1,200 in all", "1200", True),
            ("number", "it is 1200", "1,200.0", True),
            ("number", "from 4 to 5", "4", False),
        ],
    ],
)
def test_rewards_are_plain_comparisons(name, text, answer, reward):
    assert rewards.REWARDS[name](text, answer) is reward


PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}


@table(
    ("method", "lines", "changes", "message", "error"),
    [
        ("sft", (), {"data": None, "model": "smollm2"}, "--data FILE.jsonl is needed", ConfigError),
        ("sft", (), {"data": "absent.jsonl"}, "absent.jsonl: no such file", DataError),
        ("dpo", [PAIR] * 4, {"model": "smolm2"}, "did you mean", ConfigError),
        ("sft", (PAIR,), {}, "rows.jsonl:1: lacks completion, which --method sft needs", DataError),
        ("sft", (), {"beta": 0.1}, "--beta 0.1 belongs to --method dpo or grpo, not to sft", ConfigError),
        ("sft", (), {"group": 8}, "--group 8 belongs to --method grpo, not to sft", ConfigError),
        ("dpo", (), {"max_tokens": 9}, "--max-tokens 9 belongs to --method grpo, not to dpo", ConfigError),
        ("dpo", (), {"temperature": 0.5}, "--temperature 0.5 belongs to --method grpo", ConfigError),
        ("sft", ("{",), {}, "rows.jsonl:1: ", DataError),
        ("sft", ("[1]",), {}, "must be a JSON object, got list", DataError),
        ("sft", ({"messages": CONVERSATION[:1]},), {}, "messages hold no answer", DataError),
        ("sft", ({"messages": [{"role": "user"}]},), {}, "each of messages needs a text as role", DataError),
        ("dpo", (PAIR | {"rejected": ""},), {}, "rejected must be a text that is not empty", DataError),
        ("dpo", (PAIR,), {}, "holds 1 row: at least 4 are needed", DataError),
        ("dpo", [PAIR] * 4, {}, "--batch 4 is more than the 2 training rows of .*: give --batch 2, or", ConfigError),
        ("grpo", ({"prompt": "a", "answer": "$18", "reward": "number"},), {}, "answer '.18' is no number", DataError),
        ("grpo", ({"prompt": "a", "answer": "b", "reward": "best"},), {}, "reward = 'best' is unknown", DataError),
        (
            "grpo",
            ({"prompt": "a", "answer": "b", "reward": ["best"]},),
            {},
            r"reward = \['best'\] is unknown",
            DataError,
        ),
        ("grpo", ({"prompt": "a", "answer": "b", "reward": "number"},), {}, "answer 'b' is no number", DataError),
        ("grpo", (), {"max_tokens": 512}, "--max-tokens 512 must be below --length 512", ConfigError),
    ],
)
def test_what_cannot_be_learned_is_refused_before_anything_is_loaded(tmp_path, method, lines, changes, message, error):
    data = written(tmp_path / "rows.jsonl", *lines)
    with pytest.raises(error, match=message):
        EXPERIMENT.check(Config(**{"data": data, "method": method, "model": "tiny"} | changes))


def test_rows_and_models_that_do_not_fit_are_refused_by_line_or_option(llama, tmp_path):
    data = written(tmp_path / "rows.jsonl", *[{"prompt": "a" * 60, "completion": "b"}] * 3, PAIR | {"completion": "c"})
    for changes, message in (
        ({"length": 60}, r"rows.jsonl:[123]: the row has \d+ tokens with its answer, and --length is 60"),
        ({"lora": 16}, "--lora 16: rank = 16 does not fit"),
        ({"method": "grpo", "max_tokens": 90}, "lacks answer"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            job(Config(data=data, model=str(llama), batch=1, **changes), tmp_path)
    marked = written(tmp_path / "marked.jsonl", *[{"prompt": "a", "completion": "b<|endoftext|>"}] * 4)
    with pytest.raises(DataError, match=r"marked.jsonl:[1234]: message 1 holds '<\|endoftext\|>'"):
        job(Config(data=marked, model=str(llama), batch=1), tmp_path)
    shutil.copytree(llama, tmp_path / "base")
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    with pytest.raises(ConfigError, match="has no chat template: it goes on with texts, so add --plain"):
        job(Config(data=data, model=str(tmp_path / "base"), batch=1), tmp_path)


@pytest.mark.slow
def test_losses_of_a_fresh_adapter_are_those_of_the_model(llama, tmp_path):
    pairs = written(
        tmp_path / "rows.jsonl", *[PAIR | {"completion": "b", "prompt": word} for word in ("a", "bc", "d", "e")]
    )
    for method in ("sft", "dpo"):
        task = job(Config(data=pairs, model=str(llama), batch=2, method=method, lora=2), tmp_path)
        batch, change = train.with_reference(task, task.training, QUIET), task.init(jax.random.key(0))
        loss, _ = quickly(lambda *arrays, task=task: train.LOSSES[task.config.method](task, *arrays))(
            change, jax.random.key(1), batch, task.chat.params
        )
        if method == "dpo":
            assert math.isclose(loss, math.log(2), rel_tol=1e-5)
            continue
        logits = quickly(networks.pure(task.chat.network))(task.chat.params, batch["tokens"]).logits
        log_p = np.asarray(jax.nn.log_softmax(logits))[:, :-1]
        nll = -np.take_along_axis(log_p, np.maximum(batch["tokens"][:, 1:], 0)[..., None], 2)[..., 0]
        weight = batch["weight"][:, 1:]
        assert math.isclose(loss, (nll * weight).sum() / weight.sum(), rel_tol=1e-5)


@pytest.mark.slow
def test_grpo_learns_from_differences_of_rewards_of_what_it_draws(tmp_path):
    config = Config(method="grpo", model="tiny", lora=2, batch=3, group=8, max_tokens=4)
    task = job(config, tmp_path)
    change, batch = moved(task.init(jax.random.key(0))), {name: array[:3] for name, array in task.training.items()}
    rewarded = []

    def half(task, answers, numbers):
        rewarded.append((np.asarray(numbers), np.asarray(answers)))
        return (np.asarray(answers)[:, 0] % 2).astype(np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "rewarded", half)
        grads, metrics = quickly(
            lambda change, params: jax.grad(
                lambda change: train.grpo(task, change, jax.random.key(1), batch, params), has_aux=True
            )(change)
        )(change, task.chat.params)
    (numbers, answers), *_ = rewarded
    assert numbers.tolist() == np.repeat(batch["row"], 8).tolist() and answers.shape == (24, 4)
    assert float(metrics["score"]) == pytest.approx((answers[:, 0] % 2).mean()) and float(metrics["mismatch"]) < 1e-4
    assert float(metrics["ratio"]) == pytest.approx(1, abs=1e-4)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    texts = np.full((2, 2), -1, np.int32)
    texts[0, 0] = ord(task.rows.table[0].answers[0][0])
    assert train.rewarded(task, texts, np.array([0, 0])).tolist() == [
        float(len(task.rows.table[0].answers[0]) == 1),
        0.0,
    ]


@pytest.mark.slow
def test_grpo_learns_from_a_reward_of_other_code_whose_parameters_are_data(tmp_path):
    config = Config(method="grpo", model="tiny", lora=2, batch=2, group=4, steps=2, max_tokens=3, checkpoint_every=1)

    def score(params, rollout):
        first = rollout.actions[:, 0]
        return params["worth"][first] + rollout.context["row"], {"largest": first.max()}

    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    worth = np.random.default_rng(0).normal(size=300).astype(np.float32)
    train.train(config, folder, QUIET, train.Reward({"worth": worth}, score))
    lines = folder.read_metrics(0)
    assert [line["step"] for line in lines] == [1, 2] and all(0 <= line["largest"] < 300 for line in lines)
    plain = RunFolder(tmp_path / "plain")
    plain.path.mkdir()
    train.train(config, plain, QUIET)
    assert {line["score"] for line in plain.read_metrics(0)} <= {0.0, 1.0}
    assert not {line["score"] for line in lines} <= {0.0, 1.0} and "largest" not in plain.read_metrics(0)[0]


NUMBERS = ("--lora", 2, "--batch", 2, "--steps", 4, "--checkpoint-every", 2, "--learning-rate", 0.05)


@pytest.mark.slow
def test_a_run_learns_resumes_bitwise_and_leaves_an_adapter_that_answers_in_chat(llama, tmp_path, capsys):
    data = written(tmp_path / "rows.jsonl", *({"prompt": f"{n}?", "completion": "yes"} for n in range(10)))
    words = ("tune", data, "--model", llama, *NUMBERS)
    full, halves = tmp_path / "full", tmp_path / "halves"
    assert run(*words, "--out", full) == 0
    outcome = json.loads((full / "results.json").read_text())
    assert [row[0] for row in outcome["tables"][0]["rows"]] == ["loss, held out", "loss, learned from"]
    assert all(row[4][0] < 0 for row in outcome["tables"][0]["rows"]) and outcome["verdict"] == "NONE"
    settings = json.loads((full / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["base_model_name_or_path"]) == (2, 2, str(llama))

    shutil.copytree(full, halves)
    for file in ("results.json", "report.html", "adapter_model.safetensors"):
        (halves / file).unlink()
    shutil.rmtree(halves / "checkpoints" / "seed_0" / "4")
    assert run(*words, "--out", halves) == 0
    assert len({(folder / "adapter_model.safetensors").read_bytes() for folder in (full, halves)}) == 1

    chat, changed = models.opened(str(llama)), models.opened(str(llama), lora=str(full))
    difference = [
        np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (chat.params, changed.params)), strict=True)
    ]
    assert sum(difference) == 4
    question = ("chat", "--model", llama, "--prompt", "3?", "--max-tokens", 4)
    capsys.readouterr()
    assert run(*question, "--lora", full) == 0 and run(*question, "--lora", tmp_path) == 65
    assert "adapter_config.json: no such file" in capsys.readouterr().err
    (halves / "results.json").unlink()
    written(tmp_path / "rows.jsonl", *({"prompt": f"{n}?", "completion": "no"} for n in range(10)))
    assert run(*words, "--out", halves) == 65 and "the rows changed since this run began" in capsys.readouterr().err


@pytest.mark.slow
def test_a_smoke_run_takes_rows_of_ordinary_length(tmp_path):
    written(tmp_path / "rows.jsonl", *({"prompt": f"{n}?", "completion": "no " * 300} for n in range(6)))
    assert run("tune", tmp_path / "rows.jsonl", "--smoke", "--out", tmp_path / "run") == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "grpo"])
def test_a_smoke_run_needs_no_rows_and_no_model(method, tmp_path, capsys):
    assert run("tune", "--smoke", "--method", method, "--out", tmp_path / "run") == 0
    outcome = json.loads((tmp_path / "run" / "results.json").read_text())
    measured = {"dpo": ["accuracy", "loss"], "grpo": ["reward"]}[method]
    assert [row[0] for row in outcome["tables"][0]["rows"]] == [
        f"{name}, {part}" for part in ("held out", "learned from") for name in measured
    ]
    adapter = weights.lora_files.load_adapter(tmp_path / "run", models.adaptable(models.tiny()))
    assert len(trees.paths(adapter)) == 8
    assert run("tune", "--dry-run", "--smoke", "--method", method) == 0
    assert f"{method}, rank 2: 10 rows to learn from and 2 held out, 4 steps of 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)  # 135 million parameters
def test_the_real_model_takes_two_steps(tmp_path):
    try:
        models.located(models.SMOLLM2)
    except ConfigError as error:
        pytest.skip(str(error))
    data = written(
        tmp_path / "rows.jsonl", *({"prompt": f"What is {n} + 1?", "completion": f"{n + 1}"} for n in range(4))
    )
    config = Config(data=data, batch=2, steps=2, learning_rate=1e-3, length=64)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    train.train(config, folder, QUIET)
    (table,) = judge.evaluate(config, folder, QUIET).tables
    assert all(0 < row[3][0] < row[2][0] for row in table.rows)
