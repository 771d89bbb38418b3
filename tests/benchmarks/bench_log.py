"""What the payload log costs, and what the masker finds: CPU per logged review, recall by kind.

Reviews are those of `--data`; the first 80 % of them make the list of known words, the masker is
tried on others. Personal data is made up and planted; of names, the cued ones are flattered by cues
that were written by who wrote the masker.
"""

import argparse
import csv
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from components.serving.observing.payload_log import PayloadLog
from components.serving.observing.payload_rows import Asked, PayloadRows
from components.shared.records.known_words import K, known_words
from components.shared.records.masking import Masker
from components.shared.records.text import model_text

FALSE_FIND_REVIEWS = 1500
PLANTED = 120

_NAMES = """
    Aaliyah Agnieszka Aiko Alejandra Amelie Anneliese Beatriz Bronwyn Camila Chiara Deepika Desiree
    Elif Esperanza Fatima Freya Giulia Gretchen Hanako Ingrid Isolde Jacqueline Jiayi Kavita Kirsten
    Lakshmi Leticia Magdalena Mireille Nadia Ngozi Oksana Paloma Priya Rosalind Saoirse Siobhan
    Svetlana Tamika Thandiwe Ursula Valentina Wilhelmina Xiomara Yasmin Yuki Zainab Zuzanna Emma
    Olivia Sophia Charlotte Mary Jennifer Susan Karen Linda Barbara Grace Rose Will Joy Hope Dawn
"""
_FAMILIES = """
    Abernathy Adebayo Bergstrom Castellanos Chatterjee Delacroix Eriksen Fitzgerald Gutierrez
    Hashimoto Ivanova Jankowski Kowalczyk Lindqvist MacDonald Nakamura Okafor Papadopoulos Quigley
    Ramirez Schneider Takahashi Underwood Villanueva Wojcik Yamamoto Zimmermann Smith Johnson Brown
    Young King Green Wood Carpenter
"""
_DOMAINS = ("gmail.com", "yahoo.co.uk", "web.de", "mail.example.org", "outlook.com")


def _luhn(digits: str) -> str:
    doubled = (sum(divmod(2 * int(char), 10)) for char in reversed(digits[-1::-2]))
    return digits + str(-(sum(doubled) + sum(map(int, digits[-2::-2]))) % 10)


def _iban(rng: random.Random) -> str:
    body = "".join(rng.choices("0123456789", k=18))
    check = 98 - int(f"{body}131400") % 97
    whole = f"DE{check:02d}{body}"
    return rng.choice((whole, " ".join(whole[at : at + 4] for at in range(0, 22, 4))))


def _planted(kind: str, rng: random.Random) -> str:
    """A made-up sentence, with what is to be found between angle brackets."""

    def digits(count: int) -> str:
        return "".join(rng.choices("0123456789", k=count))

    first, family = rng.choice(_NAMES.split()), rng.choice(_FAMILIES.split())
    if kind == "email":
        local = rng.choice(
            (first.lower(), f"{first}.{family}".lower(), f"{family.lower()}{digits(2)}")
        )
        domain = rng.choice(_DOMAINS)
        at = rng.choice(("@", "@", "@", " (at) "))
        return f"write to me at <{local}{at}{domain}> please"
    if kind == "phone":
        area, exchange, line = f"{rng.randint(201, 989)}", f"{rng.randint(200, 999)}", digits(4)
        forms = (
            *(
                f"({area}) {exchange}-{line}",
                f"{area}-{exchange}-{line}",
                f"+1 {area} {exchange} {line}",
            ),
            *(f"{area}.{exchange}.{line}", f"+44 20 7946 0{digits(3)}", f"+49 30 9018{digits(2)}"),
        )
        return f"call me on <{rng.choice(forms)}> about it"
    if kind == "card":
        number = _luhn("4" + digits(14))
        spaced = " ".join(number[at : at + 4] for at in range(0, 16, 4))
        return f"they charged <{rng.choice((number, spaced, spaced.replace(' ', '-')))}> twice"
    if kind == "iban":
        return f"please refund to <{_iban(rng)}> soon"
    if kind == "name, announced":
        cues = ("my name is <{}> and", "ask for <{}> at", "i'm <{}> and", "Mrs. <{}> in the store")
        return rng.choice(cues).format(rng.choice((first, f"{first} {family}")))
    if kind == "first name, bare":
        return f"the girl at the store, <{first}>, helped me"
    return f"in the parcel it was <{family}> who had signed for it"


def print_masking(texts: list[str]) -> None:
    cut = len(texts) * 4 // 5
    known = known_words(texts[:cut])
    held_out = texts[cut:]
    rng = random.Random(0)
    print(f"known words (k={K}): {len(known)}")
    print(f"{'':24}{'masker':>10}{'strict':>10}")
    maskers = (Masker(known), Masker(known, strict=True))
    for kind in (
        "email",
        "phone",
        "card",
        "iban",
        "name, announced",
        "first name, bare",
        "family name, bare",
    ):
        found = [0, 0]
        for _ in range(PLANTED):
            review, sentence = rng.choice(held_out), _planted(kind, rng)
            secret = sentence[sentence.index("<") + 1 : sentence.index(">")]
            halves = review.split(". ")
            at = rng.randint(0, len(halves))
            plain = sentence.replace("<", "").replace(">", "")
            text = ". ".join([*halves[:at], plain, *halves[at:]])
            for number, masker in enumerate(maskers):
                masked = masker.mask(text).text
                found[number] += not any(part in masked for part in secret.split() if len(part) > 2)
        print(f"{kind:24}{found[0] / PLANTED:10.2f}{found[1] / PLANTED:10.2f}")
    sample = held_out[:FALSE_FIND_REVIEWS]
    words = sum(len(text.split()) for text in sample)
    for name, masker in zip(("masker", "strict"), maskers, strict=True):
        started = time.process_time()
        answers = [masker.mask(text) for text in sample]
        rate = len(sample) / (time.process_time() - started)
        finds = sum((Counter(answer.finds) for answer in answers), Counter())
        touched = sum(bool(answer.finds) for answer in answers)
        print(
            f"{name}: in {len(sample)} reviews that hold nothing personal {finds.total()} finds "
            f"({dict(finds)}), {touched / len(sample):.1%} of the reviews, "
            f"{finds.total() / words:.3%} of the words; {rate:,.0f} reviews/s on a core"
        )


def print_log(texts: list[str], rate: int) -> None:
    known = known_words(texts[: len(texts) * 4 // 5])
    chances, classes, cut = np.array([[0.1, 0.2, 0.7]]), np.array([2]), np.array([False])
    print(
        f"\n{'payload log, reviews one by one':34}{'us a review':>12}{f'of a core at {rate}/s':>24}"
    )
    for name, masker in (("without texts", None), ("with masked texts", Masker(known))):
        spent = []
        for _ in range(5):
            with tempfile.TemporaryDirectory() as folder:
                rows = PayloadRows("m", "1", known_words=known, masker=masker)
                log = PayloadLog(folder, rows)
                time.sleep(0.5)  # Imports of the thread.
                asked = [Asked(text, f"r{n}", "Dresses", 80) for n, text in enumerate(texts[:8000])]
                started = time.process_time()
                for number, one in enumerate(asked):
                    log.record(str(number), [one], classes, chances, cut)
                log.close(60)
                spent.append((time.process_time() - started) / len(asked))
        median = float(np.median(spent))
        print(f"{name:34}{median * 1e6:12.0f}{median * rate:24.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sample = "components/data/sample_reviews.csv"
    parser.add_argument("--data", default=sample, help="CSV with Title and Review Text")
    parser.add_argument("--rate", type=int, default=400, help="reviews a second at full load")
    given = parser.parse_args()
    with Path(given.data).open(encoding="utf-8", newline="") as stream:
        pairs = [(row["Title"], row["Review Text"]) for row in csv.DictReader(stream)]
    texts = [text for title, body in pairs if (text := model_text(title, body))]
    print_masking(texts)
    print_log(texts, given.rate)


if __name__ == "__main__":
    main()
