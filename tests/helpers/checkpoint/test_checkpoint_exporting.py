"""`export_weights`: what others read is what was trained."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from helpers.checkpoint import CheckpointError, export_weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.out.weight = self.embed.weight


def test_tied_weights_are_written_under_each_name_and_load_strictly(tmp_path) -> None:
    model, other = Tied(), Tied()
    path = export_weights(model, tmp_path / "a.safetensors", {"licence": "MIT"})
    found = load_file(path)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    other.load_state_dict(found, strict=True)
    assert torch.equal(other.out.weight, model.embed.weight)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"licence": "MIT"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_views_and_strides(tmp_path) -> None:
    whole = torch.randn(4, 6)
    tensors = {"t": whole.t(), "rows": whole[1:3], "whole": whole, "wide": torch.ones(1, 2).expand(3, 2)}
    found = load_file(export_weights(tensors, tmp_path / "a.safetensors"))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert whole.t().stride() == tensors["t"].stride()


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"a": 3}, None, "'a' is a int"),
        ({"a": torch.ones(3).to_sparse()}, None, "'a' is a torch.sparse_coo tensor"),
        ({"a": torch.ones(3, device="meta")}, None, "'a' is on the meta device"),
        ({"a": torch.ones(3)}, {"epoch": 3}, "'epoch' is a int"),
        ({"a": torch.ones(3)}, "MIT", "metadata is a str"),
        (
            {"a": torch.ones(3, dtype=torch.complex128)},
            None,
            "'a' is torch.complex128, which safetensors does not have",
        ),
        (
            {"b": torch.ones(3), "__metadata__": torch.ones(2)},
            None,
            "'__metadata__' is the name that safetensors keeps",
        ),
        ({3: torch.ones(3)}, None, "3 is a Tensor; safetensors takes tensors by name"),
        ({"\ud800": torch.ones(3)}, None, r"a.safetensors cannot be written"),
        ({}, None, "there are no tensors to write"),
        ([torch.ones(3)], None, "the weights are a list"),
        (nn.ReLU(), None, "there are no tensors to write"),
        (nn.Linear(2, 3, device="meta"), None, "'weight' is on the meta device"),
    ],
)
def test_what_it_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, tensors, metadata, message) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("old")
    with pytest.raises(CheckpointError, match=message):
        export_weights(tensors, path, metadata)
    assert path.read_text() == "old"


def test_conjugated_and_negated_numbers_are_those_that_are_seen(tmp_path) -> None:
    base = torch.tensor([1 + 2j, 3 - 4j, -5j], dtype=torch.complex64)
    tensors = {"conj": base.conj(), "neg": base.conj().imag, "base": base}
    assert tensors["conj"].is_conj()
    assert tensors["neg"].is_neg()
    found = load_file(export_weights(tensors, tmp_path / "a.safetensors"))
    assert found["conj"].tolist() == [1 - 2j, 3 + 4j, 5j]
    assert found["neg"].tolist() == [-2, 4, 5]
    assert found["base"].tolist() == [1 + 2j, 3 - 4j, -5j]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.uint16, torch.bool])
def test_every_dtype_that_it_has_comes_back_bit_by_bit(tmp_path, dtype) -> None:
    tensor = torch.tensor([0.0, 1.0, 1.0]).to(dtype)
    found = load_file(export_weights({"a": tensor}, tmp_path / "a.safetensors"))["a"]
    assert found.dtype == dtype
    assert torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda model: torch.compile(nn.DataParallel(model))])
def test_of_a_wrapped_model_the_names_are_those_of_what_was_wrapped(tmp_path, wrap) -> None:
    model = nn.ModuleDict({"module": nn.Linear(2, 3), "out": torch.compile(nn.Linear(3, 4))})
    found = load_file(export_weights(wrap(model), tmp_path / "a.safetensors"))
    assert sorted(found) == ["module.bias", "module.weight", "out.bias", "out.weight"]
    assert torch.equal(found["module.weight"], model["module"].weight)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_numbers_are_refused_and_the_old_file_stays(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("old")
    with pytest.raises(CheckpointError, match=r"'a' is quantized: .*dequantize"):
        export_weights({"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, path)
    assert path.read_text() == "old"
