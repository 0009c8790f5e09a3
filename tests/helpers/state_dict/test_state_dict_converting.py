"""The same numbers in another form: each against the layer that they come from, or torch's own computation."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.testing import assert_close

from helpers.state_dict import (
    StateDictError,
    add_tied_names,
    dequantize,
    fold_parametrizations,
    fuse_qkv,
    inflate_conv,
    merge_lora,
    rename_leaves,
    split_qkv,
    split_weight_norm,
)


class Apart(nn.Module):
    """An attention of one head, written out; the key has no bias."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        return self.out_proj(torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v)


def test_fused_attention_computes_the_same() -> None:
    torch.manual_seed(0)
    apart, together = Apart(), nn.MultiheadAttention(6, 1, batch_first=True)
    fused = fuse_qkv({f"block.attn.{key}": t for key, t in apart.state_dict().items()})
    assert set(fused) == {f"block.attn.{key}" for key in together.state_dict()}
    together.load_state_dict({key.removeprefix("block.attn."): t for key, t in fused.items()})
    x = torch.randn(2, 5, 6)
    assert_close(together(x, x, x)[0], apart(x))


def test_split_is_the_opposite_of_fuse() -> None:
    torch.manual_seed(1)
    wanted = {
        f"layers.{i}.attention.{name}.{leaf}": torch.randn(4, 4) if leaf == "weight" else torch.randn(4)
        for i in (0, 1)
        for name in ("query", "key", "value")
        for leaf in ("weight", "bias")
    } | {"norm.weight": torch.randn(4)}
    for into in ("in_proj", "qkv"):
        again = split_qkv(fuse_qkv(wanted, into), ("query", "key", "value"))
        assert again.keys() == wanted.keys()
        assert all(torch.equal(again[key], wanted[key]) for key in wanted)
    assert "layers.1.attention.qkv.bias" in fuse_qkv(wanted, "qkv")


def test_fusing_refuses_what_is_no_attention() -> None:
    with pytest.raises(StateDictError, match="no attention"):
        fuse_qkv({"q_proj.weight": torch.ones(2, 2), "k_proj.weight": torch.ones(2, 2)})
    three = {f"{name}.weight": torch.ones(2, 2 + (name == "k")) for name in "qkv"}
    with pytest.raises(StateDictError, match=r"other inputs \(q \(2, 2\), k \(2, 3\)"):
        fuse_qkv(three)
    with pytest.raises(StateDictError, match="'in_proj_weight' is \\(4, 2\\)"):
        split_qkv({"in_proj_weight": torch.ones(4, 2)})
    with pytest.raises(StateDictError, match="no fused"):
        split_qkv({"weight": torch.ones(3, 2)})
    with pytest.raises(StateDictError, match="into is one of"):
        fuse_qkv(three, "qvk")


def older_weight_norm(layer: nn.Module, **options) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weight_norm(layer, **options)


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("norm", [older_weight_norm, parametrizations.weight_norm])
def test_weight_norm_folds_into_the_weight_that_its_layer_uses(norm, dim) -> None:
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Conv1d(3, 4, 5), nn.Conv1d(4, 2, 3))
    normed = nn.Sequential(norm(nn.Conv1d(3, 4, 5), dim=dim), nn.Conv1d(4, 2, 3))
    with torch.no_grad():
        for parameter in normed.parameters():
            parameter.mul_(torch.rand_like(parameter) + 1)
    x = torch.randn(2, 3, 11)
    plain.load_state_dict(fold_parametrizations(normed.state_dict()))
    assert_close(plain(x), normed(x))
    again = nn.Sequential(norm(nn.Conv1d(3, 4, 5), dim=dim), nn.Conv1d(4, 2, 3))
    again.load_state_dict(split_weight_norm(plain.state_dict(), again))
    assert_close(again(x), plain(x))


@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(5, 3), lambda: nn.ConvTranspose2d(4, 4, 3), lambda: nn.Conv2d(3, 4, 2)]
)
def test_spectral_norm_folds_into_the_weight_that_its_layer_uses_in_eval_mode(norm, make) -> None:
    torch.manual_seed(4)
    plain, normed = make(), norm(make())
    x = torch.randn(2, 5) if isinstance(plain, nn.Linear) else torch.randn(2, plain.in_channels, 7, 6)
    for _ in range(5):
        normed(x)
    normed.eval()
    plain.load_state_dict(fold_parametrizations(normed.state_dict()))
    assert_close(plain(x), normed(x), rtol=1e-4, atol=1e-5)


def test_pruning_folds() -> None:
    layer = prune.random_unstructured(nn.Linear(7, 3), "weight", 0.5)
    used = layer.weight.detach().clone()
    assert torch.equal(fold_parametrizations(layer.state_dict())["weight"], used)
    with pytest.raises(StateDictError, match="all weights are plain"):
        fold_parametrizations(nn.Linear(2, 3).state_dict())
    with pytest.raises(StateDictError, match="no weight_norm"):
        split_weight_norm(nn.Linear(2, 3).state_dict(), nn.Linear(2, 3))


def test_leaves_are_renamed_unless_two_become_one() -> None:
    found = rename_leaves({"a.gamma": torch.ones(2), "gamma": torch.ones(3), "a.b": torch.ones(1)}, {"gamma": "weight"})
    assert list(found) == ["a.weight", "weight", "a.b"]
    with pytest.raises(StateDictError, match=r"two names would become 'a\.weight'"):
        rename_leaves({"a.gamma": torch.ones(2), "a.weight": torch.ones(2)}, {"gamma": "weight"})


def test_tied_names_are_added() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 5), "head": nn.Linear(5, 7, bias=False)})
    model["head"].weight = model["embedding"].weight
    given = {"embedding.weight": torch.randn(7, 5)}
    found = add_tied_names(given, model)
    assert found["head.weight"] is given["embedding.weight"]
    assert list(given) == ["embedding.weight"]
    model.load_state_dict(found)


def test_an_inflated_conv_sees_a_still_film_as_its_picture() -> None:
    torch.manual_seed(5)
    flat, deep = nn.Conv2d(3, 4, (2, 5)), nn.Conv3d(3, 4, (3, 2, 5))
    deep.load_state_dict({"weight": inflate_conv(flat.weight.detach(), 3), "bias": flat.bias.detach()})
    picture = torch.randn(2, 3, 8, 9)
    film = picture[:, :, None].expand(-1, -1, 6, -1, -1)
    for frame in deep(film).unbind(2):
        assert_close(frame, flat(picture))
    for depth in (0, True, 2.0):
        with pytest.raises(StateDictError, match="depth"):
            inflate_conv(flat.weight, depth)
    with pytest.raises(StateDictError, match=r"not \(4,\)"):
        inflate_conv(flat.bias, 3)


def quantized(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (weight / scale).round().clamp(-127, 127).to(torch.int8)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("block.weight_scale", torch.tensor(0.01)),
        ("block.weight_scale", torch.linspace(0.01, 0.04, 6)),
        ("block.scales", torch.linspace(0.01, 0.04, 6)[:, None]),
    ],
)
def test_integers_times_their_scale(name, scale) -> None:
    torch.manual_seed(6)
    weight = torch.rand(6, 4) * 2 - 1
    rows = scale.reshape(-1, 1) if scale.numel() > 1 else scale
    found = dequantize({"block.weight": quantized(weight, rows), name: scale, "block.bias": torch.ones(6)})
    assert list(found) == ["block.weight", "block.bias"]
    assert found["block.weight"].dtype == torch.float32
    assert (found["block.weight"] - weight).abs().max() <= 0.5 * scale.max() + 1e-6


def test_rows_of_bitsandbytes_are_of_127() -> None:
    weight = torch.randn(5, 3)
    largest = weight.abs().amax(1)
    stored = {"weight": (weight * 127 / largest[:, None]).round().to(torch.int8), "SCB": largest}
    assert_close(dequantize(stored)["weight"], weight, rtol=0, atol=float(largest.max()) / 127)


def test_blocks_of_float8() -> None:
    torch.manual_seed(7)
    scale = torch.tensor([[0.5, 2.0, 4.0], [8.0, 16.0, 32.0]])
    numbers = torch.randn(200, 300).to(torch.float8_e4m3fn)
    found = dequantize({"a.weight": numbers, "a.weight_scale_inv": scale})["a.weight"]
    for row, column in ((0, 0), (127, 127), (128, 127), (199, 299), (5, 256), (130, 200)):
        assert found[row, column] == float(numbers[row, column].float() * scale[row // 128, column // 128])


def test_zero_points_are_taken_off() -> None:
    stored = {
        "weight": torch.tensor([[3, 5]], dtype=torch.uint8),
        "weight_scale": torch.tensor(0.5),
        "weight_zero_point": torch.tensor(4),
    }
    assert dequantize(stored)["weight"].tolist() == [[-0.5, 0.5]]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_sparse_and_torchs_own_become_plain() -> None:
    dense = torch.tensor([[0.0, 2.0], [0.5, 0.0]])
    own = torch.quantize_per_tensor(dense, 0.5, 0, torch.qint8)
    assert torch.equal(dequantize({"a": dense.to_sparse(), "b": own})["b"], dense)
    assert torch.equal(dequantize({"a": dense.to_sparse(), "b": own})["a"], dense)


def test_what_cannot_be_dequantized_is_refused() -> None:
    with pytest.raises(StateDictError, match="no integers or float8 with a scale"):
        dequantize({"weight": torch.ones(2, 2, dtype=torch.int8)})
    with pytest.raises(StateDictError, match=r"'weight_scale' is \(3,\)"):
        dequantize({"weight": torch.ones(2, 2, dtype=torch.int8), "weight_scale": torch.ones(3)})
    with pytest.raises(StateDictError, match="several weights lie in one integer"):
        dequantize({"a.qweight": torch.ones(2, 2, dtype=torch.int32), "a.scales": torch.ones(2)})


def test_lora_is_merged_once_and_in_float32() -> None:
    torch.manual_seed(8)
    weights = {"block.proj.weight": torch.randn(6, 4).bfloat16(), "block.proj.bias": torch.randn(6)}
    a, b = torch.randn(2, 4), torch.randn(6, 2)
    adapter = {
        "base_model.model.block.proj.lora_A.default.weight": a,
        "base_model.model.block.proj.lora_B.default.weight": b,
    }
    given = copy.deepcopy(weights)
    merged = merge_lora(weights, adapter, scale=0.5)
    by_hand = (weights["block.proj.weight"].float() + 0.5 * torch.einsum("or,ri->oi", b, a)).bfloat16()
    assert torch.equal(merged["block.proj.weight"], by_hand)
    assert torch.equal(merged["block.proj.bias"], weights["block.proj.bias"])
    assert all(torch.equal(weights[key], given[key]) for key in given)
    with pytest.raises(StateDictError, match="merged into these weights before"):
        merge_lora(merged, adapter, scale=0.5)
    other = {key: tensor + 1 for key, tensor in adapter.items()}
    merge_lora(merged, other, scale=0.5)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({}, "holds nothing"),
        ({"x.lora_A.weight": torch.ones(2, 4)}, "only one of lora_A and lora_B"),
        ({"y.lora_A.weight": torch.ones(2, 4), "y.lora_B.weight": torch.ones(6, 2)}, "'y.weight', which is not among"),
        ({"x.lora_A.weight": torch.ones(2, 5), "x.lora_B.weight": torch.ones(6, 2)}, r"\(6, 4\), lora_A \(2, 5\)"),
        ({"x.weight": torch.ones(2, 5)}, "no part of a LoRA adapter"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(adapter, message) -> None:
    with pytest.raises(StateDictError, match=message):
        merge_lora({"x.weight": torch.ones(6, 4)}, adapter, scale=1)
    with pytest.raises(StateDictError, match="scale is alpha"):
        merge_lora({"x.weight": torch.ones(6, 4)}, adapter, scale=float("nan"))
