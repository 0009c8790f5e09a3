"""The checks of lesson 04 on stubs, right answers and named mistakes."""

import copy

import pytest
import torch
from lesson import outcome
from torch import nn

EXERCISES = ["4.1", "4.2", "4.3", "4.4"]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def grey_like(conv, bias=None, **changed):
    """A conv for one channel with the options of another, but for some."""
    options = {key: getattr(conv, key) for key in ("stride", "padding", "dilation", "padding_mode")}
    options |= {"bias": conv.bias is not None if bias is None else bias, "dtype": conv.weight.dtype} | changed
    return nn.Conv2d(1, conv.out_channels, conv.kernel_size, **options)


@torch.no_grad()
def for_grey(conv):
    new = grey_like(conv)
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    if conv.bias is not None:
        new.bias.copy_(conv.bias)
    return new


def for_grey_on_a_copy(conv):
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True))
    new.in_channels = 1
    return new


@torch.no_grad()
def filled(conv, weight, bias=True, **changed):
    new = grey_like(conv, **changed)
    new.weight.copy_(weight)
    if conv.bias is not None and bias:
        new.bias.copy_(conv.bias)
    return new


def forgets_channels(conv):
    new = for_grey_on_a_copy(conv)
    new.in_channels = 3
    return new


def in_place(conv):
    conv.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True))
    conv.in_channels = 1
    return conv


@torch.no_grad()
def shares_the_bias(conv):
    new = grey_like(conv)
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    new.bias = conv.bias
    return new


@torch.no_grad()
def zero_bias(conv):
    new = filled(conv, conv.weight.sum(1, keepdim=True), bias=False)
    if new.bias is not None:
        new.bias.zero_()
    return new


@torch.no_grad()
def expects_a_bias(conv):
    new = grey_like(conv)
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    new.bias.copy_(conv.bias)
    return new


def no_parameter(conv):
    new = for_grey_on_a_copy(conv)
    weight = new.weight.detach()
    del new.weight
    new.weight = weight
    return new


def place(weight, in_channels, places):
    new = weight.new_zeros(weight.shape[0], in_channels, *weight.shape[2:])
    new[:, list(places)] = weight
    return new


def place_in_a_loop(weight, in_channels, places):
    channels = [torch.zeros_like(weight[:, 0]) for _ in range(in_channels)]
    for colour, where in enumerate(places):
        channels[where] = weight[:, colour]
    return torch.stack(channels, 1)


def place_in_float(weight, in_channels, places):
    new = torch.zeros(weight.shape[0], in_channels, *weight.shape[2:])
    new[:, list(places)] = weight
    return new


def loud(weight, in_channels, places):
    new = place(weight, in_channels, places)
    new[:, [i for i in range(in_channels) if i not in places]] = 0.5
    return new


def place_first(weight, in_channels, places):
    return place(weight, in_channels, (0, 1, 2))


def place_taken(weight, in_channels, places):
    return weight[:, list(places)] if in_channels == 3 else place(weight, in_channels, places)


def place_tiled(weight, in_channels, places):
    new = weight[:, [i % 3 for i in range(in_channels)]].clone()
    return place(weight, in_channels, places) if in_channels == 3 else new


@torch.no_grad()
def for_raw_grey(conv, mean, std):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    weight = conv.weight / std
    new = grey_like(conv, bias=True)
    new.weight.copy_(weight.sum(1, keepdim=True) / 255)
    new.bias.copy_((0 if conv.bias is None else conv.bias) - (weight * mean).sum((1, 2, 3)))
    return new


@torch.no_grad()
def for_raw_grey_by_running(conv, mean, std):
    """What comes out for no light is the bias, and what one bright pixel adds is the weight."""
    dtype = conv.weight.dtype
    mean, std = (torch.tensor(values, dtype=dtype).view(1, 3, 1, 1) for values in (mean, std))
    height, width = conv.kernel_size

    def run(pixels):
        x = (pixels.expand(-1, 3, -1, -1) / 255 - mean) / std
        return nn.functional.conv2d(x, conv.weight, conv.bias)

    dark = run(torch.zeros(1, 1, height, width, dtype=dtype))
    single = torch.eye(height * width, dtype=dtype).view(-1, 1, height, width)
    new = grey_like(conv, bias=True)
    new.weight.copy_((run(single) - dark).squeeze().T.reshape(new.weight.shape))
    new.bias.copy_(dark.flatten())
    return new


def raw(weight=None, bias=None):
    """The right answer, with another weight or bias: functions of weight, old bias, mean, std and 255."""

    @torch.no_grad()
    def answer(conv, mean, std):
        new = for_raw_grey(conv, mean, std)
        m, s = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        old = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        if weight:
            new.weight.copy_(weight(conv.weight, m, s))
        if bias:
            new.bias.copy_(bias(conv.weight, old, m, s))
        return new

    return answer


def raw_without_bias(conv, mean, std):
    new = for_raw_grey(conv, mean, std)
    if conv.bias is None:
        new.bias = None
    return new


def raw_with_tuples(conv, mean, std):
    return conv.weight / std


def raw_flat(conv, mean, std):
    return (conv.weight / torch.tensor(std)).sum(1)


def raw_with_none(conv, mean, std):
    new = for_raw_grey(conv, mean, std)
    return new if conv.bias is not None else conv.bias - 1


def first_to_run(model, x):
    seen, handles = [], []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(lambda *_, name=name: seen.append(name)))
    training = model.training
    model.eval()
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    model.train(training)
    return seen[0]


def first_to_run_in_a_copy(model, x):
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


def first_defined(model, x):
    return next(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def last_defined(model, x):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)][-1]


def unbound_name(model, x):
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda *_: seen.append(name))  # noqa: B023 - the mistake
    twin(x)
    return seen[0]


def last_to_run(model, x):
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[-1]


def leaves_hooks(model, x):
    seen = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    model.eval()(x)
    model.train()
    return seen[0]


def in_train_mode(model, x):
    found = first_to_run(model, x)
    model.train()(x)
    return found


def stays_in_eval_mode(model, x):
    found = first_to_run(model, x)
    model.eval()
    return found


def too_late(model, x):
    model.eval()(x)
    model.train()
    return [][0]


def the_module(model, x):
    return model.get_submodule(first_to_run(model, x))


def keeps_modes(model, x):
    modes = {module: module.training for module in model.modules()}
    found = first_to_run(model, x)
    for module, mode in modes.items():
        module.training = mode
    return found


def by_channels(model, x):
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    return next(name for name, m in convs if m.in_channels == x.shape[1])


def every_module(model, x):
    seen, twin = [], copy.deepcopy(model)
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: seen.append(name))
    twin(x)
    return seen[0]


@torch.no_grad()
def set_later(conv):
    new = nn.Conv2d(1, conv.out_channels, conv.kernel_size, bias=conv.bias is not None, dtype=conv.weight.dtype)
    for option in ("stride", "padding", "dilation", "padding_mode"):
        setattr(new, option, getattr(conv, option))
    new.weight.copy_(conv.weight.sum(1, keepdim=True))
    if conv.bias is not None:
        new.bias.copy_(conv.bias)
    return new


def frozen(conv):
    return for_grey(conv).requires_grad_(False)


def float_bias(conv):
    new = for_grey(conv)
    if conv.bias is not None:
        new.bias = nn.Parameter(conv.bias.detach().float())
    return new


def three_biases(conv):
    new = for_grey(conv)
    if conv.bias is not None:
        new.bias.data *= 3
    return new


def without_keepdim(conv):
    new = grey_like(conv)
    new.weight.data.copy_(conv.weight.sum(1))
    return new


RIGHT = [
    ("4.1", for_grey),
    ("4.1", for_grey_on_a_copy),
    ("4.2", place),
    ("4.2", place_in_a_loop),
    ("4.3", for_raw_grey),
    ("4.3", for_raw_grey_by_running),
    ("4.4", keeps_modes),
    ("4.4", first_to_run_in_a_copy),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_right_answers_pass(exercise, answer) -> None:
    assert outcome(exercise, answer)[0] == "passed"


MIX = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def raw_without_options(conv, mean, std):
    new, plain = for_raw_grey(conv, mean, std), nn.Conv2d(1, 4, conv.kernel_size, conv.stride)
    plain.load_state_dict(new.state_dict())
    return plain


def folded(weight, s):
    return (weight / s).sum(1, keepdim=True)


WRONG = [
    ("4.1", lambda conv: filled(conv, conv.weight.mean(1, keepdim=True)), "the mean over the colours: a third"),
    ("4.1", lambda conv: filled(conv, conv.weight[:, :1]), "the red channel alone"),
    ("4.1", lambda conv: filled(conv, 3 * conv.weight[:, :1]), "three times the red channel"),
    ("4.1", lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), stride=1), "stride should be (3, 2)"),
    ("4.1", lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), padding=0), "padding should be (1, 4)"),
    ("4.1", lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), dilation=1), "begins with its defaults"),
    ("4.1", lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), padding_mode="zeros"), "padding_mode should"),
    ("4.1", lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), dtype=torch.float32), "hand over the dtype"),
    (
        "4.1",
        lambda conv: filled(conv, conv.weight.sum(1, keepdim=True), bias=False),
        "begins with random numbers; copy",
    ),
    ("4.1", zero_bias, "set to zero; the old one belongs here"),
    ("4.1", expects_a_bias, "not every conv has a bias"),
    ("4.1", forgets_channels, "still thinks that it takes three channels"),
    ("4.1", in_place, "changes what it was given"),
    ("4.1", shares_the_bias, "shares the parameter; copy its numbers"),
    ("4.1", no_parameter, "no parameter"),
    ("4.1", lambda conv: conv.weight.sum(1, keepdim=True), "return an nn.Conv2d, not a Tensor"),
    ("4.1", set_later, "some are not looked at again later"),
    ("4.1", frozen, "takes no gradient"),
    ("4.1", float_bias, "hand over the dtype"),
    ("4.1", three_biases, "once for all channels, not once for each"),
    ("4.1", without_keepdim, "keepdim=True keeps it"),
    ("4.2", lambda w, n, p: place(w, n, [i - 1 for i in p]), "counted from 0"),
    ("4.2", lambda w, n, p: place(w, n, p) * n / 3, "the other channels add nothing"),
    ("4.2", lambda w, n, p: place(w, n, p) * 0, "nothing was copied"),
    ("4.2", place_in_float, "torch.zeros is float32"),
    ("4.2", loud, "should be silent: zeros"),
    ("4.2", place_first, "`places` was not used"),
    ("4.2", place_taken, "where colour c goes, not where channel c comes from"),
    ("4.2", place_tiled, "should be silent: zeros"),
    ("4.2", lambda w, n, p: w[:, list(p)], "where colour c goes, not where channel c comes from"),
    ("4.2", lambda w, n, p: w[:, list(p)] if n > 3 else place(w, n, p), "which has more channels than the old one"),
    ("4.2", lambda w, n, p: place(w, n, p).float(), "weight.new_zeros keeps the type"),
    ("4.2", lambda w, n, p: place(w, n, p)[:, :3], "should have shape (5, 7, 2, 4)"),
    ("4.3", raw(weight=lambda w, m, s: folded(w, s)), "pixels go to 255 here"),
    ("4.3", raw(weight=lambda w, m, s: folded(w, s) * 255), "turned round"),
    ("4.3", raw(weight=lambda w, m, s: folded(w, s) / 3 / 255), "for grey they add up"),
    ("4.3", raw(weight=lambda w, m, s: w.sum(1, keepdim=True) / 255), "divide before the colours are added"),
    ("4.3", raw(weight=lambda w, m, s: (w * s).sum(1, keepdim=True) / 255), "not weight * std"),
    (
        "4.3",
        raw(weight=lambda w, m, s: w.sum(1, keepdim=True) / s.mean() / 255),
        "divided by one std; each has its own",
    ),
    ("4.3", raw(bias=lambda w, b, m, s: b - 255 * (w * m / s).sum((1, 2, 3))), "between 0 and 1 already"),
    ("4.3", raw(bias=lambda w, b, m, s: b - (w * m / s).mean((2, 3)).sum(1)), "sum over the kernel"),
    ("4.3", raw(weight=lambda w, m, s: (w / s * MIX).sum(1, keepdim=True) / 255), "it is not mixed again"),
    ("4.3", raw_without_options, "dilation should be (2, 1)"),
    ("4.3", raw(bias=lambda w, b, m, s: b), "the means move into it"),
    ("4.3", raw(bias=lambda w, b, m, s: b + (w * m / s).sum((1, 2, 3))), "minus, not plus"),
    ("4.3", raw(bias=lambda w, b, m, s: b - (w * m / s).sum((1, 2, 3)) / 255), "between 0 and 1 already"),
    ("4.3", raw(bias=lambda w, b, m, s: -(w * m / s).sum((1, 2, 3))), "the old bias is lost"),
    ("4.3", raw(bias=lambda w, b, m, s: b - (w * m).sum((1, 2, 3))), "each mean is divided by its std"),
    ("4.3", raw_without_bias, "the means have to go somewhere"),
    ("4.3", raw_with_tuples, "mean and std are tuples"),
    ("4.3", raw_flat, "give them shape (1, 3, 1, 1)"),
    ("4.3", raw_with_none, "this conv has no bias"),
    ("4.4", first_to_run, "sets the mode of every module inside"),
    ("4.4", by_channels, "it never runs"),
    ("4.4", every_module, "hang hooks into convs alone"),
    ("4.4", first_defined, "the first that is defined, and it never runs"),
    ("4.4", last_defined, "keep the first that runs"),
    ("4.4", last_to_run, "this is the last one; keep the first that runs"),
    ("4.4", unbound_name, "needs its own name"),
    ("4.4", leaves_hooks, "your hooks are still on the model"),
    ("4.4", in_train_mode, "in train mode BatchNorm takes notice"),
    ("4.4", stays_in_eval_mode, "has other modes now"),
    ("4.4", too_late, "hang the hooks in before you run"),
    ("4.4", the_module, "a name is wanted"),
    ("4.4", lambda model, x: "conv1" if model.conv1 else "", "the name differs from network to network"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), WRONG)
def test_wrong_answers_are_told_why(exercise, answer, cause) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet"
    assert cause in text
