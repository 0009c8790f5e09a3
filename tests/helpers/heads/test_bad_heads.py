"""What cannot be meant: one error that names it, at once, and a model that is as it was."""

import time
import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from helpers.heads import (
    HeadError,
    MultiHead,
    find_head,
    find_heads,
    replace_head,
    resize_head,
    rows_by_name,
    shared_parameters,
    truncate,
)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))


ON_MODELS = [
    find_head,
    find_heads,
    lambda model: replace_head(model, 7),
    lambda model: truncate(model, "0"),
    lambda model: MultiHead(model, "0", {"a": 3}),
]


@pytest.mark.parametrize("call", ON_MODELS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "must be a torch.nn.Module, not NoneType"),
        ({"weight": torch.ones(2)}, "not dict"),
        (nn.Linear, r"not the class Linear: make one first, Linear\(\.\.\.\)"),
        (torchvision.models.resnet18, "not function"),
        (torch.ones(3), "not Tensor"),
    ],
)
def test_what_is_no_model_is_refused(call, model, message) -> None:
    with pytest.raises(HeadError, match=message):
        call(model)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_torchscript_is_refused() -> None:
    script = torch.jit.trace(small(), torch.ones(2, 3, 8, 8))
    for call in ON_MODELS:
        with pytest.raises(HeadError, match="the model is TorchScript, whose layers are fixed"):
            call(script)


@pytest.mark.parametrize("call", ON_MODELS)
def test_compiled_models_are_refused_at_once_and_the_way_out_works(call) -> None:
    inner, part = small(), small()
    compiled = torch.compile(inner)
    part[0] = torch.compile(part[0])
    before = time.perf_counter()
    with pytest.raises(HeadError, match=r"the model is compiled; hand in what was compiled, `model\._orig_mod`"):
        call(compiled)
    with pytest.raises(HeadError, match="'0' is compiled; put what was compiled in its place with") as caught:
        call(part)
    assert time.perf_counter() - before < 1
    call(compiled._orig_mod)
    exec(str(caught.value).split("`")[1], {"model": part})
    call(part)


def test_models_compiled_in_place_are_no_matter() -> None:
    model = small()
    model.compile(backend="eager")
    before = time.perf_counter()
    assert find_head(model)[0] == "4"
    assert replace_head(model, 7) == ("4",)
    assert time.perf_counter() - before < 2
    assert model(torch.ones(2, 3, 8, 8)).shape == (2, 7)


def test_functions_that_are_compiled_are_run_as_they_were_written() -> None:
    class Curious(nn.Module):
        """It reads a number, so it must be run with numbers."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)
            self.pool = torch.compile(lambda x: x.sigmoid().mean((2, 3)))

        def forward(self, x):
            return self.fc(self.pool(self.conv(x if x.amax().item() < 1 else x / 255)))

    model = Curious()
    before = time.perf_counter()
    assert replace_head(model, 7, example=torch.rand(2, 3, 8, 8)) == ("fc",)
    assert time.perf_counter() - before < 1


@pytest.mark.parametrize(
    "number", [2.0, True, "7", float("nan"), None, 0, -3, [7], torch.tensor(2.0), torch.tensor(True), np.float32(2), 1j]
)
def test_numbers_of_classes_are_whole(number) -> None:
    model = small()
    weight = model[4].weight
    for call in (
        lambda: replace_head(model, number),
        lambda: resize_head(model[4], number),
        lambda: MultiHead(model, "0", {"a": number}),
    ):
        with pytest.raises(HeadError, match="num_classes must be a whole number above 0, not"):
            call()
    assert model[4].weight is weight


@pytest.mark.parametrize("number", [7, np.int64(7), torch.tensor(7), np.uint8(7)])
def test_any_whole_number_is_one(number) -> None:
    model = small()
    replace_head(model, number)
    assert (model[4].out_features, type(model[4].out_features)) == (7, int)


@pytest.mark.parametrize(
    "keep",
    [
        [4, 0],
        (4, 0),
        iter([4, 0]),
        torch.tensor([4, 0]),
        torch.tensor([4, 0], dtype=torch.uint8),
        np.array([4, 0]),
        [torch.tensor(4), np.int32(0)],
        {0: 4, 1: 0},
        {torch.tensor(1): 0, 0: np.int64(4)},
    ],
)
def test_rows_are_kept_however_they_are_told(keep) -> None:
    class Two(nn.Module):
        """A generator must not be empty for the second head."""

        def __init__(self):
            super().__init__()
            self.body, self.a, self.b = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(4, 6)

        def forward(self, x):
            x = self.body(x).mean((2, 3))
            return self.a(x), self.b(x)

    model = Two()
    old = {name: head.weight.detach().clone() for name, head in find_heads(model).items()}
    replace_head(model, 3, keep=keep)
    for name, weight in old.items():
        new = model.get_submodule(name).weight
        assert torch.equal(new[:2], weight[[4, 0]])
        assert not (new[2] == weight).all(1).any()


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([True, False, True, True, False, False], r"not True; of a mask take \[row for row, kept in enumerate\(mask\)"),
        (torch.tensor([True, False, True]), "of a mask take"),
        (np.array([True, False, True]), "of a mask take"),
        ([np.True_, np.False_], "of a mask take"),
        ({0: True}, "of a mask take"),
        ({True: 0}, "of a mask take"),
        ([0.5], r"keep takes rows by their numbers, not 0\.5"),
        ([1.0], r"not 1\.0"),
        (torch.tensor([0.0, 1.0]), r"not 0\.0"),
        (np.array([float("nan")]), "not nan"),
        (["1"], "not '1'"),
        ("12", "keep must be numbers of rows in their order, or a dictionary of them, not '12'"),
        (b"12", "keep must be"),
        ({1, 2}, "keep must be"),
        (3, "keep must be"),
        (torch.tensor(3), "keep must be"),
        (torch.zeros(2, 2, dtype=torch.int64), "keep must be"),
        (torch.zeros(2, dtype=torch.int64, device="meta"), "keep must be"),
        ([-1], "there is no old row -1 in '4'"),
        ({-1: 1}, "there is no new row -1 in '4'"),
        ([0, 6], "there is no old row 6 in '4'; rows go from 0 to 5"),
        ([2, 2], "keep names the old row 2 twice"),
        ({0: 1, 3: 1}, "keep names the old row 1 twice"),
        (torch.tensor([1, 0, 1, 1], dtype=torch.uint8), "twice"),  # a mask as torch had it once
        ([None], "not None"),
        ([[0, 1]], r"not \[0, 1\]"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(keep, message) -> None:
    model = small()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(HeadError, match=message):
        replace_head(model, 9, keep=keep)
    with pytest.raises(HeadError, match=message):
        resize_head(model[4], 9, keep, name="4")
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert model[4].out_features == 6


def test_the_way_out_of_a_mask_works() -> None:
    mask = [True, False, True, True, False, False]
    model = small()
    old = model[4].weight.detach().clone()
    replace_head(model, 9, keep=[row for row, kept in enumerate(mask) if kept])
    assert torch.equal(model[4].weight[:3], old[[0, 2, 3]])


@pytest.mark.parametrize("keep", [[], (), {}, np.array([]), torch.tensor([]), None])
def test_nothing_to_keep_is_nothing(keep) -> None:
    model = small()
    replace_head(model, 9, keep=keep)
    assert model[4].out_features == 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (["", "cat", ""], ["cat"], "the class '' occurs twice"),
        (["cat"], ["dog", "cat", "dog"], "the class 'dog' occurs twice"),
        ("cat", ["cat"], "names must be a list in the order of the rows, not 'cat'"),
        (["cat"], {0: "cat"}, r"names must be a list in the order of the rows, not \{0: 'cat'\}"),
        ({"cat", "dog"}, ["cat"], "names must be a list"),
        (None, ["cat"], "names must be a list"),
        ([None, None], ["cat"], "must be text, not None"),
        ([3, 4], [4], "must be text, not 3"),
        ([["cat"]], ["cat"], "must be text"),
        ([], [], "no class has the same name; they begin with nothing"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(old, new, message) -> None:
    with pytest.raises(HeadError, match=message):
        rows_by_name(old, new)


@pytest.mark.parametrize("names", [("a", "", "c"), np.array(["a", "", "c"]), iter(["a", "", "c"])])
def test_names_may_stand_in_any_order_of_rows(names) -> None:
    assert rows_by_name(names, ["c", "x", "", "a"]) == {0: 2, 2: 1, 3: 0}


@pytest.mark.parametrize("example", ["x", 3, torch.tensor(3.0), [], {}, [None], [torch.ones(2), "x"]])
def test_examples_that_are_none_are_refused(example) -> None:
    for call in (find_head, find_heads, lambda model, example: replace_head(model, 7, example=example)):
        with pytest.raises(HeadError, match="an example must be a batch as a tensor, or a list or a dictionary"):
            call(small(), example)


def test_numbers_of_words_are_an_example_too() -> None:
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.classes = nn.Embedding(11, 4), nn.Linear(4, 6)

        def forward(self, x):
            return self.classes(self.words(x["input_ids"]).mean(1))

    model, example = Reader(), {"input_ids": torch.tensor([[3, 10, 2]])}
    assert replace_head(model, 7, example=example) == ("classes",)
    assert model(example).shape == (1, 7)


class OnlyHead(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x):
        return self.head(x)


def tied_bias() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].bias = model[0].bias
    return model


def with_weight_norm() -> nn.Module:
    """As it was before parametrizations: its weight is a plain attribute that a hook makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return OnlyHead(weight_norm(nn.Linear(4, 6)))


def pruned() -> nn.Module:
    return OnlyHead(prune.l1_unstructured(nn.Linear(4, 6), "bias", 2))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", [weight_norm, lambda layer: prune.random_unstructured(layer, "weight", 0.5)])
def test_a_body_with_tensors_that_hooks_make_is_no_matter(wrap) -> None:
    model = nn.Sequential(wrap(nn.Linear(5, 4)), nn.ReLU(), nn.Linear(4, 6))
    assert replace_head(model, 7, example=torch.zeros(2, 5)) == ("2",)
    assert model(torch.zeros(3, 5)).shape == (3, 7)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tied_bias(), "the bias of '2' is that of '0', too: give each its own first"),
        (OnlyHead(parametrizations.orthogonal(nn.Linear(4, 6))), "the weight of 'head' is made from other tensors"),
        (with_weight_norm(), "the weight of 'head' is made from other tensors"),
        (pruned(), "the bias of 'head' is made from other tensors"),
        (OnlyHead(nn.LazyLinear(6)), "or it is lazy"),
        (OnlyHead(nn.Linear(4, 6, dtype=torch.complex64)), "the weight of 'head' is complex"),
    ],
)
def test_parameters_that_are_not_a_heads_own_are_refused_and_stay(model, message) -> None:
    before = dict(model.named_parameters())
    head = list(model.children())[-1]
    kind = torch.complex64 if "complex" in message else torch.float32
    with pytest.raises(HeadError, match=message):
        replace_head(model, 3, example=torch.zeros(2, 4, dtype=kind))
    if "too" not in message:
        with pytest.raises(HeadError, match=message.replace("'head'", "'this head'")):
            resize_head(head, 3)
    assert dict(model.named_parameters()).keys() == before.keys()
    assert all(parameter is before[name] for name, parameter in model.named_parameters())


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_numbers_that_stand_for_others_are_refused(dtype) -> None:
    head = nn.Linear(4, 6, bias=False)
    head.weight = nn.Parameter(torch.ones(6, 4).to(dtype), requires_grad=False)
    with pytest.raises(HeadError, match=rf"the weight of 'this head' is quantised \({dtype}\)"):
        resize_head(head, 3)
    assert head.weight.shape == (6, 4)


@pytest.mark.parametrize(
    "head", [nn.ConvTranspose2d(4, 6, 1), nn.BatchNorm2d(6), nn.Identity(), None, "fc", nn.Embedding(6, 4), nn.Linear]
)
def test_only_linear_and_conv_layers_are_heads(head) -> None:
    with pytest.raises(HeadError, match="'this head' must be a Linear or a conv, not"):
        resize_head(head, 3)


def test_a_head_that_cannot_get_so_many_rows_is_as_it_was() -> None:
    model = small()
    weight, bias = model[4].weight, model[4].bias
    with pytest.raises(HeadError, match="'4' cannot get 10000000000000 outputs: RuntimeError"):
        replace_head(model, 10**13)
    assert model[4].weight is weight
    assert model[4].bias is bias
    assert model[4].out_features == 6


def test_a_head_that_cannot_begin_is_as_it_was() -> None:
    class Stubborn(nn.Linear):
        def reset_parameters(self):
            if self.out_features == 3:
                raise NotImplementedError("three")
            super().reset_parameters()

    head = Stubborn(4, 6)
    weight, bias = head.weight, head.bias
    with pytest.raises(HeadError, match="'this head' cannot get 3 outputs: NotImplementedError: three"):
        resize_head(head, 3)
    assert head.weight is weight
    assert head.bias is bias
    assert head.out_features == 6


def test_heads_on_meta_stay_there() -> None:
    with torch.device("meta"):
        model = small()
    assert replace_head(model, 7, keep=[2]) == ("4",)
    assert model[4].weight.is_meta
    assert model[4].weight.shape == (7, 4)


class Constant(nn.Module):
    """fx keeps the constant on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)

    def forward(self, x):
        return self.fc((self.conv(x) + torch.tensor([0.5])).mean((2, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda model: truncate(model, "nope"),
        lambda model: truncate(model, ""),
        lambda model: truncate(model, None),
        lambda model: MultiHead(model, "nope", {"a": 3}),
        lambda model: MultiHead(model, "fc", {"a": 3}),
        lambda model: MultiHead(model, "conv", {}),
        lambda model: MultiHead(model, "conv", ["a"]),
        lambda model: MultiHead(model, "conv", {3: 3}),
        lambda model: MultiHead(model, "conv", {"a": 0}),
        lambda model: MultiHead(model, "conv", {"a": 3}, example="x"),
    ],
)
def test_cuts_that_fail_leave_nothing_on_the_model(call) -> None:
    model = Constant().train()
    model.conv.eval()
    attributes, before = set(vars(model)), {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(HeadError):
        call(model)
    assert set(vars(model)) == attributes
    assert (model.training, model.conv.training) == (True, False)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_sharing_is_asked_of_two_modules() -> None:
    for a, b in ((None, small()), (small(), {}), (nn.Linear, small())):
        with pytest.raises(HeadError, match="shared_parameters compares two modules, not"):
            shared_parameters(a, b)
    lazy, sparse = nn.LazyLinear(3), nn.Module()
    sparse.weight = nn.Parameter(torch.eye(3).to_sparse())
    assert shared_parameters(lazy, sparse) == []
    assert shared_parameters(sparse, sparse) == [("weight", "weight")]
    assert shared_parameters(lazy, lazy) == [("weight", "weight"), ("bias", "bias")]


class Special(nn.Linear):
    """Of a class that torch.fx does not take for a whole."""


def test_models_that_cannot_be_looked_at_whole_are_told_so() -> None:
    class Training(nn.Sequential):
        def forward(self, x, labels=None):
            if self.training and labels is None:
                raise ValueError("labels are missing")
            return super().forward(x)

    class Twofold(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    model = Training(*small())
    with pytest.raises(HeadError, match="in train mode the model stops with ValueError: labels are missing, so nobody"):
        replace_head(model, 7)
    assert find_head(model)[0] == "4"
    resize_head(model[4], 7)  # the way out
    assert model.eval()(torch.ones(2, 3, 8, 8)).shape == (2, 7)
    with pytest.raises(HeadError, match="no Linear and no conv makes the output of this Twofold"):
        find_head(Twofold(3, 5), torch.ones(2, 3))
    special = nn.Sequential(*list(small())[:4], Special(4, 6))
    assert replace_head(special, 7) == ("4",)
    with pytest.raises(HeadError, match=r"'4' is of a class that torch\.fx takes apart"):
        MultiHead(special, "0", {"a": 3})


def test_a_layer_without_a_weight_is_told_so() -> None:
    head = nn.Linear(4, 6)
    head.weight = None
    with pytest.raises(HeadError, match="'this head' has no weight"):
        resize_head(head, 3)
