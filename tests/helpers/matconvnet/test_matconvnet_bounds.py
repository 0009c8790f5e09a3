"""What a file may cost who reads it: memory by its size, and no time for what nobody asked for."""

import re
import struct as bits
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matlab import cell, save, struct
from matlab73 import save73

from helpers.matconvnet import MatConvNetError, load_matconvnet, sources
from helpers.matconvnet.unread import Unread
from helpers.matconvnet.v5 import read_v5

MEGABYTE = 1 << 20
LONG = 35 * MEGABYTE  # bytes that a file of any size may inflate to


def element(kind: int, data: bytes) -> bytes:
    return bits.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind: int, shape: tuple[int, ...], name: str, rest: bytes) -> bytes:
    head = element(6, bits.pack("<II", kind, 0)) + element(5, bits.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name.encode()) + rest)


def written(path: Path, data: bytes, compressed: bool = True) -> Path:
    if compressed:
        packed = zlib.compress(data, 9)
        data = bits.pack("<II", 15, len(packed)) + packed
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + data)
    return path


def weights(count: int) -> bytes:
    """`layers`, a struct with one field `weights` of that many zeros."""
    names = element(5, bits.pack("<i", 8)) + element(1, b"weights\0")
    return matrix(2, (1, 1), "layers", names + matrix(6, (count, 1), "", element(9, bytes(8 * count))))


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that claim much, or become much, by what is said of them."""
    eighth, empty = LONG // 8, element(14, b"")
    names = element(5, bits.pack("<i", 8)) + element(1, b"abcdefg\0" * eighth)
    found = {
        "ends before all of it was there": written(
            folder / "a.mat", matrix(1, (20_000, 10_000), "layers", b""), compressed=False
        ),
        r"a deflated element claims 160,000,\d+ bytes": written(folder / "b.mat", weights(20_000_000)),
        "no network in them|no struct with a `type`": written(folder / "c.mat", weights(3_000_000)),
        "so many values would take": written(folder / "d.mat", matrix(1, (eighth, 1), "layers", empty * eighth)),
        "so many values": written(folder / "e.mat", matrix(1, (eighth, 1), "a", empty * eighth), compressed=False),
        "text or sizes would take": written(folder / "f.mat", matrix(4, (1, LONG), "a", element(16, b"a" * LONG))),
        "so many lines": written(folder / "g.mat", matrix(4, (10**6, 1), "a", element(16, b"a" * 10**6))),
        "text or sizes": written(folder / "h.mat", matrix(2, (1, 1), "a", names)),
    }
    found["inflates further than its chunk"] = save73(folder / "i.mat", layers=[{"type": "relu"}, {"type": "conv"}])
    with h5py.File(found["inflates further than its chunk"], "r+") as file:
        chunk = file.create_dataset("meta", (1 << 10, 9), "u1", chunks=(1 << 10, 9), compression="gzip")
        chunk.id.write_direct_chunk((0, 0), zlib.compress(bytes(400 * MEGABYTE), 9))
    return found


MEASURE = """
import re, sys, time
from pathlib import Path
from helpers.matconvnet import MatConvNetError, load_matconvnet

def memory(name):
    return int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024

for path in sys.argv[1:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.perf_counter()
    try:
        load_matconvnet(path)
        said = "loaded"
    except MatConvNetError as error:
        said = str(error)
    print(memory("VmHWM") - before, time.perf_counter() - start, said, sep="\\t")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_small_files_take_little_memory_and_time_whatever_they_claim(tmp_path) -> None:
    found = bombs(tmp_path)
    command = [sys.executable, "-c", MEASURE, *map(str, found.values())]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == len(found) == 9
    for (expected, path), line in zip(found.items(), lines, strict=True):
        megabytes, seconds, said = line.split("\t")
        assert float(megabytes) <= 64 + 2 * path.stat().st_size / MEGABYTE, line
        assert float(seconds) < 5, line
        assert re.search(expected, said) or expected.startswith("inflates"), line


def large(tmp_path: Path, compressed: bool) -> Path:
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(3, 2, 300, 400)).astype(np.float32)
    layer = struct(type="conv", name="c", weights=cell(kernel, np.ones((1, 400))), weightsMomentum=cell(kernel * 0))
    images = struct(data=np.zeros((600, 500)), note="text")
    momentum = struct(momentum=cell(kernel))
    return save(tmp_path / "net.mat", compressed, imdb=images, net=struct(layers=cell(layer)), state=momentum)


@pytest.mark.parametrize("compressed", [False, True])
def test_momentum_and_images_are_passed_over(tmp_path, compressed) -> None:
    path = large(tmp_path, compressed)
    found = read_v5(path)
    (layer,) = found["net"]["layers"]
    assert repr(layer["weightsMomentum"][0]) == "<a MATLAB array (3, 2, 300, 400) of float32, not read>"
    assert isinstance(found["state"]["momentum"][0], Unread)
    assert isinstance(found["imdb"]["data"], Unread)
    assert found["imdb"]["note"] == "text"
    assert layer["weights"][0].shape == (3, 2, 300, 400)
    net = load_matconvnet(path)
    assert [list(layer.params) for layer in net.layers] == [["weight", "bias"]]


@pytest.mark.parametrize("write", ["v5", "v7", "v7.3"])
def test_only_shapes(tmp_path, write) -> None:
    rng = np.random.default_rng(2)
    kernel, moments = rng.normal(size=(3, 2, 30, 400)), rng.uniform(1, 2, size=(400, 2))
    path = tmp_path / "net.mat"
    if write == "v7.3":
        layers = [
            {"type": "conv", "weights": [kernel, np.ones((1, 400))]},
            {"type": "bnorm", "weights": [moments[:, :1], moments[:, 1:], moments], "epsilon": 1e-4},
        ]
        save73(path, layers=layers)
    else:
        conv = struct(type="conv", weights=cell(kernel, np.ones((1, 400))))
        norm = struct(type="bnorm", weights=cell(moments[:, :1], moments[:, 1:], moments))
        save(path, write == "v7", layers=cell(conv, norm))
    net, whole = load_matconvnet(path, only_shapes=True), load_matconvnet(path)
    assert repr(net) == repr(whole)
    assert net["conv1"].params["weight"].is_meta
    assert net["bnorm1"].params["running_var"].equal(whole["bnorm1"].params["running_var"])
    assert whole["conv1"].params["weight"].is_contiguous()


def test_an_average_that_was_not_read_is_not_taken_for_zeros(tmp_path) -> None:
    fields = struct(averageImage=np.full((90, 80, 3), 7.0), imageSize=[[90.0, 80, 3]])
    path = save(tmp_path / "net.mat", layers=cell(struct(type="relu")), normalization=fields)
    images = torch.full((1, 3, 90, 80), 9)
    assert load_matconvnet(path).preprocess(images).eq(2).all()
    with pytest.raises(MatConvNetError, match="averageImage was not read: load the network without only_shapes"):
        load_matconvnet(path, only_shapes=True).preprocess(images)


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", ">f8", "u2", ">i2", "i1"])
@pytest.mark.parametrize(
    "shape", [(3, 5, 4, 6), (1, 7, 3, 2), (7, 1, 2, 3), (700, 900), (2, 3, 2, 3, 2), (0, 3, 2), (1, 1)]
)
def test_numbers_of_any_type_and_shape_lie_as_pytorch_has_kernels(tmp_path, dtype, shape) -> None:
    from helpers.matconvnet.layout import PIECE, read_planes

    numbers = (np.random.default_rng(1).normal(size=shape) * 50).astype(dtype)
    file = tmp_path / "numbers"
    file.write_bytes(numbers.tobytes("F"))
    with file.open("rb") as opened:
        found = read_planes(shape, numbers.dtype, sources.Stored(opened).read_into)
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype.isnative
    if shape[0] == 700:
        assert numbers.nbytes > PIECE or numbers.itemsize < 4
    if len(shape) == 4:
        assert found.transpose(3, 2, 0, 1).flags.c_contiguous


def test_a_kernel_is_the_memory_that_was_read() -> None:
    from helpers.matconvnet.layout import kernel_tensor, read_planes

    kernel = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)
    place = 0

    def read_into(memory: memoryview) -> None:
        nonlocal place
        memory[:] = kernel.tobytes("F")[place : place + len(memory)]
        place += len(memory)

    found = read_planes(kernel.shape, kernel.dtype, read_into)
    tensor = kernel_tensor(found)
    assert tensor.data_ptr() == found.ctypes.data
    assert tensor.equal(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))


@pytest.mark.parametrize("by", ["isal", "zlib"])
def test_both_inflate_the_same(tmp_path, monkeypatch, by) -> None:
    if by == "isal":
        monkeypatch.setattr(sources, "INFLATING", pytest.importorskip("isal.isal_zlib"))
    else:
        monkeypatch.setattr(sources, "INFLATING", zlib)
    net = load_matconvnet(large(tmp_path, True))
    expected = np.random.default_rng(2).normal(size=(3, 2, 300, 400)).astype(np.float32)
    np.testing.assert_array_equal(net["c"].params["weight"].numpy(), expected.transpose(3, 2, 0, 1))
    broken = bytearray((tmp_path / "net.mat").read_bytes())
    broken[MEGABYTE] ^= 16
    (tmp_path / "net.mat").write_bytes(broken)
    with pytest.raises(MatConvNetError, match=r"net\.mat"):
        load_matconvnet(tmp_path / "net.mat")


def test_what_goes_beyond_the_bounds_is_not_called_damaged(tmp_path) -> None:
    path = save(tmp_path / "net.mat", True, layers=cell(*[np.zeros((0, 0))] * 100_000))
    with pytest.raises(MatConvNetError) as caught:
        load_matconvnet(path)
    assert "'-v6'" in str(caught.value)
    assert "download" not in str(caught.value)
