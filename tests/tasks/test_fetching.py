"""Data sets are fetched from a server (here, one on this machine), whole or not at all, and go on where they broke."""

import gzip
import hashlib
import http.server
import threading

import pytest

from tinyattn.cli import main
from tinyattn.errors import DataError
from tinyattn.tasks.parts import fetching
from tinyattn.tasks.parts.fetching import Collection, fetch

PLAIN = bytes(range(256)) * 2000
PACKED = gzip.compress(b"a text\n" * 5000, mtime=0)
FILES = {"plain.bin": PLAIN, "packed.gz": PACKED}


class Server(http.server.BaseHTTPRequestHandler):
    """Gives FILES; `broken` bytes at most before the connection ends; `ranges`: whether it can begin in the middle."""

    broken, ranges, asked = None, True, []

    def do_GET(self):
        content = type(self).files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        type(self).asked.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: type(self).broken])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    Server.broken, Server.ranges, Server.asked, Server.files = None, True, [], dict(FILES)
    digests = {
        "plain.bin": hashlib.sha256(PLAIN).hexdigest(),
        "packed.gz": hashlib.sha256(gzip.decompress(PACKED)).hexdigest(),
    }
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setitem(fetching.COLLECTIONS, "two", Collection("two files", "none", address, digests))
    yield address
    running.shutdown()
    running.server_close()


def test_files_are_fetched_once(server, tmp_path):
    seen = []
    paths = fetch("two", tmp_path / "new", report=lambda *values: seen.append(values))
    assert {path.name: path.read_bytes() for path in paths} == FILES
    assert seen[-1] == ("packed.gz", len(PACKED), len(PACKED))
    assert len(Server.asked) == 2
    fetch("two", tmp_path / "new")
    assert len(Server.asked) == 2 and sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_one_sentence_and_goes_on(ranges, server, tmp_path):
    Server.broken, Server.ranges = 200_000, ranges
    with pytest.raises(
        DataError, match=r"plain\.bin must be there .* broke after 200,000 of 512,000 bytes\. What"
    ) as error:
        fetch("two", tmp_path)
    assert "\n" not in str(error.value) and not (tmp_path / "plain.bin").exists()
    assert (tmp_path / "plain.bin.part").stat().st_size == 200_000
    Server.broken = None
    fetch("two", tmp_path)
    assert Server.asked[1] == ("/plain.bin", "bytes=200000-")
    assert (tmp_path / "plain.bin").read_bytes() == PLAIN and not (tmp_path / "plain.bin.part").exists()


def test_what_was_all_there_but_for_its_name_is_taken(server, tmp_path):
    (tmp_path / "plain.bin.part").write_bytes(PLAIN)
    fetch("two", tmp_path)
    assert (tmp_path / "plain.bin").read_bytes() == PLAIN


WRONG = {
    "empty": b"", "other": b"something else", "cut off": PACKED[:-9], "packed": gzip.compress(b"another", mtime=0),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_another_file_is_refused_and_not_kept(name, wrong, server, tmp_path):
    Server.files[name] = wrong
    with pytest.raises(DataError, match="must be the file with the SHA-256 .* it is not kept") as error:
        fetch("two", tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / name).exists() and not (tmp_path / f"{name}.part").exists()


def test_a_damaged_file_that_is_there_is_fetched_again(server, tmp_path):
    (tmp_path / "plain.bin").write_bytes(PLAIN[:-1])
    fetch("two", tmp_path)
    assert (tmp_path / "plain.bin").read_bytes() == PLAIN


def test_mistakes_are_one_sentence(server, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    del Server.files["packed.gz"]
    assert main(["data", "fetch", "two"]) == 1
    assert (
        "packed.gz must be there to be fetched, but it is not: the server says 404" in capsys.readouterr().err
    )
    assert main(["data", "fetch", "two", "--from", "http://127.0.0.1:9", "--out", "x"]) == 1
    assert "What has come is kept" in capsys.readouterr().err
    for address in ("ftp//x", "file:///etc"):
        assert main(["data", "fetch", "two", "--from", address, "--out", "y"]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["data", "fetch", "multi3k"]) == 1
    assert "did you mean multi30k?" in capsys.readouterr().err
    (tmp_path / "taken").write_text("a file")
    assert main(["data", "fetch", "two", "--out", "taken"]) == 1
    assert "taken must be writable" in capsys.readouterr().err


def test_the_command_says_what_comes_next(server, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "two"]) == 0
    out = capsys.readouterr().out
    assert "two files (none), in data/two" in out and "train --task two --data data/two" in out
    assert main(["data", "fetch"]) == 0
    assert "tinyshakespeare" in capsys.readouterr().out
