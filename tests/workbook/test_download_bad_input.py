"""What `fetch` refuses before it asks anybody, and what it never overwrites, deletes or trusts."""

import hashlib
import os
from pathlib import Path

import pytest

from workbook import download
from workbook.download import DownloadError, fetch

CONTENT = b"some weights"
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
URL = "http://127.0.0.1:9/net.mat"  # nobody answers there


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch) -> None:
    def asked(url: str, part: Path) -> bool:
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(download, "_download", asked)


@pytest.mark.parametrize(
    "checksums",
    [
        {"md5": MD5[:31]},
        {"md5": MD5 + "0"},
        {"md5": SHA256},
        {"md5": MD5[:31] + "g"},
        {"md5": MD5.encode()},
        {"md5": 5},
        {"sha256": SHA256[:7]},
        {"sha256": SHA256 + "0"},
        {"md5": MD5, "sha256": "x" * 64},
    ],
    ids=str,
)
def test_a_checksum_that_no_file_can_have_is_refused_before_anything_is_fetched(checksums, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"those are .* of the digits 0 to 9 and a to f"):
        fetch(URL, folder=tmp_path, **checksums)


@pytest.mark.parametrize("url", [None, "", "http://127.0.0.1:9/", "http://127.0.0.1:9/..", "http://127.0.0.1:9/?a=b"])
def test_an_address_without_a_name_is_refused(url, tmp_path) -> None:
    with pytest.raises(ValueError, match="names no file"):
        fetch(url, md5=MD5, folder=tmp_path)


@pytest.mark.parametrize("name", ["net.mat", "net.mat.part"])
def test_what_has_the_name_and_is_no_file_is_left_alone(name, tmp_path) -> None:
    for number, make in enumerate((Path.mkdir, os.mkfifo)):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / name)
        with pytest.raises(DownloadError, match="is there, and no file"):
            fetch(URL, md5=MD5, folder=folder)
        assert [place.name for place in folder.iterdir()] == [name]


def test_a_name_that_is_too_long_is_a_download_error(tmp_path) -> None:
    with pytest.raises(DownloadError, match=r"cannot be kept: .*too long"):
        fetch(URL + 300 * "x", md5=MD5, folder=tmp_path)
