"""The checks of lesson 03 on stubs, right answers and named mistakes."""

import pytest
import torch

from helpers.exercises import check

EXERCISES = ["3.1", "3.2", "3.3", "3.4"]


def outcome(exercise: str, answer) -> tuple[str, str]:
    feedback = check(exercise, answer)
    return feedback.kind, feedback.text


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def fitting(model, state_dict):
    mine = model.state_dict()
    return {key: t for key, t in state_dict.items() if key in mine and t.shape == mine[key].shape}


def fitting_in_a_loop(model, state_dict):
    found = {}
    for name, tensor in model.state_dict().items():
        if name in state_dict and state_dict[name].shape == tensor.shape:
            found[name] = state_dict[name].clone()
    return found


def rename(state_dict, new_names):
    renamed = {new_names.get(key, key): t for key, t in state_dict.items()}
    if len(renamed) < len(state_dict):
        raise ValueError("two tensors would get one name")
    return renamed


def rename_in_a_loop(state_dict, new_names):
    renamed = {}
    for key, tensor in state_dict.items():
        new = new_names[key] if key in new_names else key  # noqa: SIM401
        if new in renamed:
            raise ValueError(new)
        renamed[new] = tensor
    return renamed


def layers(state_dict):
    return [key.removesuffix(".weight") for key, t in state_dict.items() if key.endswith(".weight") and t.ndim >= 2]


def pair_layers(model, state_dict, strict=True, shapes=True, leaves=("weight", "bias"), find=layers):
    mine, names = model.state_dict(), {}
    for old, new in zip(find(state_dict), find(mine), strict=strict):
        if shapes and state_dict[f"{old}.weight"].shape != mine[f"{new}.weight"].shape:
            raise ValueError(f"{old} and {new} have different shapes")
        names |= {f"{old}.{leaf}": f"{new}.{leaf}" for leaf in leaves if f"{old}.{leaf}" in state_dict}
    return names


def first_difference(ours, theirs, x):
    y = x
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        x, y = a(x), b(y)
        if not torch.equal(x, y):
            return i
    return -1


def first_difference_of_slices(ours, theirs, x):
    differ = [i for i in range(len(ours)) if not torch.equal(ours[: i + 1](x), theirs[: i + 1](x))]
    return min(differ, default=-1)


RIGHT = [
    ("3.1", fitting),
    ("3.1", fitting_in_a_loop),
    ("3.2", rename),
    ("3.2", rename_in_a_loop),
    ("3.3", pair_layers),
    ("3.4", first_difference),
    ("3.4", first_difference_of_slices),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_right_answers_pass(exercise, answer) -> None:
    assert outcome(exercise, answer)[0] == "passed"


def loads_at_once(model, state_dict):
    found = fitting(model, state_dict)
    model.load_state_dict(found, strict=False)
    return found


def only_parameters(model, state_dict):
    mine = dict(model.named_parameters())
    return {key: t for key, t in state_dict.items() if key in mine and t.shape == mine[key].shape}


def any_shape(model, state_dict):
    shapes = [t.shape for t in model.state_dict().values()]
    return {key: t for key, t in state_dict.items() if t.shape in shapes}


def own_numbers(model, state_dict):
    return {key: model.state_dict()[key] for key in fitting(model, state_dict)}


def same_count(model, state_dict):
    mine = model.state_dict()
    return {key: t for key, t in state_dict.items() if key in mine and t.numel() == mine[key].numel()}


def one_after_the_other(state_dict, new_names):
    renamed = dict(state_dict)
    for old, new in new_names.items():
        renamed[new] = renamed.pop(old)
    return renamed


def by_replace(state_dict, new_names):
    renamed = {}
    for key, tensor in state_dict.items():
        for old, new in new_names.items():
            key = key.replace(old, new)
        renamed[key] = tensor
    return renamed


def in_place(state_dict, new_names):
    for old, new in reversed(new_names.items()):
        state_dict[new] = state_dict.pop(old)
    return state_dict


def only_duplicates_in_the_new_names(state_dict, new_names):
    if len(set(new_names.values())) < len(new_names):
        raise ValueError
    return {new_names.get(key, key): t for key, t in state_dict.items()}


def key_error(state_dict, new_names):
    renamed = {new_names.get(key, key): t for key, t in state_dict.items()}
    if len(renamed) < len(state_dict):
        raise KeyError("twice")
    return renamed


def all_names(state_dict):
    return [key.removesuffix(".weight") for key in state_dict if key.endswith(".weight")]


def compares_weights(ours, theirs, x):
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)):
            return i
    return -1


def last_difference(ours, theirs, x):
    y, found = x, -1
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        x, y = a(x), b(y)
        found = found if torch.equal(x, y) else i
    return found


def only_the_end(ours, theirs, x):
    return first_difference(ours, theirs, x) if not torch.equal(ours(x), theirs(x)) else -1


def gives_up_at_once(ours, theirs, x):
    y = x
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        x, y = a(x), b(y)
        return i if not torch.equal(x, y) else -1
    return -1


def always_the_input(ours, theirs, x):
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not torch.equal(a(x), b(x)):
            return i
    return -1


def with_equals(ours, theirs, x):
    return -1 if ours(x) == theirs(x) else 0


WRONG = [
    ("3.1", lambda m, s: {k: t for k, t in s.items() if k in m.state_dict()}, "its shape was not compared"),
    ("3.1", same_count, "as many numbers are not the same shape"),
    ("3.1", any_shape, "'3.weight', which should not be there"),
    ("3.1", only_parameters, "buffers are missing"),
    ("3.1", own_numbers, "the numbers are the model's own"),
    ("3.1", loads_at_once, "changes what it was given"),
    ("3.1", lambda m, s: list(fitting(m, s)), "should be a dictionary, but is a list"),
    ("3.1", lambda m, s: {k: t for k, t in s.items() if t.shape == m.state_dict()[k].shape}, "not have every name"),
    ("3.2", one_after_the_other, "one after the other"),
    ("3.2", by_replace, "one after the other"),
    ("3.2", in_place, "changes what it was given"),
    ("3.2", lambda s, n: {n[k]: t for k, t in s.items()}, "dict.get has a default"),
    ("3.2", lambda s, n: {n[k]: t for k, t in s.items() if k in n}, "names that are not in `new_names` stay"),
    ("3.2", lambda s, n: s, "the old name is still there"),
    ("3.2", lambda s, n: {n.get(k, k): t for k, t in s.items()}, "the later tensor overwrote the earlier one"),
    ("3.2", only_duplicates_in_the_new_names, "look also at the names that stay"),
    ("3.2", key_error, "a ValueError is wanted, not KeyError"),
    ("3.3", lambda m, s: dict(zip(s, m.state_dict(), strict=False)), "'body.weight' belongs to '2.weight', not"),
    ("3.3", lambda m, s: dict(zip(s, m.state_dict(), strict=True)), "the BatchNorms of the model count as layers"),
    (
        "3.3",
        lambda m, s: pair_layers(m, s, find=all_names, shapes=False),
        "the BatchNorms of the model count as layers",
    ),
    ("3.3", lambda m, s: pair_layers(m, s, find=all_names, strict=False, shapes=False), "a BatchNorm's"),
    ("3.3", lambda m, s: pair_layers(m, s, leaves=("weight",)), "a layer's bias has the name of its weight"),
    ("3.3", lambda m, s: pair_layers(m, s, strict=False), "zip ends with the shorter list"),
    ("3.3", lambda m, s: pair_layers(m, s, shapes=False), "the shapes were not compared"),
    ("3.3", lambda m, s: {new: old for old, new in pair_layers(m, s).items()}, "the pairs are turned round"),
    ("3.3", lambda m, s: list(pair_layers(m, s)), "should be a dictionary, but is a list"),
    ("3.3", lambda m, s: {f"{a}.bias": s[f"{a}.bias"] for a in layers(s)}, "not every layer has a bias"),
    ("3.4", compares_weights, "compare what the layers put out"),
    ("3.4", last_difference, "return at the first difference"),
    ("3.4", only_the_end, "only the last outputs were compared"),
    ("3.4", gives_up_at_once, "-1 only behind the loop"),
    ("3.4", always_the_input, "each layer takes what the layer before it put out"),
    ("3.4", with_equals, "torch.equal compares two tensors"),
    ("3.4", lambda a, b, x: first_difference(a, b, x) + 1, "numbered from 0"),
    ("3.4", lambda a, b, x: max(first_difference(a, b, x), 0), "where no layer differs, the answer is -1"),
    ("3.4", lambda a, b, x: first_difference(a, b, x) >= 0, "a number is wanted, but got a bool"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), WRONG)
def test_wrong_answers_are_told_why(exercise, answer, cause) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet"
    assert cause in text
