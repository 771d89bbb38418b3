"""The words and products that the bundled sample's reviews are put together from."""

import re
from typing import NamedTuple

_TEXT = """
[products]
Dresses Dresses 0.27 | dress, sundress, wrap dress, maxi, little black dress | skirt part,
  neckline, waist, lining, hem;
Knits Tops 0.2 | top, tee, knit tee, tunic, tank | neckline, sleeves, hem, side seams;
Blouses Tops 0.13 | blouse, shirt, button-down, peasant blouse | collar, cuffs, buttons, sleeves,
  embroidery;
Sweaters Tops 0.09 | sweater, cardigan, pullover, turtleneck | neck, cuffs, ribbing, sleeves;
Pants Bottoms 0.09 | pants, trousers, culottes, leggings | waistband, pockets, legs, zipper;
Jeans Bottoms 0.07 | jeans, skinny jeans, boyfriend jeans | waistband, pockets, ankles, wash;
Skirts Bottoms 0.05 | skirt, pencil skirt, midi skirt | waistband, lining, pleats, zipper;
Jackets Jackets 0.05 | jacket, blazer, coat, parka | shoulders, zipper, lining, hood, pockets;
Lounge Intimate 0.03 | robe, pajama set, lounge hoodie | belt, sleeves, seams;
Swim Intimate 0.02 | swimsuit, bikini, one-piece | straps, lining, cut in the back;
Legwear Intimate 0.0 | tights, socks | toes, waistband
[colors]
navy | rust | sage | cream | plum | mustard | charcoal | teal | blush | ivory | olive | cobalt |
burgundy | dove grey | coral
[occasions]
my sister's wedding | a garden party | the office | a week in lisbon | my birthday | a job
interview | the school run | a christening | long flights | date night | a baby shower | our
anniversary | the first cold days | a reunion | summer evenings
[qualities]
fabric | soft, sturdy, breathable, silky, substantial, cool on the skin | scratchy, flimsy, stiff,
  see-through, clingy, cheap to the touch;
fit | flattering, forgiving, spot on, neat, true to size | boxy, off, shapeless, snug in the wrong
  places, awkward;
color | rich, cheerful, just like the picture, warm, deep | dull, washed out, nothing like the
  picture, garish, muddy;
stitching | tidy, solid, careful, even | sloppy, loose, uneven, coming undone;
cut | clever, graceful, slimming, modern, kind to curves | odd, dated, unkind to curves, bulky,
  frumpy;
price | fair, reasonable, modest | steep, hard to justify, out of proportion;
pattern | pretty, fresh, subtle, charming | busy, loud, blurry, crooked at the seams;
feel of it | comfortable, light, cozy, easy | uncomfortable, heavy, itchy, fussy
[facts]
{it} run{s} a full size large | {it} run{s} small | {it} hit{s} right below the knee | the
material is thinner than i am used to | the material has a lot of stretch | the shade is darker
than on the screen | the shade is lighter than on the screen | {part} sit{ps} lower than on the
model | {part} sit{ps} higher than on the model | {it} wrinkle{s} a little by noon | {it} shrank
slightly in the wash | {part} {pare} roomier than i expected | {part} {pare} narrower than i
expected | {it} look{s} more casual in person | {it} look{s} dressier in person | there is hardly
any stretch | {it} come{s} up long on me | {it} come{s} up short on me
[welcome]
, just as i hoped | , and i would not change that | , which suits me | , which i prefer | , and
that is why i picked {them} | , and i could not mind less | , lucky for me | , which turned out to
be an advantage | , no complaints there | , exactly what i wanted
[unwelcome]
, not what i hoped for | , and i would change that if i could | , which does not suit me | , and
that is not why i picked {them} | , and i could not get past it | , sadly for me | , which turned
out to be a problem | , my main complaint | , hardly what i wanted | , and i had been told the
opposite
[praise]
{q} is {good} | {q} is {good} and {good2} | {q} could not be more {good} | {q} is not {bad} at all
| nothing {bad} about {q} | {q} is anything but {bad} | i was afraid {q} would be {bad}, and it is
not | i expected {bad} and got {good} | not once did i find {q} {bad} | other reviewers call {q}
{bad}; i find it {good} | {q} stayed {good} after several washes | for once {q} is not {bad} but
{good} | i have yet to find anything {bad} about {q} | {q} is every bit as {good} as promised
[fault]
{q} is {bad} | {q} is {bad} and {bad2} | {q} could not be more {bad} | {q} is not {good} at all |
nothing {good} about {q} | {q} is anything but {good} | i was hoping {q} would be {good}, and it
is not | i expected {good} and got {bad} | not once did i find {q} {good} | other reviewers call
{q} {good}; i find it {bad} | {q} stopped being {good} after one wash | once again {q} is not
{good} but {bad} | i have yet to find anything {good} about {q} | {q} is not nearly as {good} as
promised | {q} looked {good} online and turned out {bad}
[praise parts]
{part} fall{ps} the way {pthey} should | {part} held up better than in my old {noun} | i would not
want {part} any different | i keep getting asked where i found {them} | i reach for {them} more
than for anything else | i never have to fuss with {part} | {part} did not let me down | {part}
{pare} better made than i would expect at this price | i wore {them} to {occasion} and forgot i had
{them} on | even my husband noticed | i had given up on finding {a} {noun} like this, and here
{itis}
[fault parts]
{part} do{pes} not fall the way {pthey} should | {part} held up worse than in my old {noun} | i
would want {part} entirely different | nobody would ask me where i found {them} | i reach for
anything else before {them} | i constantly have to fuss with {part} | {part} let me down | {part}
{pare} worse made than i would expect at this price | i wore {them} to {occasion} and could not
wait to take {them} off | even my husband winced | great if you enjoy ironing, which i do not |
lovely on the hanger, and that is where {they} will stay | i am still looking for {a} {noun} like
the one in the picture
[openers]
i bought {these} for {occasion} | i ordered {these} in {color} | i usually wear {size} | i am 5'4"
and took {size} | i am 5'9" and ordered {size} | i tried {these} on in the store | my daughter
picked {these} for me | i had {these} in my basket for weeks | after reading the other reviews i
went for {size} | {these} arrived in two days | i was torn between {color} and {color2} | a friend
has {these} in {color2} | i do not write many reviews | this is my third {noun} from this brand
[verdicts 1]
{they} stay{s} in my closet for good | i am ordering {another} in {color} | i would buy {them}
again tomorrow | returning {them} never crossed my mind | i kept the receipt and will not need it
| do not think twice | worth the wait | my only regret is not buying {them} sooner | i cannot
recommend {them} enough | so glad i did not listen to the bad reviews | {they} {are} not going
back | this is what i come to this store for | the best thing i bought this season
[verdicts 0]
so i am of two minds | {they} {are} fine, no more than that | i may keep {them}, or not | neither
a mistake nor a find | on sale i would say yes, at full price i am unsure | i neither love {them}
nor regret {them} | it evens out to average | some days i like {them}, some days i do not | good
in parts | somewhere in the middle | for wearing around the house {they} will do | not bad, not
special | i cannot quite make up my mind | {they} do{es} the job and little else
[verdicts -1]
back {they} go{es} | i am not ordering {another} in any color | sadly a return for me | i would
not buy {them} again | keeping {them} never crossed my mind | good thing i kept the receipt, i
will need it | think twice | not worth the wait | my only regret is buying {them} | i cannot
recommend {them} | i should have listened to the bad reviews | {they} {are} going back tomorrow |
this is not what i come to this store for | the worst thing i bought this season
[titles 1]
Not disappointed | A keeper | So happy with this | Better than the picture | Love | Could not be
happier | My new favorite | Worth it | Surprisingly good {noun} | Yes! | Wear it all the time |
Perfect for {occasion} | No regrets | Beautiful {noun}
[titles 0]
Mixed feelings | It is okay | On the fence | Almost | Not sure | Good and bad | Pretty, with a
catch | Average {noun} | Could be better, could be worse
[titles -1]
Not happy | Disappointed | A letdown | Not like the picture | Wanted to love it | Could be so much
better | Not worth it | Returned | No | Regret this one
[titles None]
{Color} {noun} | About the fit | Size {number} | The {color} one | For {occasion} | After a month
| My thoughts | A word on sizing
[same]
. | . | , and | ; | . also, | . besides,
[turn]
, but | . still, | ; on the other hand | . then again, | . that said, | , though
"""
_SECTIONS = dict(re.findall(r"\[(.+)\]\n([^[]*)", _TEXT))


class Product(NamedTuple):
    category: str
    department: str
    share: float
    nouns: list[str]
    parts: list[str]


def parts(text: str, separator: str = "|") -> list[str]:
    """What stands between the separators; line ends are spaces."""
    return [part.strip() for part in " ".join(text.split()).split(separator)]


def product(text: str) -> Product:
    names, nouns, named_parts = parts(text)
    category, department, share = names.split()
    the_parts = [f"the {part}" for part in parts(named_parts, ",")]
    return Product(category, department, float(share), parts(nouns, ","), the_parts)


# Singular and plural of what templates hold in braces; with a p before it, of a part.
FORMS = {
    **{"they": ("it", "they"), "them": ("it", "them"), "are": ("is", "are"), "s": ("s", "")},
    **{"itis": ("it is", "they are"), "another": ("another one", "another pair"), "es": ("es", "")},
}
*PRODUCTS, RARE = map(product, parts(_SECTIONS.pop("products"), ";"))
# What is judged, words that praise it and words that fault it.
QUALITIES = [
    (f"the {name}", parts(good, ","), parts(bad, ","))
    for name, good, bad in map(parts, parts(_SECTIONS.pop("qualities"), ";"))
]
PHRASES = {name: parts(text) for name, text in _SECTIONS.items()}
SIZES = parts("an extra small, a small, a medium, a large, a 4, a 6, a 10, a 12, a 14", ",")
