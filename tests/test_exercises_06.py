"""The checks of lesson 06 on stubs, right answers and named mistakes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lesson import expect_not_yet, expect_passed, mistakes, outcome
from torch import nn

EXERCISES = ["6.1", "6.2", "6.3", "6.4"]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def place(layers):
    apart, start, size = 1, 0, 1
    for kernel, stride, padding in layers:
        start += apart * ((kernel - 1) / 2 - padding)
        size += apart * (kernel - 1)
        apart *= stride
    return apart, start, size


def walk(shift=None, grow=None, widen=None, begin=(1, 0, 1)):
    """An answer like `place`, with a mistake in it."""

    def answer(layers):
        apart, start, size = begin
        for kernel, stride, padding in layers:
            start += shift(apart, kernel, stride, padding) if shift else apart * ((kernel - 1) / 2 - padding)
            size += grow(apart, kernel, stride) if grow else apart * (kernel - 1)
            apart = widen(apart, stride) if widen else apart * stride
        return apart, start, size

    return answer


def fails_without_layers(layers):
    apart, start, size = 1, 0, 1
    for kernel, stride, padding in layers:
        start += apart * ((kernel - 1) / 2 - padding)
        size += apart * (kernel - 1)
        apart *= stride
        found = apart, start, size
    return found


WRONG_PLACES = {
    "strides added": (walk(widen=lambda a, s: a + s), "strides multiply"),
    "the last stride": (walk(widen=lambda a, s: s), "the last layer's stride alone"),
    "no padding": (walk(shift=lambda a, k, s, p: a * (k - 1) / 2), "padding moves the first unit back"),
    "padding forwards": (walk(shift=lambda a, k, s, p: a * ((k - 1) / 2 + p)), "back, not on"),
    "half a kernel": (walk(shift=lambda a, k, s, p: a * (k / 2 - p)), "(k - 1) / 2 behind the first one's"),
    "whole numbers": (walk(shift=lambda a, k, s, p: a * ((k - 1) // 2 - p)), "loses half a pixel"),
    "in units": (walk(shift=lambda a, k, s, p: (k - 1) / 2 - p), "count in pixels of the image"),
    "size in units": (walk(grow=lambda a, k, s: k - 1), "count in pixels of the image"),
    "stride first": (walk(shift=lambda a, k, s, p: a * s * ((k - 1) / 2 - p)), "multiply by its stride last"),
    "size, stride first": (walk(grow=lambda a, k, s: a * s * (k - 1)), "multiply by its stride last"),
    "whole kernels": (walk(grow=lambda a, k, s: a * k), "adds k - 1 pixels"),
    "sizes from 0": (walk(begin=(1, 0, 0)), "the size begins with 1"),
    "another order": (lambda layers: (place(layers)[1], place(layers)[0], place(layers)[2]), "the order is distance"),
    "turned round": (walk(shift=lambda a, k, s, p: a * (p - (k - 1) / 2)), "the kernel moves the first unit on"),
    "rounded": (walk(shift=lambda a, k, s, p: a * (int((k - 1) / 2) - p)), "rounding"),
    "two numbers": (lambda layers: place(layers)[:2], "three numbers are wanted"),
    "only with layers": (fails_without_layers, "does not exist if there are no layers"),
    "pairs": (lambda layers: [kernel for kernel, stride in layers], "each layer is a tuple"),
}


def upsampling(channels, scale):
    conv = nn.ConvTranspose2d(channels, channels, 2 * scale, scale, scale // 2, groups=channels, bias=False)
    line = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
    with torch.no_grad():
        conv.weight[:, 0] = torch.outer(line, line)
    return conv


def larger_kernel_with_zeros(channels, scale):
    conv = nn.ConvTranspose2d(channels, channels, 2 * scale + 2, scale, scale // 2 + 1, groups=channels, bias=False)
    conv.weight.data = F.pad(upsampling(channels, scale).weight.data, (1, 1, 1, 1))
    return conv


def made(kernel=None, **changed):
    """An answer with another kernel, a function of the line, or other options."""

    def answer(channels, scale):
        options = {"kernel_size": 2 * scale, "stride": scale, "padding": scale // 2, "groups": channels, "bias": False}
        options |= {key: value(scale) if callable(value) else value for key, value in changed.items()}
        conv = nn.ConvTranspose2d(channels, channels, **options)
        line = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
        with torch.no_grad():
            if kernel:
                conv.weight[:] = kernel(line, scale)
        return conv

    return answer


def product(line, scale):
    return torch.outer(line, line)


@torch.no_grad()
def fills_the_diagonal(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight[range(channels), range(channels)] = conv.weight[0, 0].clone()
    return conv


@torch.no_grad()
def only_the_first(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight[1:] = 0
    return conv


def without_no_grad(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight[:, 0] = conv.weight[0, 0].detach().clone()
    return conv


def assigns_a_tensor(channels, scale):
    conv = upsampling(channels, scale)
    conv.weight = conv.weight.detach()
    return conv


def off_centre(centre):
    def kernel(line, scale):
        line = 1 - (torch.arange(2 * scale) - centre(scale)).abs() / scale
        return torch.outer(line, line)

    return kernel


WRONG_LAYERS = {
    "PyTorch's own": (made(), "away from the border"),
    "scaled to one": (made(lambda line, s: torch.outer(line, line) / torch.outer(line, line).sum()), "sum of 1"),
    "along rows": (made(lambda line, s: line.expand(2 * s, 2 * s)), "along one axis only"),
    "along columns": (made(lambda line, s: line[:, None].expand(2 * s, 2 * s)), "along one axis only"),
    "zeros": (made(lambda line, s: torch.zeros(2 * s, 2 * s)), "the weight is zero"),
    "ones": (made(lambda line, s: torch.ones(2 * s, 2 * s)), "one everywhere"),
    "mean of lines": (made(lambda line, s: (line[:, None] + line) / 2), "not their product"),
    "boxes": (made(lambda line, s: torch.ones(s, s), kernel_size=lambda s: s, padding=0), "only repeated"),
    "centre too early": (made(off_centre(lambda s: s - 1)), "between two pixels"),
    "centre too late": (made(off_centre(lambda s: s)), "between two pixels"),
    "no padding": (made(product, padding=0), "the padding of a transposed conv takes that off"),
    "stride 1": (made(product, stride=1), "the stride is the scale"),
    "dense": (made(product, groups=1), "groups=channels"),
    "a bias": (made(product, bias=True), "bias=False"),
    "the diagonal": (fills_the_diagonal, "the second place is always 0"),
    "one channel": (only_the_first, "only the first channel"),
    "a leaf": (without_no_grad, "under torch.no_grad()"),
    "a tensor": (assigns_a_tensor, "must stay an nn.Parameter"),
    "frozen": (lambda c, s: upsampling(c, s).requires_grad_(False), "the weight is frozen"),
    "other channels": (lambda c, s: nn.ConvTranspose2d(c, 2 * c, 2 * s, s, s // 2, groups=c), "outputs"),
    "an nn.Upsample": (lambda c, s: nn.Upsample(scale_factor=s, mode="bilinear"), "an nn.ConvTranspose2d is wanted"),
}


def fits(target, source):
    if isinstance(source, nn.Linear):
        return (source.out_features, source.weight.numel()) == (target.out_channels, target.weight.numel())
    return source.weight.shape == target.weight.shape


def fill(targets, sources):
    if len(targets) != len(sources) or not all(map(fits, targets, sources)):
        raise ValueError("these do not fit")
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.weight.copy_(source.weight.reshape(target.weight.shape))
            target.bias.copy_(source.bias)
    return targets


def fill_by_loading(targets, sources):
    pairs = list(zip(targets, sources, strict=True))
    if not all(fits(*pair) for pair in pairs):
        raise ValueError("these do not fit")
    for target, source in pairs:
        weight = source.weight.detach().reshape(target.weight.shape)
        target.load_state_dict({"weight": weight, "bias": source.bias.detach()})
    return targets


def as_the_post_does(targets, sources):
    if len(targets) != len(sources) or not all(map(fits, targets, sources)):
        raise ValueError("these do not fit")
    for target, source in zip(targets, sources, strict=True):
        target.weight.data = source.weight.data.view(target.weight.size())
        target.bias.data = source.bias.data
    return targets


def with_bias_as_it_is(targets, sources):
    found = as_the_post_does(targets, sources)
    for target in found:
        target.weight.data = target.weight.data.clone()
    return found


def forgets_biases(targets, sources):
    before = [target.bias.detach().clone() for target in targets]
    for target, bias in zip(fill(targets, sources), before, strict=True):
        target.bias.data = bias
    return targets


def exchanges_height_and_width(targets, sources):
    for target in fill(targets, sources):
        out, into, height, width = target.weight.shape
        target.weight.data = target.weight.data.reshape(out, into, width, height).transpose(2, 3).contiguous()
    return targets


def skips_linears(targets, sources):
    kept = copy.deepcopy(targets)
    fill(targets, sources)
    for target, before, source in zip(targets, kept, sources, strict=True):
        if isinstance(source, nn.Linear):
            target.load_state_dict(before.state_dict())
    return targets


def one_after_the_other(targets, sources):
    if len(targets) != len(sources):
        raise ValueError("other lengths")
    for target, source in zip(targets, sources, strict=True):
        if not fits(target, source):
            raise ValueError("this does not fit")
        fill([target], [source])
    return targets


def lengths_at_the_end(targets, sources):
    for target, source in zip(targets, sources, strict=True):
        fill([target], [source])
    return targets


def shortens(targets, sources):
    count = min(len(targets), len(sources))
    fill(targets[:count], sources[:count])
    return targets


def counts_numbers(targets, sources):
    if any(s.weight.numel() != t.weight.numel() for t, s in zip(targets, sources, strict=True)):
        raise ValueError("these do not fit")
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.weight.copy_(source.weight.reshape(target.weight.shape))
            target.bias.copy_(source.bias)
    return targets


def counts_numbers_of_linears(targets, sources):
    def fit(t, s):
        same = t.weight.numel() == s.weight.numel() if isinstance(s, nn.Linear) else t.weight.shape == s.weight.shape
        return same and type(s) in (nn.Linear, nn.Conv2d)

    if len(targets) != len(sources) or not all(map(fit, targets, sources)):
        raise ValueError("these do not fit")
    return raises_a_runtime_error(targets, sources)


def zeroes_biases(targets, sources):
    for target in fill(targets, sources):
        target.bias.data.zero_()
    return targets


def raises_a_runtime_error(targets, sources):
    pairs = list(zip(targets, sources, strict=True))
    with torch.no_grad():
        for target, source in pairs:
            target.weight.copy_(source.weight.reshape(target.weight.shape))
            target.bias.copy_(source.bias)
    return targets


def without_reshape(targets, sources):
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.weight.copy_(source.weight)
    return targets


def refuses_linears(targets, sources):
    if any(s.weight.shape != t.weight.shape for t, s in zip(targets, sources, strict=True)):
        raise ValueError("other shapes")
    return fill(targets, sources)


def freezes(targets, sources):
    for target in fill(targets, sources):
        target.requires_grad_(False)
    return targets


def fills_copies(targets, sources):
    return fill(copy.deepcopy(targets), sources)


WRONG_FILLS = {
    "the post": (as_the_post_does, "copy_ copies numbers"),
    "a shared bias": (with_bias_as_it_is, "shares its bias"),
    "no biases": (forgets_biases, "the bias was forgotten"),
    "H and W": (exchanges_height_and_width, "height and width are exchanged"),
    "no Linears": (skips_linears, "the Linear was skipped"),
    "one by one": (one_after_the_other, "look at all pairs first"),
    "lengths at the end": (lengths_at_the_end, "was filled before the ValueError came"),
    "zip": (shortens, "zip ends with the shorter list"),
    "numbers of Linears": (counts_numbers_of_linears, "if a Linear has as many numbers and other outputs"),
    "no biases at all": (zeroes_biases, "the biases are to be copied, too"),
    "numbers only": (counts_numbers, "compare the shapes of a pair"),
    "RuntimeError": (raises_a_runtime_error, "not RuntimeError"),
    "no reshape": (without_reshape, "reshape(target.weight.shape)"),
    "no Linear fits": (refuses_linears, "a Linear fits a conv with as many numbers"),
    "freezes": (freezes, "leave requires_grad as it is"),
    "copies": (fills_copies, "should be"),
}


def mean_iou(guesses, masks, num_classes):
    guesses, masks = guesses[masks >= 0], masks[masks >= 0]
    ious = []
    for c in range(num_classes):
        if either := ((guesses == c) | (masks == c)).sum().item():
            ious.append(((guesses == c) & (masks == c)).sum().item() / either)
    return sum(ious) / len(ious)


def mean_iou_from_a_matrix(guesses, masks, num_classes):
    counted = masks >= 0
    pairs = masks[counted] * num_classes + guesses[counted]
    matrix = pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)
    either = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return (matrix.diagonal() / either).nanmean()


def iou_variant(both=None, either=None, absent=None, only=0, each=False, skip=0):
    """An answer like `mean_iou`, with a mistake in it."""

    def one(guesses, masks, num_classes):
        guesses, masks = guesses[masks >= only], masks[masks >= only]
        ious = []
        for c in range(skip, num_classes):
            guessed, true = guesses == c, masks == c
            overlap, union = (guessed & true).sum().item(), (guessed | true).sum().item()
            below = either(guessed, true) if either else union
            if below:
                ious.append((both(overlap) if both else overlap) / below)
            elif absent is not None:
                ious.append(absent)
        return sum(ious) / len(ious)

    def for_each(guesses, masks, num_classes):
        return sum(one(g, m, num_classes) for g, m in zip(guesses, masks, strict=True)) / len(masks)

    return for_each if each else one


def only_classes_that_are_true(guesses, masks, num_classes):
    found = mean_iou(guesses, masks, num_classes)
    counted = masks >= 0
    both = torch.cat([guesses[counted], masks[counted]]).unique().numel()
    return found * both / masks[counted].unique().numel()


def too_few_bins(guesses, masks, num_classes):
    counted = masks >= 0
    pairs = masks[counted] * num_classes + guesses[counted]
    matrix = pairs.bincount().reshape(num_classes, num_classes)
    either = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return (matrix.diagonal() / either).nanmean()


def bins_below_zero(guesses, masks, num_classes):
    return (masks * num_classes + guesses).flatten().bincount(minlength=num_classes**2)


WRONG_IOUS = {
    "pixel accuracy": (lambda g, m, n: (g == m)[m >= 0].float().mean(), "the share of right pixels"),
    "recall": (iou_variant(either=lambda g, t: t.sum().item()), "only called so belong below"),
    "Dice": (
        iou_variant(both=lambda n: 2 * n, either=lambda g, t: (g.sum() + t.sum()).item()),
        "the Dice score",
    ),
    "sum for a union": (iou_variant(either=lambda g, t: (g.sum() + t.sum()).item()), "counts the overlap twice"),
    "absent is 0": (iou_variant(absent=0), "counts as 0"),
    "absent is 1": (iou_variant(absent=1), "counts as 1"),
    "below 0 counts": (iou_variant(only=-5), "pixels below 0 still count"),
    "each image": (iou_variant(each=True), "count all of them together"),
    "only true garments": (iou_variant(only=1), "0 is a class like the others"),
    "no background": (iou_variant(skip=1), "the background is a class like the others"),
    "nan": (lambda g, m, n: sum((g[m == c] == c).float().mean() for c in range(n)) / n, "should be"),
    "only true classes": (only_classes_that_are_true, "it counts"),
    "too few bins": (too_few_bins, "minlength"),
    "bins below 0": (bins_below_zero, "one number is wanted"),
}


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("6.1", place),
        ("6.1", lambda layers: torch.tensor(place(layers))),
        ("6.2", upsampling),
        ("6.2", larger_kernel_with_zeros),
        ("6.3", fill),
        ("6.3", fill_by_loading),
        ("6.4", mean_iou),
        ("6.4", mean_iou_from_a_matrix),
    ],
)
def test_right_answers_pass(exercise, answer) -> None:
    expect_passed(exercise, answer)


@pytest.mark.parametrize(
    ("exercise", "answer", "cause"),
    mistakes({"6.1": WRONG_PLACES, "6.2": WRONG_LAYERS, "6.3": WRONG_FILLS, "6.4": WRONG_IOUS}),
)
def test_mistakes_are_not_passed_and_their_cause_is_named(exercise, answer, cause) -> None:
    expect_not_yet(exercise, answer, cause)
