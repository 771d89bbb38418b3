"""The bundled sample: made-up clothing reviews in the layout of the Kaggle file, dirt included.

Each review is put together from clauses that praise or fault one thing, with the same words ("it
runs long, just as i like it"; "it runs long, which does not suit me"), so that counting words does
not suffice. Ratings follow from the share of praise, with some noise, spread as in the real set.
"""

import csv
import random

from components.data.sources import SAMPLE
from components.shared.machine.files import replaced_when_whole
from tests.data import sample_words as phrases
from tests.data.sample_words import PHRASES

SEED = 20_261
ROWS = 1_500

HEADER = (
    *("", "Clothing ID", "Age", "Title", "Review Text", "Rating", "Recommended IND"),
    *("Positive Feedback Count", "Division Name", "Department Name", "Class Name"),
)

RATINGS = {5: 0.55, 4: 0.22, 3: 0.12, 2: 0.07, 1: 0.04}
NOISE = 0.03
"""Share of reviews whose rating is that of a neighbouring mood."""


def _is_plural(name):
    return name.endswith("s") and not name.endswith("ss")


class _Reviewer:
    """Writes about one product."""

    def __init__(self, rng, product):
        self._rng = rng
        noun = rng.choice(product.nouns)
        part = rng.choice(product.parts)
        color, color2 = rng.sample(PHRASES["colors"], 2)
        several, many_parts = map(_is_plural, (noun, part))
        self._qualities = list(phrases.QUALITIES)
        rng.shuffle(self._qualities)
        self.words = {
            "noun": noun,
            "these": f"these {noun}" if several else f"this {noun}",
            "it": f"the {noun}",
            "a": "a pair of" if several else "an" if noun[0] in "aeiou" else "a",
            "part": part,
            "color": color,
            "Color": color.capitalize(),
            "color2": color2,
            "size": rng.choice(phrases.SIZES),
            "number": str(rng.choice((2, 4, 6, 8, 10, 12, 14))),
            "occasion": rng.choice(PHRASES["occasions"]),
        }
        for name, forms in phrases.FORMS.items():
            self.words |= {name: forms[several], f"p{name}": forms[many_parts]}

    def say(self, kind, **more):
        return self._rng.choice(PHRASES[kind]).format(**self.words, **more)

    def clause(self, praise):
        rng = self._rng
        kind = rng.random()
        if kind < 0.5 and self._qualities:
            subject, good, bad = self._qualities.pop()
            goods, bads = rng.sample(good, 2), rng.sample(bad, 2)
            words = dict(zip(("good", "good2", "bad", "bad2"), (*goods, *bads), strict=True))
            return self.say("praise" if praise else "fault", q=subject, **words)
        if kind < 0.78:
            return self.say("facts") + self.say("welcome" if praise else "unwelcome")
        return self.say("praise parts" if praise else "fault parts")

    def text(self, rating, clauses=None):
        rng = self._rng
        mood = (rating > 3) - (rating < 3)
        against = {5: 0.15, 4: 0.75, 3: 1.0, 2: 0.7, 1: 0.1}[rating]
        main = clauses or rng.choice((1, 2, 2, 3, 3, 4) if rating != 3 else (1, 1, 2))
        leading = mood >= 0 if mood else rng.random() < 0.5
        judged = [leading] * main
        if rng.random() < against:
            # One remark against two or more leaves the mood plain; one against one is neutral.
            judged = judged if rating == 3 else [leading] * max(main, 2)
            judged = [not leading] * (main if rating == 3 else 1) + judged
        if rating == 3 and rng.random() < 0.3:
            rng.shuffle(judged)
        pieces = [self.clause(praise) for praise in judged]
        text = pieces[0]
        for before, now, piece in zip(judged, judged[1:], pieces[1:], strict=False):
            text += rng.choice(PHRASES["same" if before == now else "turn"]) + " " + piece
        if rng.random() < 0.5:
            text = f"{self.say('openers')}. {text}"
        if rng.random() < (0.6 if rating == 3 else 0.4):
            text += rng.choice((". ", ". ", "; ")) + self.say(f"verdicts {mood}")
        return text + rng.choice((".", ".", ".", "!", "...", ""))

    def title(self, rating):
        """A headline; two in five say nothing about the mood."""
        mood = None if self._rng.random() < 0.4 else (rating > 3) - (rating < 3)
        return self.say(f"titles {mood}")


def _styled(rng, text, rating):
    """Handwriting: capitals, slips, emoji, mark-up, paragraphs."""
    if rng.random() < 0.45:
        text = ". ".join(part[:1].upper() + part[1:] for part in text.split(". "))
    if rng.random() < 0.06:
        words = text.split(" ")
        place = rng.randrange(len(words))
        words[place] = words[place].upper()
        text = " ".join(words)
    if rng.random() < 0.05:
        text = text.replace("the ", "teh ", 1)
    if rng.random() < 0.04:
        text += " " + rng.choice("😍❤👍🎉" if rating > 3 else "😐🤷" if rating == 3 else "😕👎😞")
    if rng.random() < 0.02:
        text = rng.choice(("<p>{}</p>", "{} <b>&nbsp;</b>", "<i>update:</i> {}")).format(text)
    if rng.random() < 0.03:
        text = text.replace(" and ", " &amp; ", 1)
    if rng.random() < 0.06:
        text = text.replace(". ", ".\n\n", 1)
    if rng.random() < 0.03:
        text = f'they call it "{rng.choice(("a classic", "effortless", "petite"))}". {text}'
    return text


def generate(rows=ROWS, seed=SEED):
    """Rows of the sample, without the header, as text: reviews, and among them some dirt."""
    rng = random.Random(seed)
    shares = [product.share for product in phrases.PRODUCTS]
    recent: list[list[str]] = []
    for number in range(rows):
        rare = number == rows // 2
        product = phrases.RARE if rare else rng.choices(phrases.PRODUCTS, shares)[0]
        rating = rng.choices(list(RATINGS), list(RATINGS.values()))[0]
        reviewer = _Reviewer(rng, product)
        long = rng.random() < 0.002
        text = _styled(rng, reviewer.text(rating, clauses=60 if long else None), rating)
        title = reviewer.title(rating) if rng.random() < 0.85 else ""
        if rng.random() < NOISE:
            rating = rng.choice((3, 4) if rating < 3 else (2, 4) if rating == 3 else (3, 2))
        recommended = rng.random() < {5: 0.995, 4: 0.96, 3: 0.42, 2: 0.06, 1: 0.02}[rating]
        item = 0 if rare else min(49, int(rng.expovariate(0.08)))
        item += 1_400 if rare else 700 + 50 * phrases.PRODUCTS.index(product)
        age = min(94, max(18, round(rng.gauss(43, 12))))
        facts = number, item, age, title, text, rating, int(recommended), int(rng.expovariate(0.4))
        division = "Intimates"
        if product.department != "Intimate":
            division = rng.choices(("General", "General Petite"), (0.62, 0.38))[0]
        row = [*map(str, facts), division, product.department, product.category]
        dirt = rng.random()
        if dirt < 0.03:
            row[3] = row[4] = ""
        elif dirt < 0.034:
            row[8] = row[9] = row[10] = ""
        elif dirt < 0.037:
            row[5] = rng.choice(("five", "0", "6", "3.5"))
        elif dirt < 0.039:
            row[5] = ""
        elif dirt < 0.046 and recent:
            row = [str(number), *rng.choice(recent)[1:]]
        elif dirt < 0.048:
            row[5] += ".0"
        recent = [*recent[-200:], row]
        yield row


def write_sample(path=SAMPLE, rows=ROWS, seed=SEED):
    with replaced_when_whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([HEADER, *generate(rows, seed)])


if __name__ == "__main__":
    write_sample()
