"""Where shapes fit and numbers do not belong: orders against names, forms, copies in numbers, prefixes of two sides."""

import torch
from of_heads_and_detectors import network, part_of, trunk
from of_sizes_and_architectures import assembled, trained
from situations import Situation, situation, tensors
from torch import nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm
from torchvision.models import resnet18
from torchvision.models.video import r2plus1d_18, r3d_18


def linears(**sizes: tuple[int, int]) -> nn.Module:
    return network({name.replace("__", "."): nn.Linear(*size) for name, size in sizes.items()})


@situation()
def names_say_another_order_than_the_file() -> Situation:
    checkpoint = linears(attn__wk=(6, 6), attn__wv=(6, 6), attn__wq=(6, 6), attn__wo=(6, 6), fc=(6, 4))
    model = linears(attn__query=(6, 6), attn__key=(6, 6), attn__value=(6, 6), attn__out=(6, 6), fc=(6, 4))
    holds = {}
    for old, new in {"attn.wk": "attn.key", "attn.wv": "attn.value", "attn.wq": "attn.query", "fc": "fc"}.items():
        holds |= {f"{new}.{leaf}": tensors(checkpoint)[f"{old}.{leaf}"] for leaf in ("weight", "bias")}
    holds |= {f"attn.out.{leaf}": tensors(checkpoint)[f"attn.wo.{leaf}"] for leaf in ("weight", "bias")}
    return Situation(model, tensors(checkpoint), says=["names"], holds=holds)


@situation()
def the_gate_stands_second() -> Situation:
    checkpoint = linears(emb=(4, 6), mlp__up=(6, 9), mlp__gate=(6, 9), mlp__down=(9, 6), end=(6, 5))
    model = linears(embed=(4, 6), mlp__gate_proj=(6, 9), mlp__up_proj=(6, 9), mlp__down_proj=(9, 6), head=(6, 5))
    names = {"emb": "embed", "mlp.up": "mlp.up_proj", "mlp.gate": "mlp.gate_proj", "mlp.down": "mlp.down_proj"}
    names["end"] = "head"
    given = tensors(checkpoint)
    holds = {f"{new}.{leaf}": given[f"{old}.{leaf}"] for old, new in names.items() for leaf in ("weight", "bias")}
    return Situation(model, given, says=["names"], holds=holds)


@situation()
def means_are_no_variances() -> Situation:
    checkpoint = linears(body=(4, 7), enc_logvar=(7, 3), enc_mu=(7, 3), dec=(3, 4))
    model = linears(trunk=(4, 7), mean=(7, 3), logvar=(7, 3), decoder=(3, 4))
    given = tensors(checkpoint)
    names = {"body": "trunk", "enc_logvar": "logvar", "enc_mu": "mean", "dec": "decoder"}
    holds = {f"{new}.{leaf}": given[f"{old}.{leaf}"] for old, new in names.items() for leaf in ("weight", "bias")}
    return Situation(model, given, says=["names"], holds=holds)


@situation()
def one_layer_that_is_mirrored_is_no_framework() -> Situation:
    """The checkpoint narrows where the model widens: 6 to 3, 3 to 6."""
    checkpoint = linears(fc1=(5, 6), fc2=(6, 3), side=(6, 8), out=(6, 6))
    model = linears(fc1=(5, 6), fc2=(3, 6), side=(6, 8), out=(6, 6))
    holds = part_of(checkpoint, "fc2")
    return Situation(model, tensors(checkpoint), says=["fc2"], holds=holds, never=["TensorFlow", "transposed"])


@situation()
def kernels_lie_and_kernels_stand() -> Situation:
    build = lambda one, other: network(
        {"a": nn.Conv2d(3, 6, one), "b": nn.Conv2d(6, 6, other), "c": nn.Conv2d(6, 8, 3), "fc": nn.Linear(8, 4)}
    )
    return Situation(
        build((7, 1), (1, 7)),
        tensors(build((1, 7), (7, 1))),
        says=["kernel", "1 x 7.*7 x 1"],
        holds=None,
        never=["same numbers"],
    )


@situation()
def patches_as_a_linear() -> Situation:
    """Whether a patch was flattened channels first or last, its shape does not say."""
    checkpoint = assembled({"patch.proj": nn.Linear(48, 16), "block.fc": nn.Linear(16, 9), "head": nn.Linear(9, 5)})
    model = assembled({"patch.proj": nn.Conv2d(3, 16, 4), "block.fc": nn.Linear(16, 9), "head": nn.Linear(9, 5)})
    given = tensors(checkpoint)
    holds = given | {"patch.proj.weight": given["patch.proj.weight"].reshape(16, 3, 4, 4)}
    return Situation(model, given, says=["compare outputs"], holds=holds)


@situation()
def a_token_for_masks_is_no_class_token() -> Situation:
    """What is left of a masked autoencoder's encoder and of a classifier, where all other names were guessed."""
    build = lambda names: assembled(
        {
            names[0]: torch.empty(1, 1, 6),
            names[1]: nn.Conv2d(3, 6, 4),
            names[2]: nn.Linear(6, 9),
            names[3]: nn.Linear(9, 6),
        }
    )
    checkpoint = build(("mask_token", "patchify", "enc1", "enc2"))
    model = build(("class_token", "conv_proj", "mlp1", "mlp2"))
    given = tensors(checkpoint)
    names = {"patchify": "conv_proj", "enc1": "mlp1", "enc2": "mlp2"}
    holds = {f"{new}.{leaf}": given[f"{old}.{leaf}"] for old, new in names.items() for leaf in ("weight", "bias")}
    return Situation(model, given, says=["mask_token", "class_token"], holds=holds, never=["mask_token with"])


@situation()
def an_encoder_is_no_decoder() -> Situation:
    """Convs of an encoder have the shapes that transposed convs of a decoder have."""
    checkpoint = network({"enc1": nn.Conv2d(4, 6, 3, bias=False), "enc2": nn.Conv2d(6, 8, 3, bias=False)})
    model = network({"dec1": nn.ConvTranspose2d(6, 4, 3, bias=False), "dec2": nn.ConvTranspose2d(8, 6, 3, bias=False)})
    return Situation(model, tensors(checkpoint), says=["architecture|enc1"], holds=None, never=["^it loads"])


@situation()
def weight_norm_over_another_dimension() -> Situation:
    def build(dim: int) -> nn.Module:
        model = nn.Sequential(weight_norm(nn.Conv1d(4, 6, 3), dim=dim), nn.ReLU(), nn.Conv1d(6, 5, 3))
        with torch.no_grad():
            model[0].parametrizations.weight.original0.uniform_(0.5, 2)
        return model

    checkpoint, model = build(0), build(1)
    weight = checkpoint[0].weight.detach()
    holds = tensors(checkpoint) | {
        "0.parametrizations.weight.original0": weight.norm(dim=(0, 2), keepdim=True),
        "0.parametrizations.weight.original1": weight,
    }
    return Situation(model, tensors(checkpoint), says=["weight_norm"], holds=holds)


@situation()
def spectral_norm_divides_what_was_plain() -> Situation:
    """With the vectors of a new model the weight would be divided by a number that nobody trained."""
    build = lambda norm: nn.Sequential(norm(nn.Linear(5, 6)), nn.ReLU(), nn.Linear(6, 4))
    return Situation(build(spectral_norm), tensors(build(lambda layer: layer)), says=["spectral_norm"], holds=None)


@situation()
def films_in_whole_and_in_halves() -> Situation:
    """Norms and the head have the same shapes; every kernel is of another kind."""
    return Situation(
        r2plus1d_18(num_classes=5), tensors(trained(r3d_18(num_classes=5))), says=["another network"], holds=None
    )


@situation()
def one_layer_more_among_equal_ones() -> Situation:
    def build(layers: int) -> nn.Module:
        inner = [module for _ in range(layers) for module in (nn.Linear(8, 8), nn.ReLU())]
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *inner, nn.Linear(8, 5))

    return Situation(build(1), tensors(build(2)), says=["deeper|more layers|layers"], holds=None, never=["classes"])


@situation()
def one_layer_fewer_among_equal_ones() -> Situation:
    def build(layers: int) -> nn.Module:
        inner = [module for _ in range(layers) for module in (nn.Linear(8, 8), nn.ReLU())]
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *inner, nn.Linear(8, 5))

    return Situation(build(3), tensors(build(2)), says=["deeper|more layers|layers"], holds=None, never=["classes"])


@situation()
def one_prefix_instead_of_another() -> Situation:
    checkpoint = trunk()
    given = {f"module.{key}": tensor for key, tensor in tensors(checkpoint).items()}
    model = network({"backbone": trunk(), "head": nn.Linear(14, 5)})
    holds = {f"backbone.{key}": tensor for key, tensor in tensors(checkpoint).items()}
    return Situation(model, given, says=["'module.'", "'backbone.'"], holds=holds, never=["by shape and order"])


@situation()
def the_children_of_a_resnet_in_a_row() -> Situation:
    checkpoint = trained(resnet18(num_classes=6))
    given = tensors(nn.Sequential(*checkpoint.children()))
    return Situation(resnet18(num_classes=6), given, says=["names"], holds=tensors(checkpoint))


@situation()
def a_resnet_for_its_children_in_a_row() -> Situation:
    checkpoint = trained(resnet18(num_classes=6))
    model = nn.Sequential(*list(resnet18().children())[:-1])
    row = tensors(nn.Sequential(*list(checkpoint.children())[:-1]))
    return Situation(model, tensors(checkpoint), says=["names", "fc"], holds=row)


@situation()
def linears_of_gpt2_are_turned_and_its_head_is_not() -> Situation:
    def parts(turned: bool) -> nn.Module:
        model = nn.Module()
        model.wte = nn.Embedding(11, 6)
        model.h = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            block.c_attn, block.c_proj = nn.Linear(6, 18), nn.Linear(6, 6)
            block.c_fc, block.c_out = nn.Linear(6, 24), nn.Linear(24, 6)
            model.h.append(block)
        model.lm_head = nn.Linear(6, 11, bias=False)
        return model

    checkpoint = parts(turned=False)
    right = tensors(checkpoint)
    given = {key: t.T.contiguous() if ".c_" in key and t.ndim == 2 else t for key, t in right.items()}
    return Situation(parts(turned=True), given, says=[r"\(in, out\)"], holds=right, never=["width"])


@situation()
def a_layer_fewer_in_each_stage() -> Situation:
    """All that the model has can be paired by order, and half of what was trained would be left out."""

    def build(layers: int) -> nn.Module:
        model = nn.Module()
        model.features = nn.Sequential()
        channels = 3
        for width in (5, 6, 7):
            for _ in range(layers):
                model.features.extend([nn.Conv2d(channels, width, 3), nn.ReLU()])
                channels = width
            model.features.append(nn.MaxPool2d(2))
        model.classifier = nn.Linear(7, 4)
        return trained(model)

    return Situation(build(1), tensors(build(2)), says=["features"], holds=None)
