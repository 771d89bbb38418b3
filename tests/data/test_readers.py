import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import batches, lines, parquet, readers
from components.data.headers import Columns
from components.data.readers import read_batches
from components.data.sources import find_sources
from components.shared.machine.errors import UserError
from tests.data.conftest import as_csv

PREDICTED = Columns(label_fields=())


@pytest.fixture
def read(tmp_path):
    def run(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        rows, rejected = [], []
        (source,) = find_sources(str(path))
        for _, batch in read_batches(source, PREDICTED):
            rows += zip(batch.lines, batch.columns["review_body"].to_pylist(), strict=True)
            rejected += [(r.line, r.reason) for r in batch.rejected]
            assert all(isinstance(json.loads(r.record), dict) for r in batch.rejected)
        return rows, rejected

    return run


HEAD, BAD = "review_body,rating\n", lines.BAD_QUOTE


@pytest.mark.parametrize(
    ("content", "rows", "rejected"),
    [
        ('"a\nb\nc",5\nd,4\n', [(2, "a\nb\nc"), (5, "d")], []),
        ('"say ""hi""",5\n', [(2, 'say "hi"')], []),
        ("a,5\r\nb,5\rc,5\nd,5", [(2, "a"), (3, "b"), (4, "c"), (5, "d")], []),
        ("\n\na,5\n\n\nb,5\n", [(4, "a"), (7, "b")], []),
        ("it is 5'8\" long,5\nb,5\n", [(2, "it is 5'8\" long"), (3, "b")], []),
        ('"a,5\nb,5\nc,5\n', [(3, "b"), (4, "c")], [(2, BAD)]),
        ('a,5\n"b,5\n"c, too",5\nd,5\n', [(2, "a"), (4, "c, too"), (5, "d")], [(3, BAD)]),
        ('"a,5\nb,""\nc,5\n"d",4\n', [(3, "b"), (4, "c"), (5, "d")], [(2, BAD)]),
        ('"a" b,5\nc,5\n', [(3, "c")], [(2, BAD)]),
        ('"a,5\n"b,5\n"c,5\nd,5\n', [(5, "d")], [(2, BAD), (3, BAD), (4, BAD)]),
        ("a\nb,5\nc,5,6\n", [(3, "b")], [(2, readers.FEWER), (4, readers.MORE)]),
        ("a,5\nb,5,\n", [(2, "a")], [(3, readers.MORE)]),
        ("a\0b,5\nc,5\n", [(3, "c")], [(2, batches.HOLDS_NUL)]),
    ],
)
def test_csv_records_start_on_their_lines(read, content, rows, rejected):
    assert read(HEAD + content) == (rows, rejected)


def test_an_unclosed_quote_at_the_top_of_a_long_file_loses_one_row(read):
    body = "".join(f"text {i},5\n" for i in range(3 * lines.MAX_RECORD_LINES))
    rows, rejected = read(f'{HEAD}"open,5\n{body}')
    assert rejected == [(2, BAD)]
    assert len(rows) == 3 * lines.MAX_RECORD_LINES
    assert rows[-1] == (2 + len(rows), f"text {len(rows) - 1}")


def test_a_line_without_end_is_cut_and_passed_over(read, monkeypatch):
    monkeypatch.setattr(lines, "MAX_RECORD_CHARACTERS", 1_000)
    rows, rejected = read(f'{HEAD}a,5\n{"x" * 5_000},5\nb,5\n"{"y" * 900}\n{"z" * 900}",5\nc,5\n')
    assert [row for row in rows if len(row[1]) < 10] == [(2, "a"), (4, "b"), (7, "c")]
    assert rejected[0] == (3, lines.TOO_LONG)


@pytest.mark.parametrize("seed", range(30))
def test_damage_at_random_never_hides_a_whole_row(read, seed):
    rng = random.Random(seed)
    good = [f'"row {i}, ""quoted""\nsecond line",5\n' for i in range(30)]
    where = rng.randrange(30)
    junk = rng.choice(['"open,5\n', 'x"y"z\n', '"a"b,5\n', "1,2,3,4\n", '"\n', '""",5\n', ",\n\n"])
    content = HEAD + "".join(good[:where]) + junk + "".join(good[where:])
    rows, _ = read(content)
    texts = [text for _, text in rows]
    # Those before stand all; after the damage reading has to catch up within a row.
    whole = [f'row {i}, "quoted"\nsecond line' for i in range(30)]
    assert texts[:where] == whole[:where]
    assert len([text for text in texts if text in whole[where:]]) >= 30 - where - 1


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_says_what_separates_the_columns(read, separator, name):
    row = f'"a,b;c\td|e"{separator}5\n'
    for before, line in (("", 2), ("\n\n", 4), (f"sep={separator}\n", 3)):
        content = f"{before}review_body{separator}My, own; col|umn\tx\n".replace(
            "My, own; col|umn\tx", '"My, own; col|umn\tx"'
        )
        assert read(content + row, name) == ([(line, "a,b;c\td|e")], [])


@given(
    separator=st.sampled_from(lines.SEPARATORS),
    others=st.lists(st.text('ab ,;|\t"', max_size=8), max_size=4),
    place=st.integers(0, 4),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_separator_is_found_whatever_the_other_columns_are_called(read, separator, others, place):
    place = min(place, len(others))
    header = [*others[:place], "Review Text", *others[place:], "Rating"]
    values = [*others[:place], "Nice", *others[place:], "5"]
    assert read(as_csv(values, header=header, delimiter=separator))[0][0][1] == "Nice"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops", readers.NOT_JSON),
        ("[1]", readers.NOT_AN_OBJECT),
        ("3", readers.NOT_AN_OBJECT),
        ('{"review_body": ["a"]}', readers.NOT_PLAIN),
        ('{"review_body": {"a": 1}}', readers.NOT_PLAIN),
        ('{"review_body": "a\\u0000b"}', batches.HOLDS_NUL),
        ('{"review_body": "a\\ud800b"}', batches.NOT_UTF8),
        ('{"review_body": "\udce9"}', batches.NOT_UTF8),
        ("[" * 100_000, readers.NOT_JSON),
        ('{"rating": ' + "9" * 5_000 + "}", readers.NOT_JSON),
    ],
)
def test_bad_json_costs_its_line_alone(read, line, reason):
    content = f'{{"review_body": "først"}}\n\n{line}\n{{"rating": 5, "review_body": "last"}}\n'
    found = read(content.encode("utf-8", "surrogateescape"), "a.jsonl")
    assert found == ([(1, "først"), (4, "last")], [(3, reason)])


def test_json_values_become_the_text_that_csv_would_hold(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"review_body": 5, "rating": 4.0, "recommended": true, "age": NaN, "extra": [1]}\n'
        '{"review_body": "x", "title": null}\n{"review_body": "y", "title": "T"}\n'
    )
    ((layout, batch),) = read_batches(find_sources(str(path))[0], Columns())
    rows = [{"review_body": "5", "rating": "4.0", "recommended": "true"}]
    rows += [{"review_body": "x"}, {"review_body": "y", "title": "T"}]
    for name in ("review_body", "rating", "recommended", "age", "title"):
        assert batch.columns[name].to_pylist() == [row.get(name) for row in rows]
    assert layout.ignored == ["extra"]


def test_parquet_rows_are_numbered_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "PART_ROWS", 2)
    table = pa.table({"review_body": [f"t{i}" if i != 5 else "a\0b" for i in range(9)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    source = find_sources(str(tmp_path / "a.parquet"))[0]
    made = [batch for _, batch in read_batches(source, PREDICTED)]
    assert [line for b in made for line in b.lines] == [1, 2, 3, 4, 5, 7, 8, 9]
    (rejected,) = (r for b in made for r in b.rejected)
    assert (rejected.line, rejected.reason) == (6, batches.HOLDS_NUL)
    late = next(b for b in made if 7 in b.lines)
    assert json.loads(late.raw(late.lines.index(7))) == {"review_body": "t6"}


def test_parquet_text_that_is_not_utf8_costs_its_row_alone(tmp_path):
    texts = [b"Gr\xc3\xb6\xc3\x9fe", b"Gr\xf6\xdfe", None, b"fine"]
    nulls, offsets, data = pa.array(texts, pa.binary()).buffers()
    damaged = pa.StringArray.from_buffers(4, offsets, data, nulls)
    rows = {"review_body": damaged, "shop": damaged, "rating": [1, 2, 3, 4]}
    for changed in ({}, {"review_body": pa.array(texts, pa.binary())}):
        pq.write_table(pa.table(rows | changed), tmp_path / "a.parquet")
        ((_, batch),) = read_batches(find_sources(str(tmp_path / "a.parquet"))[0], Columns())
        assert batch.columns["review_body"].to_pylist() == ["Größe", None, "fine"]
        (rejected,) = batch.rejected
        assert (rejected.line, rejected.reason) == (2, batches.NOT_UTF8)
        record = {"review_body": "Gr\\xf6\\xdfe", "shop": "Gr\\xf6\\xdfe", "rating": 2}
        assert json.loads(rejected.record) == record


def test_parquet_lists_are_refused_by_column(tmp_path):
    pq.write_table(pa.table({"review_body": ["a"], "Rating": [[5]]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="lists or structs in column 'Rating'"):
        list(read_batches(find_sources(str(tmp_path / "a.parquet"))[0], Columns()))


def test_memory_is_bounded_by_characters_too(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_BATCH_CHARACTERS", 10_000)
    path = tmp_path / "a.csv"
    path.write_text(HEAD + "".join(f"{'x' * 4_000}{i},5\n" for i in range(10)))
    sizes = [b.rows for _, b in read_batches(find_sources(str(path))[0], Columns())]
    assert sum(sizes) == 10
    assert max(sizes) <= 3
