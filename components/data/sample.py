"""The bundled sample: made-up clothing reviews in the layout of the Kaggle file, dirt included.

`python -m components.data.sample` writes `sample_reviews.csv` again, byte for byte.

Each review is put together from clauses that praise or fault one thing. The same words serve both
ways ("not a bit scratchy", "i hoped for soft, and it is not"; "it runs long, just as i like it",
"it runs long, which does not suit me"), so that counting words does not suffice: a model has to
read. Ratings follow from the share of praise, with a few per cent of noise, and are spread about
as in the real set.
"""

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.data.sources import SAMPLE
from components.shared.machine.files import replaced_when_whole

SEED = 20_261
ROWS = 1_500

HEADER = (
    *("", "Clothing ID", "Age", "Title", "Review Text", "Rating", "Recommended IND"),
    *("Positive Feedback Count", "Division Name", "Department Name", "Class Name"),
)

RATINGS = {5: 0.55, 4: 0.22, 3: 0.12, 2: 0.07, 1: 0.04}
NOISE = 0.03
"""Share of reviews whose rating is that of a neighbouring mood."""


@dataclass(frozen=True)
class Product:
    """A class of products: its names in the data, its share, and what reviewers call it."""

    category: str
    department: str
    share: float
    nouns: tuple[str, ...]
    parts: tuple[str, ...]


PRODUCTS = (
    Product(
        *("Dresses", "Dresses", 0.27),
        ("dress", "sundress", "wrap dress", "maxi", "little black dress"),
        ("the skirt part", "the neckline", "the waist", "the lining", "the hem"),
    ),
    Product(
        *("Knits", "Tops", 0.2),
        ("top", "tee", "knit tee", "tunic", "tank"),
        ("the neckline", "the sleeves", "the hem", "the side seams"),
    ),
    Product(
        *("Blouses", "Tops", 0.13),
        ("blouse", "shirt", "button-down", "peasant blouse"),
        ("the collar", "the cuffs", "the buttons", "the sleeves", "the embroidery"),
    ),
    Product(
        *("Sweaters", "Tops", 0.09),
        ("sweater", "cardigan", "pullover", "turtleneck"),
        ("the neck", "the cuffs", "the ribbing", "the sleeves"),
    ),
    Product(
        *("Pants", "Bottoms", 0.09),
        ("pants", "trousers", "culottes", "leggings"),
        ("the waistband", "the pockets", "the legs", "the zipper"),
    ),
    Product(
        *("Jeans", "Bottoms", 0.07),
        ("jeans", "skinny jeans", "boyfriend jeans"),
        ("the waistband", "the pockets", "the ankles", "the wash"),
    ),
    Product(
        *("Skirts", "Bottoms", 0.05),
        ("skirt", "pencil skirt", "midi skirt"),
        ("the waistband", "the lining", "the pleats", "the zipper"),
    ),
    Product(
        *("Jackets", "Jackets", 0.05),
        ("jacket", "blazer", "coat", "parka"),
        ("the shoulders", "the zipper", "the lining", "the hood", "the pockets"),
    ),
    Product(
        *("Lounge", "Intimate", 0.03),
        ("robe", "pajama set", "lounge hoodie"),
        ("the belt", "the sleeves", "the seams"),
    ),
    Product(
        *("Swim", "Intimate", 0.02),
        ("swimsuit", "bikini", "one-piece"),
        ("the straps", "the lining", "the cut in the back"),
    ),
)
RARE = Product("Legwear", "Intimate", 0.0, ("tights", "socks"), ("the toes", "the waistband"))

PLURALS = {"pants", "trousers", "culottes", "leggings", "jeans", "skinny jeans"} | {
    *("boyfriend jeans", "tights", "socks"),
}

COLORS = (
    *("navy", "rust", "sage", "cream", "plum", "mustard", "charcoal", "teal", "blush", "ivory"),
    *("olive", "cobalt", "burgundy", "dove grey", "coral"),
)
SIZES = ("an extra small", "a small", "a medium", "a large", "a 4", "a 6", "a 10", "a 12", "a 14")
OCCASIONS = (
    *("my sister's wedding", "a garden party", "the office", "a week in lisbon", "my birthday"),
    *("a job interview", "the school run", "a christening", "long flights", "date night"),
    *("a baby shower", "our anniversary", "the first cold days", "a reunion", "summer evenings"),
)

# What is judged, words that praise it and words that fault it.
QUALITIES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "the fabric",
        ("soft", "sturdy", "breathable", "silky", "substantial", "cool on the skin"),
        ("scratchy", "flimsy", "stiff", "see-through", "clingy", "cheap to the touch"),
    ),
    (
        "the fit",
        ("flattering", "forgiving", "spot on", "neat", "true to size"),
        ("boxy", "off", "shapeless", "snug in the wrong places", "awkward"),
    ),
    (
        "the color",
        ("rich", "cheerful", "just like the picture", "warm", "deep"),
        ("dull", "washed out", "nothing like the picture", "garish", "muddy"),
    ),
    (
        "the stitching",
        ("tidy", "solid", "careful", "even"),
        ("sloppy", "loose", "uneven", "coming undone"),
    ),
    (
        "the cut",
        ("clever", "graceful", "slimming", "modern", "kind to curves"),
        ("odd", "dated", "unkind to curves", "bulky", "frumpy"),
    ),
    (
        "the price",
        ("fair", "reasonable", "modest"),
        ("steep", "hard to justify", "out of proportion"),
    ),
    (
        "the pattern",
        ("pretty", "fresh", "subtle", "charming"),
        ("busy", "loud", "blurry", "crooked at the seams"),
    ),
    (
        "the feel of it",
        ("comfortable", "light", "cozy", "easy"),
        ("uncomfortable", "heavy", "itchy", "fussy"),
    ),
)

# Things that are neither good nor bad until the reviewer says so.
FACTS = (
    *("{it} run{s} a full size large", "{it} run{s} small", "{it} hit{s} right below the knee"),
    *("the material is thinner than i am used to", "the material has a lot of stretch"),
    *("the shade is darker than on the screen", "the shade is lighter than on the screen"),
    *("{part} sit{ps} lower than on the model", "{part} sit{ps} higher than on the model"),
    *("{it} wrinkle{s} a little by noon", "{it} shrank slightly in the wash"),
    *("{part} {pis} roomier than i expected", "{part} {pis} narrower than i expected"),
    *("{it} look{s} more casual in person", "{it} look{s} dressier in person"),
    *("there is hardly any stretch", "{it} come{s} up long on me", "{it} come{s} up short on me"),
)
WELCOME = (
    *(", just as i hoped", ", and i would not change that", ", which suits me", ", which i prefer"),
    *(", and that is why i picked {them}", ", and i could not mind less", ", lucky for me"),
    *(", which turned out to be an advantage", ", no complaints there", ", exactly what i wanted"),
)
UNWELCOME = (
    *(", not what i hoped for", ", and i would change that if i could", ", which does not suit me"),
    *(", and that is not why i picked {them}", ", and i could not get past it", ", sadly for me"),
    *(", which turned out to be a problem", ", my main complaint", ", hardly what i wanted"),
    *(", and i had been told the opposite",),
)

PRAISE = (
    *("{q} is {good}", "{q} is {good} and {good2}", "{q} could not be more {good}"),
    *("{q} is not {bad} at all", "nothing {bad} about {q}", "{q} is anything but {bad}"),
    *("i was afraid {q} would be {bad}, and it is not", "i expected {bad} and got {good}"),
    *("not once did i find {q} {bad}", "other reviewers call {q} {bad}; i find it {good}"),
    *("{q} stayed {good} after several washes", "for once {q} is not {bad} but {good}"),
    *("i have yet to find anything {bad} about {q}", "{q} is every bit as {good} as promised"),
)
FAULT = (
    *("{q} is {bad}", "{q} is {bad} and {bad2}", "{q} could not be more {bad}"),
    *("{q} is not {good} at all", "nothing {good} about {q}", "{q} is anything but {good}"),
    *("i was hoping {q} would be {good}, and it is not", "i expected {good} and got {bad}"),
    *("not once did i find {q} {good}", "other reviewers call {q} {good}; i find it {bad}"),
    *("{q} stopped being {good} after one wash", "once again {q} is not {good} but {bad}"),
    *("i have yet to find anything {good} about {q}", "{q} is not nearly as {good} as promised"),
    *("{q} looked {good} online and turned out {bad}",),
)
# Whole judgements on a part or on the product that turn on one small word.
PRAISE_PARTS = (
    *("{part} fall{ps} the way {pthey} should", "{part} held up better than in my old {noun}"),
    *("i would not want {part} any different", "i keep getting asked where i found {them}"),
    *("i reach for {them} more than for anything else", "i never have to fuss with {part}"),
    *("{part} did not let me down", "{part} {pis} better made than i would expect at this price"),
    *("i wore {them} to {occasion} and forgot i had {them} on", "even my husband noticed"),
    *("i had given up on finding {a} {noun} like this, and here {itis}",),
)
FAULT_PARTS = (
    *(
        "{part} do{pes} not fall the way {pthey} should",
        "{part} held up worse than in my old {noun}",
    ),
    *("i would want {part} entirely different", "nobody would ask me where i found {them}"),
    *("i reach for anything else before {them}", "i constantly have to fuss with {part}"),
    *("{part} let me down", "{part} {pis} worse made than i would expect at this price"),
    *("i wore {them} to {occasion} and could not wait to take {them} off",),
    *("even my husband winced", "great if you enjoy ironing, which i do not"),
    *("lovely on the hanger, and that is where {they} will stay",),
    *("i am still looking for {a} {noun} like the one in the picture",),
)

VERDICTS = {
    1: (
        *("{they} stay{s} in my closet for good", "i am ordering {another} in {color}"),
        *("i would buy {them} again tomorrow", "returning {them} never crossed my mind"),
        *("i kept the receipt and will not need it", "do not think twice", "worth the wait"),
        *("my only regret is not buying {them} sooner", "i cannot recommend {them} enough"),
        *("so glad i did not listen to the bad reviews", "{they} {are} not going back"),
        *("this is what i come to this store for", "the best thing i bought this season"),
    ),
    0: (
        *(
            "so i am of two minds",
            "{they} {are} fine, no more than that",
            "i may keep {them}, or not",
        ),
        *("neither a mistake nor a find", "on sale i would say yes, at full price i am unsure"),
        *("i neither love {them} nor regret {them}", "it evens out to average"),
        *(
            "some days i like {them}, some days i do not",
            "good in parts",
            "somewhere in the middle",
        ),
        *("for wearing around the house {they} will do", "not bad, not special"),
        *("i cannot quite make up my mind", "{they} do{es} the job and little else"),
    ),
    -1: (
        *(
            "back {they} go{es}",
            "i am not ordering {another} in any color",
            "sadly a return for me",
        ),
        *("i would not buy {them} again", "keeping {them} never crossed my mind"),
        *("good thing i kept the receipt, i will need it", "think twice", "not worth the wait"),
        *("my only regret is buying {them}", "i cannot recommend {them}"),
        *("i should have listened to the bad reviews", "{they} {are} going back tomorrow"),
        *("this is not what i come to this store for", "the worst thing i bought this season"),
    ),
}

OPENERS = (
    *("i bought {these} for {occasion}", "i ordered {these} in {color}", "i usually wear {size}"),
    *(
        "i am 5'4\" and took {size}",
        "i am 5'9\" and ordered {size}",
        "i tried {these} on in the store",
    ),
    *("my daughter picked {these} for me", "i had {these} in my basket for weeks"),
    *("after reading the other reviews i went for {size}", "{these} arrived in two days"),
    *("i was torn between {color} and {color2}", "a friend has {these} in {color2}"),
    *("i do not write many reviews", "this is my third {noun} from this brand"),
)

TITLES = {
    1: (
        *("Not disappointed", "A keeper", "So happy with this", "Better than the picture", "Love"),
        *(
            "Could not be happier",
            "My new favorite",
            "Worth it",
            "Surprisingly good {noun}",
            "Yes!",
        ),
        *("Wear it all the time", "Perfect for {occasion}", "No regrets", "Beautiful {noun}"),
    ),
    0: (
        *("Mixed feelings", "It is okay", "On the fence", "Almost", "Not sure", "Good and bad"),
        *("Pretty, with a catch", "Average {noun}", "Could be better, could be worse"),
    ),
    -1: (
        *("Not happy", "Disappointed", "A letdown", "Not like the picture", "Wanted to love it"),
        *("Could be so much better", "Not worth it", "Returned", "No", "Regret this one"),
    ),
    None: (
        *("{Color} {noun}", "About the fit", "Size {number}", "The {color} one", "For {occasion}"),
        *("After a month", "My thoughts", "A word on sizing"),
    ),
}

SAME = (". ", ". ", ", and ", "; ", ". also, ", ". besides, ")
TURN = (
    ", but ",
    ". still, ",
    "; on the other hand ",
    ". then again, ",
    ". that said, ",
    ", though ",
)


class _Reviewer:
    """Writes about one product."""

    def __init__(self, rng: random.Random, product: Product) -> None:
        self._rng = rng
        noun = rng.choice(product.nouns)
        part = rng.choice(product.parts)
        color, color2 = rng.sample(COLORS, 2)
        several = noun in PLURALS
        many_parts = part.endswith("s") and not part.endswith("ss")
        self._qualities = list(QUALITIES)
        rng.shuffle(self._qualities)
        self.words = {
            "noun": noun,
            "these": f"these {noun}" if several else f"this {noun}",
            "it": f"the {noun}",
            "they": "they" if several else "it",
            "them": "them" if several else "it",
            "are": "are" if several else "is",
            "itis": "they are" if several else "it is",
            "another": "another pair" if several else "another one",
            "a": "a pair of" if several else "an" if noun[0] in "aeiou" else "a",
            "s": "" if several else "s",
            "es": "" if several else "es",
            "part": part,
            "pis": "are" if many_parts else "is",
            "ps": "" if many_parts else "s",
            "pes": "" if many_parts else "es",
            "pthey": "they" if many_parts else "it",
            "color": color,
            "Color": color.capitalize(),
            "color2": color2,
            "size": rng.choice(SIZES),
            "number": str(rng.choice((2, 4, 6, 8, 10, 12, 14))),
            "occasion": rng.choice(OCCASIONS),
        }

    def say(self, template: str, **more: str) -> str:
        """Fill a template with this review's words."""
        return template.format(**self.words, **more)

    def clause(self, praise: bool) -> str:
        """A judgement on one thing."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.5 and self._qualities:
            subject, good, bad = self._qualities.pop()
            goods, bads = rng.sample(good, 2), rng.sample(bad, 2)
            template = rng.choice(PRAISE if praise else FAULT)
            return self.say(
                template, q=subject, good=goods[0], good2=goods[1], bad=bads[0], bad2=bads[1]
            )
        if kind < 0.78:
            fact = rng.choice(FACTS)
            return self.say(fact + rng.choice(WELCOME if praise else UNWELCOME))
        return self.say(rng.choice(PRAISE_PARTS if praise else FAULT_PARTS))

    def text(self, rating: int, clauses: int | None = None) -> str:
        """The review."""
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
            text += rng.choice(SAME if before == now else TURN) + piece
        if rng.random() < 0.5:
            text = f"{self.say(rng.choice(OPENERS))}. {text}"
        if rng.random() < (0.6 if rating == 3 else 0.4):
            text += rng.choice((". ", ". ", "; ")) + self.say(rng.choice(VERDICTS[mood]))
        return text + rng.choice((".", ".", ".", "!", "...", ""))

    def title(self, rating: int) -> str:
        """A headline; two in five say nothing about the mood."""
        mood: int | None = (rating > 3) - (rating < 3)
        if self._rng.random() < 0.4:
            mood = None
        return self.say(self._rng.choice(TITLES[mood]))


def _styled(rng: random.Random, text: str, rating: int) -> str:
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


def generate(rows: int = ROWS, seed: int = SEED) -> Iterator[list[str]]:
    """Rows of the sample, without the header: reviews, and among them some dirt.

    Args:
        rows: How many; any number, texts hardly ever repeat.
        seed: Another seed, other reviews.

    Yields:
        The fields of `HEADER` as text.
    """
    rng = random.Random(seed)  # noqa: S311 (made-up text, not a secret)
    shares = [product.share for product in PRODUCTS]
    recent: list[list[str]] = []
    for number in range(rows):
        product = rng.choices(PRODUCTS, shares)[0] if number != rows // 2 else RARE
        rating = rng.choices(list(RATINGS), list(RATINGS.values()))[0]
        reviewer = _Reviewer(rng, product)
        long = rng.random() < 0.002
        text = _styled(rng, reviewer.text(rating, clauses=60 if long else None), rating)
        title = reviewer.title(rating) if rng.random() < 0.85 else ""
        if rng.random() < NOISE:
            rating = rng.choice((3, 4) if rating < 3 else (2, 4) if rating == 3 else (3, 2))
        recommended = rng.random() < {5: 0.995, 4: 0.96, 3: 0.42, 2: 0.06, 1: 0.02}[rating]
        row = [
            str(number),
            str(700 + 50 * PRODUCTS.index(product) + min(49, int(rng.expovariate(0.08))))
            if product in PRODUCTS
            else "1400",
            str(min(94, max(18, round(rng.gauss(43, 12))))),
            title,
            text,
            str(rating),
            str(int(recommended)),
            str(int(rng.expovariate(0.4))),
            rng.choices(("General", "General Petite"), (0.62, 0.38))[0]
            if product.department != "Intimate"
            else "Intimates",
            product.department,
            product.category,
        ]
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


def write_sample(path: str | Path = SAMPLE, rows: int = ROWS, seed: int = SEED) -> None:
    """Write the sample as CSV in UTF-8 with LF line ends."""
    with replaced_when_whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as out:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(generate(rows, seed))
        out.write(buffer.getvalue())


if __name__ == "__main__":
    write_sample()
