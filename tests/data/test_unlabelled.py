import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import unlabelled
from components.data.unlabelled import read_unlabelled
from components.shared.machine.errors import UserError
from components.shared.records.scored import TO_SCORE_SCHEMA
from tests.data.conftest import as_csv, kaggle_row


@pytest.fixture
def read(tmp_path):
    def run(source, **options):
        paths = [tmp_path / "out" / part for part in ("reviews", "quarantine")]
        done = read_unlabelled(str(source), *paths, **options)
        file = pq.ParquetFile(paths[0])
        assert file.schema_arrow.equals(TO_SCORE_SCHEMA)
        kept, rejected = file.read().to_pylist(), pq.read_table(paths[1]).to_pylist()
        assert (done.rows_kept, done.quarantined) == (len(kept), len(rejected))
        return SimpleNamespace(kept=kept, rejected=rejected, file=file, bytes=paths[0].read_bytes())

    return run


def written(path, content):
    path.write_text(content)
    return path


def test_a_strangers_table_without_labels_is_read_by_the_column_that_is_named(read, tmp_path):
    source = written(tmp_path / "a.csv", "comment,note\nSoft\xe9 🙂,x\n ,x\nSoft\xe9 🙂,x\n")
    done = read(source, columns="review_body=comment", max_rejected_share=0.5)
    assert [(row["line"], row["review_body"]) for row in done.kept] == [
        (2, "Softé 🙂"),
        (4, "Softé 🙂"),
    ]
    assert {row["source"] for row in done.kept} == {str(source)}
    assert [(r["line"], r["reason"]) for r in done.rejected] == [(3, "review text is empty")]


def test_every_format_gives_the_rows_with_their_places(read, tmp_path):
    rows = [{"review_body": "Soft", "title": "Yes"}, {"review_body": None, "title": "No"}]
    rows.append({"review_body": "Itchy", "title": None})
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    written(folder / "b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    done = read(folder, max_rejected_share=0.5)
    places = [(row["source"].rpartition("/")[2], row["line"], row["title"]) for row in done.kept]
    assert places == [
        *(("a.parquet", 1, "Yes"), ("a.parquet", 3, None)),
        *(("b.jsonl", 1, "Yes"), ("b.jsonl", 3, None)),
    ]


def test_what_scoring_does_not_read_may_be_nonsense(read, run_ingest, tmp_path):
    rows = [kaggle_row("Soft", rating="9"), kaggle_row("Itchy", rating="2")]
    source = written(tmp_path / "a.csv", as_csv(*rows))
    done = read(source)
    assert [row["review_body"] for row in done.kept] == ["Soft", "Itchy"]
    assert not done.rejected
    # A review without an id of its own has the one that training knows it by.
    (trained,) = run_ingest(as_csv(rows[1])).kept
    assert done.kept[1]["review_id"] == trained["review_id"] != done.kept[0]["review_id"]


def test_row_groups_are_full_across_files_and_the_same_bytes_again(read, tmp_path, monkeypatch):
    monkeypatch.setattr(unlabelled, "SHARD_REVIEWS", 4)
    for name, count in (("a", 3), ("b", 9), ("c", 1)):
        lines = [json.dumps({"review_body": f"{name}{number}"}) for number in range(count)]
        written(tmp_path / f"{name}.jsonl", "\n".join(lines))
    done = read(tmp_path)
    sizes = [done.file.metadata.row_group(n).num_rows for n in range(done.file.num_row_groups)]
    assert sizes == [4, 4, 4, 1]
    assert [row["review_body"] for row in done.kept][2:5] == ["a2", "b0", "b1"]
    assert read(tmp_path).bytes == done.bytes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("review_body\n", "has a header and no rows"),
        ("review_body\n \n", r"1 of the 1 rows .* 1 x review text is empty, first in line 2"),
        ("review_body,x\na,1\n,2\n,3\n", r"2 of the 3 rows .*allow more with max_rejected_share"),
        ("comment\nSoft\n", r"no column 'Review Text'.*COLUMNS='review_body=comment'"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence_and_nothing_written(read, tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read(written(tmp_path / "a.csv", content))
    assert not (tmp_path / "out" / "reviews").exists()


def test_an_empty_folder_and_a_file_that_is_no_parquet_are_named(read, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no review file"):
        read(tmp_path / "empty")
    with pytest.raises(UserError, match=r"x\.parquet is not a readable Parquet file"):
        read(written(tmp_path / "x.parquet", "no"))
