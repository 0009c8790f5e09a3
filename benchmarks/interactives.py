"""How long an interactive takes to follow its controls, against the naive recipe and what cannot be saved.

usage: python benchmarks/interactives.py

The budget is 200 ms for an update on the shipped networks. The naive recipe builds the network again for each
arrangement of the kernels; what cannot be saved is running it once for each.
"""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Callable
from statistics import median

import matplotlib.pyplot as plt
import torch

from helpers.fcn import bilinear_kernel, init_bilinear_
from helpers.first_conv import adapt_first_conv
from helpers.heads import truncate
from helpers.matconvnet import load_matconvnet
from helpers.state_dict import explain, load_matching
from helpers.state_dict.matching import renamed
from workbook import data, networks, widgets
from workbook.example_training import PARTS, new_training, steps
from workbook.lessons import LESSONS
from workbook.widgets.channel_surgery import EXTRA_GREY
from workbook.widgets.cut_and_graft import TWO
from workbook.widgets.interactive import INTERACTIVES
from workbook.widgets.network_explorer import ARRANGEMENTS, rearranged
from workbook.widgets.two_files import CIFAR10, NUMBERED, UNIT
from workbook.wren import Wren, prepare

BUDGET_MS = 200


def milliseconds(work: Callable[[], object], times: int = 30) -> float:
    """Median time of one call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


def network_explorer() -> dict[str, float]:
    path = data.vgg16_mat()
    images, labels = data.cifar10_sample()
    explorer = widgets.NetworkExplorer(
        load_matconvnet(path), images[:12], [data.CIFAR10_CLASSES[i] for i in labels[:12]]
    )
    layers = [layer.name for layer in explorer.net.layers if "weight" in layer.params]

    def update_all() -> None:
        for layer in layers:
            explorer.draw(layer=layer, image=3, kernels=widgets.EXCHANGED, everywhere=False)

    def rebuild() -> None:
        for arrangement in ARRANGEMENTS:
            net = load_matconvnet(path)
            net["conv3_2"].params["weight"] = rearranged(net["conv3_2"].params["weight"], arrangement)
            net.to_module()(explorer.pixels[3, None])

    def run() -> None:
        for _ in ARRANGEMENTS:
            explorer.module(explorer.pixels[3, None])

    with torch.no_grad():
        return {
            "update, mean of all layers": milliseconds(update_all, 5) / len(layers),
            "naive: build it again": milliseconds(rebuild, 5),
            "limit: run it three times": milliseconds(run),
        }


def lesson_map() -> dict[str, float]:
    shown = widgets.LessonMap()
    return {"update": milliseconds(lambda: shown.draw(goal=LESSONS[-1].number))}


def checkpoint_clinic() -> dict[str, float]:
    """The naive recipe tries to load each checkpoint, to read the error; what cannot be saved is to find the causes."""
    patients, model = widgets.make_patients(torch.load(data.vgg16_pth())), networks.vgg16()
    shown, name = widgets.CheckpointClinic(model, patients), list(patients)[-1]

    def attempt() -> None:
        with contextlib.suppress(RuntimeError):
            networks.vgg16().load_state_dict(patients[name])

    return {
        "update": milliseconds(lambda: shown.draw(checkpoint=name, diagnosis=True), 10),
        "naive: build it and load": milliseconds(attempt, 5),
        "limit: explain it": milliseconds(lambda: explain(model, patients[name]), 10),
    }


def key_matcher() -> dict[str, float]:
    """The naive recipe loads the checkpoint for each tick; what cannot be saved is renaming the keys."""
    state_dict = torch.load(data.vgg16_pth())
    two = widgets.make_student_and_teacher(state_dict)
    rules = {"teacher": (r"^teacher\.", ""), "body": (r"^backbone\.", "features."), "head": (r"^head", "classifier")}
    shown = widgets.KeyMatcher(networks.vgg16(102), two, rules)
    pairs = list(rules.values())
    return {
        "update": milliseconds(lambda: shown.draw(rule_0=True, rule_1=True, rule_2=True, hide_loaded=False)),
        "naive: build it and load": milliseconds(lambda: load_matching(networks.vgg16(102), two, rename=pairs), 5),
        "limit: rename the keys": milliseconds(lambda: renamed(two, pairs)),
    }


def channel_surgery() -> dict[str, float]:
    """The naive recipe builds the new network; what cannot be saved is running it."""
    model = networks.vgg16().eval()
    model.load_state_dict(torch.load(data.vgg16_pth()))
    images, labels = data.cifar10_sample()
    names = [data.CIFAR10_CLASSES[i] for i in labels[:12]]
    shown = widgets.ChannelSurgery(model, images[:12], names, data.CIFAR10_CLASSES)
    new, inputs = copy.deepcopy(model), shown.inputs(5, EXTRA_GREY)
    adapt_first_conv(new, 5, "mean_extra")

    def rebuild() -> None:
        for channels in (3, 5):
            changed = copy.deepcopy(model)
            adapt_first_conv(changed, channels, "mean_extra")
            changed(shown.inputs(channels, EXTRA_GREY))

    with torch.no_grad():
        return {
            "update": milliseconds(lambda: shown.draw(rule="mean_extra", channels=5, show=EXTRA_GREY, image=3)),
            "naive: build both, run both": milliseconds(rebuild, 5),
            "limit: run it once": milliseconds(lambda: new(inputs)),
        }


def cut_and_graft() -> dict[str, float]:
    """The naive recipe cuts the network and runs it for each update."""
    model = networks.resnet18(width=0.3125).eval()
    images, labels = data.cifar10_sample()
    names = [data.CIFAR10_CLASSES[i] for i in labels[:12]]
    shown = widgets.CutAndGraft(model, ["layer2", "layer3"], images[:12], names)
    x = data.normalize(images[:12])
    with torch.no_grad():
        return {
            "update": milliseconds(lambda: shown.draw(cut="layer2", graft=TWO, classes=7, image=3)),
            "naive: cut it and run it": milliseconds(lambda: truncate(model, "layer2")(x), 5),
        }


def freeze_tree() -> dict[str, float]:
    """The naive recipe takes a step with all modules for each update, ten times to be sure of its time."""
    model, x = networks.resnet18(width=0.3125), torch.rand(8, 3, 64, 64)
    modules = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")
    shown = widgets.FreezeTree(model, modules, x)
    return {
        "update": milliseconds(lambda: shown.draw(**{name: name == "conv1" for name in modules}), 10),
        "naive: ten steps": milliseconds(lambda: [model(x).sum().backward() for _ in range(10)], 5),
        "limit: one step": milliseconds(lambda: model(x).sum().backward()),
    }


def resume_bench() -> dict[str, float]:
    """The naive recipe also trains once more what was not interrupted; what cannot be saved is to train it once."""
    shown = widgets.ResumeBench()
    ticks = dict.fromkeys(PARTS, True)

    def both() -> None:
        shown.draw(stop=7, **ticks)
        list(steps(new_training()))

    return {
        "update": milliseconds(lambda: shown.draw(stop=7, **ticks), 10),
        "naive: both trainings": milliseconds(both, 5),
        "limit: one training": milliseconds(lambda: list(steps(new_training())), 5),
    }


def upsampling_bench() -> dict[str, float]:
    """The naive recipe makes a layer, and a figure with matplotlib, for each update."""
    images, _ = data.cifar10_sample()
    shown = widgets.UpsamplingBench(images[0, :, ::2, ::2])
    kernel, pixels = bilinear_kernel(8), images[:1, :, ::2, ::2].float() / 255

    def rebuild() -> None:
        conv = torch.nn.ConvTranspose2d(3, 3, 8, stride=4, padding=2, bias=False)
        init_bilinear_(conv)
        figure, axes = plt.subplots(1, 4)
        for axis in axes:
            axis.imshow(conv(pixels)[0].permute(1, 2, 0).detach().clamp(0, 1))
        figure.savefig(io.BytesIO())
        plt.close(figure)

    return {
        "update": milliseconds(lambda: shown.draw(size=8, stride=4, padding=2, start="bilinear")),
        "naive: a figure of four": milliseconds(rebuild, 5),
        "limit: the transposed conv": milliseconds(lambda: shown.upsampled(kernel, 4, 2)),
    }


def two_files() -> dict[str, float]:
    """The naive recipe reads both files again for each update; what cannot be saved is to run the network once."""
    images, labels = data.cifar10_sample()
    images, labels = images[::5], labels[::5]

    def build() -> widgets.TwoFiles:
        checkpoint = torch.load(data.DATA / "wren.ckpt")
        network = load_matconvnet(data.DATA / "wren.mat")
        weights = checkpoint["nets"]["student"]["weights"]
        return widgets.TwoFiles(network, weights, checkpoint["classes"], images, labels)

    shown, model, inputs = build(), Wren().eval(), prepare(images, 64)
    with torch.no_grad():
        return {
            "update": milliseconds(lambda: shown.draw(NUMBERED, NUMBERED, UNIT, CIFAR10), 10),
            "naive: both files again": milliseconds(build, 5),
            "limit: the network": milliseconds(lambda: model(inputs), 10),
        }


def main() -> None:
    """Measure each interactive with the function that is called like its module."""
    for module, interactive in sorted(INTERACTIVES.items()):
        found = globals()[module]()
        reference = next(iter(found.values()))
        for what, taken in found.items():
            print(f"{interactive.name:20} {what:28} {taken:7.1f} ms   {taken / reference:5.2f} x the update")
        within = "within the budget" if reference < BUDGET_MS else "TOO SLOW"
        print(f"{interactive.name:20} {within} of {BUDGET_MS} ms")


if __name__ == "__main__":
    main()
