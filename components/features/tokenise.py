"""From review text to token ids: whole batches through the Rust tokenizer, in bounded memory."""

import contextlib
import hashlib
import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.errors import UserError
from components.shared.records.text import TEXT_RULE_VERSION, model_text

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

TOKENS_SCHEMA = pa.schema(
    [
        pa.field("review_id", pa.string(), nullable=False),
        pa.field("event_timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)
"""What tokenisation writes: token ids with special tokens, truncated, unpadded."""

BATCH_ROWS = 8192
"""Rows read, tokenised and written at a time."""


@dataclass(frozen=True)
class TokenCounts:
    """What a tokenisation run counted."""

    rows: int  # reviews
    tokens: int  # token ids, special tokens included
    truncated: int  # reviews that were longer than the limit
    seconds: float  # duration, reading and writing included


class ReviewTokenizer:
    """A base model's fast tokenizer, truncating at a limit and never padding."""

    def __init__(self, base_model: str, max_tokens: int) -> None:
        """Load the tokenizer of a base model, as `resolve_base_model` takes it.

        Raises:
            UserError: If the tokenizer cannot be loaded, or the limit leaves no room for text or
                is more than the model can read.
        """
        tokenizer = load_tokenizer(base_model)
        self._core = tokenizer.backend_tokenizer
        specials = self._core.num_special_tokens_to_add(is_pair=False)
        if max_tokens <= specials:
            raise UserError(
                f"max_tokens={max_tokens} leaves no room for text beside {specials} special "
                f"tokens; use at least {specials + 1}"
            )
        if max_tokens > tokenizer.model_max_length:
            raise UserError(
                f"max_tokens={max_tokens} is more than base model {base_model} can read; "
                f"use at most {tokenizer.model_max_length}"
            )
        self.base_model = base_model
        self.max_tokens = max_tokens
        self.vocab_size = self._core.get_vocab_size(with_added_tokens=True)
        # Everything that decides which ids a review gets.
        rule = f"\nmax_tokens={max_tokens}\ntext_rule={TEXT_RULE_VERSION}"
        self.fingerprint = hashlib.sha256((self._core.to_str() + rule).encode()).hexdigest()
        self._core.enable_truncation(max_tokens)
        self._frame = _frame_of_word_pieces(self._core)

    def encode(self, texts: list[str]) -> tuple[pa.ListArray, NDArray[np.bool_]]:
        """Token ids of each `model_text` [n] as list<int32> [n], and which were truncated [n]."""
        if self._frame is not None and texts:
            return self._encode_by_word(texts, *self._frame)
        encodings = self._core.encode_batch_fast(texts)
        lengths = np.fromiter(map(len, encodings), dtype=np.int32, count=len(texts))
        offsets = np.zeros(len(texts) + 1, dtype=np.int32)
        np.cumsum(lengths, out=offsets[1:])
        ids = itertools.chain.from_iterable(encoding.ids for encoding in encodings)
        values = np.fromiter(ids, dtype=np.int32, count=int(offsets[-1]))
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings], dtype=bool)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)), truncated

    def _encode_by_word(
        self, texts: list[str], first: int, last: int
    ) -> tuple[pa.ListArray, NDArray[np.bool_]]:
        """As `encode`, but each distinct word of the batch is tokenised once, between two ids.

        Reviews repeat themselves: a batch has some twenty times as many words as distinct ones.
        """
        import pyarrow.compute as pc

        split = pc.split_pattern(pa.array(texts, pa.string()), " ")
        words = pc.dictionary_encode(split.values)
        pieces = self._core.encode_batch_fast(
            words.dictionary.to_pylist(), add_special_tokens=False
        )
        lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        ids = itertools.chain.from_iterable(piece.ids for piece in pieces)
        values = np.fromiter(ids, dtype=np.int32, count=int(lengths.sum()))

        codes = words.indices.to_numpy()
        word_ends = np.concatenate(([0], np.cumsum(lengths[codes])))
        row_ends = word_ends[split.offsets.to_numpy()]
        whole = np.diff(row_ends)
        cut = np.minimum(whole, self.max_tokens - 2)
        all_pieces = values[_ranges(_starts(lengths)[codes], lengths[codes])]
        offsets = np.concatenate(([0], np.cumsum(cut + 2)))
        out = np.empty(int(offsets[-1]), dtype=np.int32)
        out[offsets[:-1]] = first
        out[offsets[1:] - 1] = last
        out[_ranges(offsets[:-1] + 1, cut)] = all_pieces[_ranges(row_ends[:-1], cut)]
        rows = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(out))
        return rows, whole > cut


def _frame_of_word_pieces(core: "Tokenizer") -> tuple[int, int] | None:
    """The first and last id of every review if the tokenizer reads each word by itself, or None.

    BERT's does: its normaliser works character by character, its pre-tokenizer splits at every
    space, WordPiece sees one word at a time. So the ids of a text are those of its space-separated
    words between two special ones. Byte-level tokenizers take the space into the word.
    """
    parts = json.loads(core.to_str())
    kinds = [(parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
    if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
        return None
    if any(
        " " in token["content"] or token["lstrip"] or token["rstrip"]
        for token in parts["added_tokens"]
    ):
        return None
    framed, bare = core.encode("a b").ids, core.encode("a b", add_special_tokens=False).ids
    if len(framed) != len(bare) + 2 or framed[1:-1] != bare:
        return None
    return framed[0], framed[-1]


def _starts(lengths: np.ndarray) -> np.ndarray:
    """Where consecutive runs of these lengths [n] start."""
    return np.cumsum(lengths) - lengths


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The indices start, start + 1, ... of runs [n] one after the other, flat."""
    shift = np.repeat(starts - _starts(lengths), lengths)
    return shift + np.arange(len(shift))


def tokenise_reviews(
    reviews: Path, tokenizer: ReviewTokenizer, tokens: Path, keep: Sequence[str] = ()
) -> TokenCounts:
    """Tokenise a Parquet file of reviews, batch by batch, into another.

    The columns that `keep` names are copied beside the tokens.

    Raises:
        UserError: If the file of reviews cannot be read or a review has no text.
    """
    import pyarrow.parquet as pq
    from tqdm import tqdm

    started = time.perf_counter()
    rows = total = truncated = 0
    columns = ["review_id", "event_timestamp", "title", "review_body", *keep]
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(open_reviews(reviews))
        schema = pa.schema([*TOKENS_SCHEMA, *(source.schema_arrow.field(name) for name in keep)])
        sink = opened.enter_context(pq.ParquetWriter(tokens, schema, compression="zstd"))
        progress = opened.enter_context(
            tqdm(
                total=source.metadata.num_rows,
                desc="Tokenising",
                unit=" reviews",
                delay=2,
                leave=False,
            )
        )
        for batch in source.iter_batches(BATCH_ROWS, columns=columns):
            texts = list(
                map(model_text, batch["title"].to_pylist(), batch["review_body"].to_pylist())
            )
            input_ids, cut = tokenizer.encode(texts)
            lengths = pa.array(np.diff(input_ids.offsets.to_numpy()), pa.int32())
            made = [batch["review_id"], batch["event_timestamp"], input_ids, lengths, pa.array(cut)]
            written = pa.record_batch([*made, *(batch[name] for name in keep)], schema=schema)
            check_tokens(written, tokenizer.vocab_size, tokenizer.max_tokens, reviews)
            sink.write_batch(written)
            rows += len(texts)
            total += int(input_ids.offsets[-1].as_py())
            truncated += int(cut.sum())
            progress.update(len(texts))
    seconds = time.perf_counter() - started
    logger.info("Tokenised %d reviews in %.1f s, %d truncated", rows, seconds, truncated)
    return TokenCounts(rows, total, truncated, seconds)


def open_reviews(path: Path) -> "pq.ParquetFile":
    """Open a Parquet file for reading batch by batch."""
    import pyarrow.parquet as pq

    try:
        # Without pre_buffer a whole column chunk is not held: the file may be one row group.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run prepare first") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a Parquet file ({error}); run prepare again") from None


def check_tokens(
    tokens: pa.RecordBatch | pa.Table, vocab_size: int, max_tokens: int, source: Path | str
) -> None:
    """Check what Feast's own monitoring does not: nulls, ids and lengths of token lists.

    Raises:
        UserError: If a review breaks a rule; it names the first one.
    """
    import pyarrow.compute as pc

    table = pa.Table.from_batches([tokens]) if isinstance(tokens, pa.RecordBatch) else tokens
    if not table.num_rows:
        return
    ids = table["input_ids"].combine_chunks()
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    lengths = pc.fill_null(pc.list_value_length(ids), 0)
    rules = {
        "no input_ids": pc.is_null(ids),
        f"not 1 to {max_tokens} tokens": pc.or_(
            pc.less(lengths, 1), pc.greater(lengths, max_tokens)
        ),
        "an n_tokens that is not the length of its input_ids": pc.fill_null(
            pc.not_equal(lengths, table["n_tokens"].combine_chunks()), True
        ),
    }
    for rule, broken in rules.items():
        at = pc.index(broken, pa.scalar(True)).as_py()
        if at >= 0:
            raise UserError(
                f"review {table['review_id'][at]} of {source} has {rule}; tokenise again"
            )
    flat = ids.flatten()
    if flat.null_count or pc.min(flat).as_py() < 0 or pc.max(flat).as_py() >= vocab_size:
        wrong = pc.fill_null(pc.or_(pc.less(flat, 0), pc.greater_equal(flat, vocab_size)), True)
        parent = pc.list_parent_indices(ids)[pc.index(wrong, pa.scalar(True)).as_py()].as_py()
        raise UserError(
            f"review {table['review_id'][parent]} of {source} has a token id outside the "
            f"vocabulary of {vocab_size}; tokenise again with the base model's own tokenizer"
        )
