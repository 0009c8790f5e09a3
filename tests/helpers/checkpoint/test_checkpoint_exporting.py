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
    ],
)
def test_what_it_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, tensors, metadata, message) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("old")
    with pytest.raises(CheckpointError, match=message):
        export_weights(tensors, path, metadata)
    assert path.read_text() == "old"
