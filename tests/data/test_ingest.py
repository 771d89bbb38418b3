import bz2
import gzip
import json
import lzma
import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import batches, readers
from components.data.ingest import ID_TAKEN, UNDATED
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, write_json
from components.shared.records.forgotten import note_of
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA
from tests.data.conftest import as_csv, kaggle_row


def test_kaggle_layout_becomes_review_records(run_ingest):
    done = run_ingest(as_csv(kaggle_row('He said "wow", twice.\nThen left.', "4.0")))
    (row,) = done.kept
    assert row.pop("review_id")
    text = {"review_body": 'He said "wow", twice.\nThen left.', "title": "Nice"}
    product = {"product_category": "Knits", "clothing_id": "7", "department": "Tops"}
    judged = {"rating": 4, "sentiment": 1, "recommended": 1, "positive_feedback_count": 0}
    about = {"age": 40, "division": "General", "event_timestamp": UNDATED}
    assert row == text | product | judged | about
    assert pq.read_schema(done.paths[0]).equals(REVIEW_SCHEMA)
    assert done.summary.files[0]["ignored"] == [""]


def test_course_layout_has_sentiment_without_rating(run_ingest):
    text = "review_body,product_category,sentiment\nLovely,Blouses,1\nAwful,Pants,-1\nSo so,,0\n"
    kept = run_ingest(text).kept
    assert [(r["sentiment"], r["rating"]) for r in kept] == [(1, None), (-1, None), (0, None)]
    assert kept[2]["product_category"] is None


def test_given_ids_and_times_stay_and_an_id_identifies_one_review(run_ingest):
    done = run_ingest(
        "review_id,review_body,rating,event_timestamp\na,Good,5,2024-02-03\n"
        "a,Bad,1,\na,Good,5,2024-02-03\nb,Good,5,2024-02-03T04:05:06+02:00\nc,So so,3,\n"
    )
    times = datetime(2024, 2, 3, tzinfo=UTC), datetime(2024, 2, 3, 2, 5, 6, tzinfo=UTC), UNDATED
    kept = {row["review_id"]: row["event_timestamp"] for row in done.kept}
    assert kept == dict(zip("abc", times, strict=True))
    assert done.summary.duplicates == 1
    assert [(r["line"], r["reason"]) for r in done.rejected] == [(3, ID_TAKEN)]
    # Without one, duplicates differ in nothing but the row number.
    rows = [kaggle_row("One", number=1), kaggle_row("One", number=2)]
    done = run_ingest(as_csv(*rows, kaggle_row("One", "4")))
    assert (done.summary.rows_kept, done.summary.duplicates) == (2, 1)


def test_every_formats_rows_are_the_same_data(run_ingest, tmp_path):
    header = ["review_body", "rating", "age", "title"]
    rows = [["Größe passt 😍", 5, 30, ""], ['Two\nlines, "quoted"', 2, "", "No"]]
    values = [[None if value == "" else value for value in row] for row in rows]
    records = [dict(zip(header, row, strict=True)) for row in values]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    table = pa.Table.from_pylist(records)
    pq.write_table(table, tmp_path / "a.parquet")
    floats = table.set_column(1, "rating", table["rating"].cast(pa.float64()))
    pq.write_table(floats, tmp_path / "b.parquet")
    csv_text = as_csv(*rows, header=header)
    contents = {
        "a.csv": csv_text,
        "crlf.csv": csv_text.replace("\n", "\r\n"),
        "reversed.csv": as_csv(*rows[::-1], header=header),
        "doubled.csv": as_csv(*rows, rows[0], header=header),
        "columns.csv": as_csv(*(r[::-1] for r in rows), header=header[::-1]),
        "a.tsv": as_csv(*rows, header=header, delimiter="\t"),
        "bom.csv": "\ufeff" + csv_text,
        "utf16.csv": csv_text.encode("utf-16"),
        "a.csv.gz": gzip.compress(csv_text.encode()),
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines.encode()),
        **{name: tmp_path / name for name in ("a.parquet", "b.parquet")},
    }
    made = [run_ingest(content, name) for name, content in contents.items()]
    assert len({done.summary.fingerprint for done in made}) == 1
    assert len({frozenset(row["review_id"] for row in done.kept) for done in made}) == 1


def test_a_folder_of_two_layouts_is_one_data_set(run_ingest, tmp_path):
    folder = tmp_path / "parts.csv"  # a folder may well be called like a file
    folder.mkdir()
    (folder / "b.csv").write_text("review_body,product_category,sentiment\nLovely,Tops,1\n,,1\n")
    (folder / "a.csv").write_text(as_csv(kaggle_row("Good")))
    (folder / "c.tsv").write_text("review_body\trating\n")
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden.csv").write_text("x\n")
    (folder / "notes.txt").write_text("not data")
    done = run_ingest(folder)
    assert [row["review_body"] for row in done.kept] == ["Good", "Lovely"]
    assert [Path(f["name"]).name for f in done.summary.files] == ["a.csv", "b.csv", "c.tsv"]
    assert [(Path(r["source"]).name, r["line"]) for r in done.rejected] == [("b.csv", 3)]


MARKS = "a" + "\u0301\u200b" * 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *(({"Rating": x}, "rating") for x in ("0", "6", "3.5", "five", "1e0", "9" * 40, "٣")),
        *(({"Review Text": x}, "text is empty") for x in ("", " \t\n\u00a0 ", "\u200b\ufeff\a")),
        ({"Review Text": "x" * 100_001}, "longer than 100,000"),
        ({"Review Text": "nul\0byte"}, "NUL"),
        ({"Title": "nul\0byte"}, "NUL"),
        *(({name: "x" * 1_001}, "longer than 1,000") for name in ("Title", "Class Name")),
        *(({name: MARKS}, "combining marks") for name in ("Title", "Review Text")),
        *(({"Age": x}, "age") for x in ("old", "-1", "40.5")),
        ({"Recommended IND": "2"}, "recommended"),
        ({"Positive Feedback Count": "99999999999"}, "positive feedback"),
    ],
)
def test_a_bad_value_costs_its_row_alone(run_ingest, change, reason):
    done = run_ingest(as_csv(kaggle_row("First"), kaggle_row(**change), kaggle_row("Last")))
    assert [row["review_body"] for row in done.kept] == ["First", "Last"]
    (rejected,) = done.rejected
    assert reason in rejected["reason"]
    assert rejected["line"] == 3
    assert json.loads(rejected["record"])["Division Name"] == "General"
    summary = read_json(done.paths[2])
    assert summary["reasons"] == {rejected["reason"]: 1}
    assert summary["examples"][0]["line"] == 3
    assert summary["profile"]["text_length"]["quantiles"]["p100"] == 5


def test_odd_reviews_stay_as_they_are(run_ingest):
    odd = [
        "😍😍👩\u200d👧",
        "<p>Nice &amp; <b>soft</b><br/></p>",
        "x" * 50_000,
        "ok",
        "!!!",
        "'; --",
    ]
    kept = run_ingest(as_csv(*map(kaggle_row, odd))).kept
    assert [row["review_body"] for row in kept] == odd


def test_rating_against_sentiment_is_rejected(run_ingest):
    text = "review_body,rating,sentiment\na,5,1\nb,5,-1\nc,3,0\nd,,-1\ne,2,\nf,2,x\n"
    done = run_ingest(text)
    assert "".join(f"{r['review_body']}{r['sentiment']} " for r in done.kept) == "a1 c0 d-1 e-1 "
    assert [r["line"] for r in done.rejected] == [3, 7]
    assert "contradicts" in done.rejected[0]["reason"]
    assert "sentiment is not" in done.rejected[1]["reason"]


def test_reviews_to_be_predicted_need_no_label(run_ingest):
    (row,) = run_ingest("review_body\nNice\n", labels_required=False).kept
    assert (row["rating"], row["sentiment"]) == (None, None)
    assert run_ingest(as_csv(kaggle_row(rating=""))).kept[0]["sentiment"] is None


def test_bytes_that_are_not_utf8_cost_their_row_alone(run_ingest):
    good = as_csv(kaggle_row("Gööd")).encode()
    done = run_ingest(good + ",".join(kaggle_row("Größe")).encode("latin-1") + b"\n")
    assert len(done.kept) == 1
    (rejected,) = done.rejected
    assert (rejected["line"], rejected["reason"]) == (3, batches.NOT_UTF8)
    assert json.loads(rejected["record"])["Review Text"] == "Gr\\xf6\\xdfe"


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "a.csv", "empty"),
        ("\n\n", "a.csv", "empty"),
        ("", "a.jsonl", "empty"),
        ("\n", "a.jsonl", "empty"),
        (as_csv(), "a.csv", "no rows"),
        ("Title,Rating\nx,5\n", "a.csv", "no column 'Review Text' .*'Title', 'Rating'"),
        ("Review Text,Stars\nx,5\n", "a.csv", "no column 'Rating' .*'Stars'"),
        ("Review Text,Rating\nx,five\n", "a.csv", "1 of the 1 rows.*rating.*line 2"),
        ("x" * 3_000_000, "a.csv", "header in line 1.*too long"),
        ('"Review Text,Rating\nx,5\n', "a.csv", "header in line 1.*quote"),
        (",".join(f"c{i}" for i in range(9_999)) + "\n", "a.csv", "and 9979 more"),
        ("Größe,日本\nx,5\n".encode().replace("ö".encode(), b"\xf6"), "a.csv", "UTF-8 text.*xf6"),
        (as_csv(kaggle_row()).encode("utf-16-le"), "a.csv", "UTF-16 without"),
        ("Review Text,Rating\nx,5\n".encode("utf-16")[:-1], "a.csv", "save it as UTF-8"),
        ("[\n{}]", "a.json", "JSON array"),
        ("5\n", "a.jsonl", "no JSON object: line 1.*one object per line"),
        ("Review Text^Rating\n", "a.csv", "separate them by a comma, a semicolon, | or a tab"),
        ('{"text": "x"}\n', "a.jsonl", "no column 'Review Text'.*'text'"),
        ("PAR1 but not really", "a.parquet", "not a readable Parquet"),
        ("", "a.parquet", "not a readable Parquet"),
        (gzip.compress(as_csv(kaggle_row()).encode() * 500)[:-40], "a.csv.gz", "incomplete"),
        (b"\x1f\x8bReview Text,Rating", "a.csv.gz", "cannot be read.*check it"),
        (b"PK\x03\x04 xl", "a.csv", "Excel workbook or zip archive; save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0 xls", "a.csv", "an old Excel workbook"),
        (b"PAR1 and more", "a.csv", "a Parquet file; give it a name"),
        ("\n<!DOCTYPE html><p>Sign in</p>", "a.csv", "web page; give the address of the file"),
        ("\n\n[\n{}]", "a.jsonl", "JSON array; write one object per line, as .jq -c"),
        ("hello", "a.docx", "unknown kind.*.parquet"),
        ("hello", "a.parquet.gz", "decompress"),
    ],
)
def test_unusable_files_raise_an_error_with_the_remedy(run_ingest, content, name, words):
    with pytest.raises(UserError, match=rf"(?s){words}") as caught:
        run_ingest(content, name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


RUSSIAN = "Очень хорошее платье, сидит отлично"


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("Größe paßt", "utf-8", "utf-8"),
        ("Größe paßt", "utf-8-sig", "utf-8-sig"),
        ("Größe paßt", "latin-1", "cp1252"),
        ("it\u2019s \u201cnice\u201d €5", "cp1252", "cp1252"),
        (RUSSIAN, "utf-16", "utf-16"),
    ],
)
def test_common_encodings_are_read_and_named(run_ingest, caplog, text, encoding, named):
    rows = [kaggle_row("plain ASCII first")] * 30_000 + [kaggle_row(text)]
    done = run_ingest(as_csv(*rows).encode(encoding))
    assert done.kept[-1]["review_body"] == text
    assert done.summary.files[0]["encoding"] == named
    assert ("read as cp1252" in caplog.text) == (named == "cp1252")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        ("とても良い", "shift_jis"),
        ("Größe paßt schön", "cp850"),
        ("była zła, ciągle żółta", "cp1250"),
    ],
)
def test_other_alphabets_in_other_encodings_are_refused_whole(run_ingest, text, encoding):
    rows = (kaggle_row(f"{text} and some words of plain English {i}") for i in range(50))
    content = as_csv(*rows).encode(encoding)
    with pytest.raises(UserError, match=r"50 of the 50 .*UTF-8.*save the file as UTF-8"):
        run_ingest(content, max_rejected_share=0.2)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_packed_files_are_read_whatever_they_are_called(run_ingest, pack, name):
    content = as_csv(kaggle_row("Größe")).encode("latin-1")
    assert run_ingest(pack(content), name).kept == run_ingest(content, name).kept


def test_more_rejected_rows_than_allowed_end_it_with_the_reasons(run_ingest, tmp_path):
    rows = [kaggle_row(f"Text {i}") for i in range(8)]
    rows += [kaggle_row(), kaggle_row("sold  by\nweight", "4,5")]
    assert run_ingest(as_csv(*rows), max_rejected_share=0.1).summary.quarantined == 1
    before = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    with pytest.raises(UserError) as caught:
        run_ingest(as_csv(*rows), max_rejected_share=0.09)
    for words in (
        "1 of the 10 rows of",
        "share of 0.09 that is allowed: 1 x rating is not a whole number from 1 to 5, first in "
        "line 11 of",
        "COLUMNS='sentiment=score'",
    ):
        assert words in str(caught.value)
    assert before == [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
    with pytest.raises(UserError, match="max_rejected_share is 20; choose one from 0 to 1"):
        run_ingest(as_csv(*rows), max_rejected_share=20)


def test_columns_are_read_by_the_names_given(run_ingest):
    done = run_ingest(
        "text;label;when;shop\nGut;pos;2024-02-03;A\nSchlecht;neg;;B\n",
        columns="review_body=text sentiment=label event_timestamp=when",
        labels=LabelSet.parse("negative=neg positive=pos"),
    )
    assert [(row["review_body"], row["sentiment"]) for row in done.kept] == [
        ("Gut", 1),
        ("Schlecht", 0),
    ]
    assert done.kept[0]["event_timestamp"] == datetime(2024, 2, 3, tzinfo=UTC)
    (file,) = done.summary.files
    assert (file["ignored"], file["separator"]) == (["shop"], ";")


def test_zero_and_one_are_never_taken_for_classes_by_guess(run_ingest):
    rows = "".join(f"Text {i},{i % 2}\n" for i in range(20)) + "Odd,unknown\n"
    with pytest.raises(UserError, match=r"0 and 1 but no -1.*LABELS='negative=0 positive=1'"):
        run_ingest("review_body,sentiment\n" + rows)


def test_batches_and_errors_change_nothing(run_ingest, tmp_path, monkeypatch):
    rows = [kaggle_row(f"Text {i % 40}", str(i % 7)) for i in range(100)]
    whole = run_ingest(as_csv(*rows))
    monkeypatch.setattr(readers, "MAX_BATCH_ROWS", 7)
    assert run_ingest(as_csv(*rows)) == whole
    before = [path.read_bytes() for path in whole.paths]
    with pytest.raises(UserError):
        run_ingest("Review Text,Rating\nx,five\n")
    assert [path.read_bytes() for path in whole.paths] == before
    assert set((tmp_path / "out").iterdir()) == set(whole.paths)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ratings = st.sampled_from(["1", "3", "5", "", "0", "five", "2.0"])
_shared = [HealthCheck.function_scoped_fixture]


@given(rows=st.lists(st.tuples(_texts, _ratings), max_size=30), batch=st.integers(1, 5))
@settings(max_examples=12, deadline=None, suppress_health_check=_shared)
def test_every_row_is_accounted_for_with_its_line(run_ingest, monkeypatch, rows, batch):
    monkeypatch.setattr(readers, "MAX_BATCH_ROWS", batch)
    written = [kaggle_row("Anchor", "5"), *(kaggle_row(text, rating) for text, rating in rows)]
    content = as_csv(*written)
    done = run_ingest(content)
    assert done.summary.rows_in == len(written)
    expected, line = {}, 2
    for row in written:
        expected[line] = row
        line += len(re.findall("\r\n|\r|\n", as_csv(row).split("\n", 1)[1]))
    for rejected in done.rejected:
        *_, text, rating = expected[rejected["line"]][:6]
        visible = any(c.isprintable() and not c.isspace() for c in text) and "\0" not in text
        assert rating in ("0", "five") or not visible
    again = run_ingest(as_csv(*written[::-1]))
    assert again.summary.fingerprint == done.summary.fingerprint


def test_the_fingerprint_changes_with_any_value(run_ingest):
    def fingerprint(*more):
        return run_ingest(as_csv(kaggle_row("One"), *more)).summary.fingerprint

    two = kaggle_row("Two")
    others = [[kaggle_row("Two!")], [kaggle_row("Two", "4")], [kaggle_row("Two", Title="")]]
    others += [[], [kaggle_row("Two", Age="41")], [two, kaggle_row("Three")]]
    assert len({fingerprint(two), *(fingerprint(*more) for more in others)}) == 7
    assert fingerprint(two, kaggle_row("", "9")) == fingerprint(two)


def test_a_review_that_was_deleted_on_request_is_left_out_and_counted(
    run_ingest, monkeypatch, tmp_path
):
    monkeypatch.setenv("LOCAL_STATE", str(tmp_path / "state"))
    content = as_csv(kaggle_row("Too small.", number=1), kaggle_row("Lovely.", number=2))
    whole = run_ingest(content)
    assert whole.summary.forgotten == 0
    write_json(note_of(whole.kept[0]["review_id"]), {})
    left = run_ingest(content)
    assert [row["review_body"] for row in left.kept] == ["Lovely."]
    assert (left.summary.rows_in, left.summary.forgotten) == (2, 1)
