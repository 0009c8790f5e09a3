"""The checks of lesson 03 on stubs, right answers and named mistakes."""

import pytest
import torch
from lesson import outcome

EXERCISES = ["3.1", "3.2", "3.3", "3.4"]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


def sort_out(model, state_dict):
    mine = model.state_dict()
    both = mine.keys() & state_dict.keys()
    loaded = {key for key in both if mine[key].shape == state_dict[key].shape}
    return loaded, both - loaded, mine.keys() - both, state_dict.keys() - both


def sort_out_in_a_loop(model, state_dict):
    loaded, mismatched, missing = [], [], []
    for key, tensor in model.state_dict().items():
        if key not in state_dict:
            missing.append(key)
        elif state_dict[key].shape == tensor.shape:
            loaded.append(key)
        else:
            mismatched.append(key)
    return loaded, mismatched, missing, [key for key in state_dict if key not in model.state_dict()]


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


def pair_layers(
    model, state_dict, strict=True, same=torch.Tensor.size, biases=True, leaves=("weight", "bias"), find=layers
):
    mine, names = model.state_dict(), {}
    for old, new in zip(find(state_dict), find(mine), strict=strict):
        if same(state_dict[f"{old}.weight"]) != same(mine[f"{new}.weight"]):
            raise ValueError(f"{old} and {new} have different shapes")
        if biases and (f"{old}.bias" in state_dict) != (f"{new}.bias" in mine):
            raise ValueError(f"only one of {old} and {new} has a bias")
        names |= {f"{old}.{leaf}": f"{new}.{leaf}" for leaf in leaves if f"{old}.{leaf}" in state_dict}
    return names


def first_of_the_shape(model, state_dict):
    mine, names = model.state_dict(), {}
    if len(layers(mine)) != len(layers(state_dict)):
        raise ValueError
    for old in layers(state_dict):
        shape = state_dict[f"{old}.weight"].shape
        new = next(name for name in layers(mine) if mine[f"{name}.weight"].shape == shape)
        names |= {f"{old}.{leaf}": f"{new}.{leaf}" for leaf in ("weight", "bias") if f"{old}.{leaf}" in state_dict}
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
    ("3.1", sort_out),
    ("3.1", sort_out_in_a_loop),
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
    found = sort_out(model, state_dict)
    model.load_state_dict({key: state_dict[key] for key in found[0]}, strict=False)
    return found


def only_names(model, state_dict):
    mine = set(model.state_dict())
    return mine & set(state_dict), set(), mine - set(state_dict), set(state_dict) - mine


def same_count(model, state_dict):
    mine = model.state_dict()
    both = mine.keys() & state_dict.keys()
    loaded = {key for key in both if mine[key].numel() == state_dict[key].numel()}
    return loaded, both - loaded, mine.keys() - both, state_dict.keys() - both


def first_dimension(model, state_dict, dimension=0):
    mine = model.state_dict()
    both = mine.keys() & state_dict.keys()
    loaded = {key for key in both if mine[key].shape[dimension:][:1] == state_dict[key].shape[dimension:][:1]}
    return loaded, both - loaded, mine.keys() - both, state_dict.keys() - both


def only_parameters(model, state_dict):
    mine = dict(model.named_parameters())
    both = mine.keys() & state_dict.keys()
    loaded = {key for key in both if mine[key].shape == state_dict[key].shape}
    return loaded, both - loaded, mine.keys() - both, state_dict.keys() - both


def any_shape(model, state_dict):
    shapes = [t.shape for t in model.state_dict().values()]
    return {key for key, t in state_dict.items() if t.shape in shapes}, set(), set(), set()


def missing_if_not_loaded(model, state_dict):
    loaded, mismatched, _, unexpected = sort_out(model, state_dict)
    return loaded, mismatched, model.state_dict().keys() - loaded, unexpected


def exchanged(model, state_dict):
    loaded, mismatched, missing, unexpected = sort_out(model, state_dict)
    return loaded, mismatched, unexpected, missing


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


def backwards(state_dict, new_names):
    renamed = dict(state_dict)
    for old, new in reversed(new_names.items()):
        renamed[new] = renamed.pop(old)
    return renamed


def refuses_what_is_there(state_dict, new_names):
    if any(new in state_dict for new in new_names.values()):
        raise ValueError("this name is taken")
    return {new_names.get(key, key): t for key, t in state_dict.items()}


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


def compares_types(ours, theirs, x):
    pairs = enumerate(zip(ours, theirs, strict=True))
    found = next((i for i, (a, b) in pairs if type(a) is not type(b)), -1)
    return found if found >= 0 else first_difference(ours, theirs, x)


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
    ("3.1", only_names, "'loaded' should not have '2.bias'.\nLikely cause: the shapes were not compared"),
    ("3.1", same_count, "as many numbers are not the same shape"),
    ("3.1", first_dimension, "all dimensions count"),
    ("3.1", lambda m, s: first_dimension(m, s, -1), "all dimensions count"),
    ("3.1", any_shape, "its shape occurs in the model, but its name does not"),
    ("3.1", only_parameters, "buffers are missing"),
    ("3.1", loads_at_once, "`copy_` or `load_state_dict` on an argument"),
    ("3.1", missing_if_not_loaded, "a name that both sides have is mismatched"),
    ("3.1", exchanged, "missing is what only the model has"),
    ("3.1", lambda m, s: sort_out(m, s)[:3], "return four sets: loaded, mismatched, missing, unexpected; not 3 values"),
    ("3.1", lambda m, s: {k for k in s if s[k].shape == m.state_dict()[k].shape}, "the other may not have"),
    ("3.1", lambda m, s: [len(names) for names in sort_out(m, s)], "'loaded' should be a set of names, but is a int"),
    ("3.2", one_after_the_other, "one after the other"),
    ("3.2", by_replace, "one after the other"),
    ("3.2", in_place, "changes what it was given"),
    ("3.2", backwards, "the names were changed one after the other"),
    ("3.2", refuses_what_is_there, "here each tensor ends under a name of its own"),
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
        lambda m, s: pair_layers(m, s, find=all_names, same=type, biases=False),
        "the BatchNorms of the model count as layers",
    ),
    ("3.3", lambda m, s: pair_layers(m, s, find=all_names, strict=False, same=type, biases=False), "a BatchNorm's"),
    ("3.3", lambda m, s: pair_layers(m, s, leaves=("weight",)), "a layer's bias has the name of its weight"),
    ("3.3", lambda m, s: pair_layers(m, s, strict=False), "zip ends with the shorter list"),
    ("3.3", lambda m, s: pair_layers(m, s, same=type), "the shapes of each pair were not compared"),
    ("3.3", lambda m, s: pair_layers(m, s, same=torch.Tensor.numel), "as many numbers are not the same shape"),
    ("3.3", lambda m, s: pair_layers(m, s, same=lambda t: t.shape[0]), "the shapes of each pair were not compared"),
    ("3.3", lambda m, s: pair_layers(m, s, same=lambda t: t.shape[1:]), "the shapes of each pair were not compared"),
    ("3.3", lambda m, s: pair_layers(m, s, same=lambda t: t.shape[2:]), "the shapes of each pair were not compared"),
    ("3.3", lambda m, s: pair_layers(m, s, biases=False), "if only the checkpoint has a bias, a ValueError is wanted"),
    ("3.3", first_of_the_shape, "the first layer of the shape is not the next one in order"),
    ("3.3", lambda m, s: {new: old for old, new in pair_layers(m, s).items()}, "the pairs are turned round"),
    ("3.3", lambda m, s: list(pair_layers(m, s)), "should be a dictionary, but is a list"),
    ("3.3", lambda m, s: {f"{a}.bias": s[f"{a}.bias"] for a in layers(s)}, "not every layer has a bias"),
    ("3.4", compares_weights, "compare what the layers put out"),
    ("3.4", compares_types, "types were compared, not outputs"),
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
