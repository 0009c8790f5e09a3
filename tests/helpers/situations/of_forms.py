"""The same numbers in another form, and numbers that are none."""

import warnings

import torch
from situations import Situation, situation, tensors
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

GITHUB = "https://github.com/"


def older(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weight_norm(layer)


def vocoder(norm=lambda layer: layer) -> nn.Module:
    return nn.ModuleDict(
        {
            "pre": nn.Conv1d(3, 8, 5),
            "ups": nn.ModuleList([norm(nn.ConvTranspose1d(8, 6, 4)), norm(nn.ConvTranspose1d(6, 5, 3))]),
        }
    )


def plain_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that the layers compute with."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Conv2d | nn.Linear):
            for hook in module._forward_pre_hooks.values():
                hook(module, (torch.zeros(1),))
            found |= {f"{name}.weight": module.weight.detach().clone(), f"{name}.bias": module.bias.detach().clone()}
    return found


@situation(GITHUB + "pytorch/pytorch/pull/103001")
def older_weight_norm_loads_into_newer() -> Situation:
    checkpoint = vocoder(older)
    newer = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): t
        for key, t in tensors(checkpoint).items()
    }
    return Situation(
        vocoder(parametrizations.weight_norm),
        checkpoint.state_dict(),
        says=["it loads|weight_norm"],
        holds=newer,
        never=["architecture"],
    )


@situation(GITHUB + "sarulab-speech/UTMOSv2/issues/7")
def newer_weight_norm_into_older() -> Situation:
    checkpoint = vocoder(parametrizations.weight_norm)
    right = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): t
        for key, t in tensors(checkpoint).items()
    }
    return Situation(vocoder(older), checkpoint.state_dict(), says=["weight_norm"], holds=right, never=["architecture"])


@situation(GITHUB + "huggingface/transformers/pull/32194")
def weight_norm_into_plain_weights() -> Situation:
    checkpoint = vocoder(older)
    for parameter in checkpoint.parameters():
        parameter.data.mul_(torch.rand_like(parameter) + 0.5)
    return Situation(
        vocoder(), checkpoint.state_dict(), says=["weight_norm"], holds=plain_of(checkpoint), never=["architecture"]
    )


@situation()
def plain_weights_into_weight_norm() -> Situation:
    checkpoint = vocoder()
    model = vocoder(parametrizations.weight_norm)
    right = {"pre.weight": checkpoint["pre"].weight, "pre.bias": checkpoint["pre"].bias}
    for i, layer in enumerate(checkpoint["ups"]):
        at = f"ups.{i}.parametrizations.weight.original"
        right |= {
            f"{at}0": torch.norm_except_dim(layer.weight, 2, 0),
            f"{at}1": layer.weight,
            f"ups.{i}.bias": layer.bias,
        }
    return Situation(
        model, checkpoint.state_dict(), says=["weight_norm"], holds={k: t.detach() for k, t in right.items()}
    )


def critic(norm=lambda layer: layer) -> nn.Module:
    return nn.Sequential(norm(nn.Conv2d(3, 5, (2, 3))), nn.Conv2d(5, 4, 2))


@situation(GITHUB + "pytorch/pytorch/issues/21251")
def older_spectral_norm_into_newer() -> Situation:
    checkpoint = critic(spectral_norm)
    names = {
        "0.weight_orig": "0.parametrizations.weight.original",
        "0.weight_u": "0.parametrizations.weight.0._u",
        "0.weight_v": "0.parametrizations.weight.0._v",
    }
    right = {names.get(key, key): t for key, t in tensors(checkpoint).items()}
    return Situation(
        critic(parametrizations.spectral_norm),
        tensors(checkpoint),
        says=["spectral_norm"],
        holds=right,
        never=["weight_norm is"],
    )


@situation(GITHUB + "knazeri/edge-connect/issues/121")
def spectral_norm_into_plain_weights_behind_a_prefix() -> Situation:
    checkpoint = critic(spectral_norm)
    for _ in range(4):
        checkpoint(torch.randn(2, 3, 9, 8))
    checkpoint.eval()
    given = {"generator": {f"module.{key}": t for key, t in tensors(checkpoint).items()}}
    return Situation(critic(), given, says=["spectral_norm", "'module.'"], holds=plain_of(checkpoint))


@situation()
def pruning_left_its_masks() -> Situation:
    checkpoint = nn.Sequential(prune.random_unstructured(nn.Linear(6, 4), "weight", 0.5), nn.Linear(4, 3))
    return Situation(
        nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), tensors(checkpoint), says=["prun"], holds=plain_of(checkpoint)
    )


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings, self.LayerNorm = nn.Embedding(11, 6), nn.LayerNorm(6)
        self.dense = nn.Linear(6, 5)


@situation(GITHUB + "huggingface/transformers/issues/11809")
def gamma_and_beta_of_bert() -> Situation:
    checkpoint = tensors(Bert())
    checkpoint["LayerNorm.weight"] = torch.randn(6)
    given = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for key, t in checkpoint.items()
    }
    return Situation(Bert(), given, says=["gamma"], holds=checkpoint, never=["another architecture"])


@situation(GITHUB + "huggingface/candle/pull/1888")
def gamma_and_beta_behind_a_prefix() -> Situation:
    checkpoint = tensors(Bert())
    given = {
        f"bert.{key}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for key, t in checkpoint.items()
    }
    return Situation(Bert(), given, says=["gamma", "'bert.'"], holds=checkpoint)


@situation()
def batch_norm_of_keras() -> Situation:
    build = lambda: nn.ModuleDict({"conv": nn.Conv2d(3, 4, (2, 5)), "bn": nn.BatchNorm2d(4)})
    checkpoint = build()
    checkpoint["bn"](torch.randn(5, 4, 3, 3))
    names = {
        "bn.weight": "bn.gamma",
        "bn.bias": "bn.beta",
        "bn.running_mean": "bn.moving_mean",
        "bn.running_var": "bn.moving_variance",
    }
    right = {key: t for key, t in tensors(checkpoint).items() if "num_batches" not in key}
    return Situation(
        build(),
        {names.get(key, key): t for key, t in right.items()},
        says=["moving_mean"],
        holds=right,
        never=["only the model has BatchNorm"],
    )


@situation()
def kernels_of_tensorflow_with_its_names() -> Situation:
    build = lambda: nn.ModuleDict({"conv": nn.Conv2d(3, 4, (2, 5)), "dense": nn.Linear(7, 6)})
    checkpoint = build()
    given = {
        "conv.kernel": checkpoint["conv"].weight.detach().permute(2, 3, 1, 0),
        "conv.bias": checkpoint["conv"].bias.detach(),
        "dense.kernel": checkpoint["dense"].weight.detach().T,
        "dense.bias": checkpoint["dense"].bias.detach(),
    }
    return Situation(build(), given, says=["kernel", "height, width"], holds=tensors(checkpoint))


@situation()
def linears_of_gpt2_are_turned() -> Situation:
    build = lambda: nn.ModuleDict({"c_attn": nn.Linear(6, 18), "c_proj": nn.Linear(6, 6), "mlp": nn.Linear(6, 24)})
    checkpoint = build()
    given = {key: t.T if t.ndim == 2 else t for key, t in tensors(checkpoint).items()}
    return Situation(build(), given, says=["transpos|turned|\\(in, out\\)"], holds=tensors(checkpoint))


@situation()
def saved_before_batches_were_counted() -> Situation:
    build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    checkpoint = build()
    checkpoint(torch.randn(2, 3, 8, 8))
    right = {key: t for key, t in tensors(checkpoint).items() if "num_batches" not in key}
    return Situation(build(), right, says=["it loads"], holds=right, never=["missing"])


@situation()
def a_scalar_for_one_number() -> Situation:
    return Situation(
        nn.PReLU(1), {"weight": torch.tensor(0.3)}, says=[r"\(\).*\(1,\)"], holds={"weight": torch.tensor([0.3])}
    )


@situation()
def a_linear_for_a_pointwise_conv() -> Situation:
    checkpoint = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    right = {key: t[:, :, None, None] if t.ndim == 2 else t for key, t in tensors(checkpoint).items()}
    return Situation(
        nn.Sequential(nn.Conv2d(6, 4, 1), nn.Conv2d(4, 3, 1)),
        tensors(checkpoint),
        says=["Linear"],
        holds=right,
        never=["2D against"],
    )


@situation()
def pictures_for_films() -> Situation:
    checkpoint = nn.Sequential(nn.Conv2d(3, 4, (2, 5)), nn.BatchNorm2d(4))
    model = nn.Sequential(nn.Conv3d(3, 4, (3, 2, 5)), nn.BatchNorm3d(4))
    right = tensors(checkpoint)
    right["0.weight"] = torch.stack([right["0.weight"]] * 3, dim=2) / 3
    return Situation(model, tensors(checkpoint), says=["2D.*3D"], holds=right)


@situation()
def films_for_pictures() -> Situation:
    checkpoint = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Conv3d(4, 5, 3))
    return Situation(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)), tensors(checkpoint), says=["3D.*2D"], holds=None
    )


@situation()
def integers_with_a_scale_for_each_row() -> Situation:
    model = nn.ModuleDict({"proj": nn.Linear(5, 3)})
    scale = torch.tensor([0.01, 0.02, 0.03])
    numbers = torch.randint(-127, 128, (3, 5), dtype=torch.int8)
    right = {"proj.weight": numbers.float() * scale[:, None], "proj.bias": torch.randn(3)}
    given = {"proj.weight": numbers, "proj.weight_scale": scale, "proj.bias": right["proj.bias"]}
    return Situation(model, given, says=["scale"], holds=right, never=["^it loads"])


@situation()
def float8_with_a_scale() -> Situation:
    numbers = torch.randn(3, 5).to(torch.float8_e4m3fn)
    right = {"weight": numbers.float() * 0.25, "bias": torch.randn(3)}
    given = {"weight": numbers, "weight_scale_inv": torch.tensor(0.25), "bias": right["bias"]}
    return Situation(nn.Linear(5, 3), given, says=["scale"], holds=right, never=["^it loads"])


@situation()
def integers_whose_scale_is_lost() -> Situation:
    given = {"weight": torch.ones(3, 5, dtype=torch.int8), "bias": torch.randn(3)}
    return Situation(nn.Linear(5, 3), given, says=["int8"], holds=None, never=["^it loads"])


@situation()
def four_bits_packed() -> Situation:
    given = {
        "weight.qweight": torch.ones(2, 3, dtype=torch.int32),
        "weight.scales": torch.ones(3),
        "weight.qzeros": torch.ones(1, dtype=torch.int32),
    }
    return Situation(nn.Linear(5, 3), given, says=["packed|one integer"], holds=None)


@situation()
def sparse_weights() -> Situation:
    right = {"weight": torch.eye(3, 5), "bias": torch.randn(3)}
    return Situation(
        nn.Linear(5, 3),
        right | {"weight": right["weight"].to_sparse()},
        says=["sparse"],
        holds=right,
        never=["^it loads"],
    )


@situation()
def a_tensor_without_numbers() -> Situation:
    given = {"weight": torch.empty(3, 5, device="meta"), "bias": torch.randn(3)}
    return Situation(nn.Linear(5, 3), given, says=["meta"], holds=None, never=["^it loads"])


@situation()
def complex_numbers_for_real_ones() -> Situation:
    given = {"weight": torch.randn(3, 5, dtype=torch.complex64), "bias": torch.randn(3)}
    return Situation(nn.Linear(5, 3), given, says=["complex"], holds=None, never=["^it loads"])


@situation()
def half_precision_is_no_obstacle() -> Situation:
    checkpoint = nn.Linear(5, 3).half()
    return Situation(
        nn.Linear(5, 3),
        tensors(checkpoint),
        says=["it loads"],
        holds={k: t.float() for k, t in tensors(checkpoint).items()},
    )


class Attention(nn.Module):
    def __init__(self, names: tuple[str, str, str] = ("q_proj", "k_proj", "v_proj")) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(6, 6))
        self.out_proj = nn.Linear(6, 6)


def layers(attention) -> nn.Module:
    return nn.ModuleDict(
        {
            "layers": nn.ModuleList(
                [
                    nn.ModuleDict({"self_attn": attention(), "norm": nn.LayerNorm(6), "fc": nn.Linear(6, 9)})
                    for _ in range(2)
                ]
            )
        }
    )


def together(checkpoint: dict[str, torch.Tensor], names: tuple[str, str, str], new: str) -> dict[str, torch.Tensor]:
    """By hand: one tensor under another name for the three."""
    found = {key: t for key, t in checkpoint.items() if key.split(".")[-2] not in names}
    for i in (0, 1):
        for leaf in ("weight", "bias"):
            at = f"layers.{i}.self_attn."
            found[at + new.format(leaf)] = torch.cat([checkpoint[f"{at}{name}.{leaf}"] for name in names])
    return found


@situation(GITHUB + "facebookresearch/fairseq/issues/1320")
def attention_fused_in_the_checkpoint() -> Situation:
    apart = tensors(layers(Attention))
    given = together(apart, ("q_proj", "k_proj", "v_proj"), "in_proj_{}")
    return Situation(layers(Attention), given, says=["query, key|q, k"], holds=apart, never=["architecture"])


@situation(GITHUB + "facebookresearch/metaseq/issues/442")
def attention_fused_in_the_model() -> Situation:
    apart = tensors(layers(Attention))
    model = layers(lambda: nn.MultiheadAttention(6, 2))
    return Situation(
        model,
        apart,
        says=["query, key|q, k"],
        holds=together(apart, ("q_proj", "k_proj", "v_proj"), "in_proj_{}"),
        never=["architecture"],
    )


@situation(GITHUB + "facebookresearch/SlowFast/issues/475")
def qkv_of_one_layer_for_three() -> Situation:
    names = ("q", "k", "v")
    apart = tensors(layers(lambda: Attention(names)))
    return Situation(
        layers(lambda: Attention(names)), together(apart, names, "qkv.{}"), says=["query, key|q, k"], holds=apart
    )


@situation(GITHUB + "RLinf/RLinf/issues/119")
def an_adapter_alone() -> Situation:
    given = {
        f"base_model.model.fc.lora_{side}.default.weight": torch.randn(shape)
        for side, shape in (("A", (2, 6)), ("B", (9, 2)))
    }
    return Situation(nn.ModuleDict({"fc": nn.Linear(6, 9)}), given, says=["LoRA"], holds=None)


@situation()
def an_adapter_beside_its_weights() -> Situation:
    given = tensors(nn.ModuleDict({"fc": nn.Linear(6, 9)})) | {
        "fc.lora_A.weight": torch.randn(2, 6),
        "fc.lora_B.weight": torch.randn(9, 2),
    }
    return Situation(nn.ModuleDict({"fc": nn.Linear(6, 9)}), given, says=["LoRA.*alpha"], holds=None)
