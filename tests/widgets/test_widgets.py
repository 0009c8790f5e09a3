"""What interactives draw, without a browser. `tests/browser` moves their controls in one."""

import ast
import base64
import html
import io
import itertools
import re
import threading
import time

import ipywidgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import wren_by_hand
from by_hand import grey, probabilities
from matplotlib.image import imread

from helpers.fcn import bilinear_kernel
from helpers.heads import MultiHead, truncate
from helpers.matconvnet import Layer, MatConvNetError, Network, load_matconvnet
from workbook import data, lessons, my_lessons, networks, plots, progress, widgets
from workbook.example_training import PARTS
from workbook.places import WORKBOOK
from workbook.widgets.interactive import INTERACTIVES, Interactive, beside, picture, table
from workbook.widgets.lesson_map import FORGET, REALLY, map_html
from workbook.widgets.network_explorer import ARRANGEMENTS, EXCHANGED, STORED, WANTED, layer_html, rearranged


def text(drawn: str) -> str:
    """What a reader sees of some HTML, cells and paragraphs on lines of their own."""
    lines = re.sub(r"<br>|</(p|th|td|div)>", "\n", drawn)
    return re.sub(r"\n+", "\n", html.unescape(re.sub(r"<[^>]+>", "", lines))).strip()


def pictures(drawn: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([^\"]+)", drawn)
    return [np.round(255 * imread(io.BytesIO(base64.b64decode(data)))).astype(np.uint8) for data in found]


class Squares(Interactive):
    name = "squares & more"

    def __init__(self) -> None:
        super().__init__(side=ipywidgets.IntSlider(3, 1, 9, description="Side"), unit=ipywidgets.Text("cm"))

    def draw(self, side: int, unit: str) -> str:
        if side == 9:
            raise ValueError("9 is <too> large")
        return f"{side**2} {unit}"


def test_every_interactive_is_found_and_measured() -> None:
    modules = {path.stem for path in (WORKBOOK / "workbook/widgets").glob("*.py")} - {"__init__", "interactive"}
    registered = {name: kind for name, kind in INTERACTIVES.items() if kind.__module__.startswith("workbook.")}
    assert set(registered) == modules
    assert all(getattr(widgets, kind.__name__) is kind for kind in registered.values())
    measured = ast.parse((WORKBOOK / "benchmarks/interactives.py").read_text()).body
    assert modules < {node.name for node in measured if isinstance(node, ast.FunctionDef)}


def test_a_view_follows_each_control() -> None:
    squares = Squares()
    assert text(squares.view.value) == "9 cm"
    squares.controls["side"].value = 4
    assert text(squares.view.value) == "16 cm"
    squares.controls["unit"].value = "m"
    assert text(squares.view.value) == "16 m"
    assert 'aria-label="squares &amp; more"' in squares.view.value


def test_an_error_is_shown_instead_of_an_old_view_and_goes_away() -> None:
    squares = Squares()
    squares.controls["side"].value = 9
    assert text(squares.view.value) == "ValueError: 9 is <too> large"
    squares.controls["side"].value = 2
    assert text(squares.view.value) == "4 cm"


def test_changes_that_come_at_once_are_drawn_one_after_the_other() -> None:
    class Slow(Squares):
        drawing = overlaps = 0

        def draw(self, side: int, unit: str) -> str:
            self.drawing += 1
            self.overlaps += self.drawing > 1
            time.sleep(0.05)
            self.drawing -= 1
            return f"{side}"

    slow = Slow()
    threads = [threading.Thread(target=setattr, args=(slow.controls["side"], "value", side)) for side in range(4, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slow.overlaps == 0
    assert text(slow.view.value) == str(slow.controls["side"].value)


def test_an_error_in_the_first_drawing_is_raised() -> None:
    class Broken(Squares):
        def draw(self, side: int, unit: str) -> str:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Broken()


def test_without_a_kernel_the_drawing_remains() -> None:
    bundle = Squares()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "<squares & more>"
    assert text(bundle["text/html"]).startswith("9 cm\n(Run this cell")


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_keeps_every_pixel(channels) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    pixels[..., 3:] = 255
    drawn = picture(pixels, 'a "quoted" <text>', zoom=3)
    assert 'width="21" height="15"' in drawn
    assert 'alt="a &quot;quoted&quot; &lt;text&gt;"' in drawn
    assert np.array_equal(pictures(drawn)[0][..., :3], pixels[..., :3])


def test_tables_and_parts_keep_their_order() -> None:
    assert text(table(("a", "b"), [("c", "d"), ("e", "f")])) == "a\nb\nc\nd\ne\nf"
    assert text(beside("left", "right")) == "left\nright"


def test_kernel_grid_puts_outputs_across_and_inputs_down() -> None:
    weight = torch.randn(5, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    grid = plots.kernel_grid(weight, limit=1.5, rows=3, columns=4, side=12)  # 4 pixels for each number
    assert grid.shape == (3 * 8 + 2 * 4, 4 * 12 + 3 * 4, 4)
    for across, down, row, column in np.ndindex(4, 3, 2, 3):
        shown = grid[
            down * 12 + row * 4 : down * 12 + row * 4 + 4, across * 16 + column * 4 : across * 16 + column * 4 + 4
        ]
        assert np.all(shown[..., :3] == grey(weight[across, down, row, column].item(), 1.5))
        assert np.all(shown[..., 3] == 255)
    assert np.all(grid[8:12, :, 3] == 0)
    assert np.all(grid[:, 12:16, 3] == 0)


def test_kernel_grid_shows_three_inputs_as_colours_in_one_row() -> None:
    weight = torch.randn(5, 3, 2, 4, generator=torch.Generator().manual_seed(1))
    grid = plots.kernel_grid(weight, limit=2.0, side=4)
    assert grid.shape == (2, 5 * 4 + 4 * 4, 4)
    for across, colour, row, column in np.ndindex(5, 3, 2, 4):
        assert grid[row, across * 8 + column, colour] == grey(weight[across, colour, row, column].item(), 2.0)


def test_kernel_grid_draws_large_kernels_pixel_by_pixel() -> None:
    assert plots.kernel_grid(torch.ones(2, 1, 30, 31), limit=1.0).shape == (30, 66, 4)


def test_rearranged_by_plain_loops() -> None:
    out, channels, height, width = 5, 4, 2, 3
    weight = torch.arange(120.0).reshape(out, channels, height, width)
    assert torch.equal(rearranged(weight, WANTED), weight)
    stored = np.empty((height, width, channels, out), np.float32)
    for o, c, h, w in np.ndindex(out, channels, height, width):
        stored[h, w, c, o] = weight[o, c, h, w]
        assert rearranged(weight, EXCHANGED)[o, c, w, h] == weight[o, c, h, w]
    assert np.array_equal(rearranged(weight, STORED).numpy(), stored.reshape(out, channels, height, width))


@pytest.fixture(scope="module")
def explorer() -> widgets.NetworkExplorer:
    images, labels = data.cifar10_sample()
    truth = [data.CIFAR10_CLASSES[label] for label in labels[:3]]
    return widgets.NetworkExplorer(load_matconvnet(data.vgg16_mat()), images[:3], truth)


@pytest.mark.parametrize(("image", "layer"), [(0, "conv2_2"), (1, "fc6"), (2, "conv1_1")])
@pytest.mark.parametrize("kernels", ARRANGEMENTS)
def test_probabilities_are_those_of_a_network_loaded_that_way(explorer, image, layer, kernels) -> None:
    found = explorer.probabilities(image, kernels, [layer])
    torch.testing.assert_close(found, probabilities(image, {layer: kernels}), rtol=1e-3, atol=1e-4)
    change = (probabilities(image, {layer: kernels}) - probabilities(image, {})).abs().max().item()
    assert explorer.change(image, kernels, [layer]) == pytest.approx(change, abs=1e-3)


def test_everywhere_means_every_layer_with_kernels(explorer) -> None:
    names = [layer.name for layer in explorer.net.layers]
    expected = probabilities(0, dict.fromkeys(names, EXCHANGED))
    torch.testing.assert_close(explorer.probabilities(0, EXCHANGED, names), expected, rtol=1e-3, atol=1e-4)
    guess = explorer.net.classes[expected.argmax()]
    drawn = text(explorer.draw(layer="relu3_1", image=0, kernels=EXCHANGED, everywhere=True))
    assert f"{EXCHANGED}\n{guess} {expected.max():.2f}\n" in drawn


def test_exploring_changes_neither_the_network_nor_its_module(explorer) -> None:
    before = {key: tensor.clone() for key, tensor in explorer.module.state_dict().items()}
    explorer.draw(layer="conv1_1", image=0, kernels=STORED, everywhere=True)
    assert all(torch.equal(tensor, before[key]) for key, tensor in explorer.module.state_dict().items())
    assert all(torch.equal(tensor, before[key]) for key, tensor in explorer.net.state_dict().items())


def test_the_drawing_names_options_shapes_and_scale(explorer) -> None:
    drawn = explorer.draw(layer="conv2_1", image=1, kernels=EXCHANGED, everywhere=False)
    said = text(drawn)
    for part in (
        "conv2_1\nconv\noptions\nstride 1, 1 (down, across); pad 1, 1, 1, 1 (top, bottom, left, right)",
        "bias in PyTorch\n(32,)",
        "weight in the file\n(3, 3, 16, 32) height, width, in, out",
        "weight in PyTorch\n(32, 16, 3, 3) out, in, height, width",
        "Kernels of 3x3, each mirrored at its diagonal.",
        "Across: outputs 1 to 16 of 32; down: inputs 1 to 8 of the 16 that each output reads.",
        "Black is -0.16 or less, mid-grey is 0, white is 0.16 or more.",
        "ship\nkernels of conv2_1 (chosen: bold)\nthe network says\nlargest change of any probability",
    ):
        assert part in said
    image, kernels = pictures(drawn)
    weight = explorer.net["conv2_1"].params["weight"]
    limit = float(np.quantile(weight[:16, :8].abs().numpy(), 0.98))
    assert kernels[28 + 8, 2 * 28, 0] == grey(weight[2, 1, 0, 1].item(), limit)  # row 1, column 0 once exchanged
    assert np.array_equal(image[..., :3], explorer.images[1].permute(1, 2, 0).numpy())


def test_the_chosen_arrangement_is_bold(explorer) -> None:
    for kernels in ARRANGEMENTS:
        drawn = explorer.draw(layer="fc6", image=0, kernels=kernels, everywhere=False)
        assert re.findall(r"<b>([^<]+)</b>", drawn)[0] == kernels


@pytest.mark.parametrize("layer", ["relu1_1", "pool1", "prob"])
def test_layers_without_kernels_say_so_and_change_nothing(explorer, layer) -> None:
    drawn = explorer.draw(layer=layer, image=0, kernels=STORED, everywhere=False)
    assert "without kernels" in text(drawn)
    assert EXCHANGED not in text(drawn)
    assert len(pictures(drawn)) == 1
    assert explorer.change(0, STORED, [layer]) == 0


def network(kernel: torch.Tensor, normalization: dict) -> Network:
    conv = {"stride": (1, 1), "pad": (0, 0, 0, 0), "dilate": (1, 1)}
    return Network([Layer("only", "conv", {"weight": kernel}, conv)], normalization=normalization)


def test_kernels_that_no_longer_fit_are_reported() -> None:
    net = network(torch.randn(4, 1, 2, 3), {"averageImage": np.zeros((1, 1)), "imageSize": (2, 3)})
    small = widgets.NetworkExplorer(net, torch.randint(0, 256, (1, 1, 9, 7), dtype=torch.uint8), ["thing"])
    assert small.probabilities(0, EXCHANGED, ["only"]) is None
    said = text(small.draw(layer="only", image=0, kernels=EXCHANGED, everywhere=False))
    assert f"{EXCHANGED}\nnot run: another shape\nnan" in said
    assert "Kernels of 3x2" in said
    probability, i = small.probabilities(0, WANTED, ["only"]).max(0)
    assert f"{WANTED}\nclass {i} {probability:.2f}\n" in said


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    images = torch.randint(0, 256, (1, 1, 2, 3), dtype=torch.uint8)
    kernel, normalization = torch.randn(4, 1, 2, 3) / 255, {"averageImage": np.zeros((1, 1)), "imageSize": (2, 3)}
    net = network(kernel, normalization)
    expected = F.conv2d(images.float(), kernel).flatten().softmax(0)
    for after in ([], ["softmax"], ["softmaxloss"], ["softmax", "loss"], ["softmax", "dropout"]):
        layers = [*net.layers, *(Layer(kind, kind) for kind in after)]
        shown = widgets.NetworkExplorer(Network(layers, ["a", "b"], normalization), images, ["thing"])
        torch.testing.assert_close(shown.probabilities(0, WANTED, []), expected)
        assert "a 0." in shown.view.value or "b 0." in shown.view.value or "class " in shown.view.value


def test_a_network_that_cannot_be_shown_is_refused_at_once() -> None:
    images = torch.zeros(1, 1, 2, 3, dtype=torch.uint8)
    with pytest.raises(MatConvNetError, match="averageImage"):
        widgets.NetworkExplorer(network(torch.ones(4, 1, 2, 3), {}), images, ["thing"])
    with pytest.raises(MatConvNetError, match="cannot build 'strange'"):
        widgets.NetworkExplorer(Network([Layer("strange", "unheard of")]), images, ["thing"])
    net = network(torch.ones(4, 1, 2, 3), {"averageImage": np.zeros((1, 1)), "imageSize": (5, 7)})
    with pytest.raises(ValueError, match="makes 4x5 predictions"):
        widgets.NetworkExplorer(net, images, ["thing"])


@pytest.mark.parametrize(
    ("images", "names"),
    [(torch.zeros(1, 3, 4, 5), 1), (torch.zeros(1, 2, 4, 5).byte(), 1), (torch.zeros(2, 3, 4, 5).byte(), 1)],
)
def test_images_that_cannot_be_shown_are_refused_at_once(images, names) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 images \(N, 1 or 3, H, W\) and N names, got"):
        widgets.NetworkExplorer(network(torch.ones(4, 3, 2, 3), {}), images, ["thing"] * names)


def test_names_are_escaped() -> None:
    conv = Layer("a", "<conv>", {"<b>": torch.ones(2)}, {"<k>": "<v>"})
    assert "<conv>" not in layer_html(conv, WANTED)
    assert "&lt;b&gt;" in layer_html(conv, WANTED)
    assert "&lt;k&gt; &lt;v&gt;" in layer_html(conv, WANTED)


HOURS = round(sum(lesson.minutes for lesson in lessons.LESSONS) / 60)
EXERCISES = sum(len(lesson.exercises) for lesson in lessons.LESSONS)


def test_the_map_lists_all_lessons_with_what_is_passed() -> None:
    said = text(map_html("", {"1.2", "1.4", "0.7"}))
    for lesson in lessons.LESSONS:
        question = lesson.question.replace("`", "")
        assert f"{lesson.number} {lesson.title}\n{question}\n{lesson.minutes}\n" in said
    assert "\n\u25cb\xa00.1\n" in said
    assert "\u25cb\xa01.1 \u2713\xa01.2 \u25cb\xa01.3 \u2713\xa01.4" in said
    assert f"2 of {EXERCISES} exercises passed; about {HOURS} hours of lessons left." in said


def test_the_map_shows_the_way_to_a_lesson_and_what_is_left_of_it() -> None:
    assert "Load a MatConvNet" not in map_html("00", set())
    assert "1 of 1 exercises passed; 0 minutes of lessons left" in map_html("00", {"0.1"})
    assert "1 of 5 exercises passed; 70 minutes of lessons left" in map_html("01", {"0.1"})


def test_bars_are_as_long_as_the_share_that_is_passed() -> None:
    assert re.findall(r"width: (\d+%); height", map_html("", {"1.2", "1.4", "1.1"}))[:2] == ["0%", "75%"]


def test_the_map_looks_again_and_asks_before_it_forgets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WORKBOOK_PROGRESS", str(tmp_path))
    lesson_map = widgets.LessonMap()
    look, _again, forget = lesson_map.bar.children[1:]
    progress.record("0.1")
    assert f"0 of {EXERCISES}" in lesson_map.view.value
    look.click()
    assert f"1 of {EXERCISES}" in lesson_map.view.value
    forget.click()
    assert (forget.description, progress.passed()) == (REALLY, {"0.1"})
    look.click()
    assert forget.description == FORGET
    forget.click()
    forget.click()
    assert (forget.description, progress.passed()) == (FORGET, frozenset())
    assert f"0 of {EXERCISES}" in lesson_map.view.value


def test_the_map_is_a_tree_of_what_builds_on_what() -> None:
    indents = re.findall(r"padding-left: ([\d.]+)em.*?>(\d\d) ", map_html("", set()))
    depths = {number: float(indent) / 1.2 for indent, number in indents}
    assert depths == {lesson.number: pytest.approx(lessons.depth(lesson)) for lesson in lessons.LESSONS}
    for lesson in lessons.LESSONS:
        assert all(depths[need] < depths[lesson.number] for need in lesson.needs)
    assert (depths["00"], depths["02"], depths["03"]) == pytest.approx((0, 1, 2))


def test_the_map_gives_a_lesson_back_and_keeps_the_learners(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(my_lessons, "folder", lambda: tmp_path)
    lesson_map = widgets.LessonMap()
    again = lesson_map.bar.children[2]
    again.click()
    assert "Choose the lesson first." in lesson_map.said.value
    lesson_map.controls["goal"].value = "02"
    again.click()
    name = lessons.LESSONS[2].notebook
    assert f"{name} is as it was." in lesson_map.said.value
    as_it_was = (tmp_path / name).read_text()
    (tmp_path / name).write_text("mine")
    again.click()
    assert (tmp_path / name).read_text() == as_it_was
    kept = tmp_path / name.replace(".ipynb", "_before.ipynb")
    assert kept.read_text() == "mine"
    assert kept.name in text(lesson_map.view.value)
    monkeypatch.setattr(my_lessons, "folder", lambda: kept)  # no folder
    again.click()
    assert "FileExistsError" in lesson_map.view.value


def test_what_is_read_out_after_a_change_is_one_sentence() -> None:
    lesson_map = widgets.LessonMap()
    assert lesson_map.said.value == ""  # nothing has changed yet
    lesson_map.controls["goal"].value = "02"
    assert re.fullmatch(r"0 of \d+ exercises passed; .* of lessons left\.", lesson_map.said.value)


def test_what_cannot_be_forgotten_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WORKBOOK_PROGRESS", str(tmp_path))
    progress.record("0.1")
    lesson_map = widgets.LessonMap()

    def refuse() -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(progress, "reset", refuse)
    for _ in range(2):
        lesson_map.bar.children[3].click()
    assert text(lesson_map.view.value) == "PermissionError: read-only"


def test_on_the_way_finds_what_lessons_build_on(monkeypatch) -> None:
    made_up = [("00", ()), ("01", ("00",)), ("02", ("00",)), ("03", ()), ("04", ("02", "01"))]
    found = tuple(lessons.Lesson(number, "", "", "", 1, needs) for number, needs in made_up)
    monkeypatch.setattr(lessons, "LESSONS", found)
    assert [lesson.number for lesson in lessons.on_the_way("04")] == ["00", "01", "02", "04"]
    assert [lesson.number for lesson in lessons.on_the_way("03")] == ["03"]
    with pytest.raises(KeyError):
        lessons.on_the_way("05")


def small_checkpoint() -> dict[str, torch.Tensor]:
    shapes = {"module.conv.weight": (4, 3, 2, 5), "module.conv.bias": (4,), "module.fc.weight": (9, 6), "epoch": ()}
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, (2, 5)), torch.nn.Linear(6, 7, bias=False)


def matched(rules: list[tuple[str, str]]) -> dict[str, int]:
    """What becomes of how many keys, by plain loops."""
    mine = {}
    for key, tensor in small_checkpoint().items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        mine[key] = tuple(tensor.shape)
    yours = {key: tuple(tensor.shape) for key, tensor in Small().state_dict().items()}
    return {
        "loaded": sum(mine.get(key) == shape for key, shape in yours.items()),
        "mismatched": sum(key in mine and mine[key] != shape for key, shape in yours.items()),
        "missing": sum(key not in mine for key in yours),
        "unexpected": sum(key not in yours for key in mine),
    }


RULES = {"strip module.": (r"^module\.", ""), "fc is called head": (r"\bfc\b", "head")}


def test_the_key_matcher_follows_the_rules_that_are_ticked() -> None:
    matcher = widgets.KeyMatcher(Small(), small_checkpoint(), RULES)
    for ticks in np.ndindex(2, 2):
        for i, ticked in enumerate(ticks):
            matcher.controls[f"rule_{i}"].value = bool(ticked)
        counts = matched([rule for rule, ticked in zip(RULES.values(), ticks, strict=True) if ticked])
        assert ", ".join(f"{count} {kind}" for kind, count in counts.items()) in text(matcher.view.value)
    said = text(matcher.view.value)
    assert "2 loaded, 1 mismatched, 0 missing, 1 unexpected; 74.7% of the numbers." in said
    assert "module.fc.weight\nhead.weight\n\u2260 mismatched: (9, 6) in the checkpoint, (7, 6) in the model" in said
    assert "module.conv.bias\nconv.bias\n\u2713 loaded" in said
    assert "epoch\n\u2717 unexpected" in said
    assert "width: 75%" in matcher.view.value


def test_the_key_matcher_hides_what_is_loaded_and_says_what_is_renamed_in_vain() -> None:
    matcher = widgets.KeyMatcher(Small(), small_checkpoint(), RULES)
    matcher.controls["rule_1"].value = True
    assert "module.fc.weight\n\u2717 unexpected: renamed to module.head.weight" in text(matcher.view.value)
    assert "conv.bias\n? missing" in text(matcher.view.value)
    matcher.controls["rule_0"].value = matcher.controls["hide_loaded"].value = True
    assert "2 loaded" in text(matcher.view.value)
    assert "conv.bias" not in text(matcher.view.value)


def test_the_key_matcher_shows_why_rules_clash_and_changes_neither_side() -> None:
    model, checkpoint = Small(), small_checkpoint()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    matcher = widgets.KeyMatcher(model, checkpoint, {"one name for all": ("weight|bias", "x")})
    matcher.controls["rule_0"].value = True
    said = text(matcher.view.value)
    assert (
        said == "StateDictError: rename: 'module.conv.weight' and 'module.conv.bias' would both become 'module.conv.x'"
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert checkpoint.keys() == small_checkpoint().keys()


def test_student_and_teacher_are_one_network_but_for_noise() -> None:
    torch.manual_seed(0)
    right = {"features.0.weight": torch.randn(4, 3, 2, 5), "classifier.6.bias": torch.randn(70)}
    two = widgets.make_student_and_teacher(right)
    assert list(two) == [
        "student.module.backbone.0.weight",
        "teacher.backbone.0.weight",
        "student.module.head.6.bias",
        "teacher.head.6.bias",
    ]
    assert two["teacher.backbone.0.weight"] is right["features.0.weight"]
    noise = two["student.module.head.6.bias"] - right["classifier.6.bias"]
    assert 0.3 < noise.std() / right["classifier.6.bias"].std() < 0.7


def clinic() -> widgets.CheckpointClinic:
    model = Small()
    plain = model.state_dict()
    nested = {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in plain.items()}}
    return widgets.CheckpointClinic(model, {"plain": plain, "<nested>": nested})


def test_the_clinic_shows_keys_first_and_the_diagnosis_when_asked() -> None:
    shown = clinic()
    assert text(shown.view.value).endswith("conv.weight (4, 3, 2, 5)\nconv.bias (4,)\nhead.weight (7, 6)")
    shown.controls["checkpoint"].value = "<nested>"
    said = text(shown.view.value)
    assert (
        "epoch = 3\nstate_dict:\n\u2003module.conv.weight (4, 3, 2, 5)\n\u2003module.conv.bias (4,)\n\u2003module.head"
        in said
    )
    assert "prefix" not in said
    assert "in front" not in said
    shown.controls["diagnosis"].value = True
    said = text(shown.view.value)
    assert "\n\u2717 epoch = 3\n\u2717 state_dict:\n\u2717 \u2003module.conv.weight (4, 3, 2, 5)\n" in said
    assert "\n\u2717 conv.weight (4, 3, 2, 5)\n\u2717 conv.bias (4,)\n\u2717 head.weight (7, 6)\n" in said
    assert "The tensors lie one level deeper, under 'state_dict'." in said
    assert "The names in the checkpoint have 'module.' in front." in said
    drawn = []
    shown.view.observe(lambda change: drawn.append(change["new"]), names="value")
    shown.controls["checkpoint"].value = "plain"
    assert len(drawn) == 1  # the diagnosis of the next one never shows by itself
    assert not shown.controls["diagnosis"].value
    assert "It loads" not in text(shown.view.value)


def test_the_clinic_marks_what_has_no_partner_of_its_name_and_shape() -> None:
    model = Small()
    checkpoint = model.state_dict() | {"head.weight": torch.zeros(6, 7), "<extra>": torch.zeros(2)}
    drawn = widgets.CheckpointClinic(model, {"a": checkpoint}).draw(checkpoint="a", diagnosis=True)
    marked = ["\u2717 head.weight (6, 7)", "\u2717 &lt;extra&gt; (2,)", "\u2717 head.weight (7, 6)"]
    assert re.findall("<b>(.*?)</b>", drawn) == marked
    assert "<b>" not in widgets.CheckpointClinic(model, {"a": checkpoint}).view.value


def test_the_lines_of_the_clinic_load_the_checkpoint() -> None:
    shown = clinic()
    source = {key: torch.randn_like(tensor) for key, tensor in shown.model.state_dict().items()}
    shown.checkpoints["<nested>"]["state_dict"] = {f"module.{key}": tensor for key, tensor in source.items()}
    drawn = shown.draw(checkpoint="<nested>", diagnosis=True)
    (lines,) = re.findall(r"<pre>(.*?)</pre>", drawn, flags=re.S)
    namespace = {"model": shown.model, "state_dict": shown.checkpoints["<nested>"]}
    exec("from helpers.state_dict import *\n" + html.unescape(lines), namespace)
    assert all(torch.equal(tensor, source[key]) for key, tensor in shown.model.state_dict().items())


class Thin(torch.nn.Module):
    """Its first conv is neither defined first nor called conv1."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.stem = torch.nn.Linear(4, 5), torch.nn.Conv2d(3, 4, (2, 3), padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).relu().mean((2, 3)))


CLASSES = ["a", "<b>", "c", "d", "e"]


def surgery() -> widgets.ChannelSurgery:
    images = torch.randint(0, 256, (6, 3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return widgets.ChannelSurgery(Thin(), images, [*CLASSES, "a"], CLASSES, size=8)


def seen(shown: widgets.ChannelSurgery, channels: int, show: str) -> torch.Tensor:
    """What the channels show, a channel at a time."""
    pixels = shown.images.float() / 255
    grey_pixels = 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]
    found = []
    for i in range(channels):
        colour = i < 3 and show != "grey in each"
        plane, mean, std = (
            (pixels[:, i], (0.485, 0.456, 0.406)[i], (0.229, 0.224, 0.225)[i])
            if colour
            else (grey_pixels, 0.449, 0.226)
        )
        resized = F.interpolate(plane[:, None], (8, 8), mode="bilinear")
        found.append((resized - mean) / std)
    return torch.cat(found, 1)


@pytest.mark.parametrize("rule", ["sum", "mean", "tile", "zeros", "mean_extra"])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("show", ["grey in each", "red, green, blue, then grey"])
def test_channel_surgery_shows_what_a_network_built_that_way_does(rule, channels, show) -> None:
    shown = surgery()
    if channels < 3 and rule in ("zeros", "mean_extra"):
        with pytest.raises(ValueError, match="use 'sum'"):
            shown.draw(rule=rule, channels=channels, show=show, image=0)
        return
    old, stem = shown.model.stem.weight.detach(), torch.nn.Conv2d(channels, 4, (2, 3), padding=1)
    extra = {"zeros": torch.zeros_like(old[:, :1]), "mean_extra": old.mean(1, keepdim=True)}
    if rule in extra:
        weight = torch.cat([old, extra[rule], extra[rule]], 1)
    else:
        weight = {
            "sum": old.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels,
            "mean": old.mean(1, keepdim=True).expand(-1, channels, -1, -1),
            "tile": torch.stack([old[:, i % 3] for i in range(channels)], 1) * 3 / channels,
        }[rule]
    stem.weight.data, stem.bias = weight.contiguous(), shown.model.stem.bias
    model = Thin()
    with torch.no_grad():
        before, responses = model(seen(shown, 3, show)).softmax(1), F.conv2d(seen(shown, 3, show), old, padding=1)
        model.stem = stem
        after, new = (
            model(seen(shown, channels, show)).softmax(1),
            F.conv2d(seen(shown, channels, show), weight, padding=1),
        )
    said = text(shown.draw(rule=rule, channels=channels, show=show, image=4))
    right = [
        sum(CLASSES[i] == truth for i, truth in zip(p.argmax(1), shown.truth, strict=True)) for p in (before, after)
    ]
    guess, name = CLASSES[after[4].argmax()], f"{rule}, {channels} channel{'s' if channels > 1 else ''}"
    assert f"RGB\n{CLASSES[before[4].argmax()]} {before[4].max():.2f}\n{right[0]}\n" in said
    assert f"{name}\n{guess} {after[4].max():.2f}\n{right[1]}\n{(after - before)[4].abs().max():.3f}\n" in said
    ratio = f"{responses.std():.3f} and {new.std():.3f}, that is {new.std() / responses.std():.2f} times."
    assert ratio in said


def test_channel_surgery_shows_noise_that_is_the_same_each_time_and_changes_nothing() -> None:
    shown = surgery()
    before = {key: tensor.clone() for key, tensor in shown.model.state_dict().items()}
    noise = shown.inputs(5, "red, green, blue, then noise")
    torch.testing.assert_close(noise[:, :3], seen(shown, 3, ""))
    assert torch.equal(noise, shown.inputs(5, "red, green, blue, then noise"))
    assert 0.9 < noise[:, 3:].std() < 1.1
    said = text(shown.draw(rule="zeros", channels=5, show="red, green, blue, then noise", image=1))
    assert "0.000\n" in said
    assert "that is 1.00 times" in said
    assert all(torch.equal(tensor, before[key]) for key, tensor in shown.model.state_dict().items())


def test_channel_surgery_draws_responses_and_kernels() -> None:
    shown = surgery()
    _, histogram, _, kernels = pictures(shown.draw(rule="zeros", channels=4, show="grey in each", image=2))
    assert histogram.shape[:2] == (122, 404)
    weight = shown.model.stem.weight.detach()
    limit = torch.quantile(weight.abs(), 0.98).item()
    assert kernels.shape[:2] == (4 * 16 + 3 * 4, 4 * 24 + 3 * 4)  # 8 pixels for each number
    assert abs(int(kernels[20 + 8, 2 * 28 + 16, 0]) - grey(weight[2, 1, 1, 2].item(), limit)) <= 1
    assert np.all(kernels[3 * 20 :, :24, 0] == 128)  # the new channel is silent


def test_channel_surgery_refuses_what_it_cannot_show() -> None:
    images = torch.zeros(2, 3, 7, 9, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2 images and 1 names"):
        widgets.ChannelSurgery(Thin(), images, ["a"], CLASSES)
    with pytest.raises(ValueError, match="no conv meets the input"):
        widgets.ChannelSurgery(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5)), images, "ab", CLASSES, 8
        )


def test_mirrored_histograms_by_plain_loops() -> None:
    above, below = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.tensor([-1.9, 0.1, 0.1, 5.0])
    drawn = plots.mirrored_histograms(above, below, limit=2.0, bins=8, side=3, height=20)
    assert drawn.shape == (42, 24, 4)
    counts = np.zeros((2, 8))
    for row, values in enumerate((above, below)):
        for value in values.tolist():
            if abs(value) < 2:
                counts[row, int((value + 2) // 0.5)] += 1 / len(values)
    heights = np.round(20 * counts / counts.max()).astype(int)
    for column in range(24):
        assert (drawn[:20, column, 3] > 0).sum() == heights[0, column // 3]
        assert (drawn[22:, column, 3] > 0).sum() == heights[1, column // 3]
        assert np.all(drawn[20 - heights[0, column // 3] : 22 + heights[1, column // 3], column, 3] == 255)


GRAFTS = {0: "a new Linear", 1: "the rest, with a new head", 2: "the rest, with a new head, for each of two tasks"}


def counted(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("tasks", GRAFTS)
@pytest.mark.parametrize("cut", ["layer1", "layer4"])
def test_cut_and_graft_counts_what_a_network_built_that_way_has(cut, tasks) -> None:
    torch.manual_seed(0)
    model = networks.resnet18(width=0.125)
    images = torch.randint(0, 256, (2, 3, 7, 9), dtype=torch.uint8)
    shown = widgets.CutAndGraft(model, ["layer1", "layer4"], images, ["a", "<b>"], grid=3)
    said = text(shown.draw(cut=cut, graft=GRAFTS[tasks], classes=6, image=1))
    if tasks:
        built = MultiHead(model, cut, {f"t{i}": 6 for i in range(tasks)})
        kept = counted(built) - tasks * (64 + 1) * 6
    else:
        trunk = truncate(model, cut)
        out = trunk.eval()(torch.zeros(1, 3, 64, 64))
        pooled = out.shape[1] * min(3, out.shape[2]) ** 2
        built = torch.nn.ModuleList([trunk, torch.nn.Linear(pooled, 6)])
        kept = counted(trunk)
        assert f"up to {cut}\n{out.shape[1]} x {out.shape[2]} x {out.shape[3]}\n{kept:,}\npretrained" in said
        assert f"a new head for 6 classes, of {pooled} numbers\n6\n{(pooled + 1) * 6:,}\nrandom" in said
    assert f"{kept / counted(built):.1%} of the new network's {counted(built):,} parameters are pretrained." in said
    assert said.count("pretrained, a copy of its own") == (tasks if cut == "layer1" else 0)
    assert said.startswith("<b>\n")


def test_cut_and_graft_leaves_the_model_alone_and_refuses_what_it_cannot_show() -> None:
    model = networks.resnet18(width=0.125)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    images = torch.zeros(2, 3, 7, 9, dtype=torch.uint8)
    widgets.CutAndGraft(model, ["layer2"], images, "ab")
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with pytest.raises(ValueError, match="2 images and 1 names"):
        widgets.CutAndGraft(model, ["layer2"], images, "a")
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        widgets.CutAndGraft(model, ["layer9"], images, "ab")


MODULES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")


def tree() -> tuple[widgets.FreezeTree, torch.nn.Module]:
    torch.manual_seed(0)
    model = networks.resnet18(7, width=0.125).eval()
    return widgets.FreezeTree(model, MODULES, torch.rand(3, 3, 32, 64)), model


def ticked(*names: str) -> dict[str, bool]:
    return {name: name in names for name in MODULES}


def convs_by_hand(model: torch.nn.Module, height: int, width: int) -> list[tuple[str, int]]:
    """The module and the multiplications of each conv and Linear of a ResNet-18 for one image, in their order."""
    found = []
    for name, layer in model.named_modules():
        module = name.split(".")[0]
        if isinstance(layer, torch.nn.Conv2d):
            halvings = {"conv1": 1, "layer1": 2, "layer2": 3, "layer3": 4, "layer4": 5}[module]
            found.append((module, layer.weight.numel() * (height >> halvings) * (width >> halvings)))
        elif isinstance(layer, torch.nn.Linear):
            found.append((module, layer.weight.numel()))
    return found


@pytest.mark.parametrize(
    "frozen",
    [(), MODULES[:6], MODULES[1:], MODULES[:4], ("layer4",), ("layer1", "layer3", "fc"), ("fc",), ("bn1",), ("conv1",)],
)
def test_freeze_tree_counts_what_backward_does(frozen) -> None:
    shown, model = tree()
    work, all_work, trained_before = 0, 0, False
    for number, (module, multiplications) in enumerate(convs_by_hand(model, 32, 64)):
        work += multiplications * (1 + (module not in frozen) + trained_before)
        all_work += multiplications * (3 - (number == 0))
        after_conv1 = number == 0 and "bn1" not in frozen
        trained_before = trained_before or module not in frozen or after_conv1
    reached = [name for place, name in enumerate(MODULES) if not set(MODULES[:place]) <= set(frozen)]
    said = text(shown.draw(**ticked(*frozen)))
    sizes = {name: counted(model.get_submodule(name)) for name in MODULES}
    total = sum(sizes.values())
    assert total == counted(model)
    assert f"{total - sum(sizes[name] for name in frozen):,} of {total:,} parameters are trained." in said
    share = f"{work / all_work:.0%}"
    assert f"A step needs {share} of the operations of training all (counted by PyTorch: {share})" in said
    for name in MODULES:
        way = "only passed through" if name in reached else "not reached"
        if name not in frozen:
            way = "for its weights and on to what is before" if name in reached else "for its weights"
        assert f"{name}\n{sizes[name]:,}\n{'frozen' if name in frozen else 'trained'}\n{way}\n" in said


def test_freeze_tree_knows_the_way_through_modules_without_a_conv() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.LayerNorm(5), torch.nn.Dropout(), torch.nn.Linear(5, 3))
    shown = widgets.FreezeTree(model, ("0", "1", "2", "3"), torch.rand(2, 4))
    state = torch.get_rng_state()
    said = text(shown.draw(**{"0": False, "1": True, "2": True, "3": True}))
    assert torch.equal(torch.get_rng_state(), state)
    assert "1\n10\nfrozen\nonly passed through\n" in said
    assert "2\n0\nfrozen\nonly passed through\n" in said
    said = text(shown.draw(**{"0": True, "1": True, "2": True, "3": False}))
    assert "1\n10\nfrozen\nnot reached\n" in said


def test_freeze_tree_leaves_the_model_alone_and_says_so_if_all_is_frozen() -> None:
    shown, model = tree()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert "All is frozen" in shown.draw(**ticked(*MODULES))
    shown.draw(**ticked("layer1"))
    shown.measure()
    assert "ms for a step" in shown.view.value
    assert "% of the" in shown.view.value
    assert not model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    for name in MODULES:
        shown.controls[name].value = True
    shown.measure()
    assert "All is frozen" in shown.view.value


def test_resume_bench_draws_both_trainings_and_leaves_random_states_alone() -> None:
    torch.manual_seed(3)
    shown = widgets.ResumeBench()
    state = torch.get_rng_state()
    ticks = dict.fromkeys(PARTS, True)
    equal = shown.draw(stop=4, **ticks)
    assert "Interrupted after step 4, in epoch 1 of 3. Forgotten: nothing. All losses are equal" in text(equal)
    assert 'alt="losses of 15 steps in grey, and those after step 4 in blue, resumed: equal"' in equal
    other = shown.draw(stop=4, **ticks | {"torch": False, "python": False})
    assert "Forgotten: torch, python. The first other loss is that of step 5." in text(other)
    assert "resumed: apart from step 5 on" in other
    assert torch.equal(torch.get_rng_state(), state)
    (chart,) = pictures(equal)
    height = round((140 - 5) * (1 - shown.losses[5] / max(*shown.losses, 3.0)))
    assert tuple(chart[height, 6 * 30][:3]) == (30, 110, 200)  # the loss of step 6, in the resumed training
    assert tuple(chart[height - 3, 6 * 30][:3]) == (150, 150, 150)
    height = round((140 - 5) * (1 - shown.losses[1] / max(*shown.losses, 3.0)))
    assert tuple(chart[height, 2 * 30][:3]) == (150, 150, 150)
    assert tuple(chart[0, 4 * 30 + 15][:3]) == (220, 60, 60)


def bench() -> tuple[widgets.UpsamplingBench, torch.Tensor]:
    image = torch.randint(0, 256, (3, 13, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return widgets.UpsamplingBench(image), image


def laid_down(image: torch.Tensor, kernel: torch.Tensor, stride: int, padding: int) -> np.ndarray:
    """A transposed conv as its definition has it: the kernel laid down at each pixel, times that pixel."""
    size, (channels, height, width) = len(kernel), image.shape
    out = np.zeros((channels, (height - 1) * stride + size, (width - 1) * stride + size))
    for c, y, x in np.ndindex(*image.shape):
        out[c, y * stride : y * stride + size, x * stride : x * stride + size] += float(image[c, y, x]) * kernel.numpy()
    return out[:, padding : out.shape[1] - padding, padding : out.shape[2] - padding] / 255


@pytest.mark.parametrize("start", ["bilinear", "PyTorch's own", "equal numbers", "zeros"])
@pytest.mark.parametrize(("size", "stride", "padding"), [(8, 4, 2), (5, 3, 1), (4, 2, 1), (3, 1, 1)])
def test_upsampling_bench_compares_with_interpolation(size, stride, padding, start) -> None:
    shown, image = bench()
    torch.manual_seed(0)
    kernels = {
        "bilinear": bilinear_kernel(size),
        "PyTorch's own": torch.nn.ConvTranspose2d(1, 1, size).weight.detach()[0, 0],
        "equal numbers": torch.ones(size, size) * (stride / size) ** 2,
        "zeros": torch.zeros(size, size),
    }
    expected = laid_down(image, kernels[start], stride, padding)
    right = F.interpolate(image[None].double() / 255, scale_factor=stride, mode="bilinear")[0].numpy()
    difference = np.abs(expected - right)
    middle = difference[:, stride:-stride, stride:-stride].max()
    difference[:, stride:-stride, stride:-stride] = 0
    html = shown.draw(size=size, stride=stride, padding=padding, start=start)
    said = text(html)
    assert f"13 x 17 pixels become {13 * stride} x {17 * stride}. Away from the border it " in said
    interpolates = start == "bilinear" and size != 3
    assert ("it is interpolation;" in said) == interpolates
    assert interpolates or f"differs from interpolation by up to {middle:.3f};" in said
    assert f"at the border it differs by up to {difference.max():.3f} (" in said
    one, spread = torch.zeros(1, 5, 5), 4 * stride + size
    one[0, 2, 2] = 255
    drawn_numbers = {
        f"the kernel: {size} x {size}": kernels[start].numpy(),
        f"one point, upsampled: {spread} x {spread}": laid_down(one, kernels[start], stride, 0),
        f"the image, upsampled: {13 * stride} x {17 * stride}": expected,
        f"difference to bilinear interpolation: {13 * stride} x {17 * stride}": np.abs(expected - right),
    }
    assert re.findall('alt="([^"]*)"', html) == [
        f"{what} numbers from {numbers.min():.3f} to {numbers.max():.3f}" for what, numbers in drawn_numbers.items()
    ]
    _, _, larger, apart = pictures(html)
    for drawn, pixels in ((larger, expected), (apart, np.abs(expected - right))):
        wanted = np.round(255 * np.clip(pixels, 0, 1)).transpose(1, 2, 0)
        assert np.abs(drawn[..., :3].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("size", "stride", "padding", "becomes", "advice"),
    [
        (8, 4, 0, "56 x 72", "A padding of 2 gives that size."),
        (8, 4, 6, "44 x 60", "A padding of 2 gives that size."),
        (7, 4, 2, "51 x 67", "With this kernel size no padding gives that."),
        (1, 4, 0, "49 x 65", "With this kernel size no padding gives that."),
        (2, 4, 0, "50 x 66", "With this kernel size no padding gives that."),
    ],
)
def test_upsampling_bench_says_which_padding_gives_the_size(size, stride, padding, becomes, advice) -> None:
    shown, _ = bench()
    html = shown.draw(size=size, stride=stride, padding=padding, start="bilinear")
    assert f"13 x 17 pixels become {becomes}; interpolation gives 52 x 68. {advice}" in text(html)
    assert len(pictures(html)) == 3


def test_upsampling_bench_draws_kernel_and_point() -> None:
    shown, _ = bench()
    kernel, point, *_ = pictures(shown.draw(size=5, stride=3, padding=1, start="bilinear"))
    limit = 1.2 * bilinear_kernel(5).max().item()
    enlarged = 160 // 5
    for y, x in ((0, 0), (2, 2), (1, 4)):
        pixel = int(kernel[y * enlarged + 1, x * enlarged + 1, 0])
        assert abs(pixel - grey(bilinear_kernel(5)[y, x].item(), limit)) <= 1
    side = len(point) // 17  # 5 points, 3 apart, and the kernel's reach
    assert abs(int(point[8 * side + 1, 8 * side + 1, 0]) - grey(bilinear_kernel(5)[2, 2].item(), limit)) <= 1
    assert set(np.unique(point[: 6 * side, :, 0])) == {128}


def test_upsampling_bench_draws_the_same_each_time_and_leaves_random_numbers_alone() -> None:
    shown, _ = bench()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    options = {"size": 6, "stride": 2, "padding": 2, "start": "PyTorch's own"}
    first = shown.draw(**options)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert shown.draw(**options) == first
    for control, value in {"size": 8, "stride": 3, "padding": 1, "start": "zeros"}.items():
        assert pictures_differ(first, shown.draw(**(options | {control: value})))


def pictures_differ(one: str, other: str) -> bool:
    pairs = list(itertools.zip_longest(pictures(one), pictures(other)))
    return any(a is None or b is None or a.shape != b.shape or (a != b).any() for a, b in pairs)


def drawn_in_every_state(shown: Interactive) -> list[str]:
    """What an interactive shows as it opens, and after each single change of one of its controls."""
    drawn = [shown.view.value]
    for control in shown.controls.values():
        opens = control.value
        if isinstance(control, ipywidgets.IntSlider):
            values = [control.min, (control.min + control.max) // 2, control.max]
        elif isinstance(control, ipywidgets.Checkbox):
            values = [not opens]
        else:
            values = [value for _, value in control._options_full]
        for control.value in values:
            drawn.append(shown.view.value)
        control.value = opens
    return drawn


@pytest.fixture
def grafts() -> widgets.CutAndGraft:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 7, 9), dtype=torch.uint8)
    return widgets.CutAndGraft(networks.resnet18(width=0.125), ["layer1", "layer4"], images, ["a", "b"])


def test_two_pictures_have_two_alternative_texts(explorer, grafts) -> None:
    images = {}
    for shown in (explorer, surgery(), grafts, bench()[0]):
        seen: dict[str, str] = {}
        for html_ in drawn_in_every_state(shown):
            for alt, pixels in re.findall(r'<img alt="([^"]*)"[^>]*base64,([^"]*)"', html_):
                assert seen.setdefault(alt, pixels) == pixels, f"{shown.name}: two pictures are called {alt!r}"
        images[shown.name] = len(seen)
    assert min(images.values()) > 4


def test_upsampling_bench_draws_whatever_its_controls_allow() -> None:
    shown, _ = bench()
    for size, stride, padding in itertools.product((1, 12), (1, 6), (0, 6)):
        for start in ("bilinear", "zeros"):
            assert "pixels become" in shown.draw(size=size, stride=stride, padding=padding, start=start)
    with pytest.raises(ValueError, match="larger than 12x12, not \\(12, 20\\)"):
        widgets.UpsamplingBench(torch.zeros(3, 12, 20, dtype=torch.uint8))


OWN, FILE = "the checkpoint's mean and std", "the file's order"


@pytest.fixture(scope="module")
def two_files() -> widgets.TwoFiles:
    images, labels = data.cifar10_sample()
    network = load_matconvnet(data.DATA / "wren.mat")
    checkpoint = torch.load(data.DATA / "wren.ckpt")
    weights = checkpoint["nets"]["student"]["weights"]
    return widgets.TwoFiles(network, weights, checkpoint["classes"], images[::10], labels[::10])


def said_of_blocks(drawn: str) -> dict[str, str]:
    """Block -> what is said of its output."""
    lines = text(drawn).splitlines()
    return {block: lines[lines.index(block) + 1] for block in wren_by_hand.BLOCKS}


@pytest.mark.parametrize(
    ("convs", "norms", "scale", "first"),
    [
        ("as numbered", "as numbered", OWN, "refine"),
        ("the last two exchanged", "as numbered", OWN, "refine"),
        ("as numbered", "the last two exchanged", OWN, "refine"),
        ("the last two exchanged", "the last two exchanged", "0 to 1", "stem"),
        ("the last two exchanged", "the last two exchanged", "0 to 255", "stem"),
    ],
)
def test_two_files_shows_where_they_part(two_files, convs, norms, scale, first) -> None:
    orders = {"as numbered": wren_by_hand.FORWARD, "the last two exchanged": wren_by_hand.EXCHANGED}
    x = wren_by_hand.pixels(10)
    scaled = {OWN: (x / 255 - 0.5) / 0.25, "0 to 1": x / 255, "0 to 255": x}[scale]
    found, answers = wren_by_hand.from_checkpoint(scaled, orders[convs], orders[norms])
    expected, _ = wren_by_hand.from_mat(x)
    drawn = two_files.draw(convs=convs, norms=norms, scale=scale, names=FILE)
    said = said_of_blocks(drawn)
    for block, far in zip(wren_by_hand.BLOCKS, wren_by_hand.apart(found, expected), strict=True):
        if far < 1e-4:
            assert said[block] == "equal"
        elif far < 9.9:
            assert abs(int(said[block].removesuffix("% apart")) - 100 * far) <= 1
        else:
            assert said[block] == "more than 1,000% apart"
    right = wren_by_hand.share_right(answers, wren_by_hand.CHECKPOINT["classes"], 10)
    assert f"The two networks part at {first}. Of 50 images, {right:.0%} get their right name." in text(drawn)


def test_two_files_agree_when_all_is_read_as_it_should_be(two_files) -> None:
    right = {"convs": "the last two exchanged", "norms": "the last two exchanged", "scale": OWN}
    drawn = two_files.draw(**right, names=FILE)
    assert set(said_of_blocks(drawn).values()) == {"equal"}
    share = int(re.findall(r"The two networks agree in all blocks. Of 50 images, (\d+)%", text(drawn))[0])
    assert share > 75
    misread = text(two_files.draw(**right, names="CIFAR-10's order"))
    assert "agree in all blocks" in misread
    assert int(re.findall(r"Of 50 images, (\d+)%", misread)[0]) < 20


def test_two_files_tells_imagenets_numbers_from_its_own(two_files) -> None:
    options = {"convs": "the last two exchanged", "norms": "the last two exchanged", "names": FILE}
    said = said_of_blocks(two_files.draw(**options, scale="ImageNet's mean and std"))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.IMAGENET_MEAN, data.IMAGENET_STD))
    x = wren_by_hand.pixels(10)
    orders = wren_by_hand.EXCHANGED, wren_by_hand.EXCHANGED
    found, _ = wren_by_hand.from_checkpoint((x / 255 - mean) / std, *orders)
    far = wren_by_hand.apart(found, wren_by_hand.from_mat(x)[0])
    assert abs(int(said["stem"].removesuffix("% apart")) - 100 * far[0]) <= 1
