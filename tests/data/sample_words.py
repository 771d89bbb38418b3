"""The words and products that the bundled sample's reviews are put together from."""

from dataclasses import dataclass


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
