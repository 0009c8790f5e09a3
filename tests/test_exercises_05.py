"""The checks of lesson 05 on stubs, right answers and named mistakes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lesson import outcome
from torch import nn

EXERCISES = ["5.1", "5.2", "5.3", "5.4"]


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("stub", [..., None, lambda *inputs: ..., lambda *inputs: None])
def test_stubs_are_not_attempted(exercise, stub) -> None:
    assert outcome(exercise, stub)[0] == "not attempted"


@torch.no_grad()
def new_head(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        if name in old:
            made.weight[row] = head.weight[old.index(name)]
            if head.bias is not None:
                made.bias[row] = head.bias[old.index(name)]
    return made


def new_head_by_stacking(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    state_dict = {}
    for key, mine in made.state_dict().items():
        theirs = head.state_dict()[key]
        rows = [theirs[old.index(name)] if name in old else mine[i] for i, name in enumerate(new)]
        state_dict[key] = torch.stack(rows)
    made.load_state_dict(state_dict)
    return made


@torch.no_grad()
def first_rows(head, old, new):
    made = new_head(head, [], new)
    made.weight[: len(old)] = head.weight
    if head.bias is not None:
        made.bias[: len(old)] = head.bias
    return made


@torch.no_grad()
def only_the_weight(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        if name in old:
            made.weight[row] = head.weight[old.index(name)]
    return made


@torch.no_grad()
def zeros_for_new_ones(head, old, new):
    made = new_head(head, old, new)
    for row, name in enumerate(new):
        if name not in old:
            made.weight[row] = 0
    return made


def always_a_bias(head, old, new):
    made = new_head(head, old, new)
    return made if head.bias is not None else nn.Linear(6, 5)


@torch.no_grad()
def expects_a_bias(head, old, new):
    made = nn.Linear(head.in_features, len(new))
    made.bias[0] = head.bias[0]
    return made


@torch.no_grad()
def every_name_is_old(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, name in enumerate(new):
        made.weight[row] = head.weight[old.index(name)]
    return made


@torch.no_grad()
def wraps_around(head, old, new):
    made = new_head(head, old, new)
    made.weight[1] = head.weight[1]
    return made


def in_the_old_one(head, old, new):
    with torch.no_grad():
        head.weight[0] = head.weight[2]
    return new_head(head, old, new)


def shares(head, old, new):
    if old == new:
        return head
    return new_head(head, old, new)


def turned(head, old, new):
    return nn.Linear(len(new), head.in_features)


@torch.no_grad()
def always_these_rows(head, old, new):
    made = nn.Linear(head.in_features, len(new), bias=head.bias is not None)
    for row, kept in {0: 2, 2: 0}.items():
        made.weight[row] = head.weight[kept]
        if head.bias is not None:
            made.bias[row] = head.bias[kept]
    return made


def untrainable(head, old, new):
    return new_head(head, old, new).requires_grad_(False)


def a_graph(head, old, new):
    made = new_head(head, old, new)
    rows = [head.weight[old.index(name)] if name in old else torch.randn(6) for name in new]
    del made.weight
    made.weight = torch.stack(rows)
    return made


def freezes_the_old_one(head, old, new):
    head.requires_grad_(False)
    return new_head(head, old, new)


def head_of(block, features, classes, pool=None):
    return nn.Sequential(block, pool or nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


def make_heads(block, features, tasks):
    return nn.ModuleDict({task: head_of(copy.deepcopy(block), features, n) for task, n in tasks.items()})


class Head(nn.Module):
    def __init__(self, block, features, classes):
        super().__init__()
        self.block, self.fc = copy.deepcopy(block), nn.Linear(features, classes)

    def forward(self, x):
        return self.fc(self.block(x).mean((2, 3)))


def make_heads_of_a_class(block, features, tasks):
    heads = nn.ModuleDict()
    for task, classes in tasks.items():
        heads[task] = Head(block, features, classes)
    return heads


def shared_block(block, features, tasks):
    return nn.ModuleDict({task: head_of(block, features, n) for task, n in tasks.items()})


def shared_copy(block, features, tasks):
    return shared_block(copy.deepcopy(block), features, tasks)


def shallow(block, features, tasks):
    return nn.ModuleDict({task: head_of(copy.copy(block), features, n) for task, n in tasks.items()})


def first_not_copied(block, features, tasks):
    heads = make_heads(block, features, tasks)
    heads["kind"][0] = block
    return heads


def last_not_copied(block, features, tasks):
    heads = make_heads(block, features, tasks)
    heads["colour"][0] = block
    return heads


def shared_linear(block, features, tasks):
    linears = {n: nn.Linear(features, n) for n in tasks.values()}
    heads = make_heads(block, features, tasks)
    for task, n in tasks.items():
        heads[task][3] = linears[n]
    return heads


def frozen_copies(block, features, tasks):
    return make_heads(copy.deepcopy(block).requires_grad_(False), features, tasks)


def with_a_list(block, features, tasks):
    return [head_of(copy.deepcopy(block), features, n) for n in tasks.values()]


def with_a_dict(block, features, tasks):
    return dict(make_heads(block, features, tasks).items())


def not_flat(block, features, tasks):
    return nn.ModuleDict(
        {
            task: nn.Sequential(copy.deepcopy(block), nn.AdaptiveAvgPool2d(1), nn.Linear(features, n))
            for task, n in tasks.items()
        }
    )


def with_max(block, features, tasks):
    return nn.ModuleDict(
        {task: head_of(copy.deepcopy(block), features, n, nn.AdaptiveMaxPool2d(1)) for task, n in tasks.items()}
    )


def same_size(block, features, tasks):
    return make_heads(block, features, dict.fromkeys(tasks, 2))


def one_task(block, features, tasks):
    return make_heads(block, features, {"kind": 2})


def with_a_function(block, features, tasks):
    return nn.Sequential(copy.deepcopy(block), torch.flatten)


def two_losses(outputs, kinds, tags):
    return F.cross_entropy(outputs["kind"], kinds) + F.binary_cross_entropy_with_logits(outputs["tags"], tags.float())


def two_losses_with_modules(outputs, kinds, tags):
    return nn.CrossEntropyLoss()(outputs["kind"], kinds) + nn.BCEWithLogitsLoss()(outputs["tags"], tags.double())


def sigmoid_first(outputs, kinds, tags):
    tag = F.binary_cross_entropy(outputs["tags"].sigmoid(), tags.float())
    return F.cross_entropy(outputs["kind"], kinds) + tag


def log_of_sigmoid(outputs, kinds, tags):
    p = outputs["tags"].sigmoid()
    tag = -(tags * p.log() + (1 - tags) * (1 - p).log()).mean()
    return F.cross_entropy(outputs["kind"], kinds) + tag


def both(kind=F.cross_entropy, tag=F.binary_cross_entropy_with_logits):
    return lambda o, k, t: kind(o["kind"], k) + tag(o["tags"], t.float())


def per_picture(logits, tags):
    return F.binary_cross_entropy_with_logits(logits, tags, reduction="none").sum(1).mean()


def parameter_groups(model, head, lr):
    inside = {id(p) for p in model.get_submodule(head).parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    body, top = [p for p in trained if id(p) not in inside], [p for p in trained if id(p) in inside]
    return [{"params": body, "lr": lr}, {"params": top, "lr": 10 * lr}]


def parameter_groups_by_name(model, head, lr):
    groups = [{"params": [], "lr": lr}, {"params": [], "lr": 10 * lr}]
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups[name.startswith(f"{head}.")]["params"].append(p)
    return groups


def by(belongs, frozen=True, rates=(1, 10)):
    def answer(model, head, lr):
        groups = [{"params": [], "lr": rate * lr} for rate in rates]
        for name, p in model.named_parameters():
            if p.requires_grad or not frozen:
                groups[belongs(name, head)]["params"].append(p)
        return groups

    return answer


def in_both(model, head, lr):
    groups = parameter_groups(model, head, lr)
    groups[0]["params"] += groups[1]["params"]
    return groups


def unfreezes(model, head, lr):
    model.requires_grad_(True)
    return parameter_groups(model, head, lr)


def with_doubles(model, head, lr):
    groups = [{"params": [], "lr": lr}, {"params": [], "lr": 10 * lr}]
    for name, p in model.named_parameters(remove_duplicate=False):
        if p.requires_grad:
            groups[name.startswith(f"{head}.")]["params"].append(p)
    return groups


def body_only(model, head, lr):
    return [parameter_groups(model, head, lr)[0], {"params": [], "lr": 10 * lr}]


def by_attribute(model, head, lr):
    getattr(model, head)
    return parameter_groups(model, head, lr)


def by_value(model, head, lr):
    inside = list(model.get_submodule(head).parameters())
    return [{"params": [p for p in model.parameters() if p not in inside], "lr": lr}, {"params": inside, "lr": 10 * lr}]


def dotted(name, head):
    return name.startswith(f"{head}.")


RIGHT = [
    ("5.1", new_head),
    ("5.1", new_head_by_stacking),
    ("5.2", make_heads),
    ("5.2", make_heads_of_a_class),
    ("5.3", two_losses),
    ("5.3", two_losses_with_modules),
    ("5.4", parameter_groups),
    ("5.4", parameter_groups_by_name),
    ("5.4", lambda m, h, lr: [{**g, "params": iter(g["params"])} for g in parameter_groups(m, h, lr)]),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_right_answers_pass(exercise, answer) -> None:
    assert outcome(exercise, answer)[0] == "passed"


WRONG = [
    ("5.1", first_rows, "row i of the old head went to row i of the new one"),
    ("5.1", only_the_weight, "this row still has the numbers that a new Linear begins with"),
    ("5.1", zeros_for_new_ones, "leave new rows as nn.Linear made them"),
    ("5.1", always_a_bias, "there should be no bias"),
    ("5.1", expects_a_bias, "this row still has the numbers"),
    ("5.1", lambda h, o, n: new_head(h, o, n) if h.bias is not None else h.bias + 1, "not every head has a bias"),
    ("5.1", every_name_is_old, "not every new class is an old one"),
    ("5.1", wraps_around, "the weight of 'glove' should be new"),
    ("5.1", in_the_old_one, "changes what it was given"),
    ("5.1", shares, "they share memory; copy"),
    ("5.1", always_these_rows, "if all classes are old, the weight of 'cat'"),
    ("5.1", untrainable, "takes no gradient"),
    ("5.1", a_graph, "it is no parameter"),
    ("5.1", freezes_the_old_one, "the old head is frozen now"),
    ("5.1", lambda h, o, n: new_head(h, o, n).double(), "as the old one is"),
    ("5.1", lambda h, o, n: nn.Linear(6, 5, bias=h.bias), "head.bias is not None"),
    ("5.1", turned, "should map 6 features to 5 classes"),
    ("5.1", lambda h, o, n: new_head(h, o, n).weight, "return an nn.Linear, not a Parameter"),
    ("5.2", shared_block, "copy.deepcopy(block) for each"),
    ("5.2", shared_copy, "copy.deepcopy(block) for each"),
    ("5.2", shallow, "copy.copy copies no parameters"),
    ("5.2", first_not_copied, "the head for 'kind' holds `block` itself"),
    ("5.2", last_not_copied, "every head needs a copy of its own"),
    ("5.2", shared_linear, "and a Linear for each"),
    ("5.2", frozen_copies, "they are to be trained"),
    ("5.2", with_a_list, "return an nn.ModuleDict, not a list"),
    ("5.2", with_a_dict, "hides its modules from parameters()"),
    ("5.2", not_flat, "flatten between the pooling and the Linear"),
    ("5.2", with_max, "the maximum over all places"),
    ("5.2", same_size, "should give shape (6, 5), but gives (6, 2)"),
    ("5.2", one_task, "there should be heads for ['kind', 'colour', 'size']"),
    ("5.2", with_a_function, "nn.Flatten(), not flatten"),
    ("5.3", both(tag=F.cross_entropy), "each tag is a question of its own"),
    ("5.3", lambda o, k, t: F.cross_entropy(o["kind"], k), "the tags are missing"),
    ("5.3", lambda o, k, t: both()(o, k, t) - F.cross_entropy(o["kind"], k), "the kinds are missing"),
    ("5.3", lambda o, k, t: both()(o, k, t) / 2, "to be added, not averaged"),
    ("5.3", both(kind=lambda z, k: F.cross_entropy(z.softmax(1), k)), "it does the softmax itself"),
    ("5.3", both(tag=lambda z, t: F.binary_cross_entropy_with_logits(z.sigmoid(), t)), "so there were two"),
    ("5.3", both(tag=per_picture), "summed over a picture"),
    ("5.3", both(tag=lambda z, t: 20 * F.binary_cross_entropy_with_logits(z, t)), "a sum over all pictures"),
    ("5.3", lambda o, k, t: F.binary_cross_entropy_with_logits(o["tags"], t), "tags.float()"),
    ("5.3", lambda o, k, t: F.binary_cross_entropy(o["tags"], t.float()), "take ..._with_logits"),
    ("5.3", lambda o, k, t: both()(o, k, t).detach(), "it gets no gradient"),
    ("5.3", both(tag=lambda z, t: F.binary_cross_entropy_with_logits(z.detach(), t)), "'tags' can learn nothing"),
    ("5.3", lambda o, k, t: F.cross_entropy(o["kind"], k) + F.cross_entropy(o["tags"], t), "a question of its own"),
    ("5.3", log_of_sigmoid, "not finite"),
    ("5.3", lambda o, k, t: [both()(o, k, t)], "add the two losses"),
    ("5.4", by(lambda name, head: name.startswith(head)), "only begins like the head's"),
    ("5.4", by(lambda name, head: f"{head}." in name), "it must stand at its beginning"),
    ("5.4", by(dotted, frozen=False), "it is frozen"),
    ("5.4", by(dotted, rates=(1, 1)), "the head gets ten times the rate"),
    ("5.4", by(dotted, rates=(10, 1)), "should be 0.5 and 5.0, but are 5.0 and 0.5"),
    ("5.4", by(lambda name, head: not name.startswith(f"{head}.")), "the groups are in the wrong order"),
    ("5.4", unfreezes, "leave requires_grad as it is"),
    ("5.4", with_doubles, "a layer that has two names"),
    ("5.4", in_both, "it belongs to the other group"),
    (
        "5.4",
        lambda m, h, lr: [{**g, "lr": r} for g, r in zip(parameter_groups(m, h, lr), (0.5, 5), strict=True)],
        "lr=0.03125",
    ),
    ("5.4", body_only, "is not in the group of the head; it is in none"),
    ("5.4", by_attribute, "getattr knows no dots"),
    ("5.4", by_value, "compare names, or id()"),
    ("5.4", lambda m, h, lr: [{"params": list(m.parameters())}], "a list of two dictionaries"),
    ("5.4", lambda m, h, lr: [{"params": []}, {"params": []}], "each group needs 'params' and 'lr'"),
    ("5.4", lambda m, h, lr: [{"params": [n for n, _ in m.named_parameters()], "lr": 1}] * 2, "no copies, no names"),
]


@pytest.mark.parametrize(("exercise", "answer", "cause"), WRONG)
def test_wrong_answers_are_told_why(exercise, answer, cause) -> None:
    kind, text = outcome(exercise, answer)
    assert kind == "not yet"
    assert cause in text
