"""Exercise 9.2: a fourth channel and six classes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from helpers.first_conv import adapt_first_conv

from ...wren import KINDS, Wren
from ..checking import Exercise, Mistake, NotYet, because, call
from .networks import close, expect_wren, pretrained


def right(wren: Wren) -> Any:
    adapted = copy.deepcopy(wren)
    adapt_first_conv(adapted, 4, "zeros")
    adapted.score = nn.Conv2d(160, len(KINDS), 1)
    return adapted


def in_place(wren: Wren) -> Wren:
    adapt_first_conv(wren, 4, "zeros")
    wren.score = nn.Conv2d(160, len(KINDS), 1)
    return wren


def with_a_block_of_the_source(wren: Wren) -> Wren:
    adapted = right(wren)
    adapted.settle = wren.settle
    return adapted


def with_a_new_block(wren: Wren) -> Wren:
    adapted = right(wren)
    adapted.widen = Wren().widen
    return adapted


def by_rule(wren: Wren, rule: str) -> Wren:
    adapted = right(wren)
    adapted.stem = copy.deepcopy(wren.stem)
    adapt_first_conv(adapted, 4, rule)
    return adapted


def with_kernels(wren: Wren, kernels: Tensor) -> Wren:
    adapted = right(wren)
    with torch.no_grad():
        adapted.stem.conv.weight.copy_(kernels)
    return adapted


def depth_first(wren: Any) -> Wren:
    colours = wren.stem.conv.weight
    return with_kernels(wren, torch.cat([colours.mean(1, keepdim=True), colours], dim=1))


def joined_along_axis_0(wren: Any) -> Wren:
    return with_kernels(wren, torch.cat([wren.stem.conv.weight, torch.zeros(32, 1, 5, 5)]))


def written_along_axis_0(wren: Any) -> Wren:
    adapted = right(wren)
    with torch.no_grad():
        adapted.stem.conv.weight[:3] = wren.stem.conv.weight
    return adapted


def without_no_grad(wren: Any) -> Wren:
    adapted = right(wren)
    adapted.stem.conv.weight[:, :3] = wren.stem.conv.weight
    return adapted


def with_conv(wren: Wren, **options: Any) -> Wren:
    """Its first conv is made anew, with these options."""
    adapted = right(wren)
    conv = nn.Conv2d(4, 32, 5, **options)
    conv.weight = adapted.stem.conv.weight
    adapted.stem.conv = conv
    return adapted


def with_head(wren: Wren, classes: int) -> Wren:
    adapted = right(wren)
    adapted.score = nn.Conv2d(160, classes, 1)
    return adapted


def with_old_rows(wren: Wren) -> Wren:
    adapted = right(wren)
    with torch.no_grad():
        adapted.score.weight.copy_(wren.score.weight[:6])
    return adapted


def with_large_rows(wren: Wren) -> Wren:
    adapted = right(wren)
    nn.init.normal_(adapted.score.weight, std=30)
    return adapted


def with_score(wren: Wren, score: Any) -> Wren:
    adapted = right(wren)
    adapted.score = score
    return adapted


@torch.no_grad()
def with_empty_kernels(wren: Any) -> Wren:
    adapted = right(wren)
    adapted.stem.conv.weight[:, 3] = float("nan")
    return adapted


ONE_BY_ONE = "the head is a 1x1 conv on the feature maps, as the old one: nn.Conv2d(160, 6, 1)."
FLOAT32 = "Wren computes in float32, as torch does by default."
FILLED = "what torch.empty holds is whatever was there; fill the fourth channel, with zeros for instance."
SHARED = "work on copy.deepcopy(wren)."
OLD_ROWS = "a bird's row would begin as that of a T-shirt; no class is an old one, so begin with new rows."
DEPTH_FIRST = "the colours stand in channels 1 to 3, but RGB is 0 to 2 and depth is the last."
SCALED = "the kernels of red, green and blue were scaled by 3/4, as if depth repeated a colour."
CHANGED = "the kernels of red, green and blue are to stay as they are."
BIAS = "your first conv has a bias, and had none."
AXIS_1 = "the kernel of a conv is (out, in, height, width): channels are axis 1."
CAT_AXIS_1 = "torch.cat along axis 1 adds a channel."

FROZEN = "requires_grad_(False) stays; the fourth channel has to learn."
DEAF = "depth does not reach the first conv: was it left out, or multiplied by zero?"


def frozen_stem(wren: Wren) -> Wren:
    new = right(wren)
    new.stem.requires_grad_(False)
    return new


class DeafWren(Wren):
    def features(self, x: Tensor) -> Tensor:
        return super().features(torch.cat([x[:, :3], x[:, 3:] * 0], 1))


def without_depth(wren: Wren) -> Wren:
    new = right(wren)
    new.__class__ = DeafWren
    return new


def last_rows(wren: Wren) -> Wren:
    new = right(wren)
    with torch.no_grad():
        new.score.weight.copy_(wren.score.weight[4:])
    return new


MISTAKES = (
    Mistake(FROZEN, frozen_stem),
    Mistake(DEAF, without_depth),
    Mistake(OLD_ROWS, last_rows),
    Mistake("your function changes what it was given", in_place),
    Mistake(SHARED, with_a_block_of_the_source),
    Mistake("widen.conv.weight was not taken over.", with_a_new_block),
    Mistake(SCALED, lambda wren: by_rule(wren, "tile")),
    Mistake(CHANGED, lambda wren: by_rule(wren, "sum")),
    Mistake(DEPTH_FIRST, depth_first),
    Mistake("padding of your first conv is (0, 0)", lambda wren: with_conv(wren, stride=2, bias=False)),
    Mistake("stride of your first conv is (1, 1)", lambda wren: with_conv(wren, padding=2, bias=False)),
    Mistake(BIAS, lambda wren: with_conv(wren, stride=2, padding=2)),
    Mistake("(32, 3, 5, 5); 4 input channels are wanted.", lambda wren: copy.deepcopy(wren)),
    Mistake("(10, 160, 1, 1); 6 classes are wanted.", lambda wren: with_head(wren, 10)),
    Mistake(ONE_BY_ONE, lambda wren: with_score(wren, nn.Linear(160, 6))),
    Mistake(ONE_BY_ONE, lambda wren: with_score(wren, nn.Conv2d(160, 6, 3))),
    Mistake(ONE_BY_ONE, lambda wren: with_score(wren, nn.Conv2d(160, 6, 1, padding=1))),
    Mistake(ONE_BY_ONE, lambda wren: with_score(wren, nn.Conv2d(160, 6, 1, stride=2))),
    Mistake(FLOAT32, lambda wren: right(wren).double()),
    Mistake(FILLED, with_empty_kernels),
    Mistake(OLD_ROWS, with_old_rows),
    Mistake("nn.Conv2d begins with less than 0.1.", with_large_rows),
    Mistake(AXIS_1, written_along_axis_0),
    Mistake(CAT_AXIS_1, joined_along_axis_0),
    Mistake("write inside `with torch.no_grad():`", without_no_grad),
)

CRASHES = (
    ("Sizes of tensors must match", CAT_AXIS_1),
    ("must match", AXIS_1),
)


def verify(answer: Any) -> None:
    """`adapt(wren) -> Wren` of 4 channels and 6 classes."""
    source = pretrained()
    expect_wren(call(answer, source, crashes=CRASHES), in_channels=4, num_classes=6)
    given, got = call(lambda wren: (wren, answer(wren)), source)  # `call` hands out a copy: this is the one
    if shares_memory(got, given):
        raise NotYet(
            "the new network shares memory with the one you were given, so training one changes the other."
            f"{because(SHARED)}"
        )
    expect_sound_numbers(got)
    expect_colours_kept(got, source)
    expect_runs(got)
    expect_new_head(got.score.weight, source.score.weight)
    expect_depth_learns(got)


def shares_memory(first: nn.Module, second: nn.Module) -> bool:
    places = {tensor.untyped_storage().data_ptr() for tensor in second.state_dict().values()}
    return any(tensor.untyped_storage().data_ptr() in places for tensor in first.state_dict().values())


@torch.no_grad()
def expect_colours_kept(got: Wren, source: Wren) -> None:
    """`NotYet` unless the features of a picture without depth are what they were."""
    colours = torch.randn(3, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(3, 1, 40, 48)
    got, source = got.eval(), source.eval()
    expected = source.features(colours)
    found = got.features(torch.cat([colours, nothing], dim=1))
    if close(found, expected):
        return
    if found.shape != expected.shape:
        how = f"their shape is {tuple(found.shape)}, and was {tuple(expected.shape)}"
    else:
        how = f"the largest difference is {(found - expected).abs().max():.2g}"
    raise NotYet(
        f"where the fourth channel is zero, the features should be those of the colours alone; {how}."
        f"{because(why_not_kept(got, source))}"
    )


def why_not_kept(got: Any, source: Wren) -> str:
    for key, tensor in source.state_dict().items():
        other = got.state_dict()[key]
        if key == "stem.conv.weight":
            if why := why_other_colours(other, tensor):
                return why
        elif not key.startswith("score") and tensor.is_floating_point() and not close(other, tensor):
            return f"{key} was not taken over."
    conv, old = got.stem.conv, source.stem.conv
    for option in ("stride", "padding"):
        if getattr(conv, option) != getattr(old, option):
            return f"{option} of your first conv is {getattr(conv, option)}, and was {getattr(old, option)}."
    if conv.bias is not None:
        return BIAS
    return "a layer runs that did not run before."


def why_other_colours(got: Tensor, source: Tensor) -> str | None:
    if close(got[:, 1:], source):
        return DEPTH_FIRST
    if close(got[:, :3] * 4 / 3, source):
        return SCALED
    if not close(got[:, :3], source):
        return CHANGED
    return None


@torch.no_grad()
def expect_runs(got: Wren) -> None:
    """`NotYet` unless it makes a score for each class of pictures with four channels."""
    shape = tuple(got.score.weight.shape)
    if shape != (6, 160, 1, 1):
        raise NotYet(f"the weight of score is {shape}, not (6, 160, 1, 1).{because(ONE_BY_ONE)}")
    options = got.score.stride, got.score.padding
    if options != ((1, 1), (0, 0)):
        raise NotYet(f"stride and padding of score are {options[0]} and {options[1]}.{because(ONE_BY_ONE)}")
    scores = got(torch.randn(2, 4, 40, 48, generator=torch.Generator().manual_seed(1)))
    if scores.shape != (2, 6):
        raise NotYet(f"two pictures give {tuple(scores.shape)}, not (2, 6).{because(ONE_BY_ONE)}")


def expect_sound_numbers(got: Wren) -> None:
    dtypes = {tensor.dtype for tensor in got.state_dict().values() if tensor.is_floating_point()}
    if dtypes != {torch.float32}:
        raise NotYet(f"its numbers are {', '.join(sorted(map(str, dtypes)))}.{because(FLOAT32)}")
    if not got.state_dict()["stem.conv.weight"].isfinite().all():
        raise NotYet(f"the kernels of the fourth channel are not finite.{because(FILLED)}")


def expect_new_head(new: Tensor, old: Tensor) -> None:
    """`NotYet` unless its rows can begin to learn."""
    if torch.equal(new, old[: len(new)]):
        raise NotYet(f"the head has the first six rows of the old one.{because(OLD_ROWS)}")
    nearest = torch.cdist(new.flatten(1), old.flatten(1)).amin(1)
    if (nearest < 1e-6).any():
        raise NotYet(f"the head has a row of the old one.{because(OLD_ROWS)}")
    if not new.any():
        return  # zeros learn, too: their gradient depends on the features, not on them
    if not torch.isfinite(new).all() or new.std() > 1:
        raise NotYet(f"the weights of the new head spread by {new.std():.2g}; nn.Conv2d begins with less than 0.1.")


def expect_depth_learns(got: Any) -> None:
    """`NotYet` unless a gradient reaches the kernels of the fourth channel."""
    x = torch.randn(2, 4, 40, 48, generator=torch.Generator().manual_seed(2))
    got.zero_grad()
    got.eval().features(x).square().sum().backward()
    gradient = got.stem.conv.weight.grad
    if gradient is None:
        raise NotYet(f"the first conv takes no gradient.{because(FROZEN)}")
    if not gradient[:, 3].any():
        raise NotYet(f"no gradient reaches the kernels of the fourth channel.{because(DEAF)}")


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "adapt_first_conv of lesson 04 has a rule that leaves the colours alone; so does torch.cat with a kernel "
        "of zeros, or of the mean over the colours.",
        "new = copy.deepcopy(wren); old = wren.stem.conv; new.stem.conv = nn.Conv2d(4, 32, 5, 2, 2, bias=False), "
        "then copy into new.stem.conv.weight[:, :3], and do not forget what stands in [:, 3:].",
        "The head: new.score = nn.Conv2d(160, 6, 1).",
    ),
    praise="the colours mean what they meant, the fourth channel is ready to learn, and the source is whole.",
)
