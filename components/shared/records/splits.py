"""Splits: stratified, seeded, free of leaks, and stable while the data grow.

They are decided in one place, so that no room can take a test review for one of training.
"""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.reviews import SPLITS

TRAIN, VALIDATION, TEST = range(len(SPLITS))

MIN_TEXTS_PER_CLASS = 10
"""Fewer different texts of a sentiment are too few to divide among three splits."""


_SEPARATORS = re.compile(r"[\W_]+")
_ASCII_SEPARATORS = {code: None for code in range(128) if not chr(code).isalnum()}


def text_identity(body: str) -> str:
    """A text without case, punctuation and white space.

    Two reviews of the same identity must not be in two splits. A text of punctuation or emoji
    alone is its own identity.
    """
    folded = body.casefold()
    if folded.isascii():  # the same, forty times as fast
        return folded.translate(_ASCII_SEPARATORS) or folded
    return _SEPARATORS.sub("", folded) or folded


def keyed_order(text: str, seed: int) -> int:
    """A number of 64 bits that looks random, and is the same for the same text and seed.

    It is the text's identity and its place in the seeded order: unlike a shuffle it does not
    depend on the other rows, so that most rows stay in their split when data are added.
    """
    key = seed.to_bytes(16, "little", signed=True)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little")


def assign_splits(
    texts: NDArray[np.uint64],
    classes: NDArray[np.int8],
    labels: LabelSet = SENTIMENTS,
    *,
    validation_share: float,
    test_share: float,
) -> NDArray[np.int8]:
    """Divide rows among train, validation and test.

    Rows of the same text form a group that stays together, under the most frequent class in it.
    Inside each class the groups are taken in the order of their keyed hashes: each goes to test
    while it fits into test's quota, else to validation while it fits there, else to train. As
    almost every group is one row, the quotas are met exactly; a text that many customers wrote
    lands in train.

    Args:
        texts: [n] `keyed_order` of each row's `text_identity`.
        classes: [n] class index of each row.
        labels: The classes, each of which must occur.
        validation_share: Share of validation in each class.
        test_share: Share of test in each class.

    Returns:
        [n] index into `SPLITS`.

    Raises:
        UserError: If a share is out of bounds, or a class is absent or too small.
    """
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 < share <= 0.4:
            raise UserError(f"{name} is {share}; choose one above 0 and up to 0.4")
    keys, group_of_row = np.unique(texts, return_inverse=True)
    counts = np.bincount(
        group_of_row * len(labels) + classes, minlength=len(keys) * len(labels)
    ).reshape(len(keys), len(labels))
    sizes = counts.sum(axis=1)
    stratum = counts.argmax(axis=1)
    split_of_group = np.full(len(keys), TRAIN, dtype=np.int8)
    present = np.bincount(stratum, minlength=len(labels))
    if present.min() < MIN_TEXTS_PER_CLASS:
        counted = ", ".join(f"{n} {name}" for name, n in labels.counted(present).items())
        raise UserError(
            f"the data hold {counted} reviews with different texts; give at least "
            f"{MIN_TEXTS_PER_CLASS} of each class, or name the classes that the data have, as in "
            "LABELS='negative=1,2 positive=4,5'"
        )
    for class_index in range(len(labels)):
        members = np.flatnonzero(stratum == class_index)
        rows = int(sizes[members].sum())
        left = {TEST: max(1, round(rows * test_share))}
        left[VALIDATION] = max(1, round(rows * validation_share))
        chosen: dict[int, list[int]] = {TEST: [], VALIDATION: []}
        for group in members.tolist():
            size = int(sizes[group])
            for split in (TEST, VALIDATION):
                if size <= left[split]:
                    left[split] -= size
                    chosen[split].append(group)
                    break
            if not any(left.values()):
                break
        for split in (TEST, VALIDATION):
            if not chosen[split]:
                taken = {g for groups in chosen.values() for g in groups}
                free = [g for g in members.tolist() if g not in taken]
                chosen[split] = [min(free, key=lambda g: sizes[g])]
            split_of_group[chosen[split]] = split
    return split_of_group[group_of_row]
