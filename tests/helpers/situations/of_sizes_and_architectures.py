"""What looks like another size and is another part: tokens, masks, gates, biases, norms, branches, blocks in blocks."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from situations import Situation, situation, tensors, without
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

GITHUB = "https://github.com/"
NO_BUFFERS: Mapping[str, torch.Tensor] = {}


def trained(model: nn.Module) -> nn.Module:
    """Nothing in it is as it was made: no weight is one, no bias is zero, no counter is nought."""
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("num_batches_tracked"):
            buffer.fill_(31)
    return model


def assembled(
    parts: Mapping[str, nn.Module | torch.Tensor], buffers: Mapping[str, torch.Tensor] = NO_BUFFERS
) -> nn.Module:
    """A trained network whose parts have these names, dots and all; a tensor becomes a parameter."""
    model = nn.Module()
    for name, part in [*parts.items(), *buffers.items()]:
        *parents, last = name.split(".")
        place = model
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        if name in buffers:
            place.register_buffer(last, buffers[name])
        elif isinstance(part, nn.Module):
            place.add_module(last, part)
        else:
            place.register_parameter(last, nn.Parameter(part))
    return trained(model)


def part_of(checkpoint: nn.Module, pattern: str) -> dict[str, torch.Tensor]:
    return without(tensors(checkpoint), pattern)


def renamed(checkpoint: Mapping[str, torch.Tensor], pattern: str, new: str) -> dict[str, torch.Tensor]:
    return {re.sub(pattern, new, key): tensor for key, tensor in checkpoint.items()}


# Vision transformers, with the names that timm, DINO and SAM share


def vit_block(name: str, qkv_bias: bool = True) -> dict[str, nn.Module | torch.Tensor]:
    return {
        f"{name}.norm1": nn.LayerNorm(6),
        f"{name}.attn.qkv": nn.Linear(6, 18, bias=qkv_bias),
        f"{name}.attn.proj": nn.Linear(6, 6),
        f"{name}.norm2": nn.LayerNorm(6),
        f"{name}.mlp.fc1": nn.Linear(6, 10),
        f"{name}.mlp.fc2": nn.Linear(10, 6),
    }


def vit_parts(
    positions: int = 17,
    tokens: Sequence[str] = ("cls_token",),
    blocks: Sequence[str] = ("blocks.0", "blocks.1"),
    qkv_bias: bool = True,
) -> dict[str, nn.Module | torch.Tensor]:
    parts: dict[str, nn.Module | torch.Tensor] = {token: torch.empty(1, 1, 6) for token in tokens}
    parts |= {"pos_embed": torch.empty(1, positions, 6), "patch_embed.proj": nn.Conv2d(3, 6, 4, 4)}
    for name in blocks:
        parts |= vit_block(name, qkv_bias)
    return parts | {"norm": nn.LayerNorm(6), "head": nn.Linear(6, 5)}


@situation(GITHUB + "facebookresearch/dinov2/issues/321")
def blocks_in_chunks_that_go_on_counting() -> Situation:
    plain = [f"blocks.{number}" for number in range(4)]
    in_chunks = ["blocks.0.0", "blocks.0.1", "blocks.1.2", "blocks.1.3"]
    given = tensors(assembled(vit_parts(blocks=plain)))
    right = renamed(renamed(given, r"^blocks\.([01])\.", r"blocks.0.\1."), r"^blocks\.([23])\.", r"blocks.1.\1.")
    return Situation(
        assembled(vit_parts(blocks=in_chunks)),
        given,
        says=[r"blocks\.\d"],
        holds=right,
        never=["deeper", "another architecture"],
    )


# Language models


def llama(key_heads: int = 3, hidden: int = 10) -> dict[str, nn.Module | torch.Tensor]:
    parts: dict[str, nn.Module | torch.Tensor] = {"model.embed_tokens": nn.Embedding(13, 6)}
    for layer in ("model.layers.0", "model.layers.1", "model.layers.2"):
        parts |= {
            f"{layer}.self_attn.q_proj": nn.Linear(6, 6, bias=False),
            f"{layer}.self_attn.k_proj": nn.Linear(6, 2 * key_heads, bias=False),
            f"{layer}.self_attn.v_proj": nn.Linear(6, 2 * key_heads, bias=False),
            f"{layer}.self_attn.o_proj": nn.Linear(6, 6, bias=False),
            f"{layer}.mlp.gate_proj": nn.Linear(6, hidden, bias=False),
            f"{layer}.mlp.up_proj": nn.Linear(6, hidden, bias=False),
            f"{layer}.mlp.down_proj": nn.Linear(hidden, 6, bias=False),
            f"{layer}.input_layernorm.weight": torch.empty(6),
            f"{layer}.post_attention_layernorm.weight": torch.empty(6),
        }
    return parts | {"model.norm.weight": torch.empty(6), "lm_head": nn.Linear(6, 13, bias=False)}


@situation(GITHUB + "karpathy/llama2.c/issues/266")
def frequencies_that_the_checkpoint_carries_along() -> Situation:
    checkpoint = assembled(llama(), {"rope.freqs": 10000.0 ** -torch.arange(0, 1, 0.25)})
    return Situation(
        assembled(llama()),
        tensors(checkpoint),
        says=["rope.freqs"],
        holds=part_of(checkpoint, "rope"),
        never=["another architecture"],
    )


@situation(GITHUB + "BatsResearch/csp/issues/1")
def a_shorter_context_beside_an_image_encoder() -> Situation:
    def build(length: int) -> nn.Module:
        return assembled(
            {
                "positional_embedding": torch.empty(length, 6),
                "text_projection": torch.empty(6, 9),
                "visual.class_embedding": torch.empty(8),
                "visual.positional_embedding": torch.empty(17, 8),
                "visual.conv1": nn.Conv2d(3, 8, 4, 4, bias=False),
                "transformer.resblocks.0.attn": nn.MultiheadAttention(6, 2),
                "token_embedding": nn.Embedding(13, 6),
            }
        )

    checkpoint = build(77)
    return Situation(
        build(8),
        tensors(checkpoint),
        says=[r"(?<!visual\.)positional_embedding.*77.*8", "positions|context|length"],
        holds=part_of(checkpoint, "^positional_embedding"),
        never=[r"visual\.positional_embedding", "classes"],
    )


@situation(GITHUB + "keonlee9420/Daft-Exprt/issues/7")
def a_linear_where_the_model_has_a_table() -> Situation:
    def build(speakers: nn.Module) -> nn.Module:
        return assembled(
            {
                "prosody_encoder.convs.0": nn.Conv1d(4, 8, 3),
                "speaker_emb": speakers,
                "decoder.linear": nn.Linear(8, 11),
                "decoder.out": nn.Linear(11, 7),
            }
        )

    checkpoint = build(nn.Linear(12, 8))
    return Situation(
        build(nn.Embedding(5, 8)),
        tensors(checkpoint),
        says=["speaker_emb"],
        holds=part_of(checkpoint, "speaker_emb"),
        never=["classes", "width", "vocabulary"],
    )


# Convolutions


def generator(tracks: bool, dropout: bool = False) -> nn.Module:
    norm = partial(nn.InstanceNorm2d, track_running_stats=tracks)

    def block() -> nn.Module:
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), norm(8), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
        residual = nn.Module()
        residual.conv_block = nn.Sequential(*layers, nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), norm(8))
        return residual

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, 8, 7), norm(8), nn.ReLU(), block(), block()]
    model = nn.Module()
    model.model = nn.Sequential(*layers, nn.ConvTranspose2d(8, 6, 3), norm(6), nn.ReLU(), nn.Conv2d(6, 3, 7))
    return trained(model)


@situation()
def biases_in_the_model_only() -> Situation:
    def build(bias: bool) -> nn.Module:
        return assembled(
            {
                "features.0": nn.Conv2d(3, 6, 5, bias=bias),
                "features.2": nn.Conv2d(6, 8, 3, bias=bias),
                "features.4": nn.Conv2d(8, 9, 3, bias=bias),
                "classifier": nn.Linear(9, 4),
            }
        )

    checkpoint, model = build(False), build(True)
    for name, parameter in model.named_parameters():
        if name.startswith("features") and name.endswith("bias"):
            nn.init.zeros_(parameter)
    return Situation(
        model,
        tensors(checkpoint),
        says=["bias"],
        holds=tensors(checkpoint),
        never=["another architecture"],
    )


@situation()
def batch_norm_over_several_devices_has_the_same_names() -> Situation:
    build = lambda norm: assembled({"conv": nn.Conv2d(3, 6, 5), "bn": norm(6), "fc": nn.Linear(6, 4)})
    checkpoint = build(nn.SyncBatchNorm)
    return Situation(build(nn.BatchNorm2d), tensors(checkpoint), says=["it loads"], holds=tensors(checkpoint))


@situation()
def strides_and_dilation_cannot_be_seen() -> Situation:
    build = lambda **how: assembled({"layer3.0.conv2": nn.Conv2d(6, 9, 3, **how), "fc": nn.Linear(9, 4)})
    checkpoint = build(stride=2, padding=1)
    return Situation(build(dilation=2, padding=2), tensors(checkpoint), says=["it loads"], holds=tensors(checkpoint))


@situation(GITHUB + "sanghyun-son/EDSR-PyTorch/issues/8")
def an_upsampler_for_twice_the_scale() -> Situation:
    def build(steps: int) -> nn.Module:
        model = assembled(
            {
                "head.0": nn.Conv2d(3, 6, 5),
                "body.0.body.0": nn.Conv2d(6, 6, 3),
                "body.0.body.2": nn.Conv2d(6, 6, 3),
                "body.1": nn.Conv2d(6, 6, 3),
            }
        )
        upsampler = [layer for _ in range(steps) for layer in (nn.Conv2d(6, 24, 3), nn.PixelShuffle(2))]
        model.tail = nn.Sequential(nn.Sequential(*upsampler), nn.Conv2d(6, 3, 3))
        return trained(model)

    checkpoint = build(1)
    return Situation(
        build(2),
        tensors(checkpoint),
        says=[r"tail\.0\.2"],
        holds=tensors(checkpoint),
        never=["another architecture", "classes"],
    )


@situation(GITHUB + "lllyasviel/ControlNet/issues/611")
def a_mask_and_a_picture_more_behind_the_embedding_of_time() -> Situation:
    def build(channels: int) -> nn.Module:
        return assembled(
            {
                "time_embed.0": nn.Linear(6, 12),
                "time_embed.2": nn.Linear(12, 12),
                "input_blocks.0.0": nn.Conv2d(channels, 6, 3),
                "input_blocks.1.0.in_layers.0": nn.GroupNorm(2, 6),
                "input_blocks.1.0.in_layers.2": nn.Conv2d(6, 8, 3),
                "out.2": nn.Conv2d(8, 4, 3),
            }
        )

    checkpoint = build(9)
    return Situation(
        build(4),
        tensors(checkpoint),
        says=[r"channels.*9.*4.*input_blocks\.0\.0|input_blocks\.0\.0.*channels.*9.*4"],
        holds=part_of(checkpoint, r"input_blocks\.0\.0\.weight"),
        never=["classes", "width"],
    )


@situation(GITHUB + "d-li14/mobilenetv3.pytorch/issues/14")
def narrower_in_the_later_blocks_only() -> Situation:
    def build(width: float) -> nn.Module:
        settings = [
            InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, width),
            InvertedResidualConfig(16, 3, 24, 24, False, "RE", 2, 1, width),
            InvertedResidualConfig(24, 5, 96, 40, True, "HS", 2, 1, width),
            InvertedResidualConfig(40, 5, 120, 48, True, "HS", 1, 1, width),
        ]
        return trained(MobileNetV3(settings, last_channel=32, num_classes=3))

    return Situation(
        build(1.0),
        tensors(build(0.75)),
        says=["width|channels"],
        holds=None,
        never=["classes", "input channels", "groups", "flatten"],
    )


def densenet(growth: int) -> nn.Module:
    return trained(DenseNet(growth, (2, 2), num_init_features=8, bn_size=2, num_classes=5))


@situation(GITHUB + "DeepMotionAIResearch/DenseASPP/issues/9")
def dots_in_the_names_of_a_densenet() -> Situation:
    checkpoint = tensors(densenet(4))
    given = renamed(checkpoint, r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2")
    return Situation(
        densenet(4),
        given,
        says=[r"norm\.1|norm1|conv\.1|conv1"],
        holds=checkpoint,
        never=["another architecture", "deeper"],
    )


@situation()
def a_densenet_that_grows_faster() -> Situation:
    return Situation(
        densenet(6),
        tensors(densenet(4)),
        says=["growth|width|channels"],
        holds=None,
        never=["classes", "groups", "input channels", "flatten"],
    )
