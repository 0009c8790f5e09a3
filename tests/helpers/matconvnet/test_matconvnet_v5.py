"""Files of version 5 and 7: scipy as the reference, bytes that scipy does not write, and files that were damaged."""

import struct as bits
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from matlab import cell, dag, dag_layer, save, struct, structs

from helpers.matconvnet import MatConvNetError, load_matconvnet, sources
from helpers.matconvnet.unread import Unread
from helpers.matconvnet.v5 import read_v5


def as_scipy_reads(value: Any) -> Any:
    """What `scipy.io.loadmat` makes of a value -> dictionaries, lists, texts and arrays."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        items = [{name: as_scipy_reads(item[name]) for name in value.dtype.names} for item in value.ravel(order="F")]
        return items[0] if len(items) == 1 else items
    if value.dtype == object:
        return [as_scipy_reads(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        lines = [str(line).rstrip() if value.size > 1 else str(line) for line in value.ravel()]
        return lines[0] if len(lines) == 1 else lines or ""
    return value


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    elif isinstance(expected, np.ndarray):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), where
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected, where


def some_value(rng: np.random.Generator, depth: int) -> Any:
    kind = rng.integers(0, 7 if depth else 4)
    if kind < 2:
        dtype = rng.choice(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
        shape = tuple(rng.integers(0 if rng.random() < 0.1 else 1, 5, rng.integers(2, 5)))
        return (rng.normal(size=shape) * 50).astype(dtype)
    if kind == 2:
        return "".join(map(chr, rng.integers(32, 300, rng.integers(1, 9))))
    if kind == 3:
        return np.array(["ab", "cde", "f"][: rng.integers(2, 4)])
    if kind == 4:
        return cell(*[some_value(rng, depth - 1) for _ in range(rng.integers(0, 4))])
    fields = [f"field{i}" for i in range(rng.integers(1, 4))]
    if kind == 5:
        return struct(**{name: some_value(rng, depth - 1) for name in fields})
    return structs(*[{name: some_value(rng, depth - 1) for name in fields} for _ in range(rng.integers(2, 4))])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_any_values_are_read_as_scipy_reads_them(tmp_path, seed, compressed) -> None:
    rng = np.random.default_rng(seed)
    path = save(tmp_path / "a.mat", compressed, **{f"v{i}": some_value(rng, 3) for i in range(6)})
    expected = {name: as_scipy_reads(v) for name, v in scipy.io.loadmat(path).items() if not name.startswith("__")}
    assert_same(read_v5(path), expected)


def test_what_has_no_place_in_a_network_is_named_and_not_read(tmp_path) -> None:
    found = read_v5(save(tmp_path / "a.mat", s=scipy.sparse.csc_matrix(np.eye(3)), after=np.ones((2, 3))))
    assert isinstance(found["s"], Unread)
    assert repr(found["s"]) == "<a MATLAB sparse array, not read>"
    assert found["after"].shape == (2, 3)


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return bits.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind: int, shape: tuple[int, ...], name: str, rest: bytes, order: str = "<", flags: int = 0) -> bytes:
    head = element(6, bits.pack(order + "II", kind | flags, 0), order)
    head += element(5, bits.pack(f"{order}{len(shape)}i", *shape), order) + element(1, name.encode(), order)
    return element(14, head + rest, order)


def written(path: Path, *elements: bytes, order: str = "<") -> Path:
    head = b"MATLAB 5.0".ljust(124) + bits.pack(order + "H", 0x0100) + {"<": b"IM", ">": b"MI"}[order]
    path.write_bytes(head + b"".join(elements))
    return path


def test_bytes_that_scipy_does_not_write(tmp_path) -> None:
    numbers = np.arange(6.0).reshape(2, 3)
    stored = element(9, numbers.astype(">f8").tobytes("F"), ">")
    narrow = element(3, np.array([-300, 7], ">i2").tobytes(), ">")
    text = element(18, "grün €".encode("utf-32-be"), ">")
    small = bits.pack(">I", 3 << 16 | 2) + bytes([7, 8, 9, 0])  # three numbers within the tag
    path = written(
        tmp_path / "a.mat",
        matrix(6, (2, 3), "numbers", stored, ">"),
        matrix(6, (1, 2), "narrow", narrow, ">"),
        matrix(4, (1, 6), "text", text, ">"),
        matrix(9, (3, 1), "small", small, ">"),
        matrix(1, (1, 1), "empty", element(14, b"", ">"), ">"),
        order=">",
    )
    found = read_v5(path)
    np.testing.assert_array_equal(found["numbers"], numbers)
    assert found["narrow"].tolist() == [[-300, 7]]
    assert found["text"] == "grün €"
    assert found["small"].ravel().tolist() == [7, 8, 9]
    assert found["empty"][0].shape == (0, 0)


def test_objects_are_named_by_their_class(tmp_path) -> None:
    texts = [element(1, text) for text in (b"net", b"MCOS", b"SeriesNetwork")]
    opaque = element(14, element(6, bits.pack("<II", 17, 0)) + b"".join(texts) + matrix(13, (1, 1), "", bytes(16)))
    old = matrix(3, (1, 1), "old", element(1, b"network") + element(5, bits.pack("<i", 32)) + element(1, b"layers"))
    path = written(tmp_path / "a.mat", opaque, matrix(6, (1, 1), "after", element(9, bits.pack("<d", 3))))
    found = read_v5(path)
    assert repr(found["net"]) == "<a MATLAB object of the class SeriesNetwork, not read>"
    assert found["after"].item() == 3
    with pytest.raises(
        MatConvNetError, match=r"a\.mat: 'net' is an object of the class SeriesNetwork, of MATLAB's Deep"
    ):
        load_matconvnet(path)
    with pytest.raises(MatConvNetError, match="'old' is an object of the class network, of MATLAB's Deep Learning"):
        load_matconvnet(written(path, old))


def nested(levels: int) -> bytes:
    inner = matrix(6, (1, 1), "", element(9, bits.pack("<d", 1)))
    for _ in range(levels):
        inner = matrix(1, (1, 1), "", inner)
    return matrix(1, (1, 1), "layers", inner)


def deflated(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return bits.pack("<II", 15, len(packed)) + packed


BOMB = bits.pack("<II", 14, 1 << 31) + bytes(1 << 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nested(60), "deeper than any network"),
        (matrix(6, (1 << 30, 1 << 30, 1 << 30), "a", element(9, bytes(8))), "has 8 bytes"),
        (matrix(1, (1 << 30, 1 << 20), "a", b""), "ends before all of it was there"),
        (matrix(6, (2, -2), "a", element(9, bytes(32))), r"has the dimensions \(2, -2\)"),
        (matrix(6, (2, 2), "a", element(11, bytes(32))), "stored as type 11"),
        (matrix(33, (2, 2), "a", element(9, bytes(32))), "of class 33"),
        (bits.pack("<II", 14, 1 << 20), "claims 1,048,576 bytes, and 0 are left"),
        (bits.pack("<I", 5 << 16 | 1) + bytes(4), "a small element claims 5 bytes"),
        (deflated(BOMB), "claims 2,147,483,648 bytes, and the file has"),
        (deflated(matrix(6, (2, 5), "a", element(9, bytes(80)))[:-20]), "a deflated element ends after 124 bytes"),
        (bits.pack("<II", 15, 9) + b"no stream", "a deflated element cannot be read"),
        (matrix(2, (1, 1), "a", element(5, bits.pack("<i", 0)) + element(1, b"abc")), "names of fields are 0 bytes"),
    ],
)
def test_what_a_file_claims_is_held_against_what_is_there(tmp_path, content, message) -> None:
    path = written(tmp_path / "a.mat", content)
    with pytest.raises(MatConvNetError, match=message):
        read_v5(path)
    with pytest.raises(MatConvNetError, match=r"a\.mat: a MATLAB file that cannot be read to its end"):
        load_matconvnet(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_flipped_bits_and_early_ends_are_one_kind_of_error(tmp_path, compressed) -> None:
    rng = np.random.default_rng(8)
    weights = cell(rng.normal(size=(2, 3, 4, 5)), np.ones((1, 5)))
    layers = cell(struct(type="conv", weights=weights, pad=[[0.0, 1, 0, 1]]))
    conv = dag_layer("c", "dagnn.Conv", "x", "y", ("f",), stride=[[2.0, 1]])
    graph = dag([conv], {"f": rng.normal(size=(3, 2, 4, 5))})
    for variables in ({"layers": layers, "classes": cell("a", "b")}, {"net": struct(**graph)}):
        whole = save(tmp_path / "a.mat", compressed, **variables).read_bytes()
        broken = tmp_path / "broken.mat"
        for number in range(150):
            data = bytearray(whole)
            data[int(rng.integers(128, len(whole)))] ^= 1 << int(rng.integers(8))
            broken.write_bytes(data[: int(rng.integers(128, len(whole)))] if number % 5 == 0 else data)
            with suppress(MatConvNetError):  # all else ends the test
                load_matconvnet(broken).to_module()


def test_a_deflated_variable_longer_than_a_piece(tmp_path) -> None:
    """Random numbers hardly shrink, so it is fed to zlib in several pieces, and comes out in several."""
    numbers = np.random.default_rng(9).normal(size=(500, 7, 90))
    path = save(tmp_path / "a.mat", True, averageImage=numbers, after=np.ones((2, 3)))
    assert path.stat().st_size > 4 * sources.PIECE
    found = read_v5(path)
    np.testing.assert_array_equal(found["averageImage"], numbers.astype(np.float32))  # large, so in float32
    np.testing.assert_array_equal(found["after"], np.ones((2, 3)))
