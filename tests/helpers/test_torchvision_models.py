"""The first conv and the head of every model of torchvision that classifies, segments or detects.

Mostly on shapes alone. Each run of a model takes up to a second even so. Therefore both surgeries are done to the same
one, and channels alternate between fewer and more, so that most kinds of networks meet both. For segmentation and
detection, what torchvision itself builds for so many classes says what is right.
"""

import itertools
from typing import Any

import pytest
import torch
import torchvision
from every_model import NAMES, case, family
from torch import nn
from torch.overrides import TorchFunctionMode

from helpers.first_conv import FirstConvError, adapt_conv, adapt_first_conv
from helpers.heads import HeadError, find_head, find_heads, replace_head, resize_head


class WithoutMemory(TorchFunctionMode):
    """Parameters go to the meta device. All else stays, for RegNet computes with tensors while it is built."""

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        return function(*args, **(kwargs or {}) | ({"device": "meta"} if function is torch.empty else {}))


def build(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with WithoutMemory():
        return torchvision.models.get_model(name, weights=None, **options)


def output_shape(model: nn.Module, *shape: int) -> torch.Size:
    tensors = {key: t.to("meta") for key, t in [*model.named_parameters(), *model.named_buffers()]}
    return torch.func.functional_call(model.eval(), tensors, (torch.zeros(shape, device="meta"),)).shape


@pytest.mark.parametrize(("name", "in_channels"), list(map(case, NAMES, itertools.cycle((1, 12)))))
def test_every_model_takes_other_channels_and_classes(name, in_channels) -> None:
    model = build(name)
    before = {key: (tensor, tensor._version) for key, tensor in model.named_parameters()}
    heads = replace_head(model, 7)
    first = adapt_first_conv(model, in_channels, "tile")
    layer, kernels = model.get_submodule(first), before[f"{first}.weight"][0].shape
    assert layer.weight.shape == (kernels[0], in_channels, *kernels[2:])
    assert output_shape(model, 2, in_channels, 224, 224) == (2, 7)
    changed = {f"{first}.weight", *(f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias"))}
    assert before.keys() == dict(model.named_parameters()).keys()
    for key, tensor in model.named_parameters():
        assert (tensor is before[key][0] and tensor._version == before[key][1]) != (key in changed)
    # with real numbers in that conv, and in that alone
    layer.weight, layer.in_channels = nn.Parameter(torch.randn(kernels)), 3
    layer.bias = None if layer.bias is None else nn.Parameter(torch.randn(layer.bias.shape))
    grey = torch.randn(2, 1, 33, 47)
    expected = layer(grey.expand(-1, 3, -1, -1))
    adapt_conv(layer, 1, "sum")
    torch.testing.assert_close(layer(grey), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_auxiliary_classifiers_are_heads() -> None:
    assert set(find_heads(build("inception_v3"))) == {"fc", "AuxLogits.fc"}
    assert set(find_heads(build("googlenet"))) == {"fc", "aux1.fc2", "aux2.fc2"}
    assert find_head(build("googlenet"))[0] == "fc"


def test_an_auxiliary_head_is_found_with_an_example_of_one() -> None:
    model = build("inception_v3")
    assert set(replace_head(model, 10, example=torch.zeros(1, 3, 299, 299))) == {"fc", "AuxLogits.fc"}


SEGMENTATION = torchvision.models.list_models(module=torchvision.models.segmentation)
DETECTION = torchvision.models.list_models(module=torchvision.models.detection)
CLASS_HEADS = {
    "fasterrcnn": "roi_heads.box_predictor",
    "keypointrcnn": "roi_heads.box_predictor",
    "maskrcnn": ["roi_heads.box_predictor", "roi_heads.mask_predictor"],
    "fcos": "head.classification_head",
    "retinanet": "head.classification_head",
    "ssd": "head.classification_head",
    "ssdlite": "head.classification_head",
}


def build_dense(name: str, **options: Any) -> nn.Module:
    """On `meta`; with an auxiliary head, where a segmentation model can have one."""
    if name in SEGMENTATION and not name.startswith("lraspp"):
        options["aux_loss"] = True
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, weights_backbone=None, **options)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in model.state_dict().items()}


def numbers(model: nn.Module) -> dict[tuple[str, str], int]:
    """All whole numbers that its modules keep."""
    return {
        (name, attribute): value
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if type(value) is int
    }


def changed(model: nn.Module, before: dict[str, nn.Parameter]) -> set[str]:
    return {key for key, parameter in model.named_parameters() if parameter is not before[key]}


@pytest.mark.parametrize("name", SEGMENTATION)
def test_every_segmentation_model_takes_other_classes(name) -> None:
    model, expected = build_dense(name), build_dense(name, num_classes=7)
    before = dict(model.named_parameters())
    heads = replace_head(model, 7)
    assert (shapes(model), numbers(model)) == (shapes(expected), numbers(expected))
    assert changed(model, before) == {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}
    assert len(heads) == 2  # DeepLab and FCN have an auxiliary head, LR-ASPP has two that are added
    first = adapt_first_conv(model, 4)
    assert model.get_submodule(first).weight.shape[1] == 4
    with torch.no_grad():
        images = torch.zeros(2, 4, 64, 96, device="meta")
        assert {out.shape for out in model(images).values()} == {(2, 7, 64, 96)}


@pytest.mark.parametrize("name", DETECTION)
def test_every_detector_takes_other_classes(name) -> None:
    model, expected = build_dense(name), build_dense(name, num_classes=7)
    before, all_numbers = dict(model.named_parameters()), numbers(model)
    with pytest.raises(HeadError, match=r"heads have different numbers of outputs: .*choose with `heads` those"):
        replace_head(model, 7)
    assert changed(model, before) == set()
    assert numbers(model) == all_numbers
    heads = replace_head(model, 7, heads=CLASS_HEADS[family(name)])
    assert (shapes(model), numbers(model)) == (shapes(expected), numbers(expected))
    assert changed(model, before) == {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("fasterrcnn_resnet50_fpn", {"roi_heads.box_predictor.cls_score": 7, "roi_heads.box_predictor.bbox_pred": 28}),
        ("retinanet_resnet50_fpn", {"head.classification_head.cls_logits": 9 * 7}),
        ("fcos_resnet50_fpn", {"head.classification_head.cls_logits": 7}),
        (
            "ssd300_vgg16",
            {f"head.classification_head.module_list.{i}": n * 7 for i, n in enumerate((4, 6, 6, 6, 4, 4))},
        ),
    ],
)
def test_numbers_of_outputs_can_be_told_one_by_one(name, heads) -> None:
    model, expected = build_dense(name), build_dense(name, num_classes=7)
    assert replace_head(model, 7, heads=heads) == tuple(heads)
    assert (shapes(model), numbers(model)) == (shapes(expected), numbers(expected))


@pytest.mark.parametrize(
    "heads",
    [
        "roi_heads.box_predictor",  # and the masks?
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.mask_predictor",
        {"roi_heads.box_predictor.cls_score": 7},
    ],
)
def test_half_of_what_belongs_to_the_classes_is_refused(heads) -> None:
    """Such a Mask R-CNN would run, and give the boxes and masks of other classes."""
    model = build_dense("maskrcnn_resnet50_fpn")
    before = dict(model.named_parameters())
    with pytest.raises(HeadError, match="may belong to the same classes as"):
        replace_head(model, 7, heads=heads)
    assert changed(model, before) == set()


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "ssd300_vgg16", "fcos_resnet50_fpn"])
def test_classes_and_boxes_together_are_refused(name) -> None:
    model = build_dense(name)
    before, all_numbers = dict(model.named_parameters()), numbers(model)
    with pytest.raises(HeadError, match="do not count the same classes"):
        replace_head(model, 7, heads="head")
    assert changed(model, before) == set()
    assert numbers(model) == all_numbers


SIZE = 64
QUICK = {
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
}


@pytest.mark.parametrize(
    ("name", "in_channels"),
    [
        pytest.param(name, channels, marks=[] if name in QUICK else pytest.mark.long)
        for name, channels in zip(DETECTION, itertools.cycle((1, 4)))
    ],
)
def test_detectors_run_and_train_with_other_channels_and_classes(name, in_channels) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None).train()
    first = adapt_first_conv(model, 3)
    weight = model.get_submodule(first).weight
    with pytest.raises(FirstConvError, match=r"'transform' normalises 3 channels\. Say first how") as caught:
        adapt_first_conv(model, in_channels)
    assert model.get_submodule(first).weight is weight
    exec(str(caught.value).split("`")[1], {"model": model})
    assert adapt_first_conv(model, in_channels) == first
    replace_head(model, 7, heads=CLASS_HEADS[family(name)])
    if model.transform.fixed_size is None:
        model.transform.min_size, model.transform.max_size = (SIZE,), 96
    chooser = model.roi_heads if hasattr(model, "roi_heads") else model
    chooser.detections_per_img = 5
    images = list(torch.rand(2, in_channels, SIZE, SIZE))
    target = {"boxes": torch.tensor([[2.0, 3, 40, 30]]), "labels": torch.tensor([6])}
    target |= {"masks": torch.ones(1, SIZE, SIZE, dtype=torch.uint8), "keypoints": torch.ones(1, 17, 3)}
    losses = model(images, [target, target])
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        found = model.eval()(images)
    assert all(len(result["boxes"]) == 5 and result["labels"].max() < 7 for result in found)


def test_the_classes_that_a_detector_keeps_are_those_it_had() -> None:
    """Rows are outputs in `resize_head`, and a detector of stages has the four of a class beside each other."""
    torch.manual_seed(0)
    model = torchvision.models.get_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights=None, weights_backbone=None)
    with pytest.raises(HeadError, match=r"keep counts classes, and 'roi_heads\.box_predictor\.bbox_pred' gets 28"):
        replace_head(model, 7, keep=[0, 17], heads="roi_heads.box_predictor")
    predictor, features, kept = model.roi_heads.box_predictor, torch.rand(5, 1024), {0: 0, 6: 17}
    scores, boxes = predictor(features)
    resize_head(predictor.cls_score, 7, kept)
    resize_head(predictor.bbox_pred, 28, {4 * new + i: 4 * old + i for new, old in kept.items() for i in range(4)})
    new_scores, new_boxes = predictor(features)
    torch.testing.assert_close(new_scores[:, [0, 6]], scores[:, [0, 17]])
    torch.testing.assert_close(new_boxes.view(5, 7, 4)[:, [0, 6]], boxes.view(5, 91, 4)[:, [0, 17]])
