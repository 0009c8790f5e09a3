"""Scenes of garments: their masks are what was painted, and the same seed paints the same."""

import pytest
import torch

from workbook import data


def test_shapes_and_classes() -> None:
    scenes, masks = data.garment_scenes(40, (50, 71), train=True, seed=3)
    assert (scenes.shape, scenes.dtype) == ((40, 3, 50, 71), torch.uint8)
    assert (masks.shape, masks.dtype) == ((40, 50, 71), torch.int64)
    assert masks.unique().tolist() == list(range(len(data.GARMENTS) + 1))
    assert all(mask.any() and not mask.all() for mask in masks)


@pytest.mark.parametrize("train", [True, False])
def test_a_mask_is_where_something_was_painted(train, monkeypatch) -> None:
    """Before a black background everything that is not black is a garment."""
    monkeypatch.setattr(data, "_background", lambda size, random: torch.zeros(3, *size))
    scenes, masks = data.garment_scenes(60, (64, 96), train=train, seed=0)
    assert torch.equal(scenes.amax(1) > 0, masks > 0)


def test_labels_are_the_names_in_their_order() -> None:
    def height_by_width(garments: tuple[str, ...], label: int) -> float:
        masks = data.garment_scenes(60, (90, 90), train=True, seed=1, garments=garments)[1] == label
        return masks.any(2).sum().item() / masks.any(1).sum().item()

    assert height_by_width(("trouser",), 1) > 1.4
    assert height_by_width(("sneaker",), 1) < 0.7
    assert height_by_width(("sneaker", "trouser"), 2) > 1.4 > 0.7 > height_by_width(("sneaker", "trouser"), 1)


def test_some_garments_hide_parts_of_others() -> None:
    masks = data.garment_scenes(60, train=True, seed=0)[1]
    left, right = masks[..., :-1], masks[..., 1:]
    touching = (left > 0) & (right > 0) & (left != right)
    assert 10 < touching.flatten(1).any(1).sum() < 50


def test_the_seed_decides_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    scenes, masks = data.garment_scenes(5, (40, 60), train=True, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    first, first_masks = data.garment_scenes(3, (40, 60), train=True, seed=7)
    assert torch.equal(first, scenes[:3])
    assert torch.equal(first_masks, masks[:3])
    assert not torch.equal(data.garment_scenes(3, (40, 60), train=True, seed=8)[1], first_masks)
    assert not torch.equal(data.garment_scenes(3, (40, 60), train=False, seed=7)[0], first)


def test_backgrounds_are_coloured_and_no_two_alike() -> None:
    scenes, masks = data.garment_scenes(20, train=True, seed=0)
    means = torch.stack([scene[:, mask == 0].float().mean(1) for scene, mask in zip(scenes, masks, strict=True)])
    assert (means.amax(1) - means.amin(1)).median() > 30
    assert torch.pdist(means).min() > 1


def test_an_unknown_garment_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no 'hat' in Fashion-MNIST; take some of T-shirt, trouser"):
        data.garment_scenes(1, train=True, seed=0, garments=("bag", "hat"))


def test_depth_is_a_fourth_channel_and_changes_nothing_else() -> None:
    plain, masks = data.garment_scenes(30, (64, 96), train=True, seed=4)
    scenes, same_masks = data.garment_scenes(30, (64, 96), train=True, seed=4, depth=True)
    assert (scenes.shape, scenes.dtype) == ((30, 4, 64, 96), torch.uint8)
    assert torch.equal(scenes[:, :3], plain)
    assert torch.equal(same_masks, masks)


def test_garments_are_nearer_than_what_they_lie_on() -> None:
    """At the edge of a garment, where the slant of the ground hardly counts."""
    scenes, masks = data.garment_scenes(80, (64, 96), train=True, seed=4, most=1, depth=True)
    depth, covered = scenes[:, 3].float(), masks > 0
    left = covered[..., 1:] & ~covered[..., :-1]
    step = (depth[..., 1:] - depth[..., :-1])[left]
    assert 0.12 < step.mean() / 255 < 0.18
    assert step.std() / 255 > 0.05
    assert (depth[:, :8, :8] - depth[:, -8:, -8:]).mean((1, 2)).std() > 10


def test_at_most_so_many_garments() -> None:
    masks = data.garment_scenes(60, (64, 96), train=True, seed=2, most=1)[1]
    assert all(len(mask.unique()) == 2 for mask in masks)
    assert max(len(mask.unique()) for mask in data.garment_scenes(60, (64, 96), train=True, seed=2)[1]) == 4
