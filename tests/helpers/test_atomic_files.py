"""Files that are the old one or the new one. That kills lose nothing, the tests of checkpoints show."""

import errno
import io
import os

import pytest
import safetensors.torch
import torch

from helpers.atomic_files import also_publish, replacing
from helpers.checkpoint import CheckpointError, export_weights, save_checkpoint
from helpers.errors import HeadError, WeightsError
from helpers.freezing import FreezingError, cache_features
from helpers.matconvnet import Layer, MatConvNetError, save_matconvnet

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and rights as POSIX has them")
LAYER = torch.nn.Linear(3, 2)


def cached(folder) -> None:
    dataset = torch.utils.data.TensorDataset(torch.ones(4, 3), torch.zeros(4))
    cache_features(LAYER, torch.utils.data.DataLoader(dataset), folder, show=False)


WRITERS = {  # what writes to a path -> its error
    "save_checkpoint": (lambda path: save_checkpoint(path, model=LAYER), CheckpointError),
    "export_weights": (lambda path: export_weights(LAYER, path), CheckpointError),
    "save_matconvnet": (
        lambda path: save_matconvnet(path, [Layer("r", "relu")], classes=["a"], normalization={}),
        MatConvNetError,
    ),
    "cache_features": (lambda path: cached(path.parent), FreezingError),
}
NAMES = {"cache_features": "features.bin"}
each_writer = pytest.mark.parametrize("name", WRITERS)


def test_a_finished_block_replaces_and_an_error_leaves_all_as_it_was(tmp_path) -> None:
    path = tmp_path / "a.bin"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as place:
        place.write_text({}["half"])
    assert path.read_text() == "old"
    with replacing(str(path)) as place:
        place.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_path_have_places_of_their_own(tmp_path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        assert first != second
        assert str(os.getpid()) in first.name
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"


def test_a_link_stays_a_link(tmp_path) -> None:
    (tmp_path / "other").mkdir()
    target = tmp_path / "other/real"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    with replacing(tmp_path / "link") as place:
        assert place.parent == target.parent
        place.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "new"


def test_a_second_name_is_the_same_file_until_the_next_one(tmp_path) -> None:
    with replacing(tmp_path / "a") as place:
        place.write_text("1")
        also_publish(place, tmp_path / "a", tmp_path / "best")
    with replacing(tmp_path / "a") as place:
        place.write_text("2")
    assert (tmp_path / "best").read_text() == "1"


def test_what_a_dead_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path) -> None:
    dead, alive = tmp_path / ".a.4194399.0.tmp", tmp_path / f".a.{os.getppid()}.0.tmp"
    other = tmp_path / ".b.4194399.0.tmp"
    for place in (dead, alive, other):
        place.touch()
    with replacing(tmp_path / "a") as place:
        place.touch()
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()


@each_writer
def test_a_folder_is_no_file_to_write(tmp_path, name) -> None:
    write, error = WRITERS[name]
    path = tmp_path / NAMES.get(name, "a.bin")
    (path / "inside").mkdir(parents=True)
    with pytest.raises(error, match="is a folder: name a file in it"):
        write(path)
    assert (path / "inside").is_dir()


@posix
@each_writer
def test_a_special_file_is_left_alone(tmp_path, name) -> None:
    write, error = WRITERS[name]
    path = tmp_path / NAMES.get(name, "a.bin")
    os.mkfifo(path)
    with pytest.raises(error, match="is no regular file, but a device, pipe or socket"):
        write(path)
    assert path.is_fifo()


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "cache_features"])
def test_a_missing_folder_is_named(tmp_path, name) -> None:
    write, _ = WRITERS[name]
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere' for a\.bin: make it first"):
        write(tmp_path / "nowhere/a.bin")


def test_a_full_disk_is_one_clear_error_that_names_the_folder(tmp_path) -> None:
    path = tmp_path / "a.bin"
    path.write_text("old")
    said = rf"a\.bin cannot be written .*No space left.*there is room in {tmp_path}"
    with pytest.raises(HeadError, match=said), replacing(path, HeadError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_too_long_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be written .*too long"), replacing(tmp_path / ("a" * 250)) as place:
        place.touch()
    assert list(tmp_path.iterdir()) == []


@each_writer
@pytest.mark.parametrize("length", [245, 400])
def test_a_name_that_is_too_long_is_named_by_every_writer_with_the_way_out(tmp_path, name, length) -> None:
    write, error = WRITERS[name]
    path = tmp_path / ("a" * length)
    if name == "cache_features":  # its files have short names: the folder's is too long from 256 on
        path = tmp_path / ("a" * (length + 20)) / "features.bin"
    way_out = "choose another folder" if name == "cache_features" else "choose a shorter name"
    with pytest.raises(error, match=rf"cannot be (written|made) .*too long.*{way_out}"):
        write(path)
    assert list(tmp_path.iterdir()) == []


@posix
@each_writer
def test_a_folder_that_takes_no_files_is_named_by_every_writer(tmp_path, name, monkeypatch) -> None:
    """The rights are taken away from `open`, for whoever runs the tests as root may write anywhere."""
    write, error = WRITERS[name]
    path = tmp_path / NAMES.get(name, "a.bin")
    (tmp_path / "features.json" if name == "cache_features" else path).write_text("old")
    plain = io.open

    def refuse(file, mode="r", *rest, **options):
        if "w" in mode and str(file).endswith(".tmp"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return plain(file, mode, *rest, **options)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr(safetensors.torch, "save_file", lambda tensors, place, _: refuse(place, "wb"))
    with pytest.raises(error, match=rf"cannot be written .*Permission denied.*{tmp_path} and that you may write there"):
        write(path)
    monkeypatch.undo()
    assert [place.read_text() for place in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("path", ["", "a\0b", None, 3, b"a"])
def test_what_is_no_path_is_named(path) -> None:
    for write, error in (
        (lambda: save_checkpoint(path, model=LAYER), CheckpointError),
        (lambda: export_weights(LAYER, path), CheckpointError),
    ):
        with pytest.raises(error, match="names no file: give a path"):
            write()


@posix
def test_a_circle_of_links_is_named(tmp_path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(WeightsError, match="a cannot be written"), replacing(tmp_path / "a") as place:
        place.touch()


def test_an_error_of_the_block_that_is_not_the_disks_stays_what_it_is(tmp_path) -> None:
    with pytest.raises(RuntimeError, match=r"^of the model$"), replacing(tmp_path / "a"):
        raise RuntimeError("of the model")
