"""The labelling functions that come with the project: what anyone who reads reviews would guess.

Each is a regular expression or a count over whole columns. They know English and know fashion; in
other languages they abstain, and `models_agree` votes alone.
"""

import pyarrow as pa
import pyarrow.compute as pc

from components.labelling.voting import Column, counted, labelling_function, matches, votes

_PRAISE = (
    r"\b(love|loved|loves|adore|perfect|perfectly|gorgeous|beautiful|beautifully|stunning|amazing|"
    r"fantastic|fabulous|excellent|awesome|wonderful|great|flattering|comfortable|comfy|soft|"
    r"adorable|compliments?|best|favorite|favourite|happy|pleased|versatile|recommend|cute|lovely)\b"
)
_BLAME = (
    r"\b(disappoint\w*|terrible|awful|horrible|horribly|unflattering|cheap|cheaply|itchy|scratchy|"
    r"poor|poorly|returned|returning|return|unfortunately|ripped|tore|waste|worst|hate|hated|ugly|"
    r"huge|frumpy|shapeless|boxy|stiff|unwearable|sadly|bad|weird|odd|fell apart|see.through|"
    r"shrunk|pilled|pilling|faded|hole|holes|defective|regret)\b"
)
_SHORT = 120
"""Characters below which a review says little, which is mostly good."""


@labelling_function
def compliments(reviews: pa.Table) -> Column:
    """Others liked it."""
    return votes(matches(reviews["text"], r"\bcompliment(s|ed)?\b"), "positive")


@labelling_function
def exclamation(reviews: pa.Table) -> Column:
    """Two exclamation marks or more."""
    return votes(pc.greater_equal(counted(reviews["text"], r"!"), 2), "positive")


@labelling_function
def delight(reviews: pa.Table) -> Column:
    """Words of delight, without a complaint."""
    found = matches(reviews["text"], r"\b(love (it|this|these|them)|perfect|gorgeous|fabulous)\b")
    return votes(pc.and_(found, pc.invert(matches(reviews["text"], _BLAME))), "positive")


@labelling_function
def short(reviews: pa.Table) -> Column:
    """A short text without a complaint."""
    brief = pc.less(pc.utf8_length(reviews["text"]), _SHORT)
    return votes(pc.and_(brief, pc.invert(matches(reviews["text"], _BLAME))), "positive")


@labelling_function
def praise_outweighs(reviews: pa.Table) -> Column:
    """Three words of praise more than of complaint, by two lists of words."""
    text = reviews["text"]
    surplus = pc.subtract(counted(text, _PRAISE), counted(text, _BLAME))
    return votes(pc.greater_equal(surplus, 3), "positive")


@labelling_function
def complaint_outweighs(reviews: pa.Table) -> Column:
    """Two words of complaint more than of praise, by two lists of words."""
    text = reviews["text"]
    surplus = pc.subtract(counted(text, _BLAME), counted(text, _PRAISE))
    return votes(pc.greater_equal(surplus, 2), "negative")


@labelling_function
def disappointment(reviews: pa.Table) -> Column:
    """Words of plain disappointment."""
    pattern = (
        r"\b(very disappoint\w*|disappointed|disappointing|terrible|awful|horrible|unwearable|"
        r"waste of|poor quality|poorly made|cheaply made|looks? cheap|do(es)? not recommend|"
        r"don'?t (buy|waste))\b"
    )
    return votes(matches(reviews["text"], pattern), "negative")


@labelling_function
def sent_back(reviews: pa.Table) -> Column:
    """It went back to the shop."""
    pattern = (
        r"\b(return(ed|ing) (it|this|them|these)|sen(t|ding) (it|this|them) back|going back|"
        r"went back)\b"
    )
    return votes(matches(reviews["text"], pattern), "negative")


@labelling_function
def blaming_title(reviews: pa.Table) -> Column:
    """A complaint in the title."""
    return votes(matches(reviews["title"], _BLAME + r"|\b(not|too|no)\b"), "negative")


@labelling_function
def faint_praise(reviews: pa.Table) -> Column:
    """Neither good nor bad, in so many words."""
    pattern = (
        r"\b(just ok(ay)?|it'?s ok(ay)?|was ok(ay)?|is ok(ay)?|so.so|meh|average|nothing special)\b"
    )
    return votes(matches(reviews["text"], pattern), "neutral")


@labelling_function
def wanted_to_love(reviews: pa.Table) -> Column:
    """Liked, with a reservation that decides."""
    pattern = (
        r"\b(wanted to (love|like)|wish (it|this|they)|not for me|on the fence|mixed feelings|"
        r"torn|could have been|would have been (perfect|great))\b"
    )
    return votes(matches(reviews["text"], pattern), "neutral")


@labelling_function
def however_between(reviews: pa.Table) -> Column:
    """Praise and complaint with a turn between them."""
    text = reviews["text"]
    both = pc.and_(matches(text, _PRAISE), matches(text, _BLAME))
    return votes(pc.and_(both, matches(text, r"\b(however|unfortunately|sadly)\b")), "neutral")


@labelling_function
def models_agree(reviews: pa.Table) -> Column:
    """Two models that learned from different rated reviews, not from this one, agree."""
    return reviews["agreed"]
