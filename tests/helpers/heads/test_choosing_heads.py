"""Several heads, of which only some tell classes apart; every detector of torchvision: test_torchvision_models.py."""

import pytest
import torch
from torch import nn

from helpers.heads import HeadError, MultiHead, find_head, find_heads, replace_head, resize_head
from helpers.state_dict import load_matching


class Detr(nn.Module):
    """The parts of DETR that make its output, with its names: classes and boxes for each of five queries."""

    def __init__(self, classes: int = 92, num_classes: int | None = None) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.BatchNorm2d(6), nn.ReLU())
        self.query_embed = nn.Embedding(5, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.class_embed = nn.Linear(6, classes)
        self.bbox_embed = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(6, 7), nn.Linear(7, 4)])})
        if num_classes is not None:
            self.num_classes = num_classes

    def forward(self, x):
        memory = self.backbone(x).flatten(2).transpose(1, 2)
        queries = self.query_embed.weight.expand(len(x), -1, -1)
        queries = queries + self.attention(queries, memory, memory)[0]
        hidden, last = self.bbox_embed["layers"]
        return {"pred_logits": self.class_embed(queries), "pred_boxes": last(hidden(queries).relu()).sigmoid()}


class Cascade(nn.Module):
    """Two stages, each with classes and with four numbers of a box for each class, as in Cascade R-CNN."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.stages = nn.ModuleList([nn.Linear(6, classes), nn.Linear(6, classes)])
        self.boxes = nn.ModuleList([nn.Linear(6, 4 * classes), nn.Linear(6, 4 * classes)])

    def forward(self, x):
        x = self.body(x).mean((2, 3))
        boxes = [layer(x).unflatten(1, (-1, 4)) for layer in self.boxes]
        return [layer(x) for layer in self.stages], boxes


class Dense(nn.Module):
    """A detector without stages: in each place three anchors, for each of them classes and a box."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.classification = nn.Module()
        self.classification.logits = nn.Conv2d(6, 3 * classes, 3)
        self.classification.num_classes = classes
        self.boxes = nn.Conv2d(6, 3 * 4, 3)

    def forward(self, x):
        x = self.body(x)
        logits = self.classification.logits(x).unflatten(1, (3, self.classification.num_classes))
        return {"logits": logits, "boxes": self.boxes(x).unflatten(1, (3, 4))}


def everything(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        (Detr(), r"class_embed \(92 outputs\), bbox_embed\.layers\.1 \(4 outputs\)"),
        (Cascade(), r"stages\.0 \(5 outputs\), .*boxes\.1 \(20 outputs\)"),
        (Dense(), r"classification\.logits \(15 outputs\), boxes \(12 outputs\)"),
    ],
)
def test_heads_that_differ_are_named_and_stay(model, listed) -> None:
    before = everything(model)
    with pytest.raises(HeadError, match=f"the heads have different numbers of outputs: {listed}; choose with `heads`"):
        replace_head(model, 7)
    assert changed(model, before) == set()


@pytest.mark.parametrize(
    ("heads", "outputs"),
    [
        ("class_embed", 7),
        (["class_embed"], 7),
        (iter(("class_embed",)), 7),
        ({"class_embed": 8}, 8),
        ({"class_embed": 8, "bbox_embed.layers.1": 4}, 8),
    ],
)
def test_boxes_of_detr_stay_as_they_are(heads, outputs) -> None:
    model = Detr().eval()
    before, images = everything(model), torch.rand(2, 3, 32, 36)
    boxes = model(images)["pred_boxes"]
    assert replace_head(model, 7, heads=heads) == ("class_embed",)
    assert changed(model, before) == {"class_embed.weight", "class_embed.bias"}
    for training in (True, False):
        assert model.train(training)(images)["pred_logits"].shape == (2, 5, outputs)
    torch.testing.assert_close(model(images)["pred_boxes"], boxes, atol=1e-2, rtol=0)  # BatchNorm has seen one batch


def test_boxes_of_detr_change_if_asked() -> None:
    model = Detr()
    assert set(replace_head(model, 7, heads={"class_embed": 7, "bbox_embed.layers.1": 5})) == {
        "class_embed",
        "bbox_embed.layers.1",
    }
    assert model.bbox_embed["layers"][1].out_features == 5


def test_boxes_for_each_class_go_with_the_classes() -> None:
    model = Cascade()
    assert replace_head(model, 7, heads=("stages", "boxes")) == ("stages.0", "stages.1", "boxes.0", "boxes.1")
    logits, boxes = model(torch.rand(2, 3, 9, 9))
    assert [tuple(x.shape) for x in (*logits, *boxes)] == [(2, 7), (2, 7), (2, 7, 4), (2, 7, 4)]
    told = Cascade()
    assert len(replace_head(told, 7, heads={"stages.0": 7, "stages.1": 7, "boxes.0": 28, "boxes.1": 28})) == 4
    assert str(told) == str(model)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("stages", r"boxes\.0 \(20 outputs\), boxes\.1 \(20 outputs\) may belong to the same classes as stages\.0"),
        ("boxes", r"stages\.0 \(5 outputs\), stages\.1 \(5 outputs\) may belong"),
        (["stages.0", "boxes.0"], r"stages\.1 .*, boxes\.1 .* may belong"),
        ({"stages.0": 7, "stages.1": 7}, r"heads=\{'stages\.0': 7, 'stages\.1': 7, 'boxes\.0': 20, 'boxes\.1': 20\}"),
    ],
)
def test_what_belongs_to_the_classes_is_not_forgotten(heads, message) -> None:
    model = Cascade()
    before = everything(model)
    with pytest.raises(HeadError, match=message):
        replace_head(model, 7, heads=heads)
    assert changed(model, before) == set()


def test_what_is_said_to_stay_stays() -> None:
    model = Cascade()
    before = everything(model)
    assert replace_head(model, 7, heads={"stages.0": 7, "stages.1": 7, "boxes.0": 20, "boxes.1": 20}) == (
        "stages.0",
        "stages.1",
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items() if "boxes" in key)


@pytest.mark.parametrize("heads", ["classification", "classification.logits", {"classification.logits": 21}])
def test_the_number_beside_a_head_is_told(heads) -> None:
    model = Dense()
    assert replace_head(model, 7, heads=heads) == ("classification.logits",)
    assert model.classification.num_classes == 7
    assert model(torch.rand(2, 3, 9, 9))["logits"].shape == (2, 3, 7, 5, 5)


def test_a_number_that_does_not_fit_is_refused_and_the_one_beside_it_stays() -> None:
    model = Dense()
    before = everything(model)
    with pytest.raises(HeadError, match=r"with 7 classes the model stops behind classification\.logits: RuntimeError"):
        replace_head(model, 7, heads={"classification.logits": 20})
    assert model.classification.num_classes == 5
    assert model.classification.logits.out_channels == 15
    assert changed(model, before) == set()


def test_a_dense_head_alone_is_not_taken_for_one_output_a_class() -> None:
    class OnlyLogits(Dense):
        def forward(self, x):
            return super().forward(x)["logits"]

    model = OnlyLogits()
    with pytest.raises(HeadError, match=r"'classification\.logits' has 15 outputs, 3 for each of 5 classes"):
        replace_head(model, 7)
    assert replace_head(model, 7, heads="classification") == ("classification.logits",)
    assert model(torch.rand(2, 3, 9, 9)).shape == (2, 3, 7, 5, 5)


def test_heads_of_one_choice_count_the_same_classes() -> None:
    model = Dense()
    with pytest.raises(HeadError, match="do not count the same classes"):
        replace_head(model, 7, heads=["classification", "boxes"])
    for classes in (30, 92, 16, 1):  # of which some are a multiple of 4, the other way round too
        with pytest.raises(HeadError, match="do not count the same classes, or one gives boxes"):
            replace_head(Detr(classes), 7, heads=["class_embed", "bbox_embed"])
    with pytest.raises(HeadError, match="do not count the same classes, or one gives boxes"):
        replace_head(Cascade(4), 7, heads=["stages", "boxes"])


def test_four_classes_may_be_boxes() -> None:
    model = Detr(4)
    before = everything(model)
    with pytest.raises(HeadError, match="one of these heads may give boxes, for they have four outputs"):
        replace_head(model, 7)
    with pytest.raises(HeadError, match="say that it stays as it is"):
        replace_head(model, 7, heads="class_embed")
    assert changed(model, before) == set()
    assert replace_head(model, 7, heads={"class_embed": 7, "bbox_embed.layers.1": 4}) == ("class_embed",)


@pytest.mark.parametrize(("stated", "after"), [(92, 7), (91, 91)])
def test_what_the_model_calls_its_number_of_classes_follows(stated, after) -> None:
    model = Detr(num_classes=stated)
    replace_head(model, 7, heads="class_embed")
    assert model.num_classes == after


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("nope", r"'nope' makes no output of this model; its heads are class_embed \(92 outputs\), bbox_embed"),
        ("", "'' makes no output"),
        ("class", "'class' makes no output"),
        ([], "heads names none"),
        ({}, "heads names none"),
        (["class_embed", 3], "3 makes no output"),
        (5, "heads must be names, or a dictionary from names to numbers of outputs, not 5"),
        ({"backbone.0": 7}, r"'backbone\.0' makes no output"),
        ({"class_embed": 7.0}, r"'class_embed' must get a whole number of outputs above 0, not 7\.0"),
        ({"class_embed": True}, "not True"),
        ({"class_embed": 0}, "not 0"),
        ({"class_embed": 92}, "nothing would change"),
    ],
)
def test_choices_that_cannot_be_are_refused_and_nothing_changes(heads, message) -> None:
    model = Detr()
    before = everything(model)
    with pytest.raises(HeadError, match=message):
        replace_head(model, 7, heads=heads)
    assert changed(model, before) == set()


def test_classes_that_are_kept_are_counted_where_a_class_is_a_row() -> None:
    model = Detr()
    old = model.class_embed.weight.detach().clone()
    replace_head(model, 7, keep=[17, 91], heads="class_embed")
    assert torch.equal(model.class_embed.weight[:2], old[[17, 91]])
    cascade = Cascade()
    before = everything(cascade)
    with pytest.raises(HeadError, match=r"keep counts classes, and 'boxes\.0' gets 28 outputs for 7 of them"):
        replace_head(cascade, 7, keep=[4, 2], heads=["stages", "boxes"])
    assert changed(cascade, before) == set()


def test_the_way_out_keeps_boxes_of_classes() -> None:
    """What the error above advises."""
    torch.manual_seed(0)
    model, images = Cascade().eval(), torch.rand(2, 3, 9, 9)
    logits, boxes = model(images)
    kept = {0: 4, 6: 2}
    places = {4 * new + i: 4 * old + i for new, old in kept.items() for i in range(4)}
    for stage, box in zip(model.stages, model.boxes, strict=True):
        resize_head(stage, 7, kept)
        resize_head(box, 28, places)
    new_logits, new_boxes = model(images)
    for stage in range(2):
        torch.testing.assert_close(new_logits[stage][:, [0, 6]], logits[stage][:, [4, 2]])
        torch.testing.assert_close(new_boxes[stage][:, [0, 6]], boxes[stage][:, [4, 2]])


def test_an_output_that_no_head_makes_is_left_alone() -> None:
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc, self.up = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), nn.ConvTranspose2d(6, 2, 4)

        def forward(self, x):
            x = self.body(x)
            return self.fc(x.mean((2, 3))), self.up(x)

    model = Beside()
    assert list(find_heads(model)) == ["fc"]
    with pytest.raises(HeadError, match=r"an output is made by 'up\.bias', another by fc; find_heads gives those"):
        find_head(model)
    with pytest.raises(HeadError, match=r"an output is made by 'up\.bias', and others by fc \(5 outputs\); choose"):
        replace_head(model, 7)
    assert replace_head(model, 7, heads="fc") == ("fc",)
    assert [tuple(x.shape) for x in model(torch.rand(2, 3, 8, 8))] == [(2, 7), (2, 2, 9, 9)]


def test_a_number_kept_where_nobody_sees_it_is_told_so_and_the_way_out_works() -> None:
    class Hidden(nn.Module):
        def __init__(self, classes=5):
            super().__init__()
            self.body, self.fc, self.sizes = nn.Conv2d(3, 6, 3), nn.Linear(6, classes), [classes]
            self.num_classes = classes

        def forward(self, x):
            return self.fc(self.body(x).mean((2, 3))).view(len(x), *self.sizes)

    model = Hidden()
    before = everything(model)
    with pytest.raises(HeadError, match=r"keeps the number elsewhere, too: make it anew .* with .*load_matching"):
        replace_head(model, 7)
    assert changed(model, before) == set()
    assert (model.num_classes, model.fc.out_features) == (5, 5)
    new = Hidden(7)
    load_matching(new, model.state_dict())
    assert torch.equal(new.body.weight, model.body.weight)
    assert new(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_several_tasks_do_not_take_boxes_for_classes() -> None:
    class Boxes(nn.Sequential):
        def forward(self, x):
            features = self[0](x).mean((2, 3))
            return {"logits": self[1](features), "boxes": self[2](features)}

    model = Boxes(nn.Conv2d(3, 6, 3), nn.Linear(6, 5), nn.Linear(6, 4))
    before = everything(model)
    with pytest.raises(HeadError, match=r"different numbers of outputs: 1 \(5 outputs\), 2 \(4 outputs\)"):
        MultiHead(model, "0", {"a": 3})
    assert changed(model, before) == set()


def test_detectors_take_lists_and_choose_among_their_boxes() -> None:
    """What depends on numbers, and there are none on `meta`: rows that are chosen, and numbers read behind that."""

    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.logits, self.boxes = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 1), nn.Conv2d(6, 4, 1)

        def forward(self, images, targets=None):
            if self.training:
                assert targets is not None
            results = []
            for image in images:
                x = self.conv(image[None])
                scores, boxes = self.logits(x)[0].flatten(1).T, self.boxes(x)[0].flatten(1).T
                best = scores.amax(1) > 0
                scores, boxes = scores[best], boxes[best]
                places = torch.where(boxes[:, 0] > 0)[0]
                if places.sum().item() > 10**9:
                    scores = scores * 0
                results.append({"scores": scores[places].softmax(1), "boxes": boxes[places]})
            return results

    model = Choosing()
    images = [torch.rand(3, 9, 8), torch.rand(3, 7, 11)]
    for example in (None, images, tuple(images), torch.rand(2, 3, 9, 8), images[:1]):
        assert list(find_heads(model, example)) == ["logits", "boxes"]
    assert replace_head(model, 7, heads="logits", example=images) == ("logits",)
    assert model.eval()(images)[1]["scores"].shape[1] == 7
