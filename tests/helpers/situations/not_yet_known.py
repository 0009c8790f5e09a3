"""Heads that differ, and what hangs on them: kinds that `explain` does not yet know."""

import torch
from of_heads_and_detectors import GITHUB, network, part_of, trunk
from situations import Situation, situation, tensors, without
from torch import nn


@situation(GITHUB + "NVIDIA/retinanet-examples/issues/269")
def boxes_that_turn_have_more_anchors_and_more_numbers() -> Situation:
    """80 classes on both sides: 9 anchors with boxes of 4 numbers, 27 anchors with boxes of 6."""

    def build(anchors: int, numbers: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbones.ResNet18FPN.features": trunk()}
        for head, each in (("cls_head", 80), ("box_head", numbers)):
            parts[f"{head}.0"] = nn.Conv2d(8, 8, 3)
            parts[f"{head}.2"] = nn.Conv2d(8, 8, 3)
            parts[f"{head}.8"] = nn.Conv2d(8, each * anchors, 3)
        return network(parts)

    checkpoint = build(9, 4)
    return Situation(
        build(27, 6),
        checkpoint.state_dict(),
        says=[r"720.*2160|cls_head\.8", r"36.*162|box_head\.8"],
        holds=part_of(checkpoint, r"head\.8"),
        never=[r"classes: (36|720) in"],
    )


@situation(GITHUB + "jwyang/faster-rcnn.pytorch/issues/218")
def other_anchors_and_other_classes() -> Situation:
    def build(anchors: int, classes: int) -> nn.Module:
        return network(
            {
                "RCNN_base": trunk(),
                "RCNN_rpn.RPN_Conv": nn.Conv2d(14, 12, 3),
                "RCNN_rpn.RPN_cls_score": nn.Conv2d(12, 2 * anchors, 1),
                "RCNN_rpn.RPN_bbox_pred": nn.Conv2d(12, 4 * anchors, 1),
                "RCNN_top.0": nn.Linear(14, 11),
                "RCNN_cls_score": nn.Linear(11, classes),
                "RCNN_bbox_pred": nn.Linear(11, 4 * classes),
            }
        )

    checkpoint = build(12, 81)
    return Situation(
        build(9, 21),
        checkpoint.state_dict(),
        says=[r"classes.*\b81\b.*\b21\b", "RPN_cls_score"],
        holds=part_of(checkpoint, "cls_score|bbox_pred"),
        never=["classes: (12|24|48) in", "width"],
    )


@situation(GITHUB + "ViTAE-Transformer/ViTPose/issues/148")
def keypoints_are_no_classes() -> Situation:
    def build(keypoints: int) -> nn.Module:
        return network(
            {
                "backbone": trunk(),
                "keypoint_head.deconv_layers.0": nn.ConvTranspose2d(14, 9, 4, bias=False),
                "keypoint_head.deconv_layers.1": nn.BatchNorm2d(9),
                "keypoint_head.final_layer": nn.Conv2d(9, keypoints, 1),
            }
        )

    checkpoint = build(17)
    return Situation(
        build(16),
        checkpoint.state_dict(),
        says=["17.*16.*final_layer|final_layer.*17.*16"],
        holds=part_of(checkpoint, "final_layer"),
        never=["number of classes: 17", "width"],
    )


@situation(GITHUB + "BMEII-AI/RadImageNet/issues/16")
def an_auxiliary_head_in_a_list_of_children_moved_the_numbers_behind_it() -> Situation:
    """The children of an Inception in a Sequential: the model was made with the auxiliary head, the file without."""

    def build(auxiliary: bool) -> nn.Module:
        after = 16 if auxiliary else 15
        parts: dict[str, nn.Module] = {}
        channels = (3, 4, 6, 8)
        for number, place in enumerate((0, 1, 14)):
            parts[f"backbone.{place}.conv"] = nn.Conv2d(channels[number], channels[number + 1], 3, bias=False)
            parts[f"backbone.{place}.bn"] = nn.BatchNorm2d(channels[number + 1])
        if auxiliary:
            parts["backbone.15.conv0.conv"] = nn.Conv2d(8, 5, 1, bias=False)
            parts["backbone.15.conv0.bn"] = nn.BatchNorm2d(5)
            parts["backbone.15.fc"] = nn.Linear(5, 13)
        parts[f"backbone.{after}.branch3x3_1.conv"] = nn.Conv2d(8, 9, 1, bias=False)
        parts[f"backbone.{after + 1}.branch1x1.conv"] = nn.Conv2d(9, 11, 1, bias=False)
        parts[f"backbone.{after + 2}.branch1x1.conv"] = nn.Conv2d(11, 12, 1, bias=False)
        return network(parts)

    checkpoint = build(auxiliary=False)
    moved = {"15": "16", "16": "17", "17": "18"}
    holds = {}
    for key, tensor in tensors(checkpoint).items():
        first, number, rest = key.split(".", 2)
        holds[f"{first}.{moved.get(number, number)}.{rest}"] = tensor
    return Situation(
        build(auxiliary=True),
        checkpoint.state_dict(),
        says=[r"backbone\.1[56]|number"],
        holds=holds,
        never=["architecture", "width"],
    )


@situation(GITHUB + "rwightman/efficientdet-pytorch/issues/95")
def nobody_has_810_classes() -> Situation:
    """The box layer says how many anchors there are: 36 outputs, 4 for each."""

    def build(classes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbone": trunk()}
        for net, each in (("class_net", classes), ("box_net", 4)):
            parts[f"{net}.predict.conv_dw"] = nn.Conv2d(8, 8, 3, groups=8, bias=False)
            parts[f"{net}.predict.conv_pw"] = nn.Conv2d(8, 9 * each, 1)
        return network(parts)

    checkpoint = build(90)
    return Situation(
        build(1),
        checkpoint.state_dict(),
        says=[r"class_net\.predict\.conv_pw", r"\b90\b.*\b1\b|\b810\b.*\b9\b"],
        holds=part_of(checkpoint, r"class_net\.predict\.conv_pw"),
        never=["classes: 810", "groups"],
    )


@situation(GITHUB + "bubbliiiing/yolov4-pytorch/issues/266")
def yolo_gives_five_numbers_and_the_classes_for_each_anchor() -> Situation:
    def build(classes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbone": trunk()}
        for number, width in ((3, 7), (2, 9), (1, 11)):
            parts[f"yolo_head{number}.0.conv"] = nn.Conv2d(14, width, 3, bias=False)
            parts[f"yolo_head{number}.0.bn"] = nn.BatchNorm2d(width)
            parts[f"yolo_head{number}.1"] = nn.Conv2d(width, 3 * (5 + classes), 1)
        return network(parts)

    checkpoint = build(20)
    return Situation(
        build(80),
        checkpoint.state_dict(),
        says=["yolo_head", r"75.*255|\b20\b.*\b80\b"],
        holds=part_of(checkpoint, r"yolo_head\d\.1\."),
        never=["classes: 75", "width"],
    )


class Implicit(nn.Module):
    """What YOLOv7 adds to channels, or multiplies them with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.implicit = nn.Parameter(torch.randn(1, channels, 1, 1))


@situation(GITHUB + "open-mmlab/mmyolo/issues/750")
def a_factor_behind_the_head_has_its_channels() -> Situation:
    def build(classes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbone": trunk()}
        outputs = 3 * (5 + classes)
        for level, width in enumerate((7, 9, 11)):
            place = f"bbox_head.head_module.convs_pred.{level}"
            parts |= {f"{place}.0": Implicit(width), f"{place}.1": nn.Conv2d(width, outputs, 1)}
            parts[f"{place}.2"] = Implicit(outputs)
        return network(parts)

    checkpoint = build(80)
    return Situation(
        build(1),
        checkpoint.state_dict(),
        says=["convs_pred", "implicit|convs_pred.0.2"],
        holds=part_of(checkpoint, r"convs_pred\.\d\.[12]\."),
        never=["width", "build the model alike"],
    )


@situation(GITHUB + "mrnabati/CenterFusion/issues/56")
def deeper_heads_that_see_more_channels() -> Situation:
    """The trunk and the first heads are the same; the others take three channels of a radar, too."""

    def parts() -> dict[str, nn.Module]:
        return {"base": trunk(), "hm.0": nn.Conv2d(14, 9, 3), "hm.2": nn.Conv2d(9, 10, 1)}

    checkpoint = network(
        parts()
        | {
            "nuscenes_att.0": nn.Conv2d(14, 12, 3),
            "nuscenes_att.2": nn.Conv2d(12, 8, 1),
            "velocity.0": nn.Conv2d(14, 12, 3),
            "velocity.2": nn.Conv2d(12, 3, 1),
        }
    )
    heads: dict[str, nn.Module] = {}
    for head, outputs in (("nuscenes_att", 8), ("velocity", 3), ("dep_sec", 1)):
        heads |= {f"{head}.0": nn.Conv2d(17, 12, 3), f"{head}.2": nn.Conv2d(12, 12, 1)}
        heads |= {f"{head}.4": nn.Conv2d(12, 12, 1), f"{head}.6": nn.Conv2d(12, outputs, 1)}
    return Situation(
        network(parts() | heads),
        checkpoint.state_dict(),
        says=["nuscenes_att", "velocity", "dep_sec"],
        holds=part_of(checkpoint, r"(nuscenes_att|velocity)\.(0\.weight|2\.)"),
        never=["number of classes", "width", "input channels"],
    )


@situation()
def seven_attributes_for_five() -> Situation:
    """Heads beside each other, not blocks in a row: each takes what the trunk gives."""

    def build(attributes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"features": trunk()}
        for number in range(attributes):
            parts[f"class_{number}.classifier.0"] = nn.Linear(14, 5)
            parts[f"class_{number}.classifier.1"] = nn.BatchNorm1d(5)
            parts[f"class_{number}.classifier.4"] = nn.Linear(5, 1)
        return network(parts)

    checkpoint = build(7)
    return Situation(
        build(5),
        checkpoint.state_dict(),
        says=["class_[56]|7.*5"],
        holds=part_of(checkpoint, "class_[56]"),
        never=["deeper", "the model is its beginning"],
    )


@situation(GITHUB + "SwinTransformer/Swin-Transformer-Semantic-Segmentation/issues/13")
def a_norm_for_each_stage_instead_of_one_before_the_head() -> Situation:
    def build(after: dict[str, nn.Module]) -> nn.Module:
        parts: dict[str, nn.Module] = {"patch_embed.proj": nn.Conv2d(3, 6, 4), "patch_embed.norm": nn.LayerNorm(6)}
        for stage, width in enumerate((6, 12, 24)):
            parts[f"layers.{stage}.blocks.0.norm1"] = nn.LayerNorm(width)
            parts[f"layers.{stage}.blocks.0.attn.qkv"] = nn.Linear(width, 3 * width)
            if stage < 2:
                parts[f"layers.{stage}.downsample.reduction"] = nn.Linear(4 * width, 2 * width, bias=False)
        model = network(parts | after)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        return model

    checkpoint = build({"norm": nn.LayerNorm(24), "head": nn.Linear(24, 7)})
    checkpoint.get_submodule("layers.0.blocks.0").register_buffer("attn_mask", torch.randn(2, 3, 3))
    model = build({f"norm{stage}": nn.LayerNorm(width) for stage, width in enumerate((6, 12, 24))})
    model.absolute_pos_embed = nn.Parameter(torch.randn(1, 6, 5, 5))
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["norm0|norm[0-2]", "absolute_pos_embed", "head"],
        holds=part_of(checkpoint, r"^norm\.|^head\.|attn_mask"),
        never=["image size", "architecture"],
    )


@situation(GITHUB + "OliverRensu/TinyMIM/issues/6")
def one_position_more_for_a_second_token() -> Situation:
    """16 patches on both sides; the checkpoint has a token for distillation, with a head of its own."""

    def build(tokens: tuple[str, ...], heads: tuple[str, ...]) -> nn.Module:
        parts: dict[str, nn.Module] = {"patch_embed.proj": nn.Conv2d(3, 8, 4)}
        for number in range(2):
            parts[f"blocks.{number}.attn.qkv"] = nn.Linear(8, 24)
            parts[f"blocks.{number}.mlp.fc1"] = nn.Linear(8, 9)
            parts[f"blocks.{number}.mlp.fc2"] = nn.Linear(9, 8)
        model = network(parts | {head: nn.Linear(8, 5) for head in heads})
        for token in tokens:
            model.register_parameter(token, nn.Parameter(torch.randn(1, 1, 8)))
        model.pos_embed = nn.Parameter(torch.randn(1, 16 + len(tokens), 8))
        return model

    checkpoint = build(("cls_token", "dist_token"), ("head", "head_dist"))
    return Situation(
        build(("cls_token",), ("head",)),
        checkpoint.state_dict(),
        says=["dist_token", "18.*17.*token|token.*18.*17"],
        holds=part_of(checkpoint, "dist|pos_embed"),
        never=["image size"],
    )


@situation(GITHUB + "facebookresearch/simsiam/issues/8")
def three_layers_where_the_classifier_has_one() -> Situation:
    given = network(
        {
            "encoder": trunk(),
            "encoder.fc.0": nn.Linear(14, 14, bias=False),
            "encoder.fc.1": nn.BatchNorm1d(14),
            "encoder.fc.3": nn.Linear(14, 14, bias=False),
            "encoder.fc.4": nn.BatchNorm1d(14),
            "encoder.fc.6": nn.Linear(14, 11),
            "encoder.fc.7": nn.BatchNorm1d(11, affine=False),
            "predictor.0": nn.Linear(11, 7, bias=False),
            "predictor.1": nn.BatchNorm1d(7),
            "predictor.3": nn.Linear(7, 11),
        }
    )
    model = trunk()
    model.fc = nn.Linear(14, 5)
    encoder = without(tensors(given), r"^predictor|\.fc\.")
    return Situation(
        model,
        given.state_dict(),
        says=[r"encoder\.", r"only the model has.*\bfc\b|\bfc\b.*random|classes.*\bfc\b"],
        holds={key.removeprefix("encoder."): tensor for key, tensor in encoder.items()},
        never=["architecture", "build the model with it"],
    )


@situation()
def a_pyramid_was_put_between_trunk_and_heads() -> Situation:
    """The proposals take 8 channels of the pyramid where they took 14 of the trunk; the trunk is the same."""
    checkpoint = network(
        {
            "backbone": trunk(),
            "rpn.head.conv": nn.Conv2d(14, 14, 3),
            "rpn.head.cls_logits": nn.Conv2d(14, 3, 1),
            "rpn.head.bbox_pred": nn.Conv2d(14, 12, 1),
        }
    )
    model = network(
        {
            "backbone.body": trunk(),
            "backbone.fpn.inner_blocks.0.0": nn.Conv2d(14, 8, 1),
            "backbone.fpn.layer_blocks.0.0": nn.Conv2d(8, 8, 3),
            "rpn.head.conv": nn.Conv2d(8, 8, 3),
            "rpn.head.cls_logits": nn.Conv2d(8, 3, 1),
            "rpn.head.bbox_pred": nn.Conv2d(8, 12, 1),
        }
    )
    holds = {key.replace("backbone.", "backbone.body."): value for key, value in part_of(checkpoint, "^rpn").items()}
    biases = ("rpn.head.cls_logits.bias", "rpn.head.bbox_pred.bias")  # three anchors on both sides
    holds |= {key: tensors(checkpoint)[key] for key in biases}
    return Situation(
        model, checkpoint.state_dict(), says=["body", "fpn", r"rpn\.head"], holds=holds, never=["architecture"]
    )
