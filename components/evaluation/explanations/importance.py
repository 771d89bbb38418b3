"""What words do over many answers: their mean contribution, class by class."""

import re
from collections import defaultdict
from collections.abc import Sequence
from math import sqrt
from typing import Any

from components.shared.records.explanation import Explanation

LEAST_REVIEWS = 3
"""Reviews of a class that a word must stand in to be listed."""

MOST_WORDS = 12
"""Words of a class that are listed."""

_EDGES = re.compile(r"^\W+|\W+$")


def important_words(
    explanations: Sequence[Explanation], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """The words that moved the answers of each class most, for it or against it.

    Returns:
        For each class `name`, `reviews` (answered so) and `words`, by the mean contribution times
        the root of the count, so that neither "the" nor a rare word comes first: `word` (in lower
        case, without punctuation at its ends), `mean` contribution to the log-probability, `count`
        of its occurrences and `reviews` that it stands in.
    """
    listed = []
    for index, name in enumerate(class_names):
        own = [one for one in explanations if one.label_id == index]
        added: defaultdict[str, list[float]] = defaultdict(list)
        reviews: defaultdict[str, set[int]] = defaultdict(set)
        for number, one in enumerate(own):
            for word in one.words:
                bare = _EDGES.sub("", word.text).casefold()
                if bare:
                    added[bare].append(word.attribution)
                    reviews[bare].add(number)
        often = [word for word in added if len(reviews[word]) >= LEAST_REVIEWS]
        often.sort(key=lambda word: (-abs(sum(added[word])) / sqrt(len(added[word])), word))
        words = [
            {
                "word": word,
                "mean": sum(added[word]) / len(added[word]),
                "count": len(added[word]),
                "reviews": len(reviews[word]),
            }
            for word in often[:MOST_WORDS]
        ]
        listed.append({"name": name, "reviews": len(own), "words": words})
    return listed
