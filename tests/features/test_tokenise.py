import shutil
from contextlib import nullcontext
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.features import tokenise
from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.errors import UserError
from components.shared.records.text import TEXT_RULE_VERSION, model_text

MAX_TOKENS = 12


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return tokenise.ReviewTokenizer(str(tiny_bert), MAX_TOKENS)


@cache
def _loaded(folder):
    return tokenise.ReviewTokenizer(str(folder), MAX_TOKENS), load_tokenizer(str(folder))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(st.text(max_size=80), max_size=9))
def test_a_batch_equals_row_by_row_encoding(tiny_bert, texts):
    tokenizer, slow = _loaded(tiny_bert)
    ours, truncated = tokenizer.encode(texts)
    whole = [slow(text)["input_ids"] for text in texts]
    expected = [slow(text, truncation=True, max_length=MAX_TOKENS)["input_ids"] for text in texts]
    assert ours.to_pylist() == expected
    assert truncated.tolist() == [len(ids) > MAX_TOKENS for ids in whole]
    assert ours.type == pa.list_(pa.int32())
    assert tokenizer.encode(texts)[0].equals(ours)


@pytest.mark.parametrize("model", ["minilm", "tiny"])
def test_word_by_word_equals_the_tokenizer_on_whole_texts(model, tiny_bert):
    texts = [
        "",
        "  two  spaces ",
        "I'm 5'4\" -- it's [MASK] soft[SEP] good\tgreat\x1cline\x85next\u2003em\u00a0nbsp",
        "中文 dress É e\u0301 \u0301x ΣΑΣ İstanbul \x00nul \u200bzero 😀😀",
        "x" * 50_000,
        "a.b," * 5_000,
        "good " * 500,
        "[CLS] [PAD] [UNK] ##s",
    ]
    tokenizer = tokenise.ReviewTokenizer(model if model == "minilm" else str(tiny_bert), 32)
    assert tokenizer._frame is not None
    fast, cut = tokenizer.encode(texts)
    tokenizer._frame = None
    plain, cut_plainly = tokenizer.encode(texts)
    assert fast.to_pylist() == plain.to_pylist()
    assert len(plain[0]) == 2 < len(plain[6]) == 32  # cut, and not padded
    assert cut.tolist() == cut_plainly.tolist()
    assert cut.any()


def test_a_tokenizer_that_reads_across_spaces_is_left_alone():
    from tokenizers import Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.BPE(vocab={"a": 0, "Ġ": 1}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert tokenise._frame_of_word_pieces(core) is None


def test_the_file_holds_each_review_whatever_the_batch(
    tokenizer, make_prepared, tmp_path, monkeypatch
):
    prepared = make_prepared(rows=50)
    whole = tokenise.tokenise_reviews(prepared, tokenizer, tmp_path / "whole.parquet")
    monkeypatch.setattr(tokenise, "BATCH_ROWS", 7)
    parts = tokenise.tokenise_reviews(prepared, tokenizer, tmp_path / "parts.parquet")
    written, again = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    assert written.equals(again)
    for name in ("rows", "tokens", "truncated"):
        assert getattr(whole, name) == getattr(parts, name)
    assert written.schema.equals(tokenise.TOKENS_SCHEMA)
    assert whole.tokens == sum(written["n_tokens"].to_pylist())
    reviews = pq.read_table(prepared).to_pylist()
    for review, row in zip(reviews, written.to_pylist(), strict=True):
        ids, cut = tokenizer.encode([model_text(review["title"], review["review_body"])])
        tokens = {"input_ids": ids[0].as_py(), "n_tokens": len(ids[0]), "truncated": cut[0]}
        assert row == {name: review[name] for name in ("review_id", "event_timestamp")} | tokens


def test_the_fingerprint_follows_the_limit_and_the_vocabulary(tiny_bert, tmp_path):
    def fingerprint(folder, limit=12):
        return tokenise.ReviewTokenizer(str(folder), limit).fingerprint

    assert fingerprint(tiny_bert) == fingerprint(tiny_bert) != fingerprint(tiny_bert, 13)
    other = shutil.copytree(tiny_bert, tmp_path / "other")
    tokenizer = load_tokenizer(str(tiny_bert))
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(other)
    assert fingerprint(other) != fingerprint(tiny_bert)


def test_a_changed_text_rule_needs_a_new_version():
    pairs = [(None, "b"), ("t", None), ("t", "b"), ("t!", "b"), (" t ", " b\n"), ("", " ")]
    pairs += [("é…", "b")]
    texts = "\0".join(model_text(*pair) for pair in pairs)
    known = {"1": "b\0t\0t. b\0t! b\0t. b\0\0é… b"}
    remedy = "model_text changed: raise TEXT_RULE_VERSION, or published features keep the old text"
    assert texts == known[TEXT_RULE_VERSION], remedy


@pytest.mark.parametrize(("limit", "words"), [(2, "no room"), (65, "at most 64")])
def test_an_impossible_limit_is_refused(tiny_bert, limit, words):
    with pytest.raises(UserError, match=words):
        tokenise.ReviewTokenizer(str(tiny_bert), limit)


def test_a_file_that_is_not_parquet_raises_an_error(tokenizer, tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    for name, words in (("x", "is not a Parquet file"), ("none", "does not exist")):
        with pytest.raises(UserError, match=rf"{name}\.parquet {words}"):
            tokenise.tokenise_reviews(tmp_path / f"{name}.parquet", tokenizer, tmp_path / "t")


@pytest.mark.parametrize(
    ("ids", "n_tokens", "words"),
    [
        ([[1, 2], None], [2, 0], "review b of here has no input_ids"),
        ([[1, 2], []], [2, 0], "review b of here has not 1 to 3 tokens"),
        ([[1, 2, 3, 4], [1]], [4, 1], "review a of here has not 1 to 3 tokens"),
        ([[1, 2], [3]], [2, 2], "review b of here has an n_tokens"),
        ([[1, 2], [3]], [2, None], "review b of here has an n_tokens"),
        ([[1, 2], [9, 10]], [2, 2], "review b of here has a token id outside"),
        ([[-1], [9]], [1, 1], "review a of here has a token id outside"),
        ([[1], [2, None]], [1, 2], "review b of here has a token id outside"),
        ([[0, 9, 3]], [3], ""),
        ([], [], ""),
    ],
)
def test_wrong_tokens_raise_an_error(ids, n_tokens, words):
    table = pa.table(
        {
            "review_id": list("ab"[: len(ids)]),
            "input_ids": pa.array(ids, pa.list_(pa.int32())),
            "n_tokens": pa.array(n_tokens, pa.int32()),
        }
    )
    with pytest.raises(UserError, match=words) if words else nullcontext():
        tokenise.check_tokens(table, vocab_size=10, max_tokens=3, source="here")
