"""`fetch` against a server on this machine that answers ranges, breaks off, or sends something else."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbook.download import DownloadError, cache_folder, fetch

CONTENT = bytes(range(256)) * 12_000  # 3 MB
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT as /net.mat; what it does otherwise is set on the server."""

    def do_GET(self) -> None:
        server = self.server
        requested = self.headers.get("Range")
        server.ranges.append(requested)
        if self.path != "/net.mat":
            self.send_error(404)
            return
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and server.resumes else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            end = min(len(CONTENT), start + server.range_at_most)
            self.send_header("Content-Range", f"bytes {start + server.range_shift}-{end - 1}/{len(CONTENT)}")
        else:
            end = len(CONTENT)
        if server.page:
            self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:end][: server.at_most])

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ranges, server.resumes, server.at_most = [], True, len(CONTENT)
        server.range_at_most, server.range_shift, server.page = len(CONTENT), 0, False
        server.url = f"http://127.0.0.1:{server.server_port}/net.mat"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_fetched_once_with_progress_then_from_the_cache(server, tmp_path, capsys) -> None:
    path = fetch(server.url, md5=MD5, folder=tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().out.endswith("net.mat: 3 MB 100%\n")
    assert fetch(server.url, md5=MD5, folder=tmp_path / "new") == path
    assert server.ranges == [None]
    assert [file.name for file in path.parent.iterdir()] == ["net.mat"]


def test_an_interrupted_download_is_resumed_where_it_stopped(server, tmp_path) -> None:
    server.at_most = 1_000_000
    with pytest.raises(DownloadError, match="1,000,000 bytes are kept, run this again"):
        fetch(server.url, md5=MD5, folder=tmp_path)
    assert not (tmp_path / "net.mat").exists()
    server.at_most = len(CONTENT)
    assert fetch(server.url, md5=MD5, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_server_that_cannot_resume_starts_over(server, tmp_path) -> None:
    server.resumes = False
    (tmp_path / "net.mat.part").write_bytes(b"x" * 500)
    assert fetch(server.url, md5=MD5, folder=tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_checked_and_kept(server, tmp_path) -> None:
    (tmp_path / "net.mat.part").write_bytes(CONTENT)
    assert fetch(server.url, md5=MD5, folder=tmp_path).read_bytes() == CONTENT


def test_shorter_ranges_than_asked_for_are_put_together(server, tmp_path) -> None:
    server.range_at_most = 1_300_000
    (tmp_path / "net.mat.part").write_bytes(CONTENT[:500])
    assert fetch(server.url, md5=MD5, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=500-", "bytes=1300500-", "bytes=2600500-"]


def test_a_part_from_elsewhere_or_a_web_page_spoils_nothing(server, tmp_path) -> None:
    part = tmp_path / "net.mat.part"
    part.write_bytes(CONTENT[:500])
    server.range_shift = 1
    with pytest.raises(DownloadError, match="from byte 501, 500 was asked for; 500 bytes are kept"):
        fetch(server.url, md5=MD5, folder=tmp_path)
    server.range_shift, server.resumes, server.page = 0, False, True
    with pytest.raises(DownloadError, match="a web page instead of the file; 500 bytes are kept"):
        fetch(server.url, md5=MD5, folder=tmp_path)
    assert part.read_bytes() == CONTENT[:500]


def test_a_folder_that_cannot_be_made_and_a_url_that_is_none_are_download_errors(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="nothing had arrived"):
        fetch("http://127.0.0.1:9/net.mat", md5=MD5, folder=tmp_path / "file")
    with pytest.raises(DownloadError, match="unknown url type"):
        fetch("net.mat", md5=MD5, folder=tmp_path)


def test_a_wrong_checksum_removes_the_file(server, tmp_path) -> None:
    (tmp_path / "net.mat.part").write_bytes(b"x" * 500)
    with pytest.raises(DownloadError, match=f"expected {MD5}; the file was removed"):
        fetch(server.url, md5=MD5, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_a_sha256_will_do(server, tmp_path) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(server.url, sha256=right[:8], folder=tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match=f"its sha256 is {right}, expected {right[1:9]}"):
        fetch(server.url, sha256=right[1:9], folder=tmp_path / "b")
    with pytest.raises(ValueError, match="a checksum is needed"):
        fetch(server.url, folder=tmp_path / "c")


def test_no_file_and_no_server_are_clear_errors(server, tmp_path) -> None:
    with pytest.raises(DownloadError, match=r"HTTP Error 404.*nothing had arrived"):
        fetch(server.url + "x", md5=MD5, folder=tmp_path)
    with pytest.raises(DownloadError, match="refused"):
        fetch("http://127.0.0.1:9/net.mat", md5=MD5, folder=tmp_path)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pretrained-weights-workbook"


def test_a_checksum_in_capitals_is_the_same_and_words_are_none(server, tmp_path) -> None:
    assert fetch(server.url, md5=MD5.upper(), folder=tmp_path).read_bytes() == CONTENT
    with pytest.raises(ValueError, match="'of the file' is no md5"):
        fetch(server.url, md5="of the file", folder=tmp_path / "new")


def test_two_at_once_fetch_it_once(server, tmp_path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.url, md5=MD5, folder=tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.ranges) == 1
