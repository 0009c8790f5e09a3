"""Parts that differ: boxes beside classes, tokens, masks, gates, norms, biases, heads of attention, merged branches."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from of_heads_and_detectors import GITHUB, network, part_of, trunk
from of_sizes_and_architectures import assembled, generator, llama, renamed, vit_block, vit_parts
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


@situation(GITHUB + "microsoft/Cream/issues/238")
def a_class_token_in_the_model_only() -> Situation:
    checkpoint = assembled(vit_parts(16, tokens=()))
    return Situation(
        assembled(vit_parts(17)),
        tensors(checkpoint),
        says=["cls_token|class token", "pos_embed.*16.*17"],
        holds=part_of(checkpoint, "pos_embed"),
        never=["another image size"],
    )


@situation(GITHUB + "facebookresearch/segment-anything/issues/374")
def positions_in_rows_and_columns_and_relative_ones() -> Situation:
    def build(rows: int, columns: int) -> nn.Module:
        parts = {"pos_embed": torch.empty(1, rows, columns, 6), "patch_embed.proj": nn.Conv2d(3, 6, 4, 4)}
        for name, sides in {"blocks.0": (2, 2), "blocks.1": (rows, columns)}.items():  # in windows, and over all
            parts |= vit_block(name)
            parts[f"{name}.attn.rel_pos_h"] = torch.empty(2 * sides[0] - 1, 3)
            parts[f"{name}.attn.rel_pos_w"] = torch.empty(2 * sides[1] - 1, 3)
        parts["neck.0"] = nn.Conv2d(6, 8, 1, bias=False)
        return assembled({f"image_encoder.{name}": part for name, part in parts.items()})

    checkpoint = build(8, 6)
    return Situation(
        build(4, 3),
        tensors(checkpoint),
        says=["image_encoder.pos_embed.*(8 x 6|8, 6|48)", r"rel_pos"],
        holds=part_of(checkpoint, r"pos_embed|blocks\.1\.attn\.rel_pos"),
        never=["classes", "width"],
    )


@situation(GITHUB + "microsoft/Swin-Transformer/issues/155")
def masks_of_shifted_windows_belong_to_an_image_size() -> Situation:
    def build(windows: int) -> nn.Module:
        mask = torch.zeros(windows, 9, 9)
        mask[-1, :, 5:] = -100.0
        parts = {"patch_embed.proj": nn.Conv2d(3, 6, 4, 4)}
        buffers = {}
        for name in ("layers.0.blocks.0", "layers.0.blocks.1"):
            parts |= vit_block(name) | {f"{name}.attn.relative_position_bias_table": torch.empty(25, 2)}
            buffers[f"{name}.attn.relative_position_index"] = torch.arange(81).view(9, 9) % 25
        return assembled(parts | {"head": nn.Linear(6, 5)}, buffers | {"layers.0.blocks.1.attn_mask": mask})

    checkpoint = build(16)
    return Situation(
        build(4),
        tensors(checkpoint),
        says=["attn_mask"],
        holds=part_of(checkpoint, "attn_mask"),
        never=["another window", "classes", "width", "random in a new model"],
    )


@situation(GITHUB + "baaivision/EVA/issues/59")
def queries_and_values_have_a_bias_and_keys_have_none() -> Situation:
    parts = vit_parts(qkv_bias=False)
    for block in ("blocks.0", "blocks.1"):
        parts |= {f"{block}.attn.q_bias": torch.empty(6), f"{block}.attn.v_bias": torch.empty(6)}
    given = tensors(assembled(parts))
    right = without(given, "q_bias|v_bias")
    for block in ("blocks.0", "blocks.1"):
        query, value = given[f"{block}.attn.q_bias"], given[f"{block}.attn.v_bias"]
        right[f"{block}.attn.qkv.bias"] = torch.cat([query, torch.zeros(6), value])
    return Situation(assembled(vit_parts()), given, says=["q_bias|v_bias", "qkv.bias|k_bias|keys?"], holds=right)


@situation(GITHUB + "Project-MONAI/MONAI/issues/5148")
def attention_was_trained_with_a_bias_that_the_model_lacks() -> Situation:
    return Situation(
        assembled(vit_parts(qkv_bias=False)),
        tensors(assembled(vit_parts())),
        says=["qkv.*bias|bias.*qkv"],
        holds=None,
        never=["^it loads", "another architecture"],
    )


@situation(GITHUB + "facebookresearch/dinov3/issues/244")
def registers_and_layer_scale_in_the_checkpoint_only() -> Situation:
    parts = vit_parts(tokens=("cls_token",)) | {"storage_tokens": torch.empty(1, 4, 6)}
    buffers = {}
    for block in ("blocks.0", "blocks.1"):
        parts |= {f"{block}.ls1.gamma": torch.empty(6), f"{block}.ls2.gamma": torch.empty(6)}
        buffers[f"{block}.attn.qkv.bias_mask"] = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(6)
    return Situation(
        assembled(vit_parts()),
        tensors(assembled(parts, buffers)),
        says=["storage_tokens", "ls1|gamma|layer.?scale"],
        holds=None,
        never=["^it loads", "another architecture"],
    )


@situation(GITHUB + "facebookresearch/ConvNeXt/issues/51")
def a_gamma_that_is_no_norm_in_the_checkpoint_only() -> Situation:
    def build(scaled: bool) -> nn.Module:
        parts: dict[str, nn.Module | torch.Tensor] = {"stem": nn.Conv2d(3, 6, 4, 4)}
        for name in ("blocks.0", "blocks.1", "blocks.2"):
            if scaled:
                parts[f"{name}.gamma"] = torch.empty(6)
            parts[f"{name}.dwconv"] = nn.Conv2d(6, 6, 7, padding=3, groups=6)
            parts[f"{name}.norm"] = nn.LayerNorm(6)
            parts[f"{name}.pwconv1"] = nn.Linear(6, 10)
            parts[f"{name}.pwconv2"] = nn.Linear(10, 6)
        return assembled(parts | {"norm": nn.LayerNorm(6), "head": nn.Linear(6, 5)})

    return Situation(
        build(False),
        tensors(build(True)),
        says=["gamma|layer.?scale"],
        holds=None,
        never=["^it loads", "BatchNorm", "another architecture"],
    )


@situation(GITHUB + "facebookresearch/dinov2/issues/332")
def a_gated_mlp_for_a_plain_one() -> Situation:
    parts = {name: part for name, part in vit_parts().items() if ".mlp." not in name}
    for block in ("blocks.0", "blocks.1"):
        parts |= {f"{block}.mlp.w12": nn.Linear(6, 16), f"{block}.mlp.w3": nn.Linear(8, 6)}
    return Situation(
        assembled(vit_parts()),
        tensors(assembled(parts)),
        says=["w12|w3|swiglu|gated", "fc1|fc2|mlp"],
        holds=None,
        never=["width", "classes"],
    )


@situation(GITHUB + "hiyouga/LlamaFactory/issues/459")
def keys_and_values_have_fewer_heads_than_queries() -> Situation:
    return Situation(
        assembled(llama(key_heads=3)),
        tensors(assembled(llama(key_heads=1))),
        says=["k_proj|v_proj"],
        holds=None,
        never=["classes", "width", "image size"],
    )


@situation(GITHUB + "EleutherAI/gpt-neox/issues/1319")
def the_mlps_are_wider_and_nothing_else_is() -> Situation:
    def build(hidden: int) -> nn.Module:
        parts: dict[str, nn.Module | torch.Tensor] = {"sequential.0.word_embeddings": nn.Embedding(13, 6)}
        for layer in ("sequential.2", "sequential.3", "sequential.4"):
            parts |= {
                f"{layer}.attention.query_key_value": nn.Linear(6, 18),
                f"{layer}.attention.dense": nn.Linear(6, 6),
                f"{layer}.mlp.linear1": nn.Linear(6, 2 * hidden, bias=False),
                f"{layer}.mlp.linear2": nn.Linear(hidden, 6, bias=False),
            }
        return assembled(parts)

    return Situation(
        build(11),
        tensors(build(16)),
        says=["mlp|linear1|linear2"],
        holds=None,
        never=["classes", "most layers", "image size"],
    )


@situation(GITHUB + "jzhang38/TinyLlama/issues/127")
def frequencies_that_the_model_computes_itself() -> Situation:
    frequencies = 10000.0 ** -torch.arange(0, 1, 0.5)
    buffers = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": frequencies.clone() for layer in range(3)}
    checkpoint = assembled(llama())
    return Situation(
        assembled(llama(), buffers),
        tensors(checkpoint),
        says=["inv_freq"],
        holds=tensors(checkpoint),
        never=["random in a new model", "train (it|them)"],
    )


@situation(GITHUB + "bmaltais/kohya_ss/issues/1260")
def attention_to_a_text_encoder_of_another_width() -> Situation:
    def build(context: int) -> nn.Module:
        parts: dict[str, nn.Module | torch.Tensor] = {"conv_in": nn.Conv2d(4, 6, 3)}
        for name in ("down_blocks.0.attentions.0", "down_blocks.0.attentions.1", "up_blocks.1.attentions.0"):
            for attention, inputs in {"attn1": 6, "attn2": context}.items():
                parts |= {
                    f"{name}.transformer_blocks.0.{attention}.to_q": nn.Linear(6, 6, bias=False),
                    f"{name}.transformer_blocks.0.{attention}.to_k": nn.Linear(inputs, 6, bias=False),
                    f"{name}.transformer_blocks.0.{attention}.to_v": nn.Linear(inputs, 6, bias=False),
                    f"{name}.transformer_blocks.0.{attention}.to_out.0": nn.Linear(6, 6),
                }
        return assembled(parts | {"conv_out": nn.Conv2d(6, 4, 3)})

    return Situation(
        build(7),
        tensors(build(10)),
        says=[r"attn2\.to_[kv]"],
        holds=None,
        never=["image size", "classes", "most layers"],
    )


@situation(GITHUB + "ai4ce/EgoPAT3D/issues/5")
def gates_of_a_gru_under_the_name_of_an_lstm() -> Situation:
    return Situation(
        assembled({"lstm": nn.LSTM(5, 6)}),
        tensors(assembled({"lstm": nn.GRU(5, 6)})),
        says=["gru|gates|cell"],
        holds=None,
        never=["another hidden size", "width", "classes"],
    )


@situation(GITHUB + "KupynOrest/DeblurGAN/issues/94")
def instance_norms_kept_statistics_in_those_days() -> Situation:
    given = part_of(generator(tracks=True), "num_batches_tracked")
    return Situation(
        generator(tracks=False),
        given,
        says=["running"],
        holds=without(given, "running"),
        never=["BatchNorm", "another architecture"],
    )


@situation(GITHUB + "junyanz/pytorch-CycleGAN-and-pix2pix/issues/461")
def a_dropout_in_each_block_and_statistics_beside_it() -> Situation:
    given = tensors(generator(tracks=True))
    right = renamed(without(given, "running|num_batches"), r"conv_block\.5", "conv_block.6")
    return Situation(
        generator(tracks=False, dropout=True),
        given,
        says=[r"conv_block\.[56]", "running"],
        holds=right,
        never=["another architecture", "BatchNorm"],
    )


@situation(GITHUB + "yueatsprograms/ttt_imagenet_release/issues/2")
def group_norm_for_batch_norm() -> Situation:
    def build(norm: Callable[[int], nn.Module]) -> nn.Module:
        return assembled(
            {
                "conv1": nn.Conv2d(3, 6, 5, bias=False),
                "bn1": norm(6),
                "layer1.0.conv1": nn.Conv2d(6, 8, 3, bias=False),
                "layer1.0.bn1": norm(8),
                "layer1.0.conv2": nn.Conv2d(8, 10, 3, bias=False),
                "layer1.0.bn2": norm(10),
                "fc": nn.Linear(10, 4),
            }
        )

    return Situation(
        build(partial(nn.GroupNorm, 2)),
        tensors(build(nn.BatchNorm2d)),
        says=["BatchNorm|GroupNorm|another norm|kind of norm", "bn1"],
        holds=None,
        never=["^it loads"],
    )


@situation(GITHUB + "DingXiaoH/RepVGG/issues/67")
def branches_were_merged_for_use() -> Situation:
    def build(deployed: bool) -> nn.Module:
        parts: dict[str, nn.Module | torch.Tensor] = {}
        for name, (inputs, outputs) in {"stage0": (3, 6), "stage1.0": (6, 8), "stage1.1": (8, 8)}.items():
            if deployed:
                parts[f"{name}.rbr_reparam"] = nn.Conv2d(inputs, outputs, 3)
                continue
            if inputs == outputs:
                parts[f"{name}.rbr_identity"] = nn.BatchNorm2d(outputs)
            for branch, kernel in {"rbr_dense": 3, "rbr_1x1": 1}.items():
                parts[f"{name}.{branch}.conv"] = nn.Conv2d(inputs, outputs, kernel, bias=False)
                parts[f"{name}.{branch}.bn"] = nn.BatchNorm2d(outputs)
        return assembled(parts | {"linear": nn.Linear(8, 5)})

    return Situation(
        build(deployed=False),
        tensors(build(deployed=True)),
        says=["rbr_reparam|merged|fused|deploy"],
        holds=None,
        never=["^it loads", "classes"],
    )


@situation(GITHUB + "milesial/Pytorch-UNet/issues/184")
def a_unet_that_learned_its_upsampling() -> Situation:
    def build(bilinear: bool) -> nn.Module:
        deepest = 8 if bilinear else 16
        widths = {"inc": (3, 4, 4), "down1.maxpool_conv.1": (4, 8, 8), "down2.maxpool_conv.1": (8, deepest, deepest)}
        widths |= {"up1.conv": (16, 8, deepest // 2 if bilinear else 8), "up2.conv": (8, 4, 4)}
        parts: dict[str, nn.Module | torch.Tensor] = {}
        for name, (inputs, middle, outputs) in widths.items():
            if name.startswith("up") and not bilinear:
                parts[name.replace("conv", "up")] = nn.ConvTranspose2d(inputs, inputs // 2, 2, 2)
            parts[f"{name}.double_conv.0"] = nn.Conv2d(inputs, middle, 3)
            parts[f"{name}.double_conv.1"] = nn.BatchNorm2d(middle)
            parts[f"{name}.double_conv.3"] = nn.Conv2d(middle, outputs, 3)
            parts[f"{name}.double_conv.4"] = nn.BatchNorm2d(outputs)
        return assembled(parts | {"outc.conv": nn.Conv2d(4, 2, 1)})

    return Situation(
        build(bilinear=True),
        tensors(build(bilinear=False)),
        says=[r"up1\.up|up2\.up|upsampl"],
        holds=None,
        never=["classes", "^it loads"],
    )


@situation()
def one_kernel_that_could_be_turned() -> Situation:
    """(7, 3, 5, 5) and (5, 5, 7, 3), and all other kernels fit as they are."""
    build = lambda first: network(
        {"conv1": first, "conv2": nn.Conv2d(7, 8, 3), "conv3": nn.Conv2d(8, 9, (3, 1)), "fc": nn.Linear(9, 4)}
    )
    checkpoint = build(nn.Conv2d(3, 7, 5))
    return Situation(
        build(nn.Conv2d(5, 5, (7, 3))),
        tensors(checkpoint),
        says=["conv1"],
        holds=part_of(checkpoint, "^conv1"),
        never=["TensorFlow", "MatConvNet"],
    )


@situation()
def another_width_in_the_middle() -> Situation:
    build = lambda width: network(
        {"a": nn.Linear(5, 6), "b": nn.Linear(6, width), "c": nn.Linear(width, 7), "d": nn.Linear(7, 3)}
    )
    return Situation(
        build(9), tensors(build(12)), says=[r"\bb\b", "12.*9"], holds=None, never=["classes", "image size", "flatten"]
    )


@situation()
def a_head_of_two_layers_with_another_width() -> Situation:
    build = lambda width, classes: network(
        {"features": trunk(), "fc1": nn.Linear(14, width), "fc2": nn.Linear(width, classes)}
    )
    checkpoint = build(11, 10)
    return Situation(
        build(9, 4),
        tensors(checkpoint),
        says=["fc1", "fc2"],
        holds=part_of(checkpoint, "^fc"),
        never=["image size", "flatten", "most layers"],
    )


@situation()
def proposals_are_no_positions() -> Situation:
    build = lambda count: assembled({"backbone": nn.Conv2d(3, 6, 3), "proposal_table": torch.empty(count, 6)})
    checkpoint = build(12)
    return Situation(
        build(9),
        tensors(checkpoint),
        says=["proposal_table"],
        holds=part_of(checkpoint, "proposal"),
        never=["image size", "positions"],
    )


@situation()
def a_prefix_places_too_few_names() -> Situation:
    """Taking off '0.' would place two tensors; all of them are placed by their order."""
    checkpoint = nn.Sequential(trunk(), nn.Sequential(nn.Linear(14, 9), nn.Linear(9, 5)))
    model = nn.Sequential(OrderedDict(body=trunk(), end=nn.Sequential(nn.Linear(14, 9), nn.Linear(9, 5))))
    given = tensors(checkpoint)
    holds = {key.replace("0.", "body.", 1) if key.startswith("0.") else "end" + key[1:]: t for key, t in given.items()}
    return Situation(model, given, says=["names"], holds=holds)


@situation()
def what_was_trained_is_not_computed_whatever_it_is_called() -> Situation:
    """A projection of rotated keys, a scale of cosines and a grid of weights lie amid blocks that the model has."""
    parts = vit_parts()
    for block in ("blocks.0", "blocks.1"):
        parts |= {f"{block}.rotary_proj": nn.Linear(6, 6), f"{block}.cosine_scale": torch.empty(6)}
        parts |= {f"{block}.grid_weight": torch.empty(6, 2)}
    return Situation(
        assembled(vit_parts()),
        tensors(assembled(parts)),
        says=["rotary_proj|cosine_scale|grid_weight"],
        holds=None,
        never=["computed"],
    )
