"""`suggest_renames` and `explain`."""

import random
from collections import Counter

import pytest
import torch
import torchvision
from every_model import NAMES, case
from torch import nn

from helpers.state_dict import LoadReport, StateDictError, explain, load_matching, match_keys, suggest_renames
from helpers.state_dict.renames import NUMBERED, ONLY_ONE, ORDER, PREFIX, SAME_NAME, WORDS
from workbook.networks import resnet18, vgg16


def on_meta(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    # RegNet computes with tensors while it is built
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return torchvision.models.get_model(name, weights=None, **options)


def layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def test_vgg16_finds_its_place_in_vgg16_bn() -> None:
    plain, normalized = on_meta("vgg16"), on_meta("vgg16_bn")
    expected = {
        f"{mine}.{leaf}": f"{yours}.{leaf}"
        for mine, yours in zip(layers(plain), layers(normalized), strict=True)
        for leaf in ("weight", "bias")
    }
    suggestion = suggest_renames(normalized, plain.state_dict())
    assert len(expected) == 32
    assert suggestion.mapping == expected
    assert suggestion.ambiguous == suggestion.unmatched == ()


def test_the_suggestion_loads_and_computes_the_same_up_to_the_norms() -> None:
    source, model = vgg16(), vgg16(batch_norm=True)
    report = load_matching(model, source.state_dict(), rename=suggest_renames(model, source.state_dict()).mapping)
    assert len(report.loaded) == 32
    images = torch.randn(2, 3, 64, 64)
    without_norms = nn.Sequential(*(part for part in model.features if not isinstance(part, nn.BatchNorm2d)))
    torch.testing.assert_close(without_norms(images), source.features(images))


def opaque(keys) -> dict[str, str]:
    numbers: dict[str, int] = {}
    split = [key.rpartition(".") for key in keys]
    return {"".join(parts): f"m{numbers.setdefault(parts[0], len(numbers)):04d}.{parts[2]}" for parts in split}


CASES = {  # how names change, whether the order is lost, whether everything can still be found
    "shuffled": (lambda keys: {key: key for key in keys}, True, True),
    "renamed": (opaque, False, True),
    "numbered": (lambda keys: {key: f"t{i}" for i, key in enumerate(keys)}, False, True),
    "prefixed and shuffled": (lambda keys: {key: f"module.net.{key}" for key in keys}, True, True),
    "renamed and shuffled": (opaque, True, False),
    "numbered and shuffled": (lambda keys: {key: f"t{i}" for i, key in enumerate(keys)}, True, False),
}


@pytest.mark.parametrize("name", list(map(case, NAMES)))
def test_renames_are_recovered_or_called_ambiguous_never_wrong(name) -> None:
    model = on_meta(name)
    right = model.state_dict()
    for change, shuffled, can_be_found in CASES.values():
        renames = change(right)
        state_dict = {renames[key]: tensor for key, tensor in right.items()}
        if shuffled:
            keys = list(state_dict)
            random.Random(name).shuffle(keys)
            state_dict = {key: state_dict[key] for key in keys}
        suggestion = suggest_renames(model, state_dict)
        assert all(renames[yours] == mine for mine, yours in suggestion.mapping.items())
        found_all = len(suggestion.mapping) == len(right)
        assert found_all or (suggestion.ambiguous and not can_be_found)


def test_evidence_is_given_for_each_tensor() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(7, 2))
    tensors = list(model.state_dict().values())
    names = ["0.weight", "0.bias", "z.weight", "z.bias", "y.weight", "y.bias", "x.weight", "x.bias"]
    why = suggest_renames(model, dict(zip(names, tensors, strict=True))).why
    assert [why[name] for name in names[::2]] == [SAME_NAME, ORDER, ORDER, ONLY_ONE]
    behind = suggest_renames(model, {f"a.b.{key}": tensor for key, tensor in model.state_dict().items()})
    assert Counter(behind.why.values()) == {PREFIX: 8}
    assert "8 tensors: same name and shapes but for a prefix" in repr(behind)


def test_names_that_contradict_the_order_are_not_followed() -> None:
    """A layer was put in front, so all numbers moved on by one."""
    torch.manual_seed(0)
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 5, 3))
    model = nn.Sequential(nn.Conv2d(3, 3, 1), *(nn.Conv2d(conv.in_channels, conv.out_channels, 3) for conv in source))
    suggestion = suggest_renames(model, source.state_dict())
    right = {f"{i}.{leaf}": f"{i + 1}.{leaf}" for i in range(4) for leaf in ("weight", "bias")}
    assert all(right[mine] == suggestion.mapping[mine] for mine in suggestion.why)
    assert suggestion.ambiguous == ((("1", "2"), ("2", "3")),)


def test_an_inserted_layer_makes_the_numbers_behind_it_doubtful() -> None:
    """Nothing in names and shapes tells a layer that was inserted from one that was appended."""
    source, model = vgg16(), vgg16()
    for layer in (nn.ReLU(), nn.Conv2d(128, 128, 3)):
        model.features.insert(24, layer)
    why = suggest_renames(model, source.state_dict()).why
    doubtful = {key.rpartition(".")[0] for key, reason in why.items() if reason == NUMBERED}
    assert doubtful == {f"features.{i}" for i in (19, 21, 24, 26, 28)}
    assert {reason for reason in why.values() if reason != NUMBERED} == {SAME_NAME}
    said = "Only one side has features.30, of the same shapes as features.19, features.21, features.24 and 2 more."
    assert said in cause(model, source.state_dict())
    assert said in cause(source, model.state_dict())
    assert said in cause(model, {f"module.{key}": tensor for key, tensor in source.state_dict().items()})
    assert "inserted" not in cause(vgg16(7), source.state_dict())


def test_a_layer_that_moved_makes_its_neighbours_doubtful() -> None:
    source, model = vgg16(), vgg16()
    for layer in (nn.Dropout(), nn.ReLU(), nn.Linear(256, 256)):
        model.classifier.insert(3, layer)
    why = suggest_renames(model, source.state_dict()).why
    assert [why[f"classifier.{i}.weight"] for i in (0, 3, 6)] == [NUMBERED, NUMBERED, ONLY_ONE]


def test_what_is_ambiguous_is_not_loaded_because_the_model_has_the_name_too() -> None:
    source, model = vgg16(), vgg16()
    for layer in (nn.ReLU(), nn.Conv2d(64, 64, 3)):
        model.features.insert(12, layer)
    suggestion = suggest_renames(model, source.state_dict())
    assert suggestion.ambiguous == ((("features.12", "features.14"), ("features.12", "features.14", "features.16")),)
    report = load_matching(model, source.state_dict(), rename=suggestion.mapping)
    assert len(report.loaded) == 28
    assert set(report.missing) == {f"features.{i}.{leaf}" for i in (12, 14, 16) for leaf in ("weight", "bias")}
    said = "Nothing decides which of features.12, features.14 is which of features.12, features.14, features.16"
    assert said in cause(model, source.state_dict())
    assert len(run_fix(model, source.state_dict()).loaded) == 28


def test_too_few_of_a_kind_are_ambiguous_and_too_many_are_named() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    two = {f"{name}.{leaf}": t for name in "ab" for leaf, t in model[0].state_dict().items()}
    suggestion = suggest_renames(model, two)
    assert suggestion.mapping == {}
    assert suggestion.ambiguous == ((("a", "b"), ("0", "1", "2")),)
    assert "ambiguous: a b could be 0 1 2" in repr(suggestion)
    assert suggest_renames(nn.Linear(2, 3), two).unmatched == ("a", "b")
    assert repr(suggest_renames(nn.Linear(2, 3), {})) == "nothing matches"


def cause(model: nn.Module, state_dict) -> str:
    return "\n".join(explain(model, state_dict).causes)


def run_fix(model: nn.Module, state_dict) -> LoadReport:
    """The report of running the fix, as a reader would paste it; of a model that is whole, if that is its last line."""
    namespace = {"model": model, "state_dict": state_dict}
    fix = explain(model, state_dict).fix
    exec(fix, namespace)
    if fix.endswith("model.load_state_dict(state_dict)"):
        return match_keys(model, model.state_dict())
    return namespace["report"]


def test_what_loads_is_said_to_load() -> None:
    explanation = explain(vgg16(), vgg16().state_dict())
    assert explanation.causes == ("It loads: all names and shapes are the same.",)
    assert explanation.fix == "model.load_state_dict(state_dict)"


def test_a_nest_and_a_prefix_are_named_and_taken_off() -> None:
    source, model = resnet18(), resnet18()
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": t for key, t in source.state_dict().items()}}
    assert cause(model, wrapped) == (
        "The tensors lie one level deeper, under 'state_dict'.\nThe names in the checkpoint have 'module.' in front."
    )
    assert run_fix(model, wrapped).coverage == 1
    assert all(torch.equal(t, source.state_dict()[key]) for key, t in model.state_dict().items())


def test_a_prefix_of_the_model_is_put_in_front() -> None:
    source, model = resnet18(), nn.ModuleDict({"backbone": resnet18()})
    assert cause(model, source.state_dict()) == "The names in the model have 'backbone.' in front."
    assert run_fix(model, source.state_dict()).coverage == 1


def test_a_prefix_and_another_number_of_classes() -> None:
    wrapped = {f"net.{key}": t for key, t in resnet18(7).state_dict().items()}
    said = cause(resnet18(), wrapped)
    assert "'net.' in front" in said
    assert "Another number of classes: 7 in the checkpoint, 10 in the model (fc). That layer stays as it is" in said
    assert run_fix(resnet18(), wrapped).missing == ()


def test_other_names_are_paired() -> None:
    said = cause(vgg16(batch_norm=True), vgg16().state_dict())
    assert (
        "Only the model has BatchNorm: features.1, features.11, features.15 and 10 more; they stay as they are." in said
    )
    assert len(run_fix(vgg16(batch_norm=True), vgg16().state_dict()).loaded) == 32


def test_batch_norm_in_the_checkpoint_only() -> None:
    assert "Only the checkpoint has BatchNorm" in cause(vgg16(), vgg16(batch_norm=True).state_dict())


def test_another_vocabulary_is_not_called_classes() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Embedding(7, 5))
    state_dict = nn.Sequential(nn.Linear(2, 3), nn.Embedding(9, 5)).state_dict()
    assert "Another number of entries in an embedding: 9 in the checkpoint, 7" in cause(model, state_dict)


def test_a_nest_without_tensors_is_passed_over() -> None:
    state_dict = {"model": {"depth": 3}, "net": nn.Linear(2, 3).state_dict()}
    assert cause(nn.Linear(2, 3), state_dict) == "The tensors lie one level deeper, under 'net'."


def test_another_number_of_input_channels() -> None:
    grey = resnet18()
    grey.conv1 = nn.Conv2d(1, grey.conv1.out_channels, 7, bias=False)
    assert cause(grey, resnet18().state_dict()) == (
        "Another number of input channels: 3 in the checkpoint, 1 in the model (conv1.weight). "
        "That layer stays as it is, random in a new model: or build the model with 3 channels, load, and call "
        "adapt_first_conv(model, 1) of helpers.first_conv."
    )


def test_another_width() -> None:
    explanation = explain(vgg16(width=0.5), vgg16().state_dict())
    assert "Another width: most layers of the model have 2 times as many channels" in "\n".join(explanation.causes)
    assert explanation.fix == ""


def test_kernels_of_tensorflow() -> None:
    source, model = vgg16(), vgg16()
    stored = {
        key: t.permute(2, 3, 1, 0) if t.ndim == 4 else t.T if t.ndim == 2 else t
        for key, t in source.state_dict().items()
    }
    assert "(height, width, in, out)" in cause(model, stored)
    assert run_fix(model, stored).coverage == 1
    assert all(torch.equal(t, source.state_dict()[key]) for key, t in model.state_dict().items())


def test_convs_that_should_be_linear() -> None:
    source, model = vgg16(), vgg16()
    stored = source.state_dict()
    stored["classifier.0.weight"] = stored["classifier.0.weight"].reshape(256, 128, 2, 2)
    assert "convs on one side and Linear on the other: classifier.0.weight" in cause(model, stored)
    assert run_fix(model, stored).coverage == 1
    assert torch.equal(model.classifier[0].weight, source.classifier[0].weight)


def test_old_batch_norms_are_harmless() -> None:
    old = {key: t for key, t in resnet18().state_dict().items() if "num_batches" not in key}
    assert cause(resnet18(), old) == "It loads: all names and shapes are the same."
    resnet18().load_state_dict(old)  # torch says so, too


def test_another_architecture_is_called_so() -> None:
    explanation = explain(on_meta("vit_b_16"), resnet18().state_dict())
    assert explanation.causes[-1].startswith("It may be another architecture: only ")
    assert explanation.fix == ""
    assert explain(vgg16(), {"epoch": 3}).causes == ("There are no tensors in it.",)


def test_sorted_names_take_order_its_weight() -> None:
    """Safetensors gives names back in alphabetical order: layer10 before layer2."""
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12)))
    renamed = {f"layer{key}": tensor for key, tensor in model.state_dict().items()}
    suggestion = suggest_renames(model, dict(sorted(renamed.items())))
    assert suggestion.mapping == {}
    assert len(suggestion.ambiguous) == 1
    assert len(suggest_renames(model, renamed).mapping) == 24


def blocks(first: int) -> nn.ModuleDict:
    parts = {"norm1": nn.LayerNorm(6), "proj": nn.Linear(6, 6), "norm2": nn.LayerNorm(6), "fc1": nn.Linear(6, 6)}
    return nn.ModuleDict({"blocks": nn.ModuleDict({str(first + i): nn.ModuleDict(parts) for i in range(12)})})


@pytest.mark.parametrize("by_name", [False, True])
def test_blocks_that_are_numbered_from_one_are_not_taken_by_their_numbers(by_name) -> None:
    source, model = blocks(1).state_dict(), blocks(0)
    source = dict(sorted(source.items())) if by_name else source
    found = suggest_renames(model, source)
    pairs = {int(old.split(".")[1]): int(found.mapping[old].split(".")[1]) for old in found.why}
    assert all(old == new + 1 for old, new in pairs.items())
    assert all(new.startswith("unmatched.") for old, new in found.mapping.items() if old not in found.why)
    if by_name:
        explanation = explain(model, source)
        assert "equal names may be different layers" in explanation.causes[-1]
        assert "load_matching" not in explanation.fix


def test_single_tensors_with_names_of_their_own_are_not_paired_by_order() -> None:
    tensors = {f"bn_{name}": torch.ones(4) for name in ("mean", "var", "gamma", "beta")}
    assert suggest_renames(nn.ModuleDict({"bn": nn.BatchNorm2d(4)}), tensors).mapping == {}


def test_an_unmatched_name_does_not_stand_in_the_way() -> None:
    source = nn.Sequential(nn.Linear(7, 5), nn.Linear(8, 9))
    model = nn.Sequential(nn.Linear(8, 9))
    mapping = suggest_renames(model, source.state_dict()).mapping
    assert mapping["1.weight"] == "0.weight"
    assert mapping["0.weight"] == "unmatched.0.weight"
    assert load_matching(model, source.state_dict(), rename=mapping).coverage == 1
    assert torch.equal(model[0].weight, source[1].weight)


def test_a_fix_with_several_lines_runs() -> None:
    source, model = vgg16(), vgg16()
    stored = {f"module.{key}": tensor for key, tensor in source.state_dict().items()}
    stored["module.classifier.0.weight"] = stored["module.classifier.0.weight"].reshape(256, 128, 2, 2)
    assert run_fix(model, {"epoch": 5, "model": stored | {"version": 3}}).coverage == 1
    assert all(torch.equal(t, source.state_dict()[key]) for key, t in model.state_dict().items())


def test_missing_statistics_are_not_missing_norms() -> None:
    said = cause(resnet18(), dict(resnet18().named_parameters()))
    assert said.startswith("Only the model has the running statistics of bn1, layer1.0.bn1, layer1.0.bn2 and 17 more")
    assert "has BatchNorm" not in said


def test_what_is_no_tensor_keeps_it_from_loading() -> None:
    explanation = explain(resnet18(), {**resnet18().state_dict(), "epoch": 5})
    assert explanation.causes == ("Beside the tensors lies what is none: epoch.",)
    assert run_fix(resnet18(), {**resnet18().state_dict(), "epoch": 5}).coverage == 1


def test_square_linears_of_tensorflow_are_warned_of() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 2), nn.Flatten(), nn.Linear(8, 8))
    stored = {key: t.permute(2, 3, 1, 0) if t.ndim == 4 else t for key, t in model.state_dict().items()}
    assert "Square Linears may have to be transposed as well" in cause(model, stored)


def test_lazy_modules_and_extra_state_are_met_calmly() -> None:
    with pytest.raises(StateDictError, match="run the model once"):
        explain(nn.LazyLinear(3), {"weight": torch.ones(3, 2)})

    class Extra(nn.Linear):
        def get_extra_state(self) -> dict:
            return {"version": 1}

        def set_extra_state(self, state: dict) -> None:
            pass

    assert load_matching(Extra(2, 3), nn.Linear(2, 3).state_dict()).coverage == 1


def linears(*names: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.zeros(5, 5) for name in names}


@pytest.mark.parametrize(
    ("in_checkpoint", "in_model"),
    [
        (("a.wk", "a.wv", "a.wq"), ("b.key", "b.value", "b.query")),
        (("mlp.up", "mlp.gate"), ("ff.up_proj", "ff.gate_proj")),
        (("rnn.bwd", "rnn.fwd"), ("lstm.bw", "lstm.fw")),
        (("item_tower", "user_tower"), ("items", "users")),
        (("side.blue", "side.red"), ("branch.blue_half", "branch.red_half")),
    ],
)
def test_words_decide_against_order(in_checkpoint: tuple[str, ...], in_model: tuple[str, ...]) -> None:
    model = nn.Module()
    model.zero = nn.Linear(3, 3, bias=False)  # so that the names are not sorted
    for name in sorted(in_model, reverse=True):
        parent, _, leaf = name.rpartition(".")
        if parent and not hasattr(model, parent):
            model.add_module(parent, nn.Module())
        model.get_submodule(parent).add_module(leaf, nn.Linear(5, 5, bias=False))
    suggestion = suggest_renames(model, {"zero.weight": torch.zeros(3, 3), **linears(*sorted(in_checkpoint))})
    pairs = {f"{old}.weight": f"{new}.weight" for old, new in zip(in_checkpoint, in_model, strict=True)}
    assert {old: new for old, new in suggestion.mapping.items() if old in pairs} == pairs
    assert WORDS in suggestion.why.values()


def test_opposites_are_not_paired() -> None:
    """Each is the only one of its shape."""
    model = nn.Sequential()
    model.add_module("decoder", nn.Linear(5, 6))
    model.add_module("trunk", nn.Linear(7, 8))
    state_dict = {"encoder.weight": torch.zeros(6, 5), "encoder.bias": torch.zeros(6)}
    state_dict |= {"body.weight": torch.zeros(8, 7), "body.bias": torch.zeros(8)}
    suggestion = suggest_renames(model, state_dict)
    assert suggestion.mapping == {"body.weight": "trunk.weight", "body.bias": "trunk.bias"}
    assert suggestion.ambiguous == ((("encoder",), ("decoder",)),)


def test_the_values_of_an_attention_may_lie_in_a_policy() -> None:
    model = nn.ModuleDict({"policy": nn.ModuleDict({"v": nn.Linear(5, 6), "out": nn.Linear(6, 4)})})
    state_dict = nn.ModuleDict({"value": nn.Linear(5, 6), "end": nn.Linear(6, 4)}).state_dict()
    assert suggest_renames(model, state_dict).mapping["value.weight"] == "policy.v.weight"
