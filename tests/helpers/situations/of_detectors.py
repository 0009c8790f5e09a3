"""Detectors and other networks with several heads."""

import torch
from situations import Situation, situation, tensors, without
from torch import nn
from torchvision.models import resnet18
from torchvision.models.segmentation import fcn_resnet50

GITHUB = "https://github.com/"


class Boxes(nn.Module):
    """The end of a detector: classes, and four numbers of a box for each."""

    def __init__(
        self, classes: int, cls_score: str = "cls_score", bbox_pred: str = "bbox_pred", width: int = 12
    ) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(2 * width, width), nn.Linear(width, width)
        self.add_module(cls_score, nn.Linear(width, classes))
        self.add_module(bbox_pred, nn.Linear(width, 4 * classes))


def part_of(checkpoint: nn.Module, pattern: str) -> dict[str, torch.Tensor]:
    return without(tensors(checkpoint), pattern)


@situation(GITHUB + "alankbi/detecto/issues/50")
def faster_rcnn_of_91_classes_for_3() -> Situation:
    checkpoint = nn.ModuleDict({"roi_heads": nn.ModuleDict({"box_predictor": Boxes(91)})})
    model = nn.ModuleDict({"roi_heads": nn.ModuleDict({"box_predictor": Boxes(3)})})
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*91.*3", "4 outputs for each class"],
        holds=part_of(checkpoint, "cls_score|bbox_pred"),
        never=["width", "another architecture"],
    )


@situation(GITHUB + "bubbliiiing/faster-rcnn-pytorch/issues/185")
def another_faster_rcnn_names_its_boxes_cls_loc() -> Situation:
    checkpoint = nn.ModuleDict({"head": Boxes(21, "score", "cls_loc")})
    model = nn.ModuleDict({"head": Boxes(2, "score", "cls_loc")})
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*21.*2"],
        holds=part_of(checkpoint, "score|cls_loc"),
        never=["width"],
    )


@situation(GITHUB + "jwyang/faster-rcnn.pytorch/issues/766")
def few_classes_into_the_demo_of_many_under_model() -> Situation:
    checkpoint = Boxes(4, "RCNN_cls_score", "RCNN_bbox_pred")
    return Situation(
        Boxes(21, "RCNN_cls_score", "RCNN_bbox_pred"),
        {"session": 1, "model": checkpoint.state_dict()},
        says=["'model'", "classes.*4.*21"],
        holds=part_of(checkpoint, "RCNN"),
    )


@situation(GITHUB + "WZMIAOMIAO/deep-learning-for-image-processing/issues/685")
def the_background_was_not_counted() -> Situation:
    checkpoint, model = Boxes(7), Boxes(6)
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*7.*6"],
        holds=part_of(checkpoint, "cls_score|bbox_pred"),
        never=["width"],
    )


@situation(GITHUB + "jiaxi-wu/MPSR/issues/9")
def two_heads_of_one_name_one_of_them_behind_module() -> Situation:
    """Beside the head of 16 classes lies one of 21 that came from a wrapped model."""
    checkpoint, model = Boxes(16), Boxes(21)
    other = {f"module.{key}": tensor for key, tensor in Boxes(21).state_dict().items() if "cls_score" in key}
    return Situation(
        model,
        checkpoint.state_dict() | other,
        says=["classes.*16.*21", "module.cls_score"],
        holds=part_of(checkpoint, "cls_score|bbox_pred"),
    )


class Detr(nn.Module):
    def __init__(self, classes: int, queries: int = 10, layers: int = 1) -> None:
        super().__init__()
        self.input_proj, self.query_embed = nn.Conv2d(6, 8, 1), nn.Embedding(queries, 8)
        self.bbox_embed = nn.ModuleList([nn.Linear(8, 4) for _ in range(layers)])
        self.class_embed = nn.ModuleList([nn.Linear(8, classes) for _ in range(layers)])


@situation(GITHUB + "fundamentalvision/Deformable-DETR/issues/21")
def one_class_head_for_each_layer_of_a_decoder() -> Situation:
    checkpoint = Detr(91, layers=6)
    return Situation(
        Detr(4, layers=6),
        checkpoint.state_dict(),
        says=["classes.*91.*4.*6 heads"],
        holds=part_of(checkpoint, "class_embed"),
        never=["width", "times as many"],
    )


@situation(GITHUB + "IDEA-Research/DINO/issues/239")
def class_heads_and_a_table_of_labels() -> Situation:
    checkpoint, model = Detr(91, layers=3), Detr(5, layers=3)
    checkpoint.label_enc, model.label_enc = nn.Embedding(92, 8), nn.Embedding(6, 8)
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*91.*5", "label_enc"],
        holds=part_of(checkpoint, "class_embed|label_enc"),
        never=["width"],
    )


@situation(GITHUB + "woctezuma/finetune-detr/issues/4")
def more_queries_than_were_trained() -> Situation:
    checkpoint = Detr(5, queries=100)
    return Situation(
        Detr(5, queries=500),
        checkpoint.state_dict(),
        says=["quer.*100.*500|query_embed.*100.*500"],
        holds=part_of(checkpoint, "query_embed"),
        never=["classes"],
    )


@situation(GITHUB + "bubbliiiing/detr-pytorch/issues/4")
def a_detr_of_six_into_one_of_92() -> Situation:
    checkpoint = Detr(6)
    return Situation(
        Detr(92),
        checkpoint.state_dict(),
        says=["classes.*6.*92"],
        holds=part_of(checkpoint, "class_embed"),
        never=["quer"],
    )


@situation(GITHUB + "Zhongdao/Towards-Realtime-MOT/issues/130")
def a_head_for_identities() -> Situation:
    checkpoint = nn.ModuleDict({"backbone": nn.Conv2d(3, 8, 3), "classifier": nn.Linear(8, 7)})
    model = nn.ModuleDict({"backbone": nn.Conv2d(3, 8, 3), "classifier": nn.Linear(8, 14455)})
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*7.*14455"],
        holds=part_of(checkpoint, "classifier"),
        never=["width"],
    )


@situation()
def a_segmentation_network_with_two_heads() -> Situation:
    torch.manual_seed(0)
    checkpoint = fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=4, aux_loss=True)
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*21.*4.*classifier.4"],
        holds=part_of(checkpoint, r"classifier\.4"),
        never=["width"],
    )


@situation()
def the_checkpoint_has_an_auxiliary_head_that_the_model_was_built_without() -> Situation:
    checkpoint = fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True)
    model = fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["only the checkpoint has.*aux"],
        holds=part_of(checkpoint, "^aux"),
        never=["architecture"],
    )


class OnTop(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.decoder = backbone, nn.Conv2d(512, 5, 1)


def trunk() -> nn.Module:
    model = resnet18()
    del model.fc
    return model


@situation(GITHUB + "Frankluox/LightningFSL/issues/18")
def a_backbone_for_a_network_that_has_more() -> Situation:
    checkpoint = trunk()
    return Situation(
        OnTop(trunk()),
        checkpoint.state_dict(),
        says=["'backbone.'", "only the model has.*decoder"],
        holds={f"backbone.{key}": tensor for key, tensor in tensors(checkpoint).items()},
    )


@situation()
def a_dropout_before_the_head_moved_its_number() -> Situation:
    checkpoint, model = resnet18(num_classes=7), resnet18()
    model.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 7))
    right = tensors(checkpoint)
    right |= {"fc.1.weight": right.pop("fc.weight"), "fc.1.bias": right.pop("fc.bias")}
    return Situation(model, checkpoint.state_dict(), says=["fc"], holds=right, never=["architecture"])


@situation()
def ssd_has_anchors_times_classes() -> Situation:
    anchors = (4, 6, 6, 4)
    heads = lambda n: nn.ModuleList([nn.Conv2d(6 + i, a * n, 3) for i, a in enumerate(anchors)])
    build = lambda n: nn.ModuleDict({"trunk": nn.Conv2d(3, 6, 3), "cls": heads(n), "box": heads(4)})
    checkpoint = build(91)
    return Situation(
        build(5),
        checkpoint.state_dict(),
        says=["classes.*(91|364).*(5|20).*cls"],
        holds=part_of(checkpoint, r"^cls\."),
        never=["width", "groups"],
    )


@situation()
def one_network_for_two_branches() -> Situation:
    model = nn.ModuleDict({"left": trunk(), "right": trunk()})
    return Situation(model, tensors(trunk()), says=["'left.', 'right.'"], holds=None)


@situation()
def two_branches_for_one_network() -> Situation:
    given = tensors(nn.ModuleDict({"left": trunk(), "right": trunk()}))
    return Situation(trunk(), given, says=["'left.', 'right.'"], holds=None)
