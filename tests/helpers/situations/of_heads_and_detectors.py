"""Heads that differ, and what hangs on them: anchors, boxes, keypoints, auxiliary branches, cascades, other trunks."""

from collections import OrderedDict

import torch
from situations import Situation, situation, tensors, without
from torch import nn
from torchvision.models.detection.retinanet import RetinaNetHead

GITHUB = "https://github.com/"


def network(parts: dict[str, nn.Module]) -> nn.Module:
    """A network whose parts have these names, dots and all, as if trained: statistics and counters are not initial."""
    model = nn.Module()
    for name, part in parts.items():
        *parents, last = name.split(".")
        place = model
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(last, part)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.fill_(31)
    return model


def trunk() -> nn.Module:
    """What all of a detector, a segmentation network and a classifier begin with; it gives 14 channels."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 5, bias=False),
            bn1=nn.BatchNorm2d(6),
            layer1=nn.Sequential(nn.Conv2d(6, 10, 3, bias=False), nn.BatchNorm2d(10)),
            layer2=nn.Sequential(nn.Conv2d(10, 14, 3, bias=False), nn.BatchNorm2d(14)),
        )
    )


def part_of(checkpoint: nn.Module, pattern: str) -> dict[str, torch.Tensor]:
    return without(tensors(checkpoint), pattern)


@situation(GITHUB + "open-mmlab/mmdetection/issues/10684")
def one_head_of_three_counts_the_background() -> Situation:
    def build(classes: int) -> nn.Module:
        return network(
            {
                "backbone": trunk(),
                "neck.lateral_convs.0.conv": nn.Conv2d(14, 8, 1),
                "roi_head.bbox_head.shared_fcs.0": nn.Linear(32, 9),
                "roi_head.bbox_head.fc_cls": nn.Linear(9, classes + 1),
                "roi_head.bbox_head.fc_reg": nn.Linear(9, 4 * classes),
                "roi_head.mask_head.convs.0.conv": nn.Conv2d(8, 11, 3),
                "roi_head.mask_head.conv_logits": nn.Conv2d(11, classes, 1),
            }
        )

    checkpoint = build(80)
    return Situation(
        build(4),
        checkpoint.state_dict(),
        says=["classes.*(80.*4|81.*5)", "fc_cls", "fc_reg", "conv_logits"],
        holds=part_of(checkpoint, "fc_cls|fc_reg|conv_logits"),
        never=["width", "another architecture"],
    )


@situation(GITHUB + "open-mmlab/mmdetection/issues/6533")
def a_cascade_whose_boxes_know_no_classes() -> Situation:
    def build(classes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"backbone": trunk()}
        for stage in range(3):
            parts[f"roi_head.bbox_head.{stage}.shared_fcs.0"] = nn.Linear(32, 9)
            parts[f"roi_head.bbox_head.{stage}.fc_cls"] = nn.Linear(9, classes + 1)
            parts[f"roi_head.bbox_head.{stage}.fc_reg"] = nn.Linear(9, 4)
            parts[f"roi_head.mask_head.{stage}.conv_logits"] = nn.Conv2d(11, classes, 1)
        return network(parts)

    checkpoint = build(80)
    return Situation(
        build(3),
        checkpoint.state_dict(),
        says=["classes.*(80.*3|81.*4)", "fc_cls", "conv_logits"],
        holds=part_of(checkpoint, "fc_cls|conv_logits"),
        never=["fc_reg", "width"],
    )


@situation(GITHUB + "open-mmlab/mmdetection/issues/894")
def one_box_head_for_the_three_of_a_cascade() -> Situation:
    def build(places: tuple[str, ...], boxes: int) -> nn.Module:
        parts: dict[str, nn.Module] = {
            "backbone": trunk(),
            "rpn_head.rpn_conv": nn.Conv2d(14, 8, 3),
            "rpn_head.rpn_cls": nn.Conv2d(8, 3, 1),
        }
        for place in places:
            parts[f"{place}.shared_fcs.0"] = nn.Linear(32, 9)
            parts[f"{place}.fc_cls"] = nn.Linear(9, 81)
            parts[f"{place}.fc_reg"] = nn.Linear(9, boxes)
        return network(parts)

    checkpoint = build(("bbox_head",), 324)
    return Situation(
        build(("bbox_head.0", "bbox_head.1", "bbox_head.2"), 4),
        checkpoint.state_dict(),
        says=[r"bbox_head\.0"],
        holds=part_of(checkpoint, "bbox_head"),
        never=["another architecture", "number of classes"],
    )


@situation(GITHUB + "pytorch/vision/issues/3442")
def a_retinanet_that_knows_its_anchors() -> Situation:
    def build(classes: int) -> nn.Module:
        return network({"backbone.body": trunk(), "head": RetinaNetHead(8, 9, classes)})

    checkpoint = build(91)
    return Situation(
        build(2),
        checkpoint.state_dict(),
        says=[r"classes.*\b91\b.*\b2\b.*cls_logits", "9 outputs|9 anchors"],
        holds=part_of(checkpoint, "cls_logits"),
        never=["819 in the checkpoint", "bbox_reg"],
    )


@situation(GITHUB + "tianzhi0549/FCOS/issues/65")
def another_kind_of_head_on_the_same_trunk() -> Situation:
    checkpoint = network(
        {
            "backbone.body": trunk(),
            "rpn.head.cls_tower.0": nn.Conv2d(14, 14, 3),
            "rpn.head.bbox_tower.0": nn.Conv2d(14, 14, 3),
            "rpn.head.cls_logits": nn.Conv2d(14, 80, 3),
            "rpn.head.bbox_pred": nn.Conv2d(14, 4, 3),
            "rpn.head.centerness": nn.Conv2d(14, 1, 3),
        }
    )
    model = network(
        {
            "backbone.body": trunk(),
            "rpn.head.cls_logits": nn.Conv2d(14, 15, 1),
            "rpn.head.bbox_pred": nn.Conv2d(14, 60, 1),
        }
    )
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["cls_logits", "bbox_pred", "centerness|tower"],
        holds=part_of(checkpoint, r"rpn\.head"),
        never=["number of classes"],
    )


@situation(GITHUB + "Tramac/awesome-semantic-segmentation-pytorch/issues/81")
def the_model_has_an_auxiliary_layer_that_was_not_trained() -> Situation:
    def parts() -> dict[str, nn.Module]:
        return {"pretrained": trunk(), "head.aspp.b0.0": nn.Conv2d(14, 9, 1), "head.block.4": nn.Conv2d(9, 7, 1)}

    checkpoint = network(parts())
    auxiliary = {
        "auxlayer.block.0": nn.Conv2d(14, 5, 3, bias=False),
        "auxlayer.block.1": nn.BatchNorm2d(5),
        "auxlayer.block.4": nn.Conv2d(5, 7, 1),
    }
    return Situation(
        network(parts() | auxiliary),
        checkpoint.state_dict(),
        says=[r"auxlayer\.block\.[04]"],  # the convs are random, too, not the norm alone
        holds=tensors(checkpoint),
        never=["architecture", "width"],
    )


@situation(GITHUB + "Holmeyoung/crnn-pytorch/issues/75")
def a_linear_called_embedding_gives_the_letters() -> Situation:
    def build(letters: int) -> nn.Module:
        return network(
            {
                "cnn.conv0": nn.Conv2d(1, 6, 3),
                "cnn.batchnorm0": nn.BatchNorm2d(6),
                "rnn.0.rnn": nn.LSTM(6, 5, bidirectional=True),
                "rnn.0.embedding": nn.Linear(10, 7),
                "rnn.1.rnn": nn.LSTM(7, 5, bidirectional=True),
                "rnn.1.embedding": nn.Linear(10, letters),
            }
        )

    checkpoint = build(37)
    return Situation(
        build(119),
        checkpoint.state_dict(),
        says=[r"37.*119.*rnn\.1\.embedding|rnn\.1\.embedding.*37.*119"],
        holds=part_of(checkpoint, r"rnn\.1\.embedding"),
        never=["entries in an embedding", "hidden size"],
    )


@situation(GITHUB + "clovaai/deep-text-recognition-benchmark/issues/16")
def the_letters_stand_in_the_input_of_a_cell_too() -> Situation:
    """Each step of the attention is told the last letter as one number for each letter that there is."""

    def build(letters: int) -> nn.Module:
        return network(
            {
                "module.FeatureExtraction": trunk(),
                "module.Prediction.attention_cell.i2h": nn.Linear(12, 7, bias=False),
                "module.Prediction.attention_cell.rnn": nn.LSTMCell(12 + letters, 7),
                "module.Prediction.generator": nn.Linear(7, letters),
            }
        )

    checkpoint = build(96)
    return Situation(
        build(38),
        checkpoint.state_dict(),
        says=["96.*38.*generator|generator.*96.*38", "weight_ih|attention_cell.rnn"],
        holds=part_of(checkpoint, "generator|weight_ih"),
        never=["image size", "hidden size", "width"],
    )


@situation(GITHUB + "xingyizhou/CenterNet/issues/558")
def poses_of_people_for_boxes_of_everything() -> Situation:
    def build(heads: dict[str, int]) -> nn.Module:
        parts: dict[str, nn.Module] = {"base": trunk()}
        for head, outputs in heads.items():
            parts |= {f"{head}.0": nn.Conv2d(14, 9, 3), f"{head}.2": nn.Conv2d(9, outputs, 1)}
        return network(parts)

    checkpoint = build({"hm": 1, "wh": 2, "hps": 34, "reg": 2, "hm_hp": 17, "hp_offset": 2})
    return Situation(
        build({"hm": 80, "wh": 2, "reg": 2}),
        checkpoint.state_dict(),
        says=[r"classes.*\b1\b.*\b80\b.*hm\.2", "only the checkpoint has.*(hps|hm_hp)"],
        holds=part_of(checkpoint, r"^(hm\.2|hps|hm_hp|hp_offset)\b"),
    )


@situation(GITHUB + "open-mmlab/mmdetection/issues/574")
def a_detector_for_a_classifier() -> Situation:
    given = network(
        {
            "backbone": trunk(),
            "neck.lateral_convs.0.conv": nn.Conv2d(14, 8, 1),
            "neck.fpn_convs.0.conv": nn.Conv2d(8, 8, 3),
            "rpn_head.rpn_cls": nn.Conv2d(8, 3, 1),
            "bbox_head.shared_fcs.0": nn.Linear(32, 9),
            "bbox_head.fc_cls": nn.Linear(9, 81),
        }
    )
    model = trunk()
    model.fc = nn.Linear(14, 5)
    stripped = {key.removeprefix("backbone."): tensor for key, tensor in tensors(given).items()}  # by the user
    return Situation(
        model,
        stripped,
        says=[r"only the model has.*\bfc\b|\bfc\b.*random", "neck|bbox_head"],
        holds={key: tensor for key, tensor in stripped.items() if key in tensors(model)},
        never=["architecture", "number of classes"],
    )


@situation(GITHUB + "WZMIAOMIAO/deep-learning-for-image-processing/issues/585")
def another_backbone_under_the_same_heads() -> Situation:
    def heads() -> dict[str, nn.Module]:
        return {
            "rpn.head.conv.0.0": nn.Conv2d(8, 8, 3),
            "rpn.head.cls_logits": nn.Conv2d(8, 3, 1),
            "roi_heads.box_head.fc6": nn.Linear(32, 9),
            "roi_heads.box_predictor.cls_score": nn.Linear(9, 5),
        }

    parts: dict[str, nn.Module] = {}
    for number, (into, out) in enumerate(((3, 4), (4, 5), (5, 7), (7, 12))):
        parts[f"backbone.body.{number}.block.0.0"] = nn.Conv2d(into, out, 1, bias=False)
        parts[f"backbone.body.{number}.block.0.1"] = nn.BatchNorm2d(out)
    checkpoint = network(parts | {"backbone.fpn.inner_blocks.0.0": nn.Conv2d(12, 8, 1)} | heads())
    model = network(
        {"backbone.body": trunk(), "backbone.fpn.inner_blocks.0.0": nn.Conv2d(14, 8, 1)} | heads(),
    )
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["backbone|another architecture|another network"],
        holds=None,
        never=["it loads", "number of classes"],
    )


@situation(GITHUB + "meetps/pytorch-semseg/issues/141")
def seven_letters_were_cut_off_that_were_not_module() -> Situation:
    def build() -> nn.Module:
        parts: dict[str, nn.Module] = {}
        for number, (into, out) in enumerate(((3, 4), (4, 6), (6, 8)), start=1):
            parts[f"conv_block{number}.0"] = nn.Conv2d(into, out, 3)
            parts[f"conv_block{number}.2"] = nn.Conv2d(out, out, 3)
        parts |= {"classifier.0": nn.Conv2d(8, 9, 7), "classifier.3": nn.Conv2d(9, 9, 1)}
        parts |= {"classifier.6": nn.Conv2d(9, 5, 1), "score_pool4": nn.Conv2d(6, 5, 1)}
        parts["score_pool3"] = nn.Conv2d(4, 5, 1)
        for number, kernel in ((2, 4), (4, 4), (8, 16)):
            parts[f"upscore{number}"] = nn.ConvTranspose2d(5, 5, kernel, bias=False)
        return network(parts)

    checkpoint = build()
    given = {key[len("module.") :]: tensor for key, tensor in tensors(checkpoint).items()}
    return Situation(build(), given, says=["ock1|cut|letters|characters|names"], holds=tensors(checkpoint))


@situation(GITHUB + "MIC-DKFZ/nnUNet/issues/656")
def a_unet_wider_at_the_bottom_only() -> Situation:
    def build(most: int) -> nn.Module:
        widths = [min(width, most) for width in (4, 8, 16, 32, 64)]
        parts: dict[str, nn.Module] = {}
        for level, width in enumerate(widths):
            into = widths[level - 1] if level else 1
            parts[f"conv_blocks_context.{level}.blocks.0.conv"] = nn.Conv3d(into, width, 3)
            parts[f"conv_blocks_context.{level}.blocks.0.instnorm"] = nn.InstanceNorm3d(width, affine=True)
        for up, level in enumerate((3, 2, 1, 0)):
            parts[f"tu.{up}"] = nn.ConvTranspose3d(widths[level + 1], widths[level], 2, bias=False)
            parts[f"conv_blocks_localization.{up}.blocks.0.conv"] = nn.Conv3d(2 * widths[level], widths[level], 3)
            parts[f"seg_outputs.{up}"] = nn.Conv3d(widths[level], 2, 1, bias=False)
        return network(parts)

    return Situation(
        build(20), build(27).state_dict(), says=["width|channels"], holds=None, never=["classes", "image size"]
    )


@situation(GITHUB + "MICV-yonsei/EAGLE/issues/6")
def a_class_more_in_a_parameter_of_the_loss() -> Situation:
    def build(centroids: int) -> nn.Module:
        model = network({"net.model": trunk(), "linear_probe": nn.Conv2d(14, 27, 1), "CELoss": nn.Module()})
        model.CELoss.learned_centroids = nn.Parameter(torch.randn(centroids, 9))
        return model

    checkpoint = build(28)
    return Situation(
        build(27),
        checkpoint.state_dict(),
        says=["28.*27.*CELoss|CELoss.*28.*27"],
        holds=part_of(checkpoint, "learned_centroids"),
        never=["width", "architecture"],
    )


@situation(GITHUB + "VectXmy/FCOS.Pytorch/issues/1")
def a_classifier_for_a_trunk_without_head() -> Situation:
    checkpoint = network({"conv1": nn.Conv2d(3, 6, 5), "bn1": nn.BatchNorm2d(6), "fc": nn.Linear(6, 5)})
    model = network({"conv1": nn.Conv2d(3, 6, 5), "bn1": nn.BatchNorm2d(6)})
    return Situation(
        model,
        checkpoint.state_dict(),
        says=[r"only the checkpoint has.*\bfc\b|\bfc\b.*not used"],
        holds=part_of(checkpoint, "^fc"),
        never=["architecture", "deeper"],
    )


@situation()
def the_stem_became_a_sequence() -> Situation:
    checkpoint, model = trunk(), trunk()
    checkpoint.fc, model.fc = nn.Linear(14, 5), nn.Linear(14, 5)
    right = tensors(checkpoint)
    model.conv1 = nn.Sequential(model.conv1, model.bn1)
    del model.bn1
    return Situation(
        model,
        checkpoint.state_dict(),
        says=[r"conv1\.[01]|names?"],
        holds={key.replace("conv1.", "conv1.0.").replace("bn1.", "conv1.1."): value for key, value in right.items()},
        never=["architecture"],
    )


@situation()
def the_head_has_another_name_and_other_classes() -> Situation:
    checkpoint, model = trunk(), trunk()
    checkpoint.fc, model.classifier = nn.Linear(14, 9), nn.Linear(14, 4)
    return Situation(
        model,
        checkpoint.state_dict(),
        says=["classes.*9.*4|classifier.*(random|new)"],
        holds=part_of(checkpoint, "^fc"),
        never=["architecture", "width"],
    )
