"""What discovery says of a file is what ingest does with it."""

import gzip
import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import discover as tested
from components.data.discover import Column, discover
from components.data.ingest import ingest
from components.data.sources import SAMPLE
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet
from pipelines.running.discover import main

LONG = ("Lovely dress, soft fabric.", "The seam tore after two days.", "It is a dress after all.")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mixed"
    (made / "below").mkdir(parents=True)
    rows = [(LONG[i % 3] + f" No. {i}", i) for i in range(40)]

    def lines(name, head, row, encoding="utf-8"):
        text = "\n".join([*head, *(row(text, i) for text, i in rows)])
        (made / name).write_bytes(text.encode(encoding))

    lines("a.csv", ["text;stars;shop"], lambda t, i: f"{t};{1 + i % 5};Café", "cp1252")
    lines("b.tsv", ["comment\tlabel\tn"], lambda t, i: f"{t}\t{'good' if i % 3 else 'bad'}\t{i}")
    lines("c.jsonl", [], lambda t, i: json.dumps({"body": t, "target": i % 2, "tags": [t]}))
    (made / "below" / "d.csv.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    table = {"Review Text": [LONG[0]], "Rating": [5], "tags": [["x"]], "Age": [None]}
    pq.write_table(pa.table(table), made / "e.parquet")
    (made / "f.csv").write_bytes(b"PK\x03\x04 a workbook")
    (made / "g.txt").write_text("notes")
    (made / ".hidden.csv").write_text("x")
    return made


def found_in(folder):
    return {file.name.removeprefix(f"{folder}/"): file for file in discover(str(folder))}


def test_each_file_says_its_format_and_columns(folder):
    found = found_in(folder)
    names = "a.csv b.tsv below/d.csv.gz c.jsonl e.parquet f.csv g.txt"
    assert list(found) == names.split()
    a = found["a.csv"]
    assert (a.format, a.separator, a.encoding, a.rows) == ("csv", ";", "cp1252", 40)
    assert [(c.name, c.kind, c.read_as) for c in a.columns] == [
        ("text", "text", "review_body"),
        ("stars", "whole number", "rating"),
        ("shop", "text", ""),
    ]
    assert found["below/d.csv.gz"].rows == 1_500
    kinds = {column.name: column.kind for column in found["e.parquet"].columns}
    assert kinds == {"Review Text": "text", "Rating": "whole number"} | {
        "tags": "nested",
        "Age": "empty",
    }
    assert "Excel workbook" in found["f.csv"].problem
    assert "unknown kind" in found["g.txt"].problem


def test_what_it_proposes_is_what_ingest_needs(folder, tmp_path):
    found = found_in(folder)
    assert found["a.csv"].columns_option == "review_body=text rating=stars"
    assert found["b.tsv"].columns_option == "review_body=comment sentiment=label"
    assert found["b.tsv"].labels_option == "bad good"
    assert found["c.jsonl"].labels_option == "NAME=0 NAME=1"  # which is which, data do not say
    out = [tmp_path / name for name in ("reviews", "quarantine", "summary")]
    for name, file in found.items():
        if file.problem or "NAME" in file.labels_option:
            continue
        labels = LabelSet.parse(file.labels_option)
        done = ingest(file.name, *out, columns=file.columns_option, labels=labels)
        assert done.rows_in == file.rows, name


def test_columns_that_are_named_are_kept_and_a_missing_one_is_said(folder):
    (file,) = discover(str(folder / "a.csv"), columns="review_body=shop")
    assert [column.read_as for column in file.columns] == ["", "rating", "review_body"]
    assert file.columns_option == "review_body=shop rating=stars"
    (file,) = discover(str(folder / "a.csv"), columns="title=none")
    assert "has no column 'none'" in file.advice


def test_rows_that_cannot_be_read_are_counted_with_the_first(tmp_path):
    (tmp_path / "a.csv").write_text("Review Text,Rating\nGood one,5\nBad\nFine,3,4\n")
    (file,) = discover(str(tmp_path))
    assert (file.rows, file.unreadable, file.first_unreadable.line) == (1, 2, 3)


@pytest.mark.parametrize("first", ["5,A nice dress", "2024-01-02,A nice dress", f"{'x' * 80},y"])
def test_a_file_without_a_header_is_noticed(tmp_path, first):
    (tmp_path / "a.csv").write_text(f"{first}\n4,An awful dress\n")
    (file,) = discover(str(tmp_path))
    assert file.headless


def test_equal_names_and_late_keys_are_columns_of_their_own(tmp_path):
    (tmp_path / "a.csv").write_text("x,x,Review Text\n1,b,c\n")
    rows = [{"a": 1}] * 10_000 + [{"b": 2}, {"c": 3}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    twice, late = discover(str(tmp_path))
    assert [c.name for c in twice.columns] == ["x", "x (2)", "Review Text"]
    assert [(c.name, c.missing, c.values) for c in late.columns] == [
        ("a", 2, ["1"]),
        ("b", 10_001, ["2"]),
        ("c", 10_001, ["3"]),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=30), st.integers(1, 7))
def test_a_column_says_the_same_however_its_values_are_batched(values, size):
    whole, parts = Column("x"), Column("x")
    whole.add(pa.array(values, pa.string()), len(values))
    for start in range(0, len(values), size):
        some = values[start : start + size]
        parts.add(pa.array(some, pa.string()), len(some))
    assert whole == parts
    trimmed = pc.utf8_trim_whitespace(pa.array(values, pa.string()))
    assert whole.missing == sum(value in (None, "") for value in trimmed.to_pylist())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", None], "whole number"),
        (["1", "2.5e3", "  "], "number"),
        (["True", "no"], "yes or no"),
        (["2024-01-02", "2024-01-02T10:00:00Z"], "time"),
        (["1", "one"], "text"),
        ([None, " "], "empty"),
    ],
)
def test_the_kind_is_the_narrowest_that_fits_all(values, kind):
    column = Column("x")
    column.add(pa.array(values, pa.string()), len(values))
    assert column.kind == kind


def test_the_command_prints_what_to_type_and_nothing_that_moves_the_cursor(tmp_path, capsys):
    (tmp_path / "it's.csv").write_text(
        "x\x1b[2J,text,mark\n" + "".join(f"1,{LONG[i % 3]!r} \x1b[2J,{i % 2}\n" for i in range(8))
    )
    main([str(tmp_path)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "COLUMNS=review_body=text" not in shown  # there is no label to be found
    assert "no column 'Rating'" in shown
    with pytest.raises(SystemExit):
        main([""])
    assert "make discover DATA=" in capsys.readouterr().err


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"holds no files; name the folder that does"):
        discover(str(tmp_path))


def test_values_of_a_column_are_kept_up_to_a_bound(tmp_path):
    (tmp_path / "a.csv").write_text("n\n" + "\n".join(map(str, range(50_000))))
    (file,) = discover(str(tmp_path))
    assert len(file.columns[0].values) == tested.MOST_CLASSES + 1
