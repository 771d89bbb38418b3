import gzip
import http.server
import importlib
import os
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import sources
from components.data.ingest import ingest
from components.data.sources import SAMPLE, explained, find_sources, without_credentials
from components.shared.machine.errors import UserError


def test_folder_and_glob_are_sorted_by_name(tmp_path):
    for name in ("b.csv", "a.tsv", "c.jsonl.gz", "d.pq", "e.md", "_f.csv", ".g.csv"):
        (tmp_path / name).touch()
    (tmp_path / "sub.csv").mkdir()
    found = find_sources(str(tmp_path))
    names = ("a.tsv", "b.csv", "c.jsonl.gz", "d.pq")
    assert tuple(s.path.rsplit("/", 1)[1] for s in found) == names
    assert [s.format for s in found] == ["tsv", "csv", "jsonl", "parquet"]
    assert [s.path for s in find_sources(f"{tmp_path}/*.csv")] == [str(tmp_path / "b.csv")]
    # A file named like a pattern is a file.
    for name in ("a[1].csv", "a#b?.csv"):
        (tmp_path / name).touch()
        (source,) = find_sources(f"{tmp_path}/{name}")
        assert (source.path, source.format) == (f"{tmp_path}/{name}", "csv")
    for sample in ("", "sample", " sample "):
        assert find_sources(sample)[0].path == str(SAMPLE)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("{tmp}/absent.csv", "absent.csv does not exist"),
        ("{tmp}/*.csv", "holds no review file"),
        ("{tmp}", "holds no review file"),
        ("file://{tmp}/absent.csv", "does not exist"),
        ("nonsense://bucket/a.csv", "nonsense://, which is not known"),
        ("https://host.invalid/a.docx", "unknown kind"),
        ("memory://absent/a.csv", "does not exist"),
        ("a\0.csv", "does not exist"),
        ("\ud800.csv", r"\\ud800\.csv does not exist"),
        ("://", "does not exist"),
        ("data:,a", "data:,a cannot be read"),
        ("github://", "cannot be read .*'org' and 'repo'"),
        ("https://me:word@[x/a.csv", "^the address of the data cannot be read"),
        (f"{'x' * 5000}.csv", "does not exist"),
    ],
)
def test_a_missing_source_raises_an_error(tmp_path, uri, words):
    with pytest.raises(UserError, match=words):
        find_sources(uri.format(tmp=tmp_path))


@pytest.mark.parametrize(
    ("protocol", "extra"), [("s3", "cloud"), ("gs", "cloud"), ("hf", "data"), ("https", "data")]
)
def test_a_missing_package_raises_an_error_with_the_projects_extra(monkeypatch, protocol, extra):
    def refuse(*_, **__):
        raise ImportError(f"Install something to access {protocol}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(UserError, match=rf"{protocol}://.* not installed; .*-e '\.\[{extra}\]'"):
        find_sources(f"{protocol}://bucket/a.csv")


@pytest.mark.slow
def test_a_hub_without_network_raises_an_error():
    importlib.import_module("huggingface_hub")  # conftest set HF_HUB_OFFLINE
    with pytest.raises(UserError, match=r"hf://datasets/a/b/c\.csv .*(network|exist)"):
        find_sources("hf://datasets/a/b/c.csv")


def test_credentials_are_not_shown():
    given = "https://me:word@host:80/a/b.csv?X-Signature=abc#f"
    assert without_credentials(given) == "https://host:80/a/b.csv"
    assert without_credentials("/a/b?.csv") == "/a/b?.csv"
    # Our own bugs are not disguised.
    with pytest.raises(KeyError), explained("a.csv", remote=False):
        raise KeyError("bug")


HALF = b"review_body,rating\nNice,5\n"
"""After this page the server says no more, and keeps the connection open."""


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.server.pages.get(self.path.split("?")[0], 404)
        status, page = (page, b"") if isinstance(page, int) else (200, page)
        self.send_response(status)
        self.send_header("Content-Length", str(len(page) + (page == HALF)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)
            if page == HALF:
                self.server.done.wait()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.done = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()


def test_the_web_is_read_from_start_to_end(site, run_ingest, tmp_path):
    text = "review_body,rating\n" + "".join(f"{i}{'x' * 90_000},5\n" for i in range(80))
    pq.write_table(pa.table({"review_body": ["a", "b"], "rating": [1, 5]}), tmp_path / "p.parquet")
    site.pages = {
        "/a.csv": text.encode(),
        "/a.csv.gz": gzip.compress(text.encode()),
        "/p.parquet": (tmp_path / "p.parquet").read_bytes(),
    }

    def rows(name):
        uri = f"http://127.0.0.1:{site.server_port}/{name}"
        done = ingest(uri, tmp_path / "r", tmp_path / "q", tmp_path / "s")
        assert "secret" not in (tmp_path / "s").read_text()
        return done.rows_kept

    assert rows("a.csv?token=secret") == 80
    assert rows("a.csv.gz") == 80
    assert rows("p.parquet") == 2
    (source,) = find_sources("http://127.0.0.1:9/a.csv?key=secret")
    found = "cannot be found or reached; check"
    with pytest.raises(UserError, match=found) as caught, source.opened() as stream:
        stream.read()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "asks for credentials .401.; give them, as in https://USER:PASSWORD@"),
        (403, "may not be read .403.; check your rights, or whether a signed address has expired"),
        (404, "does not exist .404.; check the address"),
        (418, "is refused .418."),
        (500, "its server failed .500.; try again later"),
    ],
)
def test_what_a_web_server_answers_is_told(site, status, words):
    site.pages = {"/a.csv": status}
    (source,) = find_sources(f"http://127.0.0.1:{site.server_port}/a.csv")
    with pytest.raises(UserError, match=words), source.opened():
        pass


def test_a_silent_server_is_given_up_and_a_slow_one_is_not(site, monkeypatch):
    (source,) = find_sources(f"HTTP://127.0.0.1:{site.server_port}/a.csv")
    assert source.filesystem.client_kwargs["timeout"].total is None
    monkeypatch.setattr(sources, "SILENCE_SECONDS", 0.2)
    site.pages = {"/a.csv": HALF}
    (source,) = find_sources(source.name)
    with pytest.raises(UserError, match=r"silent for 0.2 s; try again"), source.opened():
        pass


def test_names_that_are_not_utf8_are_spelled_out(tmp_path, run_ingest):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"gr\xfcn.csv")).write_text("review_body,rating\nNice,5\nBad,9\n")
    done = run_ingest(folder)
    assert [row["source"] for row in done.rejected] == [f"{folder}/gr\\xfcn.csv"]
