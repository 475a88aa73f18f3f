"""An old name of a module gives what the new one gives, with a warning."""

import pytest

from gendiff.core.renamed import renamed, renamed_function, renamed_keywords


def test_an_old_name_warns_and_gives_the_value_of_the_new_one():
    getattr_of_module = renamed("lora", {"whole": ("lora.apply", max)})
    with pytest.warns(DeprecationWarning, match=r"lora.whole is now lora.apply; the old name goes in the next version"):
        assert getattr_of_module("whole") is max
    with pytest.raises(AttributeError, match="module 'lora' has no attribute 'other'"):
        getattr_of_module("other")


def test_an_old_keyword_warns_and_is_the_new_one():
    @renamed_keywords(made="maker")
    def convert(array, *, maker=None):
        return array, maker

    with pytest.warns(DeprecationWarning, match="convert: made= is now maker="):
        assert convert(1, made=max) == (1, max)
    assert convert(1, maker=max) == (1, max)


def test_an_old_function_warns_and_calls_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"Multimodal.draw is now max; the old name"):
        assert renamed_function("Multimodal.draw", max)(1, 2) == 2
