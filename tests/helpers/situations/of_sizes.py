"""Other sizes: what a head, a first conv or a table of positions can bear, and what is another network."""

import torch
import torchvision
from situations import Situation, situation, tensors, without
from torch import nn
from torchvision.models import VisionTransformer, resnet18, resnet34, resnet50

GITHUB = "https://github.com/"


def vit(size: int = 32, classes: int = 5, patch: int = 8, width: int = 16, layers: int = 2) -> nn.Module:
    return VisionTransformer(size, patch, layers, 2, width, 24, num_classes=classes)


def kept(checkpoint: nn.Module, pattern: str) -> dict[str, torch.Tensor]:
    return without(tensors(checkpoint), pattern)


@situation(GITHUB + "YuchenLiu98/ECCV2022-SDA-FAS/issues/1")
def a_vit_of_another_image_size() -> Situation:
    checkpoint = vit(64)
    return Situation(
        vit(48),
        tensors(checkpoint),
        says=["image size.*pos_embedding|position.*65.*37"],
        holds=kept(checkpoint, "pos_embedding"),
        never=["classes"],
    )


@situation(GITHUB + "Gourieff/ComfyUI-ReActor/issues/20")
def a_vit_of_another_image_size_and_other_classes() -> Situation:
    checkpoint = vit(64, 1000)
    return Situation(
        vit(32, 2),
        tensors(checkpoint),
        says=["position", "classes.*1000.*2"],
        holds=kept(checkpoint, "pos_embedding|heads"),
    )


class Positions(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.pos_embed, self.blocks = nn.Parameter(torch.randn(1, number, 8)), nn.Linear(8, 9)


@situation(GITHUB + "princeton-vl/WAFT/issues/4")
def positions_of_a_refinement_network() -> Situation:
    checkpoint = nn.ModuleDict({"refine_net": Positions(64)})
    model = nn.ModuleDict({"refine_net": Positions(256)})
    return Situation(model, tensors(checkpoint), says=["pos_embed.*64.*256"], holds=kept(checkpoint, "pos_embed"))


@situation(GITHUB + "facebookresearch/segment-anything/issues/15")
def a_vit_of_another_width() -> Situation:
    return Situation(vit(width=16), tensors(vit(width=24)), says=["width"], holds=None, never=["classes", "image size"])


@situation(GITHUB + "sail-sg/volo/issues/38")
def a_vit_of_another_width_and_number_of_layers() -> Situation:
    return Situation(vit(width=16, layers=2), tensors(vit(width=24, layers=3)), says=["width"], holds=None)


@situation()
def a_vit_with_more_layers() -> Situation:
    return Situation(vit(layers=2), tensors(vit(layers=4)), says=["deeper|layers"], holds=None, never=["^it loads"])


@situation()
def a_vit_with_another_patch_size() -> Situation:
    checkpoint = vit(64, patch=16)
    return Situation(
        vit(32, patch=8), tensors(checkpoint), says=["patch.*16.*8"], holds=kept(checkpoint, "conv_proj.weight")
    )


@situation()
def a_grey_vit() -> Situation:
    checkpoint, model = vit(), vit()
    model.conv_proj = nn.Conv2d(1, 16, 8, 8)
    return Situation(
        model, tensors(checkpoint), says=["input channels.*3.*1.*conv_proj"], holds=kept(checkpoint, "conv_proj.weight")
    )


class Swin(nn.Module):
    def __init__(self, window: int, classes: int = 5) -> None:
        super().__init__()
        self.proj, self.head = nn.Linear(6, 7), nn.Linear(7, classes)
        self.attn = nn.Module()
        self.attn.relative_position_bias_table = nn.Parameter(torch.randn((2 * window - 1) ** 2, 3))
        self.attn.register_buffer("relative_position_index", torch.randint(0, 9, (window**2, window**2)))


@situation(GITHUB + "microsoft/Swin-Transformer/issues/117")
def a_swin_of_another_window() -> Situation:
    checkpoint = Swin(7)
    return Situation(
        Swin(12),
        tensors(checkpoint),
        says=["window.*7.*12|relative_position_bias_table"],
        holds=kept(checkpoint, "relative"),
        never=["width", "classes"],
    )


@situation(GITHUB + "microsoft/Swin-Transformer/issues/251")
def a_swin_of_another_window_and_classes() -> Situation:
    checkpoint = Swin(8, 1000)
    return Situation(
        Swin(16, 3),
        tensors(checkpoint),
        says=["window", "classes.*1000.*3"],
        holds=kept(checkpoint, "relative|head"),
        never=["width"],
    )


@situation(GITHUB + "pytorch/vision/issues/751")
def three_channels_for_four() -> Situation:
    checkpoint, model = resnet18(), resnet18()
    model.conv1 = nn.Conv2d(4, 64, 7, 2, 3, bias=False)
    return Situation(
        model,
        tensors(checkpoint),
        says=["input channels.*3.*4.*conv1"],
        holds=kept(checkpoint, r"^conv1\."),
        never=["classes"],
    )


@situation(GITHUB + "mateuszbuda/brain-segmentation-pytorch/issues/15")
def a_unet_with_two_channels() -> Situation:
    build = lambda n: nn.ModuleDict(
        {
            "encoder1": nn.ModuleDict({"enc1conv1": nn.Conv2d(n, 8, 3), "enc1norm1": nn.BatchNorm2d(8)}),
            "conv": nn.Conv2d(8, 1, 1),
        }
    )
    checkpoint = build(3)
    return Situation(
        build(2),
        tensors(checkpoint),
        says=["input channels.*3.*2.*enc1conv1"],
        holds=kept(checkpoint, "enc1conv1.weight"),
    )


@situation(GITHUB + "winycg/HSAKD/issues/10")
def a_stem_of_another_kernel() -> Situation:
    checkpoint = resnet18()
    checkpoint.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    return Situation(
        resnet18(), tensors(checkpoint), says=["kernel.*3 x 3.*7 x 7.*conv1"], holds=kept(checkpoint, r"^conv1\.")
    )


@situation(GITHUB + "nianticlabs/monodepth2/issues/4")
def bottlenecks_for_basic_blocks() -> Situation:
    return Situation(
        resnet18(), tensors(resnet50()), says=["width|architecture|block|deeper"], holds=None, never=["classes"]
    )


@situation(GITHUB + "akamaster/pytorch_resnet_cifar10/issues/30")
def three_blocks_for_two_behind_module() -> Situation:
    given = {"state_dict": {f"module.{key}": t for key, t in tensors(resnet34()).items()}, "best_prec1": 92.6}
    return Situation(resnet18(), given, says=["'module.'", "deeper|depth|blocks"], holds=None, never=["^it loads"])


@situation()
def two_blocks_for_three() -> Situation:
    return Situation(resnet34(), tensors(resnet18()), says=["deeper|depth|blocks"], holds=None)


@situation(GITHUB + "yassouali/pytorch-segmentation/issues/91")
def a_deep_stem_for_a_plain_one() -> Situation:
    checkpoint, model = resnet18(), resnet18()
    model.conv1 = nn.Sequential(
        nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 128, 3, 1, 1, bias=False)
    )
    model.bn1 = nn.BatchNorm2d(128)
    model.layer1[0].conv1 = nn.Conv2d(128, 64, 3, 1, 1, bias=False)
    left = r"^conv1|^bn1\.(w|b|r)|layer1\.0\.conv1"
    return Situation(model, tensors(checkpoint), says=["bn1.*layer1.0.conv1", "conv1.0"], holds=kept(checkpoint, left))


@situation()
def groups_in_the_model_only() -> Situation:
    return Situation(
        torchvision.models.resnext50_32x4d(),
        tensors(resnet50()),
        says=["groups"],
        holds=None,
        never=["build it as wide"],
    )


@situation()
def a_wide_resnet() -> Situation:
    return Situation(torchvision.models.wide_resnet50_2(), tensors(resnet50()), says=["width|wide"], holds=None)


@situation(GITHUB + "georgeNakayama/AIpparel-Code/issues/15")
def two_tokens_were_added() -> Situation:
    build = lambda n: nn.ModuleDict(
        {"embed_tokens": nn.Embedding(n, 8), "layer": nn.Linear(8, 8), "lm_head": nn.Linear(8, n, bias=False)}
    )
    checkpoint = build(124)
    return Situation(
        build(126),
        tensors(checkpoint),
        says=["124.*126.*embed_tokens|embed_tokens.*124.*126", "lm_head"],
        holds=kept(checkpoint, "embed_tokens|lm_head"),
        never=["width"],
    )


@situation(GITHUB + "wengong-jin/icml18-jtnn/issues/56")
def another_vocabulary_in_two_tables() -> Situation:
    build = lambda n: nn.ModuleDict(
        {
            "jtnn": nn.ModuleDict({"embedding": nn.Embedding(n, 8)}),
            "decoder": nn.ModuleDict({"embedding": nn.Embedding(n, 8), "W": nn.Linear(8, 6), "W_o": nn.Linear(6, n)}),
        }
    )
    checkpoint = build(53)
    return Situation(
        build(80),
        tensors(checkpoint),
        says=["embedding.*53.*80|53.*80.*embedding"],
        holds=kept(checkpoint, "embedding|W_o"),
        never=["width"],
    )


@situation()
def a_linear_behind_a_flatten_for_another_image_size() -> Situation:
    build = lambda n: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * n, 10), nn.ReLU(), nn.Linear(10, 4))
    checkpoint = build(36)
    return Situation(
        build(9), tensors(checkpoint), says=["2.weight.*288.*72|image size"], holds=kept(checkpoint, r"^2\.weight")
    )


@situation()
def an_lstm_of_another_size() -> Situation:
    return Situation(nn.LSTM(6, 8), tensors(nn.LSTM(6, 16)), says=["hidden size.*16.*8"], holds=None)


@situation()
def batch_norm_in_the_checkpoint_only() -> Situation:
    return Situation(
        torchvision.models.vgg11(num_classes=3, init_weights=False),
        tensors(torchvision.models.vgg11_bn(num_classes=3, init_weights=False)),
        says=["only the checkpoint has BatchNorm"],
        holds=None,
    )


@situation()
def squeeze_and_excitation_in_the_model_only() -> Situation:
    class Block(nn.Module):
        def __init__(self, with_gate: bool) -> None:
            super().__init__()
            self.expand, self.norm = nn.Conv2d(6, 12, 1, bias=False), nn.BatchNorm2d(12)
            if with_gate:
                self.se = nn.ModuleDict({"fc1": nn.Conv2d(12, 3, 1), "fc2": nn.Conv2d(3, 12, 1)})
            self.project = nn.Conv2d(12, 6, 1, bias=False)

    model = nn.ModuleDict({"features": nn.ModuleList([Block(True) for _ in range(3)])})
    lite = nn.ModuleDict({"blocks": nn.ModuleList([Block(False) for _ in range(3)])})
    names = {"expand": "conv_pw", "norm": "bn1", "project": "conv_pwl"}
    given = {".".join(names.get(part, part) for part in key.split(".")): t for key, t in tensors(lite).items()}
    return Situation(model, given, says=["only the model has.*se.fc1"], holds=None)


@situation()
def the_beginning_of_a_longer_network() -> Situation:
    checkpoint = torchvision.models.vgg11(init_weights=False).features
    model = torchvision.models.vgg11(init_weights=False).features[:8]
    return Situation(
        model,
        tensors(checkpoint),
        says=["only the checkpoint has|beginning|deeper"],
        holds={k: t for k, t in tensors(checkpoint).items() if k in model.state_dict()},
    )


@situation()
def heads_of_attention_cannot_be_seen() -> Situation:
    checkpoint = nn.MultiheadAttention(8, 4)
    return Situation(nn.MultiheadAttention(8, 2), tensors(checkpoint), says=["it loads"], holds=tensors(checkpoint))


@situation()
def a_conv_transposed_has_in_before_out() -> Situation:
    checkpoint = nn.ModuleDict({"up": nn.Conv2d(6, 4, 3)})
    return Situation(
        nn.ModuleDict({"up": nn.ConvTranspose2d(6, 4, 3)}),
        tensors(checkpoint),
        says=[r"up.weight.*\(4, 6, 3, 3\).*\(6, 4, 3, 3\)"],
        holds=None,
    )


@situation()
def an_lstm_with_one_layer_less() -> Situation:
    return Situation(nn.LSTM(6, 8, 2), tensors(nn.LSTM(6, 8, 3)), says=["layers.*l2"], holds=None)


@situation()
def an_lstm_that_reads_backwards_too() -> Situation:
    return Situation(
        nn.LSTM(6, 8, bidirectional=True), tensors(nn.LSTM(6, 8)), says=["directions.*reverse"], holds=None
    )


@situation()
def one_process_of_several_saved_it() -> Situation:
    given = {
        "0.weight": torch.empty(0),
        "0.bias": torch.empty(0),
        "1.weight": torch.randn(2, 3),
        "1.bias": torch.randn(2),
    }
    return Situation(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), given, says=["no numbers.*process"], holds=None)


@situation()
def the_training_had_failed() -> Situation:
    given = {"weight": torch.tensor([[1.0, torch.nan], [2.0, 3.0]]), "bias": torch.ones(2)}
    return Situation(nn.Linear(2, 2), given, says=["it loads", "NaN.*weight"], holds=given)


@situation()
def a_swin_of_the_second_version() -> Situation:
    model, checkpoint = torchvision.models.swin_v2_t(), torchvision.models.swin_t()
    return Situation(model, tensors(checkpoint), says=["window"], holds=None, never=["classes"])
