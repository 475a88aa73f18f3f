import itertools
import os
import re
import shutil
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.core.errors import CheckpointMismatchError, ConfigError, DataError
from gendiff.training import failed_saves
from gendiff.training.checkpoints import Checkpoints
from tests.tables import table
from tests.training import linear

CONFIG = {"model": {"width": 8, "heads": [1, 2]}, "run": {"steps": 100}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the steps 2 and 4 of a run, not to be changed."""
    return linear.written(tmp_path_factory.mktemp("checkpoints"), config=CONFIG)


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


restore = linear.restore


def test_run_resumed_from_a_checkpoint_equals_an_uninterrupted_one_bitwise(written):
    full = linear.train(linear.start(), 0, 7)
    for step in (2, 4):
        restored = restore(written, step, target=linear.start(seed=9) if step == 2 else jax.eval_shape(linear.start))
        assert restored.step == int(restored.state.step) == step and restored.meta == {"rows": step}
        linear.assert_bitwise_equal(linear.train(restored.state, step, 7), full)


def test_state_donated_while_it_is_being_written_is_stored_as_it_was(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    tree = step({str(n): jnp.zeros((256, 1024)) for n in range(4)})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree)
        for _ in range(20):
            tree = step(tree)
        restored = checkpoints.restore(1, jax.eval_shape(lambda: tree))
    assert all(np.all(np.asarray(leaf) == 1) for leaf in restored.state.values())


def test_any_tree_comes_back_odd_names_and_empty_arrays_included(tmp_path):
    tree = {
        "a.b/c": jnp.arange(6.0).reshape(2, 3),
        "bf16": jnp.array([1.5, jnp.nan], jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
        "list": [jnp.int32(3), (), None, jnp.array(True)],
        "keys": jax.random.split(jax.random.key(1), 3),
        0.5: np.float32([2.0]),
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"tree": [tree[name] for name in tree]})
        back = checkpoints.restore(None, {"tree": [tree[name] for name in tree]}).state["tree"]
    for old, new in zip(jax.tree.leaves(list(tree.values())), jax.tree.leaves(back), strict=True):
        old, new = (
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
            for leaf in (old, new)
        )
        assert old.dtype == new.dtype and np.asarray(old).tobytes() == np.asarray(new).tobytes()


def test_numpy_arrays_and_scalars_stay_numpy_of_their_dtype_with_or_without_64_bits(tmp_path):
    state = {
        "ids": np.array([2**40, -3]),
        "double": np.array([1 / 3, np.pi]),
        "count": np.int64(2**50),
        "empty": np.zeros((0, 3)),
        "half": np.array([1.5], jnp.bfloat16),
        "jax": jnp.ones(2),
        "number": 3,
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for target in (
            state,
            jax.tree.map(lambda leaf: np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else leaf, state),
        ):
            back = checkpoints.restore(1, target).state
            assert {name: type(leaf) for name, leaf in back.items() if name in ("ids", "count", "jax")} == {
                "ids": np.ndarray,
                "count": np.int64,
                "jax": type(state["jax"]),
            }
            for name, leaf in state.items():
                assert (
                    back[name].dtype == jnp.asarray(leaf).dtype
                    if name in ("jax", "number")
                    else back[name].dtype == leaf.dtype
                ), name
                np.testing.assert_array_equal(back[name], leaf)
        flat = checkpoints.restore(1, checkpoints.contents()).state
        assert flat["ids"].tolist() == [2**40, -3] and flat["double"].dtype == np.float64
        with pytest.raises(CheckpointMismatchError, match=r"ids +int64\(2\) +int32\(2\)"):
            checkpoints.restore(1, state | {"ids": jnp.zeros(2, jnp.int32)})


@table(
    "leaf, message", [(2**40, "does not fit int32"), ("words", "str"), (np.array(["a"]), "<U1"), (object(), "object")]
)
def test_a_leaf_that_cannot_come_back_is_refused_by_name(tmp_path, leaf, message):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ConfigError, match=rf"leaf 'a/b'.*{message}"):
        checkpoints.save(1, {"a": {"b": leaf}})
    assert os.listdir(tmp_path) == []


def test_only_the_newest_stay_and_multiples_for_ever_in_a_folder_given_by_its_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints("here", keep=2, keep_every=4, every=2) as checkpoints:
        saved = [step for step in range(1, 15) if checkpoints.save(step, {"w": jnp.full(2, step)})]
        assert saved == [2, 4, 6, 8, 10, 12, 14]
        checkpoints.wait()
        assert checkpoints.steps() == [4, 8, 12, 14] and checkpoints.latest() == 14
    assert checkpoints.path == tmp_path / "here" and (tmp_path / "here" / "14").is_dir()


@pytest.mark.fault("script ends right after a save")
def test_leaving_the_context_saves_the_newest_state_that_was_declined(tmp_path):
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path, every=4) as checkpoints:
        for step in range(4, 7):
            saving = checkpoints.save(step, {"w": jnp.full(2, step)}, {"step": step})
            assert saving.begun == (step == 4) and (saving.begun or "every = 4" in saving.reason)
        raise KeyboardInterrupt
    restored = restore(tmp_path, target={"w": jnp.zeros(2, int)})
    assert restored.step == restored.meta["step"] == 6 and np.all(restored.state["w"] == 6)


def test_a_declined_state_that_was_donated_is_not_saved_and_a_warning_says_so(tmp_path):
    state = jnp.ones(2)
    with pytest.warns(UserWarning, match="step 1 is not saved.*donated"), Checkpoints(tmp_path, every=4) as checkpoints:
        checkpoints.save(1, {"w": state})
        state.delete()
    assert os.listdir(tmp_path) == []


def test_a_part_of_the_state_is_restored_without_the_rest(written):
    with Checkpoints(written, read_only=True) as reader:
        full = reader.restore(4, linear.start()).state
        part = reader.restore_subtree(None, "tracks/0.5", jax.eval_shape(linear.params))
        flat = reader.restore(2, reader.contents(2)).state
        with pytest.raises(
            CheckpointMismatchError, match=r"1 difference\).*\n.*\n +tracks/0.5/dense/bias +float32\(2\) +bfloat16\(2\)"
        ):
            reader.restore_subtree(
                4, "tracks/0.5", {"dense": linear.params()["dense"] | {"bias": jnp.zeros(2, jnp.bfloat16)}}
            )
        with pytest.raises(DataError, match="nothing at 'tracks/0.99': it begins with key, optimizer_state, params"):
            reader.restore_subtree(4, "tracks/0.99", linear.params())
    assert part.step == 4 and part.meta == {"rows": 4}
    jax.tree.map(np.testing.assert_array_equal, part.state, full.tracks[0.5])
    assert int(flat["step"]) == 2 and jnp.issubdtype(flat["key"].dtype, jax.dtypes.prng_key)


def test_forced_save_ignores_the_interval_and_a_stored_step_or_two_leaves_of_one_path_are_not_written(tmp_path):
    with Checkpoints(tmp_path, every=100) as checkpoints:
        assert checkpoints.save(7, {"w": jnp.ones(1)}, force=True)
        assert not checkpoints.save(7, {"w": jnp.zeros(1)}, force=True)
        assert checkpoints.restore(7, {"w": jnp.ones(1)}).state["w"] == 1
        with pytest.raises(ConfigError, match="discard_after"):
            checkpoints.save(5, {"w": jnp.ones(1)}, force=True)
        with pytest.raises(ConfigError, match="same path"):
            checkpoints.save(8, {"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)}, force=True)


@table("last, stored", [(2, [2]), (3, [2, 3])])
def test_what_is_newer_than_the_step_that_a_run_goes_back_to_is_not_saved_at_the_end(tmp_path, last, stored):
    with Checkpoints(tmp_path, every=2) as checkpoints:
        assert checkpoints.save(2, {"w": jnp.ones(1)})
        assert not checkpoints.save(3, {"w": jnp.zeros(1)})
        checkpoints.discard_after(last)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == stored


@pytest.mark.fault("kill -9 during save")
@table("order", itertools.permutations(range(3)))
def test_saves_that_end_in_any_order_leave_the_hook_of_before(order, monkeypatch):
    """Of objects that are freed; several stores may save at once."""
    received = []
    monkeypatch.setattr(sys, "unraisablehook", received.append)
    before, stores = sys.unraisablehook, [failed_saves.Quiet() for _ in range(3)]
    closed, other = (types.SimpleNamespace(exc_value=RuntimeError(text)) for text in ("Event loop is closed", "other"))
    for _ in range(2):
        for store in stores:
            store.begin()
        for number in order:
            sys.unraisablehook(closed), sys.unraisablehook(other)
            stores[number].end()
        assert sys.unraisablehook == before and received == [other] * 3
        sys.unraisablehook(closed)
        assert received.pop() is closed
        received.clear()


def test_unfinished_folders_are_no_steps_and_the_next_writer_removes_them(folder):
    unfinished = shutil.copytree(folder / "4", folder / "6.orbax-checkpoint-tmp")
    assert restore(folder, read_only=True).step == 4 and unfinished.exists()
    with Checkpoints(folder) as writer:
        assert writer.latest() == 4
        writer.save(6, linear.start())
    assert not unfinished.exists()


def table_of(path, **options):
    """The rows of the refusal to restore step 4, by their first word."""
    with pytest.raises(CheckpointMismatchError, match="step 4") as raised:
        restore(path, 4, **options)
    return {line.split()[0]: re.split(r" {2,}", line.strip())[1:] for line in str(raised.value).splitlines()[2:]}


@pytest.mark.fault("other shape, structure or dtype on restore")
def test_mismatch_of_the_target_is_a_table_of_every_path(written):
    dense = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(2, jnp.bfloat16), "extra": jnp.zeros(1)}
    rows = table_of(written, target=records.replace(linear.start(ema=(0.9, 0.25)), params={"dense": dense}))
    assert rows == {
        "params/dense/kernel": ["float32(3, 2)", "float32(3, 4)"],
        "params/dense/bias": ["float32(2)", "bfloat16(2)"],
        "params/dense/extra": ["-", "float32(1)"],
        "tracks/0.5/dense/kernel": ["float32(3, 2)", "-"],
        "tracks/0.5/dense/bias": ["float32(2)", "-"],
        "tracks/0.25/dense/kernel": ["-", "float32(3, 2)"],
        "tracks/0.25/dense/bias": ["-", "float32(2)"],
    }


@pytest.mark.fault("other shape, structure or dtype on restore")
def test_floats_change_their_width_only_when_asked(tmp_path):
    target = {"w": jnp.zeros(2, jnp.bfloat16), "n": jnp.int32(0)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.array([1.001, 2.0]), "n": jnp.int32(3)})
        with pytest.raises(CheckpointMismatchError, match="bfloat16"):
            checkpoints.restore(1, target)
        cast = checkpoints.restore(1, target, cast=True).state
        with pytest.raises(CheckpointMismatchError, match="int32"):
            checkpoints.restore(1, {"w": jnp.zeros(2), "n": jnp.float32(0)}, cast=True)
    assert cast["w"].dtype == jnp.bfloat16 and int(cast["n"]) == 3
    np.testing.assert_array_equal(cast["w"], jnp.array([1.001, 2.0]).astype(jnp.bfloat16))


@pytest.mark.fault("other config on restore")
def test_other_configuration_is_a_table_of_every_key(written):
    rows = table_of(written, config={"model": {"width": 16, "heads": (1, 3), "depth": 2}, "run": {"steps": 100}})
    assert list(rows) == ["model.depth", "model.heads", "model.width"]
    assert rows["model.depth"] == ["-", "2"] and rows["model.width"] == ["8", "16"]
    # a tuple is a list
    assert restore(written, 4, config={"run": {"steps": 100}, "model": {"heads": (1, 2), "width": 8}}).step == 4


@pytest.mark.fault("other config on restore")
def test_settings_that_may_differ_only_warn(written):
    longer = CONFIG | {"run": {"steps": 200}}
    with pytest.warns(UserWarning, match=r"run\.steps +100 +200"):
        assert restore(written, 4, config=longer, may_differ=("run",)).step == 4
    with pytest.raises(CheckpointMismatchError, match=r"run\.steps"):
        restore(written, 4, config=longer, may_differ=("ru",))


@table("options", [{"keep": 0}, {"every": 0}, {"keep_every": True}, {"keep": 1.5}, {"config": {"dtype": jnp.float32}}])
def test_settings_out_of_range_are_refused_with_their_name(tmp_path, options):
    with pytest.raises((ConfigError, TypeError), match=next(iter(options))):
        Checkpoints(tmp_path, **options)


def test_a_path_or_step_that_is_not_there_is_refused(written, tmp_path):
    (tmp_path / "file").write_text("")
    for path, options, error, message in (
        (tmp_path / "file", {}, ConfigError, "is a file"),
        ("gs://bucket/run", {}, ConfigError, "URL"),
        (tmp_path / "absent", {"read_only": True}, DataError, "does not exist"),
        (written, {"step": 3}, DataError, r"step 3 is not stored; stored are \[2, 4\]"),
        (tmp_path / "empty", {}, DataError, "no step"),
    ):
        with pytest.raises(error, match=message):
            restore(path, **options)
    assert not (tmp_path / "absent").exists()


def test_reader_can_neither_save_nor_delete(written):
    with Checkpoints(written, read_only=True) as reader:
        for act in (lambda: reader.save(9, linear.start()), lambda: reader.discard_after(0)):
            with pytest.raises(ConfigError, match="read_only"):
                act()
    assert sorted(os.listdir(written)) == ["2", "4"]
