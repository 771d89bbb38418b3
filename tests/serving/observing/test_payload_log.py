import hashlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.serving.observing import payload_log
from components.serving.observing.payload_rows import Asked
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS
from components.shared.records.masking import Masker
from components.shared.records.payloads import payload_schema, read_payloads
from components.shared.records.text_statistics import TEXT_STATISTICS
from tests.serving.observing.small_payload_log import CHANCES, files, ids, logged, opened, record

TEXTS = st.text(st.characters(), max_size=20)
CHANCE = st.floats(0, 1, width=32)
ASKED = st.builds(
    Asked, st.text(st.characters(), min_size=1), TEXTS, TEXTS, st.none() | st.integers(0, 512)
)
ROWS = st.tuples(ASKED, st.integers(0, 2), st.tuples(CHANCE, CHANCE, CHANCE), st.booleans())
ANSWERS = st.lists(st.tuples(TEXTS, st.lists(ROWS, max_size=4)), max_size=6)


def in_order(row):
    return sorted((name, repr(value)) for name, value in row.items())


@settings(max_examples=50, deadline=None)
# Lone surrogates have no UTF-8.
@example([("\ud800", [(Asked("a \udfff"), 1, (0.5, 0.25, 0.25), True)])], True, 1)
@given(ANSWERS, st.booleans(), st.integers(1, 8))
def test_what_is_recorded_is_read_back(answers, keep_texts, flush_rows):
    with tempfile.TemporaryDirectory() as folder:
        masker = Masker(None)
        log = opened(folder, masker=masker if keep_texts else None, flush_rows=flush_rows)
        expected = []
        for request_id, rows in answers:
            asked, classes, chances, cuts = map(list, zip(*rows, strict=True)) if rows else [[]] * 4
            log.record(request_id, asked, np.array(classes), np.array(chances), np.array(cuts))
            for position, (one, index, chances, cut) in enumerate(rows):
                known, key, category = (
                    part.encode("utf-8", "replace") for part in (one.text, one[1], one[2])
                )
                answer = {
                    "request_id": request_id.encode("utf-8", "replace").decode(),
                    **{"position": position, "model_name": "reviews", "model_version": "7"},
                    "text_sha256": hashlib.sha256(known).hexdigest(),
                    "text": masker.mask(known.decode()).text if keep_texts else None,
                    **{"label": SENTIMENTS.names[index], "truncated": cut},
                    "review_id": key.decode() or None,
                    "product_category": category.decode() or None,
                    "n_tokens": one.n_tokens,
                }
                names = ("p_negative", "p_neutral", "p_positive")
                expected.append(answer | dict(zip(names, chances, strict=True)))
        log.close()
        table = read_payloads(folder)
        assert table.schema == payload_schema()
        numbers = [field.name for field in TEXT_STATISTICS]
        found = table.drop_columns(["time", *numbers]).to_pylist()
        assert sorted(found, key=in_order) == sorted(expected, key=in_order)


def test_a_row_says_what_was_asked_and_how_it_is_written_without_the_text(tmp_path):
    log = opened(tmp_path)
    asked = [Asked("lovely lovely déjà vu", "r-7", "Dresses", 6), Asked("", "r-8", "", None)]
    log.record("a", asked, np.array([2, 0]), np.repeat(CHANCES, 2, axis=0), np.array([False] * 2))
    log.close()
    with_text, of_key = read_payloads(str(tmp_path)).to_pylist()
    assert (with_text["review_id"], with_text["product_category"]) == ("r-7", "Dresses")
    assert (with_text["n_tokens"], with_text["n_words"], with_text["text"]) == (6, 4, None)
    assert with_text["unknown_share"] == pytest.approx(2 / 4)
    assert with_text["function_word_share"] == 0
    assert with_text["non_ascii_share"] == pytest.approx(2 / 21)
    assert with_text["distinct_share"] == pytest.approx(3 / 4)
    assert of_key["text_sha256"] == hashlib.sha256(b"review_id=r-8").hexdigest()
    unknown = ("product_category", "text", "n_tokens", *(field.name for field in TEXT_STATISTICS))
    assert [of_key[name] for name in unknown] == [None] * len(unknown)


def test_kept_texts_are_masked_before_anything_is_on_disk_and_finds_are_counted(tmp_path):
    counted = []
    text = "lovely dress, mail to anna@mail.com or Zbigniew"
    log = opened(tmp_path, masker=Masker({"lovely", "dress"}), on_masked=counted.append)
    record(log, "a", text)
    log.close()
    (row,) = read_payloads(str(tmp_path)).to_pylist()
    assert row["text"] == "lovely dress, mail to [email] or [name]"
    assert row["text_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert counted[-1] == {"email": 1, "name": 1}


def test_a_file_has_the_schema_a_day_and_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTNAME", "predictor-0/../x")
    before = datetime.now(UTC)
    for _ in range(2):
        logged(tmp_path, "a")
    one, other = files(tmp_path)
    assert one.name != other.name
    assert re.fullmatch(r"\d{6}-predictor-0_.._x-[0-9a-f]{32}\.parquet", one.name)
    assert pq.read_schema(one).equals(payload_schema())
    (moment,) = pq.read_table(one, partitioning=None)["time"].to_pylist()
    assert before <= moment <= datetime.now(UTC)
    assert one.parent.name == f"date={moment.date()}"
    assert one.name.startswith(f"{moment:%H%M%S}-")


def test_what_arrow_imports_is_there_before_the_first_answer(tmp_path):
    code = """
import sys
from components.serving.observing.payload_log import PayloadLog
from components.serving.observing.payload_rows import PayloadRows

log = PayloadLog(sys.argv[1], PayloadRows("m", "1"))
log.close(60)
print("pyarrow.parquet" in sys.modules, "pandas" in sys.modules)
"""
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)])
    assert said.split() == [b"True", b"True"]
    assert files(tmp_path) == []


def test_the_days_of_a_batch_are_parted(tmp_path, monkeypatch):
    midnight = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 10**9
    moments = iter([midnight - 1000, midnight])
    monkeypatch.setattr(payload_log.time, "time_ns", lambda: next(moments))
    logged(tmp_path, "yesterday", "today")
    folders = [path.parent.name for path in files(tmp_path)]
    assert folders == ["date=2026-11-20", "date=2026-11-21"]
    assert ids(tmp_path) == ["yesterday", "today"]


def test_a_malformed_answer_costs_itself_alone_and_a_failing_metric_nothing(tmp_path):
    lost = []

    def dropped(rows):
        lost.append(rows)
        raise RuntimeError

    log = opened(tmp_path, on_dropped=dropped)
    log.record("a", [Asked("x"), Asked("y")], np.array([2]), CHANCES, np.array([False]))
    log.record("b", [None], np.array([2]), CHANCES, np.array([False]))
    log.record("c", [Asked("x")], object(), CHANCES, np.array([False]))
    log.record("d", [], np.array([]), np.empty((0, 3)), np.array([]))
    record(log, "e")
    log.close()
    assert lost == [2, 1, 1]
    assert ids(tmp_path) == ["e"]


def test_rows_that_do_not_fit_the_schema_end_nothing_nor_does_closing_twice(tmp_path, caplog):
    lost = []
    log = opened(tmp_path, flush_rows=1, on_dropped=lost.append)
    log.record("a", [Asked("x")], np.array([9]), CHANCES, np.array([False]))
    record(log, "b")
    log.close()
    log.close()
    record(log, "c")
    assert lost == [1, 1]
    assert "do not fit the schema" in caplog.text
    assert not log._answers
    assert ids(tmp_path) == ["b"]


def test_memory_of_the_engine_may_be_used_again(tmp_path):
    classes, chances = np.array([2]), CHANCES.copy()
    log = opened(tmp_path)
    log.record("a", [Asked("x")], classes, chances, np.array([False]))
    classes[:] = chances[:] = 0
    log.close()
    (row,) = read_payloads(str(tmp_path)).to_pylist()
    assert (row["label"], row["p_positive"]) == ("positive", pytest.approx(0.7))


def test_many_threads_lose_nothing(tmp_path):
    log = opened(tmp_path, flush_rows=50)
    names = [str(number) for number in range(800)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(record, log), names))
    log.close()
    assert sorted(ids(tmp_path)) == sorted(names)


def test_a_uri_that_cannot_be_used_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for uri, word in (
        ("unheard://of", "unheard"),
        (f"{tmp_path}/file/log", "file/log"),
        ("s3://key:secret@bucket/log", "password"),
    ):
        with pytest.raises(UserError, match=word) as refused:
            opened(uri)
        assert "secret" not in str(refused.value)
