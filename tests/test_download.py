"""`fetch` against a server on this machine that answers ranges, breaks off, or sends something else."""

import hashlib
import http.server
import threading
from collections.abc import Iterator

import pytest

from helpers.download import DownloadError, cache_folder, fetch

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
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + server.at_most])

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ranges, server.resumes, server.at_most = [], True, len(CONTENT)
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


def test_a_wrong_checksum_removes_the_file(server, tmp_path) -> None:
    (tmp_path / "net.mat.part").write_bytes(b"x" * 500)
    with pytest.raises(DownloadError, match=f"expected {MD5}; the file was removed"):
        fetch(server.url, md5=MD5, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_file_and_no_server_are_clear_errors(server, tmp_path) -> None:
    with pytest.raises(DownloadError, match=r"HTTP Error 404.*nothing had arrived"):
        fetch(server.url + "x", md5=MD5, folder=tmp_path)
    with pytest.raises(DownloadError, match="refused"):
        fetch("http://127.0.0.1:9/net.mat", md5=MD5, folder=tmp_path)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pretrained-weights-workbook"
