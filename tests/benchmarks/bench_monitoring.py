"""Monitoring on real reviews: planted changes found and named, false alarms, live accuracy, time.

Bars: a changed mix of categories, twice the negatives, 2 % in another language and 2 % of words
misspelt are found and named in 2,000 answers with each seed; of 200 looks at unchanged traffic no
more alarm than the stated alpha makes likely; the interval of the live accuracy holds the truth in
at least 93 % of 400 trials; a look at 100,000 answers takes less than 60 s.

Live reviews are always drawn from others than those of the reference.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binom
from timing import machine, timed  # beside this file

from components.monitoring.drift import judged
from components.monitoring.live_accuracy import Audited, live_accuracy
from components.monitoring.look import take_look
from components.monitoring.monitor import MonitoringOptions, monitor
from components.serving.model.predictor import Predictor
from components.shared.records.known_words import K, lower_case_words, review_counts
from components.shared.records.labels import SENTIMENTS
from components.shared.records.monitoring_summary import read_monitoring_summary
from components.shared.records.text import model_text
from components.shared.records.text_statistics import columns_of, statistics_of, text_statistics
from tests.monitoring.made_up_log import SINCE, UNTIL, served_model, write_log

NAMES = SENTIMENTS.names
LIVE, TESTED, POOL = 2000, 1929, 6000
SEEDS, LOOKS, TRIALS, LABELS, TRAFFIC = 5, 200, 400, 300, 20_000
STRICT, LOOSE = MonitoringOptions(), MonitoringOptions(alarms_per_year=20, looks_per_year=365)

GERMAN = """Leider fällt das Kleid viel zu klein aus und der Stoff kratzt auf der Haut
Ich habe es zwei Nummern größer bestellt und trotzdem passt es nicht richtig
Die Farbe ist wunderschön und der Schnitt sitzt wirklich perfekt
Nach der ersten Wäsche war der Pullover völlig verzogen
Für diesen Preis hätte ich eine bessere Qualität erwartet
Meine Tochter liebt die Bluse und trägt sie fast jeden Tag
Der Rock ist schön geschnitten, aber etwas durchsichtig
Sehr angenehmes Material, weich und trotzdem nicht zu warm
Die Ärmel sind viel zu lang, ich musste sie kürzen lassen
Ich schicke die Jacke zurück, weil der Reißverschluss klemmt
Das Muster sieht auf dem Foto ganz anders aus als in Wirklichkeit
Habe schon viele Komplimente dafür bekommen
Die Hose rutscht ständig und hat keine Taschen
Genau das, was ich für den Sommer gesucht habe
Der Ausschnitt ist mir zu tief, sonst gefällt mir alles
Schnelle Lieferung, aber die Naht ging nach zwei Tagen auf
Ein tolles Kleid für Hochzeiten und andere Feste
Ich würde es jederzeit wieder kaufen
Der Stoff ist dünn und knittert schon beim Anziehen
Passt wie angegossen und sieht sehr edel aus""".splitlines()


@dataclass(frozen=True)
class World:
    """All reviews with the model's answers, row by row."""

    texts: list[str]
    categories: np.ndarray
    classes: np.ndarray  # true class index
    chances: np.ndarray  # [n, classes]
    unseen: np.ndarray  # rows that training has not seen


def read_world(run, cache):
    """The reviews of a run and the answers of its exported model, computed once."""
    table = pq.ParquetFile(run / "prepare-reviews" / "prepared").read()
    pairs = zip(table["title"].to_pylist(), table["review_body"].to_pylist(), strict=True)
    texts = [model_text(*pair) for pair in pairs]
    if not cache.is_file():
        predictor = Predictor(run / "export-for-serving" / "exported")
        order = np.argsort([len(text) for text in texts])
        chances = np.zeros((len(texts), len(NAMES)))
        for batch in np.array_split(order, len(order) // 16 + 1):
            chances[batch] = predictor.predict([texts[place] for place in batch]).probabilities
        columns = {f"p_{name}": chances[:, place] for place, name in enumerate(NAMES)}
        pq.write_table(pa.table(columns), cache)
    answers = pq.ParquetFile(cache).read()
    return World(
        texts,
        np.array(table["product_category"].to_pylist(), object),
        table["sentiment"].to_numpy() + 1,
        np.stack([answers[f"p_{name}"].to_numpy() for name in NAMES], axis=1),
        table["split"].to_numpy() != "train",
    )


def numbers_of(texts):
    """The texts in numbers, each as if it were not among those that make words known; the words."""
    counts = review_counts(texts)
    known = frozenset(word for word, reviews in counts.items() if reviews >= K)
    barely = frozenset(word for word, reviews in counts.items() if reviews == K)
    rows = [statistics_of(text, known - (lower_case_words(text) & barely)) for text in texts]
    return pa.table(columns_of(rows)), known


def reference_of(world, rows, tested, numbers):
    """A reference of these rows, with answers to those that are tested."""
    is_tested = np.isin(rows, tested)
    columns = answers_of(world, rows) | dict(
        zip(numbers.column_names, numbers.columns, strict=True)
    )
    for name in ("label", *(f"p_{name}" for name in NAMES)):
        columns[name] = [v if t else None for v, t in zip(columns[name], is_tested, strict=True)]
    right = world.chances[rows].argmax(axis=1) == world.classes[rows]
    columns["correct"] = [bool(r) if t else None for r, t in zip(right, is_tested, strict=True)]
    columns["split"] = ["test" if t else "train" for t in is_tested]
    return columns


def answers_of(world, rows):
    """Category, label and probabilities as columns."""
    chances = world.chances[rows]
    return {
        "product_category": list(world.categories[rows]),
        "label": [NAMES[index] for index in chances.argmax(axis=1)],
        **{f"p_{name}": list(chances[:, place]) for place, name in enumerate(NAMES)},
    }


def misspelt(text, random, share=0.02):
    """The text with a slip of the finger in a share of its words: swapped, lost, doubled, wrong."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) > 3 and random.random() < share * len(words) / max(
            1, sum(len(one) > 3 for one in words)
        ):
            at, slip = int(random.integers(1, len(word) - 1)), random.integers(4)
            letter = "abcdefghijklmnopqrstuvwxyz"[random.integers(26)]
            words[place] = (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + letter + word[at + 1 :],
            )[slip]
    return " ".join(words)


def planted(world, pool, kind, random):
    """Rows and texts of 2,000 live reviews with one thing changed."""
    twice = {
        "dresses twice as often": world.categories[pool] == "Dresses",
        "negatives twice as often": world.classes[pool] == 0,
    }.get(kind, np.zeros(len(pool), bool))
    group = pool[twice][: round(2 * twice.mean() * LIVE)]
    rows = np.concatenate([group, pool[~twice][: LIVE - len(group)]])
    texts = [world.texts[row] for row in rows]
    if kind == "2 % in German":
        for place in random.choice(LIVE, LIVE // 50, replace=False):
            texts[place] = ". ".join(random.choice(GERMAN, random.integers(1, 4), replace=False))
    if kind == "2 % of words misspelt":
        texts = [misspelt(text, random) for text in texts]
    return rows, texts


EXPECTED = {
    "dresses twice as often": "reviews of Dresses come about twice as often",
    "negatives twice as often": "negative is answered",
    "2 % in German": "of the reviews seem to be in another language",
    "2 % of words misspelt": "words are misspelt",
}


def split_up(world, random):
    """Rows of the reference, those of them with answers, and rows that may be live."""
    order = random.permutation(len(world.texts))
    rows = np.sort(order[POOL:])
    return rows, random.choice(rows, TESTED, replace=False), order[:POOL]


def changes_found(world, work):
    """Each planted change with several seeds: whether it was found, and by which words."""
    named, words_of = dict.fromkeys(EXPECTED, 0), {}
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        rows, tested, pool = split_up(world, random)
        numbers, known = numbers_of([world.texts[row] for row in rows])
        model = served_model(work / f"m{seed}", reference_of(world, rows, tested, numbers))
        for kind, words in EXPECTED.items():
            live, texts = planted(world, pool, kind, random)
            columns = answers_of(world, live) | text_statistics(texts, known)
            log = write_log(work / f"log-{kind}-{seed}", columns)
            found = monitor(log, model, SINCE, UNTIL, STRICT)
            named[kind] += words in found.in_words
            words_of[kind] = found.in_words
    for kind, times in named.items():
        print(
            f"{kind}: found and named with {times} of {SEEDS} seeds: {words_of[kind]}", flush=True
        )
    return all(times == SEEDS for times in named.values())


def false_alarms(world, work):
    """Alarms in looks at unchanged traffic, at the stated alpha and at one that alarms oftener."""
    strict = loose = 0
    numbers, _ = numbers_of(world.texts)  # without itself, live or not: the same to both sides
    for seed in range(LOOKS):
        rows, tested, pool = split_up(world, np.random.default_rng(1000 + seed))
        live = np.sort(pool[:LIVE])
        reference = reference_of(world, rows, tested, numbers.take(pa.array(rows)))
        model = served_model(work / f"null-{seed}", reference)
        now = numbers.take(pa.array(live))
        columns = answers_of(world, live) | dict(zip(now.column_names, now.columns, strict=True))
        log = write_log(work / f"log-null-{seed}", columns)
        found = monitor(log, model, SINCE, UNTIL, STRICT).findings
        strict += any(one.drifted for one in found)
        loose += any(one.drifted for one in judged(found, LOOSE.budget.alpha, LOOSE.min_effect))
    passed = True
    for count, options in ((strict, STRICT), (loose, LOOSE)):
        alpha = options.budget.alpha
        most = int(binom.ppf(0.99, LOOKS, alpha))
        passed &= count <= most
        words = f"at alpha {alpha:.2g} (at most {most})"
        print(f"unchanged traffic: {count} alarms in {LOOKS} looks {words}", flush=True)
    return passed


def inclusion(confidence, labels):
    """Probabilities of being drawn, by uncertainty and never 0, for so many labels on average."""
    root = np.sqrt(confidence * (1 - confidence)) + 0.02
    chances = np.minimum(1.0, labels * root / root.sum())
    for _ in range(20):
        chances = np.minimum(1.0, chances * labels / chances.sum())
    return chances


def live_intervals(world):
    """How often the interval holds the truth, and how many labels a random draw would take."""
    rows = np.flatnonzero(world.unseen)
    confidence = world.chances[rows].max(axis=1)
    correct = world.chances[rows].argmax(axis=1) == world.classes[rows]
    passed = True
    for name, times in (("the test's own traffic", 1.0), ("three times the neutral", 3.0)):
        weight = np.where(world.classes[rows] == 1, times, 1.0)
        weight /= weight.sum()
        truth = float(weight @ correct)
        random = np.random.default_rng(0)
        held, off, off_at_random, widths = 0, [], [], []
        for _ in range(TRIALS):
            week = random.choice(len(rows), TRAFFIC, p=weight)
            chances = inclusion(confidence[week], LABELS)
            drawn = week[(taken := random.random(TRAFFIC) < chances)]
            found = live_accuracy(
                confidence[week],
                Audited(np.ones(len(drawn)), confidence[drawn], correct[drawn], chances[taken]),
            )
            held += found.low <= truth <= found.high
            off.append(found.value - truth)
            widths.append(found.high - found.low)
            off_at_random.append(correct[random.choice(week, LABELS)].mean() - truth)
        error, at_random = (np.sqrt(np.mean(np.square(one))) for one in (off, off_at_random))
        passed &= held >= 0.93 * TRIALS
        print(
            f"live accuracy, {name} (truth {truth:.3f}, mean confidence "
            f"{weight @ confidence:.3f}): the interval holds it in {held / TRIALS:.1%} of {TRIALS} "
            f"trials, bias {np.mean(off):+.4f}, error {error:.4f} with {LABELS} labels "
            f"(at random {at_random:.4f}); as precise as {LABELS} random labels with "
            f"{LABELS * (error / at_random) ** 2:.0f}; mean width {np.mean(widths):.3f}"
        )
    return passed


def time_of_a_look(world, work, run):
    """Seconds for 100,000 different answers, a fifth of them with their texts."""
    random = np.random.default_rng(0)
    rows, tested, pool = split_up(world, random)
    numbers, known = numbers_of([world.texts[row] for row in rows])
    model = served_model(work / "large", reference_of(world, rows, tested, numbers))
    many = random.choice(pool, 100_000)
    texts = [world.texts[row] for row in many]
    kept = [text if place % 5 == 0 else None for place, text in enumerate(texts)]
    columns = answers_of(world, many) | text_statistics(texts, known) | {"text": kept}
    log = write_log(work / "log-large", columns)
    predictions = run / "evaluate-classifier" / "predictions"
    wall, cpu = timed(
        lambda: take_look(
            log, model, (SINCE, UNTIL), work / "s.json", predictions=predictions, folder=work / "m"
        )
    )
    found = read_monitoring_summary(work / "s.json")
    words = f"{found.rows:,} answers, {found.texts:,} different"
    print(f"a look at {words}: {wall:.1f} s, CPU {cpu:.1f} s")
    return wall < 60


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    about = "file that keeps the model's answers to all reviews (default: computed each time)"
    parser.add_argument("--answers", type=Path, help=about)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        world = read_world(options.run, options.answers or work / "answers.parquet")
        bars = {
            "planted changes are found and named": changes_found(world, work),
            "alarms within the binomial limits": false_alarms(world, work),
            "the interval holds the truth": live_intervals(world),
            "100,000 answers within 60 s": time_of_a_look(world, work, options.run),
        }
    for name, passed in bars.items():
        print(f"{'met' if passed else 'MISSED'}: {name}")
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
