"""The thin networks are torchvision's, but for their width."""

import pytest
import torch
import torchvision

from workbook import networks, training


def shapes(model: torch.nn.Module) -> dict[str, tuple]:
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg16_at_full_width_is_torchvisions(batch_norm) -> None:
    with torch.device("meta"):
        ours = networks.vgg16(1000, width=1, fc_width=4096, image_size=224, batch_norm=batch_norm)
        theirs = (torchvision.models.vgg16_bn if batch_norm else torchvision.models.vgg16)()
    assert shapes(ours) == shapes(theirs)
    assert [str(module) for module in ours.modules()][1:] == [str(module) for module in theirs.modules()][1:]


def test_resnet18_at_full_width_is_torchvisions() -> None:
    with torch.device("meta"):
        ours, theirs = networks.resnet18(1000, width=1), torchvision.models.resnet18()
    assert shapes(ours) == shapes(theirs)
    assert [str(module) for module in ours.modules()][1:] == [str(module) for module in theirs.modules()][1:]


def test_the_forwards_are_torchvisions_too() -> None:
    images = torch.randn(2, 3, 64, 96)
    ours, theirs = networks.resnet18(11, width=1).eval(), torchvision.models.resnet18(num_classes=11).eval()
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(images), theirs(images))

    thin = networks.vgg16(7)
    theirs = torchvision.models.VGG(thin.features, num_classes=7, init_weights=False)
    theirs.avgpool, theirs.classifier = thin.avgpool, thin.classifier
    torch.testing.assert_close(thin.eval()(images), theirs.eval()(images))


def test_every_width_keeps_the_names() -> None:
    assert list(networks.vgg16(width=0.125, fc_width=32).state_dict()) == list(torchvision.models.vgg16().state_dict())
    assert networks.vgg16(width=0.125).features[0].out_channels == 8
    assert networks.resnet18(width=0.5).conv1.out_channels == 32


@pytest.mark.parametrize("size", [0, 16, 63, 100])
def test_image_sizes_that_five_pools_do_not_divide_are_refused(size) -> None:
    with pytest.raises(ValueError, match=f"multiple of 32.*got {size}"):
        networks.vgg16(image_size=size)


def test_accuracy_is_counted_in_eval_mode_and_the_mode_stays() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Identity()).train()
    inputs, labels = torch.randn(9, 5), torch.randint(5, (9,))
    right = sum(max(range(5), key=row.tolist().__getitem__) == label for row, label in zip(inputs, labels, strict=True))
    assert 0 < right < 9
    assert training.accuracy(model, inputs, labels) == pytest.approx(right / 9)
    assert model.training
    model.eval()
    training.accuracy(model, inputs, labels)
    assert not model.training
