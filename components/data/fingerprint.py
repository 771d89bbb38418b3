"""Reviews as hashes: which rows are equal, and which version of the data this is."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from components.data.headers import FIELDS
from components.shared.records.labels import SENTIMENTS, LabelSet

DIGEST_BYTES = 16
"""128 bits: among a billion rows, the chance of any two colliding is below 10^-20."""


def content_digests(columns: dict[str, pa.Array]) -> list[bytes]:
    """A digest of each row over all fields of the record, a given `review_id` among them.

    Args:
        columns: Typed columns by field, null where a value is missing. No text is empty or holds
            NUL, so NUL separates the values without ambiguity.

    Returns:
        `DIGEST_BYTES` bytes a row.
    """
    texts = [columns[name].cast(pa.string()) for name in FIELDS]
    joined = pc.binary_join_element_wise(
        *texts, pa.scalar("\0"), null_handling="replace", null_replacement=""
    )
    return [
        hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest()
        for row in joined.cast(pa.binary()).to_pylist()
    ]


def data_fingerprint(
    digests: "set[bytes] | frozenset[bytes]", labels: LabelSet = SENTIMENTS
) -> str:
    """Version of a data set: a hash of the sorted digests of its rows.

    It covers every value of every row that ingest wrote and the names of the classes, where they
    are not the default, and nothing else: neither the order of
    rows, duplicates, rejected rows and ignored columns, nor files, formats and compression.

    Returns:
        32 hexadecimal digits.
    """
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for digest in sorted(digests):
        total.update(digest)
    if labels.names != SENTIMENTS.names:
        total.update("\0".join(labels.names).encode())
    return total.hexdigest()
