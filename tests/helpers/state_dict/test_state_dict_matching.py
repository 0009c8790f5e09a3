"""`load_matching` and its report, and loading without copying."""

import copy
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from helpers.state_dict import (
    LoadReport,
    StateDictError,
    load_matching,
    load_without_copying,
    match_keys,
    read_state_dict,
)
from workbook.data import DATA
from workbook.networks import vgg16


class Net(nn.Module):
    """Every dimension another, and a buffer."""

    def __init__(self, classes: int = 7, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, (2, 5))
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(6, classes)


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def assert_equal(found, expected) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_what_fits_is_loaded_and_the_rest_is_named() -> None:
    source, model = Net(classes=9), Net()
    source.norm.running_mean.fill_(3)
    before, state_dict = snapshot(model), source.state_dict()
    del state_dict["norm.bias"]
    state_dict["extra"] = torch.ones(2)
    given = {key: tensor.clone() for key, tensor in state_dict.items()}
    report = load_matching(model, state_dict)
    assert report.loaded == (
        "conv.weight", "conv.bias", "norm.weight", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    )  # fmt: skip
    assert report.missing == ("norm.bias",)
    assert report.unexpected == ("extra",)
    assert report.mismatched == {"head.weight": ((9, 6), (7, 6)), "head.bias": ((9,), (7,))}
    assert report.half_loaded == ("norm",)
    total = 3 * 4 * 2 * 5 + 4 + (4 + 4 + 4 + 4) + 6 * 7 + 7  # conv, norm with its two buffers, head
    assert report.coverage == pytest.approx((3 * 4 * 2 * 5 + 4 + (4 + 4 + 4)) / total)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, (source.state_dict() if key in report.loaded else before)[key])
    assert_equal(state_dict, given)


def test_nothing_is_shared_afterwards() -> None:
    source, model = Net(), Net()
    parameters = list(model.parameters())
    load_matching(model, source.state_dict())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))  # an optimizer still holds them
    before = snapshot(source)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert_equal(source.state_dict(), before)


def test_requires_grad_dtype_and_mode_stay() -> None:
    model = Net().half().eval()
    model.conv.weight.requires_grad = False
    load_matching(model, Net().state_dict())
    assert model.conv.weight.dtype == torch.float16
    assert not model.conv.weight.requires_grad
    assert model.head.weight.requires_grad
    assert not model.training


@pytest.mark.parametrize(
    "rename",
    [
        {"old.conv.weight": "conv.weight", "old.conv.bias": "conv.bias"},
        [(r"^old\.", ""), ("xyz", "abc")],
        iter([(r"^old\.", "")]),
        lambda name: name.removeprefix("old."),
    ],
)
def test_names_change_by_dictionary_pairs_or_function(rename) -> None:
    source, model = Net(), Net()
    state_dict = {f"old.conv.{leaf}": tensor for leaf, tensor in source.conv.state_dict().items()}
    report = load_matching(model, state_dict, rename=rename)
    assert report.loaded == ("conv.weight", "conv.bias")
    assert report.renamed == {"old.conv.weight": "conv.weight", "old.conv.bias": "conv.bias"}
    assert torch.equal(model.conv.weight, source.conv.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rename": [(r"weight|bias", "x")]}, r"'conv.weight' and 'conv.bias' would both become 'conv.x'"),
        ({"rename": {"convv.weight": "conv.weight"}}, "the checkpoint has no 'convv.weight'"),
        ({"rename": lambda name: f"deep.{name}"}, "nothing matches: the checkpoint has 'deep.conv.weight'"),
        ({"min_coverage": 0.9}, r"only 74.0% of the numbers match, 90.0% are asked for"),
    ],
)
def test_refusals_leave_the_model_as_it_was(arguments, message) -> None:
    model = Net()
    before, state_dict = snapshot(model), Net(classes=8).state_dict()
    if "min_coverage" in arguments:
        assert load_matching(copy.deepcopy(model), state_dict, min_coverage=0.7).coverage > 0.7
    with pytest.raises(StateDictError, match=message):
        load_matching(model, state_dict, **arguments)
    assert_equal(model.state_dict(), before)


def test_nothing_in_common_is_an_error_not_a_success() -> None:
    with pytest.raises(StateDictError, match=r"the checkpoint has nothing; the model has 'conv\.weight'"):
        load_matching(Net(), {})


def test_a_model_on_meta_is_refused() -> None:
    with torch.device("meta"):
        model = Net()
    with pytest.raises(StateDictError, match="on the meta device"):
        load_matching(model, Net().state_dict())


def test_one_tensor_with_two_names_cannot_get_two_values() -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    model[1].weight = model[0].weight
    state_dict = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5)).state_dict()
    with pytest.raises(StateDictError, match=r"'0.weight' and '1.weight', and the checkpoint has two"):
        load_matching(model, state_dict)
    state_dict["1.weight"] = state_dict["0.weight"].clone()
    assert load_matching(model, state_dict).coverage == 1


def test_coverage_counts_parameters_and_buffers_that_are_no_counters() -> None:
    model = nn.BatchNorm2d(3)
    in_file = model.state_dict()
    without_counter = {key: tensor for key, tensor in in_file.items() if "num_batches" not in key}
    assert match_keys(model, in_file).coverage == match_keys(model, without_counter).coverage == 1
    assert match_keys(model, {key: in_file[key] for key in ("weight", "bias")}).coverage == 0.5
    assert match_keys(model, {"num_batches_tracked": in_file["num_batches_tracked"]}).coverage == 0
    with pytest.raises(StateDictError, match=r"only 50.0% of the numbers match, 100.0% are asked for"):
        load_matching(model, dict(model.named_parameters()), min_coverage=1.0)


def test_versions_of_modules_follow_their_names() -> None:
    source, model = (
        torchvision.models.mnasnet0_5(num_classes=4),
        torchvision.models.mnasnet0_5(num_classes=4),
    )  # it asks for its version
    state_dict = nn.DataParallel(source).state_dict()
    load_matching(model, state_dict, rename=[(r"^module\.", "")], min_coverage=1.0)
    assert_equal(model.state_dict(), source.state_dict())
    renamed = OrderedDict((key.replace("classifier.1", "head"), tensor) for key, tensor in source.state_dict().items())
    renamed._metadata = source.state_dict()._metadata
    load_matching(torchvision.models.mnasnet0_5(num_classes=4), renamed, rename={"head.weight": "classifier.1.weight"})


def test_coverage_counts_a_tensor_with_two_names_once() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 5), "hidden": nn.Linear(5, 5), "head": nn.Linear(5, 7)})
    model["head"].weight = model["embedding"].weight
    only_tied = {"embedding.weight": torch.ones(7, 5)}
    report = match_keys(model, only_tied)
    assert report.coverage == 35 / (35 + 30 + 7)
    assert report.missing == ("hidden.weight", "hidden.bias", "head.bias")
    assert report.half_loaded == ("head",)


def test_compare_changes_nothing() -> None:
    model = Net()
    before = snapshot(model)
    assert match_keys(model, Net().state_dict()).loaded == tuple(before)
    assert_equal(model.state_dict(), before)


def test_a_report_is_a_table_as_text_and_as_html() -> None:
    report = LoadReport(
        ("a.weight",), ("<b>",), ("c",), {"d": ((2, 3), (4, 3))}, {"old.weight": "a.weight"}, ("a",), 0.25
    )
    assert repr(report) == (
        "mismatched  d         (2, 3) in the checkpoint, (4, 3) in the model\n"
        "missing     <b>\n"
        "unexpected  c\n"
        "loaded      a.weight  was old.weight\n"
        "1 loaded (25.0% of the numbers), 1 mismatched, 1 missing, 1 unexpected\n"
        "only half loaded, look at them: a"
    )
    html = report._repr_html_()
    assert "&lt;b&gt;" in html
    assert html.count("<tr>") == 4
    assert "var(--jp-error-color1)" in html


def test_vgg16_into_vgg16_bn_half_loads_what_only_looks_alike() -> None:
    with torch.device("meta"):
        plain, normalized = torchvision.models.vgg16(), torchvision.models.vgg16_bn()
    report = match_keys(normalized, plain.state_dict())
    assert "features.28" in report.half_loaded  # a conv's bias on a BatchNorm's


def test_without_copying_gives_the_same_model() -> None:
    model = load_without_copying(vgg16, DATA / "vgg16_thin.pth", verify=True)
    assert_equal(model.state_dict(), torch.load(DATA / "vgg16_thin.pth"))
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in model.parameters())
    expected = vgg16()
    expected.load_state_dict(torch.load(DATA / "vgg16_thin.pth"))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(images), expected.eval()(images))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_training_what_is_mapped_leaves_the_file_alone(tmp_path, suffix) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes((DATA / f"vgg16_thin.{suffix}").read_bytes())
    model = load_without_copying(vgg16, path)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.classifier[6].bias, read_state_dict(path)["classifier.6.bias"])
    assert path.read_bytes() == (DATA / f"vgg16_thin.{suffix}").read_bytes()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def test_tied_weights_stay_tied(tmp_path) -> None:
    torch.save(Tied().state_dict(), tmp_path / "a.pth")
    model = load_without_copying(Tied, tmp_path / "a.pth")
    assert model.head.weight is model.embed.weight
    torch.save({"embed.weight": torch.ones(5, 3), "head.weight": torch.zeros(5, 3)}, tmp_path / "b.pth")
    with pytest.raises(StateDictError, match=r"'embed.weight' and 'head.weight', the checkpoint has two"):
        load_without_copying(Tied, tmp_path / "b.pth")


class Homeless(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", torch.arange(5), persistent=False)


class Computing(Net):
    def __init__(self) -> None:
        super().__init__(classes=int(torch.tensor(7.0).item()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Homeless, "the buffer 'grid' is in no checkpoint"),
        (Computing, "computes with tensors while it is built"),
        (lambda: Net(classes=8), r"a.pth does not fit: .*size mismatch for head.weight"),
        (vgg16, r"a.pth does not fit: .*Missing key"),
    ],
)
def test_models_that_would_be_left_half_on_meta_are_refused(tmp_path, build, message) -> None:
    torch.save(OrderedDict(Net().state_dict()), tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=f"(?s){message}"):
        load_without_copying(build, tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.to_sparse(), "is sparse"),
        (lambda t: t.to("meta"), "is on the meta device"),
        (lambda t: t.to(torch.complex64), "is complex"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_anything_is(spoil, message) -> None:
    model, state_dict = Net(), Net().state_dict()
    before = snapshot(model)
    state_dict["head.weight"] = spoil(state_dict["head.weight"])
    with pytest.raises(StateDictError, match=f"'head.weight' {message}"):
        load_matching(model, state_dict)
    assert_equal(model.state_dict(), before)


def test_an_expanded_buffer_of_the_model_is_refused_before_anything_is_copied() -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("scale", torch.zeros(1).expand(4))
    before = snapshot(model)
    with pytest.raises(StateDictError, match="'scale' would go into an expanded tensor of the model"):
        load_matching(model, {"weight": torch.ones(2, 3), "scale": torch.ones(4)})
    assert_equal(model.state_dict(), before)


def test_a_prefix_that_the_model_has_itself_stays(tmp_path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(2, 3)

    source = Outer()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    assert torch.equal(load_without_copying(Outer, tmp_path / "a.pth").model.weight, source.model.weight)


def test_one_name_of_two_is_enough_without_copying(tmp_path) -> None:
    """safetensors writes a tensor that has two names once."""
    source = Tied()
    safetensors.torch.save_model(source, str(tmp_path / "a.safetensors"))
    model = load_without_copying(Tied, tmp_path / "a.safetensors")
    assert model.head.weight is model.embed.weight
    assert torch.equal(model.head.weight, source.head.weight)


def test_a_legacy_file_and_a_nest_without_copying(tmp_path) -> None:
    one, other = Net(), Net()
    content = {"model": one.state_dict(), "ema": other.state_dict()}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert_equal(load_without_copying(Net, tmp_path / "a.pth", key="ema").state_dict(), other.state_dict())


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(7, 6, dtype=torch.int8), "'head.weight' holds int8: .*dequantize"),
        (torch.ones(7, 6, device="meta"), "'head.weight' is on the meta device"),
        (torch.ones(7, 6).to_sparse(), "'head.weight' is sparse"),
    ],
)
def test_parameters_that_could_not_compute_are_refused(tmp_path, tensor, message) -> None:
    torch.save({**Net().state_dict(), "head.weight": tensor}, tmp_path / "a.pth")
    with pytest.raises(StateDictError, match=f"a.pth: {message}"):
        load_without_copying(Net, tmp_path / "a.pth")
