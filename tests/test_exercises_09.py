"""The checks of lesson 09 on stubs, right answers and named mistakes. What is trained is trained once."""

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from lesson import outcome
from safetensors.torch import save_file
from torch import nn

from helpers.checkpoint import export_weights
from helpers.datasets import CIFAR10_CLASSES, DATA
from helpers.matconvnet import load_matconvnet
from helpers.training import fit
from helpers.wren import BLOCKS, MaskWren, Wren, prepare

EXERCISES = ["9.1", "9.2", "9.3", "9.4"]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def load_ckpt(convs: tuple[str, ...], norms: tuple[str, ...]) -> Wren:
    weights = torch.load(DATA / "wren.ckpt")["nets"]["student"]["weights"]
    names = {"convs": convs, "norms": norms}

    def renamed(key: str) -> str:
        _, kind, *rest = key.split(".")
        return f"{names[kind][int(rest[0])]}.{kind[:-1]}.{rest[1]}" if kind in names else f"score.{rest[0]}"

    model = Wren()
    model.load_state_dict({renamed(key): tensor for key, tensor in weights.items()})
    return model


RIGHT = (*BLOCKS[:4], "settle", "refine")


def load_wren() -> Wren:
    return load_ckpt(RIGHT, RIGHT)


def load_mat(scale: float = 255 * 0.25) -> Wren:
    network, model = load_matconvnet(DATA / "wren.mat"), Wren()
    model.load_state_dict(network.state_dict_for(model), strict=False)
    with torch.no_grad():
        model.stem.conv.weight *= scale
    return model


def changed(change: Callable[[Wren], None]) -> Callable[[], Wren]:
    """An answer to 9.1 with a mistake in it."""

    def answer() -> Wren:
        model = load_wren()
        with torch.no_grad():
            change(model)
        return model

    return answer


def turn(model: Wren) -> None:
    for name in BLOCKS:
        conv = model.get_submodule(name).conv
        conv.weight.copy_(conv.weight.transpose(2, 3).clone())


def forget_statistics(model: Wren) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()


def sigma_for_variance(model: Wren) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.copy_((module.running_var + 1e-5).sqrt())


def other_order(model: Wren) -> None:
    classes = torch.load(DATA / "wren.ckpt")["classes"]
    rows = [classes.index(name) for name in CIFAR10_CLASSES]
    model.score.weight.copy_(model.score.weight[rows].clone())
    model.score.bias.copy_(model.score.bias[rows].clone())


@cache
def one() -> Wren:
    return load_wren()


WRONG_LOADS = {
    "as numbered": (lambda: load_ckpt(BLOCKS, BLOCKS), "two layers of the same shape have changed places"),
    "norms as numbered": (lambda: load_ckpt(RIGHT, BLOCKS), "these are settle.norm"),
    "convs as numbered": (lambda: load_ckpt(BLOCKS, RIGHT), "these are settle.conv"),
    "0 to 255": (lambda: load_mat(1), "this kernel takes 0 to 255"),
    "height and width": (changed(turn), "height and width of the kernels have changed places"),
    "BGR": (changed(lambda m: m.stem.conv.weight.copy_(m.stem.conv.weight.flip(1).clone())), "red and blue"),
    "new statistics": (changed(forget_statistics), "buffers were not loaded"),
    "sigma": (changed(sigma_for_variance), "stores the standard deviation"),
    "other order": (changed(other_order), "the rows are in another order"),
    "nothing loaded": (Wren, "it was not loaded"),
    "a state_dict": (lambda: load_wren().state_dict(), "return the network itself"),
    "wrapped": (lambda: nn.Sequential(load_wren()), "do not wrap it"),
    "the .mat's module": (
        lambda: load_matconvnet(DATA / "wren.mat").to_module(),
        "state_dict_for(Wren()) gives them Wren's",
    ),
    "divided": (lambda: load_mat(1 / (255 * 0.25)), "times what it should be"),
    "not halved": (lambda: load_mat(255), "it is 4 times what it should be"),
    "the checkpoint's names": (
        lambda: Wren().load_state_dict(torch.load(DATA / "wren.ckpt")["nets"]["student"]["weights"]),
        "the names are still the checkpoint's",
    ),
    "called": (load_wren(), "hand in the function that makes it"),
    "one for all": (one, "two calls give networks with the same memory"),
}


def adapt(wren, depth=None, scale=1.0, source=None):
    new, old = copy.deepcopy(wren), wren.stem.conv.weight
    new.stem.conv = nn.Conv2d(4, 32, 5, stride=2, padding=2, bias=False)
    with torch.no_grad():
        new.stem.conv.weight[:, :3] = old * scale
        new.stem.conv.weight[:, 3] = old.mean(1) if depth is None else depth
    new.score = nn.Conv2d(160, 6, 1)
    return new


def adapted_by_helpers(wren):
    from helpers.first_conv import adapt_first_conv
    from helpers.heads import replace_head

    new = copy.deepcopy(wren)
    adapt_first_conv(new, 4, "mean_extra")
    replace_head(new, 6)
    return new


def in_place(wren):
    wren.score = nn.Conv2d(160, 6, 1)
    wren.stem.conv = adapt(wren).stem.conv
    return wren


def shares_blocks(wren):
    new = Wren(6, in_channels=4)
    kept = adapt(wren)
    new.stem, new.score = kept.stem, kept.score
    for name in BLOCKS[1:]:
        setattr(new, name, wren.get_submodule(name))
    return new


def forgets_a_block(wren):
    new = adapt(wren)
    new.widen = Wren().widen
    return new


def depth_first(wren):
    new = adapt(wren)
    with torch.no_grad():
        new.stem.conv.weight.copy_(new.stem.conv.weight[:, [3, 0, 1, 2]].clone())
    return new


def old_rows(wren):
    new = adapt(wren)
    with torch.no_grad():
        new.score.weight.copy_(wren.score.weight[:6])
    return new


def large_rows(wren):
    new = adapt(wren)
    nn.init.normal_(new.score.weight, std=30)
    return new


WRONG_ADAPTS = {
    "scaled by 3/4": (lambda wren: adapt(wren, scale=0.75), "scaled by 3/4"),
    "random colours": (lambda wren: adapt(wren, scale=0.1), "are to stay as they are"),
    "in place": (in_place, "changes what it was given"),
    "shared blocks": (shares_blocks, "shares memory"),
    "a block forgotten": (forgets_a_block, "widen.conv.weight was not taken over"),
    "depth first": (depth_first, "depth is the last"),
    "old rows": (old_rows, "the first six rows of the old one"),
    "large rows": (large_rows, "nn.Conv2d begins with less"),
    "three channels": (lambda wren: copy.deepcopy(wren), "4 input channels are wanted"),
    "ten classes": (lambda wren: _ten(wren), "6 classes are wanted"),
    "no padding": (lambda wren: other_conv(wren, padding=0, bias=False), "padding of your first conv is (0, 0)"),
    "a bias": (lambda wren: other_conv(wren, padding=2), "your first conv has a bias"),
}


def other_conv(wren, **options):
    new = adapt(wren)
    conv = nn.Conv2d(4, 32, 5, stride=2, **options)
    conv.weight = new.stem.conv.weight
    new.stem.conv = conv
    return new


def _ten(wren):
    new = adapt(wren)
    new.score = nn.Conv2d(160, 10, 1)
    return new


@cache
def learned() -> Wren:
    """A right answer to 9.3, trained once; like the solution's, but for what it does to the pictures."""
    from helpers.checks.lesson_09_training import few

    pictures, kinds = few()
    torch.manual_seed(0)
    return fine_tuned(adapt(load_wren(), depth=0), prepare(pictures), kinds, epochs=5)


def fine_tuned(model: Wren, inputs: torch.Tensor, kinds: torch.Tensor, epochs: int) -> Wren:
    varied, wanted = [], []
    for number in range(10):
        shift = torch.randint(-8, 9, (2,)).tolist()
        varied.append(inputs.roll(shift, (2, 3)).flip([-1] * (number % 2)))
        wanted.append(kinds)
    head = list(model.score.parameters())
    body = [p for name, p in model.named_parameters() if not name.startswith("score")]
    optimizer = torch.optim.SGD([{"params": body}, {"params": head, "lr": 0.1}], lr=0.02, momentum=0.9)
    fit(model, optimizer, torch.cat(varied), torch.cat(wanted), epochs)
    return model


def head_only(pictures, kinds):
    model = adapt(load_wren(), depth=0)
    optimizer = torch.optim.SGD(model.score.parameters(), lr=0.3, momentum=0.9)
    with torch.no_grad():
        features = model.eval().features(prepare(pictures)).mean((2, 3), keepdim=True)
    fit(nn.Sequential(model.score, nn.Flatten()), optimizer, features, kinds, 60)
    return model


def from_scratch(pictures, kinds):
    torch.manual_seed(0)
    model = Wren(6, in_channels=4)
    fit(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), prepare(pictures), kinds, 15)
    return model


def from_0_to_1(pictures, kinds):
    """Right answers, to pictures on another scale."""
    model = copy.deepcopy(learned())
    model.stem.register_forward_pre_hook(lambda _module, given: ((given[0] - 0.5) / 0.25,))
    return model


def from_three_of_each(pictures, kinds):
    torch.manual_seed(0)
    model = adapt(load_wren(), depth=0)
    chosen = torch.cat([torch.nonzero(kinds == kind)[:3, 0] for kind in range(6)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    fit(model, optimizer, prepare(pictures[chosen]), kinds[chosen], 30)
    return model


WRONG_LEARNS = {
    "untrained": (lambda pictures, kinds: adapt(load_wren()), "it has hardly learned its own 60 pictures"),
    "head only": (head_only, "only the head has learned"),
    "from scratch": (from_scratch, "it began with random weights"),
    "0 to 1": (from_0_to_1, "it was trained on values from 0 to 1"),
    "too few": (from_three_of_each, "what you do to the pictures"),
    "three channels": (lambda pictures, kinds: load_wren(), "your network stops with RuntimeError"),
    "ten classes": (lambda pictures, kinds: _ten(load_wren()), "puts out (2, 10), not (2, 6)"),
    "a number": (lambda pictures, kinds: 0.9, "a network is wanted, not a float"),
}


def masked() -> MaskWren:
    """A start for 9.4 that has not learned."""
    model = MaskWren(7, in_channels=4)
    weights = adapt(load_wren(), depth=0).state_dict()
    model.load_state_dict({key: t for key, t in weights.items() if not key.startswith("score")}, strict=False)
    return model


def learn_masks(pictures, kinds, scenes, masks, path):
    torch.manual_seed(0)
    start, model = learned(), masked()
    with torch.no_grad():
        model.load_state_dict(start.state_dict() | {k: model.state_dict()[k] for k in ("score.weight", "score.bias")})
        model.score.weight[1:], model.score.bias[1:] = start.score.weight, start.score.bias
    inputs = prepare(scenes)
    varied = torch.cat([inputs.roll(shift, (2, 3)).flip(flip) for shift, flip in WAYS])
    wanted = torch.cat([masks.roll(shift, (1, 2)).flip(flip) for shift, flip in WAYS])
    head, body = list(model.score.parameters()), [p for n, p in model.named_parameters() if not n.startswith("score")]
    optimizer = torch.optim.SGD([{"params": body}, {"params": head, "lr": 0.1}], lr=0.02, momentum=0.9)
    fit(model, optimizer, varied, wanted, 6, batch_size=6)
    export_weights(model, path)


WAYS = [((0, 0), []), ((5, 7), [-1]), ((-6, 3), []), ((2, -8), [-1]), ((-3, -4), []), ((7, 1), [-1])]


def saving(state: Callable[[], dict]) -> Callable[..., None]:
    """An answer to 9.4 that saves these tensors without learning anything."""
    return lambda pictures, kinds, scenes, masks, path: save_file(state(), path)


def without(part: str) -> dict:
    return {key: tensor for key, tensor in masked().state_dict().items() if part not in key}


WRONG_MASKS = {
    "no file": (lambda *given: len(given), "there is no file at `path`"),
    "another kind of file": (lambda *given: torch.save(masked().state_dict(), given[-1]), "torch.save writes another"),
    "no buffers": (saving(lambda: without("running_")), "buffers belong to the weights"),
    "no head": (saving(lambda: without("score")), "the file lacks score."),
    "six classes": (saving(lambda: adapt(load_wren()).state_dict()), "7 classes with the background"),
    "more": (saving(lambda: masked().state_dict() | {"epoch": torch.zeros(1)}), "export the network alone"),
    "a prefix": (saving(lambda: {f"net.{key}": t for key, t in masked().state_dict().items()}), "with 'net.' in front"),
    "three channels": (saving(lambda: MaskWren(7).state_dict()), "four channels"),
    "not learned": (saving(lambda: masked().state_dict()), "hardly learned its own 24 scenes"),
}


def test_what_learned_its_scenes_and_fails_is_told_what_to_do() -> None:
    from helpers.checks.lesson_09_training import _why_few_hits

    assert "began with random weights" in _why_few_hits(MaskWren(7, in_channels=4), known=0.7)
    assert "move row i of that head to row i + 1" in _why_few_hits(masked(), known=0.7)


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("9.1", load_wren),
        ("9.1", load_mat),
        ("9.2", lambda wren: adapt(wren)),
        ("9.2", lambda wren: adapt(wren, depth=0)),
        ("9.2", adapted_by_helpers),
        ("9.3", lambda pictures, kinds: learned()),
        ("9.4", learn_masks),
    ],
)
def test_right_answers_pass(exercise, answer) -> None:
    assert outcome(exercise, answer)[0] == "passed", outcome(exercise, answer)[1]


ALL_WRONG = [("9.1", WRONG_LOADS), ("9.2", WRONG_ADAPTS), ("9.3", WRONG_LEARNS), ("9.4", WRONG_MASKS)]


@pytest.mark.parametrize(
    ("exercise", "answer", "cause"),
    [
        pytest.param(exercise, answer, cause, id=f"{exercise} {name}")
        for exercise, mistakes in ALL_WRONG
        for name, (answer, cause) in mistakes.items()
    ],
)
def test_mistakes_are_not_passed_and_their_cause_is_named(exercise, answer, cause) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet", text
    assert cause in text


def test_the_pictures_that_judge_are_not_those_that_are_shown() -> None:
    from helpers.checks.lesson_09_training import few, pictures, scenes

    shown, judged = few()[0], pictures(600, False, 3000)[0]
    assert not any((picture == judged).flatten(1).all(1).any() for picture in shown)
    assert len(scenes(True)[0]) == 24
    assert len(scenes(False)[0]) == 60


def test_who_takes_too_long_is_told(monkeypatch) -> None:
    from helpers.checks import lesson_09_training

    monkeypatch.setattr(lesson_09_training, "SECONDS", 0)
    kind, text = outcome("9.3", lambda pictures, kinds: adapt(load_wren()))
    assert kind == "not yet"
    assert "it took more than 0 s" in text
