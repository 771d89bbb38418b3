import gzip
import http.server
import importlib
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    ],
)
def test_a_missing_source_raises_an_error(tmp_path, uri, words):
    with pytest.raises(UserError, match=words):
        find_sources(uri.format(tmp=tmp_path))


@pytest.mark.parametrize(
    ("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")]
)
def test_a_missing_package_raises_an_error_with_its_name(monkeypatch, protocol, package):
    def refuse(*_, **__):
        raise ImportError(f"Install {package} to access {protocol}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(UserError, match=rf"{protocol}://.* not installed; pip install '{package}'"):
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


class _Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.server.pages.get(self.path.split("?")[0])
        self.send_response(200 if page is not None else 404)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page or b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
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
    with pytest.raises(UserError, match=r"absent\.csv cannot be found"):
        rows("absent.csv")
    (source,) = find_sources("http://127.0.0.1:9/a.csv?key=secret")
    found = "cannot be found or reached; check"
    with pytest.raises(UserError, match=found) as caught, source.opened() as stream:
        stream.read()
    assert "secret" not in str(caught.value)
