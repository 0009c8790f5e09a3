"""Exercise 5.2: a head for each task, and no two share anything."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..checking import Exercise, Mistake, NotYet, because, call, compare

TASKS = {"kind": 2, "colour": 5, "size": 2, "age": 3}
Tasks = Mapping[str, int]


def right(block: nn.Module, features: int, tasks: Tasks) -> Any:
    heads = nn.ModuleDict()
    for task, classes in tasks.items():
        top = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)
        heads[task] = nn.Sequential(copy.deepcopy(block), *top)
    return heads


def shared_block(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        head[0] = block
    return heads


def one_copy_for_all(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    return shared_block(copy.deepcopy(block), features, tasks)


def shallow_copies(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        head[0] = copy.copy(block)
    return heads


def one_not_copied(task: str) -> Any:
    """An answer in which the head for this task holds the block itself."""

    def answer(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
        heads = right(block, features, tasks)
        heads[task][0] = block
        return heads

    return answer


def shared_linear(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    heads["size"][-1] = heads["kind"][-1]
    return heads


def not_flat(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        del head[2]
    return heads


def with_a_function(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = nn.ModuleDict()
    for task, classes in tasks.items():
        top: Any = nn.AdaptiveAvgPool2d(1), torch.flatten, nn.Linear(features, classes)
        heads[task] = nn.Sequential(copy.deepcopy(block), *top)
    return heads


def maximum(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        head[1] = nn.AdaptiveMaxPool2d(1)
    return heads


def with_part(place: int, part: Any) -> Any:
    """The right answer, but for the module at this place of each head."""

    def answer(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
        heads = right(block, features, tasks)
        for head in heads.values():
            head[place] = part()
        return heads

    return answer


def with_a_new_block(block: Any, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        head[0][0].reset_parameters()
    return heads


def with_softmax(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head in heads.values():
        head.append(nn.Softmax(1))
    return heads


SHALLOW = "copy.copy makes a second module with the same parameters; copy.deepcopy copies those, too."
SAME_OBJECTS = "heads hold the same objects; copy.deepcopy(block) for each, and a Linear for each."
OWN_COPY = "every head needs a copy of its own."
PLAIN_DICT = "a plain dict hides its modules from parameters() and to()."
KEEP_THE_BATCH = "Flatten(0) takes the batch in, too; nn.Flatten() begins behind it."
ONE_PER_CHANNEL = "one number for each channel is to be left of the maps: nn.AdaptiveAvgPool2d(1)."
NEW_BLOCK = "its block has other numbers than the one that was given; copy.deepcopy keeps them."
SOFTMAX = "this is a softmax of what is asked; the losses take logits."
NO_NAMES = "an nn.ModuleList has numbers; an nn.ModuleDict has the names of the tasks."
FLATTEN = "flatten between the pooling and the Linear, and put the block in front."
MODULES = "what goes into a ModuleDict or Sequential must be a module: nn.Flatten(), not flatten."
MAXIMUM = "this is the maximum over all places; the post pools with the mean."
FROZEN = "a part of the heads is frozen; they are to be trained."

SQUEEZED = "squeeze() takes away every axis of length one, that of a single image, too."
DETACHED = "detach() keeps what stands in front from being trained."
STATISTICS = "running statistics belong to the copy."


class Squeezed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze()


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def with_numbers_exchanged(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    return right(block, features, dict(zip(tasks, reversed(list(tasks.values())), strict=True)))


def with_statistics_reset(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for module in heads.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return heads


def without_bias(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
    heads = right(block, features, tasks)
    for head, classes in zip(heads.values(), tasks.values(), strict=True):
        head[-1] = nn.Linear(features, classes, bias=False)
    return heads


def in_front(module: nn.Module) -> Any:
    def answer(block: nn.Module, features: int, tasks: Tasks) -> nn.ModuleDict:
        heads = right(block, features, tasks)
        return nn.ModuleDict({task: nn.Sequential(module, *head) for task, head in heads.items()})

    return answer


MISTAKES = (
    Mistake("should give shape (6, 2), but gives (6, 3)", with_numbers_exchanged),
    Mistake(SQUEEZED, with_part(2, Squeezed)),
    Mistake(DETACHED, in_front(Detached())),
    Mistake(STATISTICS, with_statistics_reset),
    Mistake("has no bias", without_bias),
    Mistake(SAME_OBJECTS, shared_block),
    Mistake(SAME_OBJECTS, one_copy_for_all),
    Mistake(SHALLOW, shallow_copies),
    Mistake(ONE_PER_CHANNEL, with_part(1, lambda: nn.AvgPool2d(2))),
    Mistake(KEEP_THE_BATCH, with_part(2, lambda: nn.Flatten(0))),
    Mistake(NEW_BLOCK, with_a_new_block),
    Mistake(SOFTMAX, with_softmax),
    Mistake(NO_NAMES, lambda block, features, tasks: nn.ModuleList(right(block, features, tasks).values())),
    Mistake(SAME_OBJECTS, shared_linear),
    Mistake(OWN_COPY, one_not_copied("kind")),
    Mistake(OWN_COPY, one_not_copied("colour")),
    Mistake(FROZEN, lambda block, features, tasks: right(block, features, tasks).requires_grad_(False)),
    Mistake(PLAIN_DICT, lambda block, features, tasks: dict(right(block, features, tasks).items())),
    Mistake(FLATTEN, not_flat),
    Mistake(MODULES, with_a_function),
    Mistake(MAXIMUM, maximum),
    Mistake(
        "should give shape (6, 5), but gives (6, 2)",
        lambda block, features, tasks: right(block, features, dict.fromkeys(tasks, 2)),
    ),
    Mistake(
        "there should be heads for ['kind', 'colour', 'size', 'age']",
        lambda block, features, tasks: right(block, features, {"kind": 2}),
    ),
    Mistake(
        "return an nn.ModuleDict, not a list",
        lambda block, features, tasks: list(right(block, features, tasks).values()),
    ),
)

CRASHES = [
    ("'Sequential' object is not an iterator", "`*block` takes its layers; make a Sequential of a copy of all."),
    ("is not a Module subclass", MODULES),
    ("'int' object is not iterable", "`tasks` is a dictionary from names to numbers of classes; loop over .items()."),
]


def verify(answer: Any) -> None:
    """`make_heads(block, features, tasks) -> nn.ModuleDict`."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    block = nn.Sequential(nn.Conv2d(3, 4, (2, 3)), norm, nn.Tanh())  # its maps have negative numbers, too
    x = torch.rand(6, 3, 5, 8)
    heads = call(answer, block, 4, TASKS, crashes=CRASHES)
    has_names = isinstance(heads, nn.Module) and hasattr(heads, "keys")
    if not has_names:
        why = because(PLAIN_DICT if isinstance(heads, dict) else NO_NAMES if isinstance(heads, nn.ModuleList) else None)
        raise NotYet(f"return an nn.ModuleDict, not a {type(heads).__name__}.{why}")
    if list(heads.keys()) != list(TASKS):
        raise NotYet(f"there should be heads for {list(TASKS)}, but there are {list(heads.keys())}.")
    for task, classes in TASKS.items():
        expect_head(heads[task], block, x, task, classes)
    expect_independence(answer(block, 4, TASKS), block, x)


def why_it_stops(head: nn.Module) -> str:
    flat = [module for module in head.modules() if isinstance(module, nn.Flatten)]
    if any(module.start_dim != 1 for module in flat):
        return KEEP_THE_BATCH
    return ONE_PER_CHANNEL if flat else FLATTEN


@torch.no_grad()
def expect_head(head: nn.Module, block: nn.Module, x: Tensor, task: str, classes: int) -> None:
    """It computes the block, the mean over all places, and a Linear."""
    head = head.eval()
    try:
        got = head(x)
    except Exception as error:
        why = because(why_it_stops(head) if "mat1" in str(error) else None)
        raise NotYet(f"the head for {task!r} stops with {type(error).__name__}: {error}{why}") from None
    if not isinstance(got, Tensor) or got.shape != (len(x), classes):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise NotYet(f"the head for {task!r} should give shape {(len(x), classes)}, but gives {shape}.")
    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if len(linears) != 1:
        raise NotYet(f"the head for {task!r} should have one Linear, but has {len(linears)}.")
    features = copy.deepcopy(block).eval()(x)
    logits = linears[0](features.mean((2, 3)))
    causes = [(MAXIMUM, linears[0](features.amax((2, 3)))), (SOFTMAX, logits.softmax(1))]
    kept = [
        any(torch.equal(own, tensor) for own in head.state_dict().values()) for tensor in block.state_dict().values()
    ]
    if not all(kept):
        others = [key for key, is_kept in zip(block.state_dict(), kept, strict=True) if not is_kept]
        causes.append((STATISTICS if all("running" in key for key in others) else NEW_BLOCK, got))
    compare(got, linears[0](features.mean((2, 3))), f"what the head for {task!r} puts out", causes)
    if linears[0].bias is None:
        raise NotYet(f"the Linear of {task!r} has no bias; nn.Linear has one by itself.")
    one = head(x[:1])
    if one.shape != (1, classes):
        raise NotYet(f"for one image the head for {task!r} gives shape {tuple(one.shape)}.{because(SQUEEZED)}")
    with torch.enable_grad():
        image = x.clone().requires_grad_()
        head(image).sum().backward()
    head.zero_grad()
    if image.grad is None:
        raise NotYet(f"no gradient passes the head for {task!r}.{because(DETACHED)}")


def expect_independence(heads: nn.ModuleDict, block: nn.Module, x: Tensor) -> None:
    """Nothing of the other heads moves when one is trained for a step, and none holds the block."""
    if not all(parameter.requires_grad for parameter in heads.parameters()):
        raise NotYet(FROZEN)
    before = copy.deepcopy(heads.state_dict())
    train_a_step(heads["kind"], x)
    others = {key: tensor for key, tensor in heads.state_dict().items() if not key.startswith("kind.")}
    moved = [key for key, tensor in others.items() if not torch.equal(tensor, before[key])]
    if moved:
        kind: Any = heads["kind"]
        colour: Any = heads["colour"]
        are_rows = isinstance(kind, nn.Sequential) and isinstance(colour, nn.Sequential)
        is_shallow = are_rows and kind[0] is not colour[0] and moved[0].partition(".")[2].startswith("0.")
        raise NotYet(f"training 'kind' has moved {moved[0]!r}.{because(SHALLOW if is_shallow else SAME_OBJECTS)}")
    for task, head in heads.items():
        if memory(head) & memory(block):
            raise NotYet(f"the head for {task!r} holds `block` itself.{because(OWN_COPY)}")


def train_a_step(head: nn.Module, x: Tensor) -> None:
    """A large one."""
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    head.train()(x).square().sum().backward()
    optimizer.step()


def memory(module: nn.Module) -> set[int]:
    """Where its tensors are."""
    return {tensor.data_ptr() for tensor in module.state_dict().values()}


EXERCISE = Exercise(
    verify,
    right,
    MISTAKES,
    hints=(
        "nn.Sequential(..., nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)) for each task.",
        "What stands in front must be another object each time, with other parameters.",
        "nn.ModuleDict({task: nn.Sequential(copy.deepcopy(block), ...) for task, classes in tasks.items()})",
    ),
    praise="each task has a head of its own.",
)
