"""Files that torch itself saves, in both forms, are read number for number without torch."""

import numpy as np
import pytest

from gendiff.weights import torch_archive

torch = pytest.importorskip("torch", reason="needs torch: make test-peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours


def entries():
    """Every type that is read, views of one storage, parameters, and the state of modules with its versions."""
    base = torch.arange(24.0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    types = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
    views = {"turned": base.view(4, 6).t(), "part": base[3:9:2], "empty": torch.zeros(0, 3), "one": torch.tensor(4)}
    parameter = {"parameter": torch.nn.Parameter(torch.randn(3, 2))}
    return model.state_dict() | views | parameter | {str(kind): torch.tensor([0, 1, 3]).to(kind) for kind in types}


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "older form"])
def test_what_torch_saves_comes_back(tmp_path, archive):
    there, file = entries(), tmp_path / "model.pth"
    torch.save(there, file, _use_new_zipfile_serialization=archive)
    here = torch_archive.load(file)
    assert list(here) == list(there)
    for name, tensor in there.items():
        assert str(here[name].dtype) == str(tensor.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(here[name].astype(np.float64), tensor.detach().double().numpy())
    torch.save({"state_dict": there, "epoch": 3}, file, _use_new_zipfile_serialization=archive)
    assert list(torch_archive.load(file, "state_dict")) == list(there)


@pytest.mark.parametrize(
    "content",
    [torch.nn.Linear(2, 3), torch.zeros(1).expand(5), torch.zeros(3).to_sparse()],
    ids=["module", "expanded", "sparse"],
)
def test_modules_and_tensors_that_are_not_read_are_refused(tmp_path, content):
    torch.save({"x": content}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="it names|does not lie in its storage"):
        torch_archive.load(tmp_path / "x.pth")
