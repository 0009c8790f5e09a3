"""`explain` for all of torchvision's detectors and segmentation networks, with another number of classes."""

import pytest
import torch
import torchvision
from torch import nn

from helpers.state_dict import explain

MODELS = torchvision.models
NAMES = [*MODELS.list_models(module=MODELS.detection), *MODELS.list_models(module=MODELS.segmentation)]


def build(name: str, classes: int) -> nn.Module:
    return MODELS.get_model(name, weights=None, weights_backbone=None, num_classes=classes)


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_classes_is_named_and_all_else_is_loaded(name) -> None:
    source, model = build(name, 23), build(name, 7)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    explanation = explain(model, {f"module.{key}": tensor for key, tensor in source.state_dict().items()})
    assert len(explanation.causes) == 2
    assert "'module.' in front" in explanation.causes[0]
    assert "Another number of classes: 23 in the checkpoint, 7 in the model" in explanation.causes[1]
    given = {f"module.{key}": tensor for key, tensor in source.state_dict().items()}
    exec(explanation.fix, {"model": model, "state_dict": given})
    for key, tensor in model.state_dict().items():
        same = source.state_dict()[key].shape == tensor.shape
        assert torch.equal(tensor, source.state_dict()[key] if same else before[key])
