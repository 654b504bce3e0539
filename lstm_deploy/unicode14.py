"""Character classes and lower case, per code point, as of Unicode 14.0.

Pinned so that every Python (and every other language) gives a text the same tokens, features
and ids: Python 3.11 knows Unicode 14, later ones know more. One letter per code point:

====  =====================================================================
u     upper-case and title-case letters (Lu, Lt)
l     lower-case letters (Ll)
o     other letters (Lo, Lm)
m     marks (Mn, Mc, Me)
d     decimal digits (Nd)
n     other numbers (Nl, No)
p     punctuation (P*)
y     symbols (S*)
f     format characters (Cf)
s     white space (Z*, U+0009 to U+000D, U+0085)
x     everything else (controls, surrogates, private use, unassigned in 14.0)
====  =====================================================================
"""

import re
from bisect import bisect_right
from functools import cache


def classes(text: str) -> str:
    """One class letter per code point of ``text``; ``len(classes(text)) == len(text)``."""
    return text.translate(_class_of)


def lower(text: str) -> str:
    """The full lower-case mapping of each code point on its own; unassigned ones stay.

    No context (a capital sigma is always U+03C3) and no locale (U+0130 becomes two code points).
    """
    return text.lower() if text.isascii() else text.translate(_lower_of)


class _ClassOf(dict[int, int]):
    """Code point -> class letter, filled as code points are met."""

    def __missing__(self, point: int) -> int:
        starts, letters = _table()
        self[point] = found = ord(letters[bisect_right(starts, point) - 1])
        return found


class _LowerOf(dict[int, str | int]):
    """Code point -> its lower case, filled as code points are met."""

    def __missing__(self, point: int) -> str | int:
        self[point] = found = point if _class_of[point] == ord("x") else chr(point).lower()
        return found


_class_of = _ClassOf()
_lower_of = _LowerOf()


@cache
def _table() -> tuple[list[int], list[str]]:
    starts: list[int] = []
    letters: list[str] = []
    point = 0
    for count, letter in re.findall(r"(\d*)([a-z])", _RUNS):
        starts.append(point)
        letters.append(letter)
        point += int(count or 1)
    return starts, letters


# Run lengths (none = 1) and class letters from U+0000 to U+10FFFF; tests/runtime/test_unicode14.py
# derives it again from the unicodedata module of a Python that has Unicode 14.0.
_RUNS = (
    "9x5s18xs3py6py4p10d2p3y2p26u3pypy26lpypy6xs26xsp5yp2yopyf4y2nyl2pynop3np23uy7u24ly8lulululululululululululul"
    "ulululululululululululululululu2lulululululululu2lululululululululululululululululululululululul2ululu3l2ulu"
    "l2ul3u2l4ul2ul3u3l2ul2ululul2ulu2lul2ul3ulul2u2lou3l4o2ul2ul2ululululululululu2lululululululululu2l2ulul3ulu"
    "lulululululululululululululululululululululululululululu7l2ul2u2lul4ululululu69lo27l18o4y12o14y5o7yoyo17y112"
    "mululoyul2xo3lpu4x2yup3uxux2ul17ux9u35lu2l3u3lulululululululululululu5lulyul2u2l51u48lululululululululululul"
    "ululululululy7mululululululululululululululululululululululululululul2ululululululu2lulululululululululululu"
    "lululululululululululululululululululululululululululululululululululululx38u2xo6p41l2p2x3yx45mpmp2mp2mpm8x2"
    "7o4x4o2p11x6f3y2py2p2y11mpf3p43o21m10d4p2om99opo7mfy6m2o2my4m2o10d3o2yo14pxfom30o27m2x89o11mo14x10d33o9m2oy3"
    "po2xm2y22o4mo9mo3mo5m2x15px25o3m2xpx11o5x24oy6ox2f6x8m42o24mf33m54o3mo18mo7m10o2m2p10dp16o3mx8o2x2o2x22ox7ox"
    "o3x4o2xmo7m2x2m2x3mo8xm4x2ox3o2m2x10d2o2y6n2yopm2x3mx6o4x2o2x22ox7ox2ox2ox2o2xmx5m4x2m2x3m3xm7x4oxo7x10d2m3o"
    "mp10x3mx9ox3ox22ox7ox2ox5o2xmo8mx3mx3m2xo15x2o2m2x10dpy7xo6mx3mx8o2x2o2x22ox7ox2ox5o2xmo7m2x2m2x3m7x3m4x2ox3"
    "o2m2x10dyo6n10xmox6o3x3ox4o3x2oxox2o3x2o3x3o3x12o4x5m3x3mx4m2xo6xm14x10d3n8y5x5m8ox3ox23ox16o2xmo7mx3mx4m7x2"
    "mx3o2xo2x2o2m2x10d7xp7nyo3mp8ox3ox23ox10ox5o2xmo7mx3mx4m7x2m6x2ox2o2m2x10dx2o13x4m9ox3ox41o2mo7mx3mx4moy4x3o"
    "m7n3o2m2x10d9ny6ox3mx18o3x24ox9oxo2x7o3xm4x6mxmx8m6x10d2x2mp12x48om2o7m4xy7o8mp10d2p37x2oxox5ox24oxox10om2o9"
    "mo2x5oxox6m2x10d2x4o32xo3y15pyp3y2m6y10d10nymymym4p2m8ox36o4x20mp2m5o11mx36mx8ym6yx2y5p4y2p37x43o20mo10d6p6o"
    "4m4o3mo3m2o7m3o4m13o12mom10d4m2y38uxu5xu2x43lpo3l329ox4o2x7oxox4o2x41ox4o2x33ox4o2x7oxox4o2x15ox57ox4o2x67o2"
    "x3m9p20n3x16o10y6x86u2x6l2xp620oyp17os26o2p3x75o3p3n8o7x18o4m9x19o3m2p9x18o2m12x13ox3ox2m12x52o32m3po3pyom2x"
    "10d6x10n6x11p3mfm10d6x89o7x5o2m34omo5x70o10x31ox12m4x12m4xy3x2p10d30o2x5o11x44o4x26o6x10dn3x34y23o5m2x2p53o1"
    "0mx29m2xm10d6x10d6x7po6p2x31m49x5m47o17m8o3x10d7p10y9m9y2px3m30o13m2o10d44o14m8x4p36o20m3x5p10d3x3o10d36o2p9"
    "l7x43u2x3u8p8x3mp21m4om6om2o3mo5x44l63o13lo34l37o64mulululululululululululululululululululululululululululul"
    "ululululululululululululululululululululululululululululululululululululululululululululululu9lululululululu"
    "lulululululululululululululululululululululululululululululululululululululululululu9l8u6l2x6u2x8l8u8l8u6l2x"
    "6u2x8lxuxuxuxu8l8u14l2x8l8u8l8u8l8u5lx2l5uyl3y3lx2l5u3y4l2x2l4ux3y8l5u3y2x3lx2l5u2yx11s5f24p2s5fs20py13py12p"
    "s5fx10fno2x6n3y2po10n3y2px13o3x33y15x33m15x2yu4yu2yl3u2l3ulyu3y5u6yuyuyuy4uyl4ul4ol2y2l2u5yu4l4yly51nul5n2y4"
    "x376y4p29y2p252y25x11y21x60n78y22n616y14p30n49y2p31y10p403y22p63y4p32y2p374y2x32yx105y48u48lul3u2lululul4ulu"
    "2lu6l2o3ulululululululululululululululululululululululululululululululululululululululululululululululululu2"
    "l6yulul3mul5x4pn2p38lxl5xl2x56o7xop14xm23o9x7ox7ox7ox7ox7ox7ox7ox7ox32m47po32p2y12p34x26yx89y12x214y26x12y4x"
    "s3py2on10p2y12py9n6mp5o2y3n2op2yx86o2x2m2y3op90op4o5x43ox94ox2y4n10y32o36y12x16o31yx10n30y8ny15n32y10n39y15n"
    "320y6592o64y22157o3x55y9x46o2p269o3p16o10d2o20xulululululululululululululululululululululululo4mp10mpoululul"
    "ululululululululululul2o2m70o10n2m6p8x23y9o2yululululululu3lulululululululululululululululululululululululul"
    "ulululululululo8lulul2ulululululo2yululoulu3lulululululululululul5ul5ulululululululul4ulul5xulxlxlulul24x3ou"
    "l3ol7om3om4om23o5m4ym3x6n4y6x52o4p8x2m50o18m8x2p10d6x18m6o3pop2om10d28o8m2p23o13m11xp29o3x4m47o14m13pxo10d4x"
    "2p5om10o10d5ox41o14m9x3om8o2m2x10d2x4p23o3yo3m50omo3m2o2m5o2momo24x3o2p11o5m2p3o2m10x6o2x6o2x6o9x7ox7ox43ly4"
    "o9lo2y4x80l35o8mp2m2x10d6x11172o12x23o4x49o8452x366o2x106o38x7l12x5l5xom10oy13ox5oxox2ox2ox108o17y16x363o2p1"
    "6y64o2x54o7xy32x12o4y16m10p6x16m35px14pyp3yxpy2p4x5ox135o2xfx3py6py4p10d2p3y2p26u3pypy26lpypy7p89o3x6o2x6o2x"
    "6o2x3o3x7yx7y10x3f2y2x12ox26ox19ox2ox15o2x14o34x123o5x3p4x45n3x9y57n17y2n3yx13y3xy47x45ym130x29o3x49o15xm27n"
    "4x32o4n9x20on8on5x38o5m5x30oxp36o4x8op5n42x40u40l78o2x10d6x36u4x36l4x40o8x52o11xp11ux15ux7ux2ux11lx15lx7lx2l"
    "67x311o9x22o10x8o24x6ox42ox9o69x6o2xox44ox2o3xo2x23oxp8n23o2y7n31o8x9n48x19ox2o5x5n22o6n3xp26o5xp64x56o4x2n2"
    "o16n2x46no3mx2m5x4m4ox3ox29o2x3m4xm9n7x9p7x29o2np29o3n32x8oy28o2m4x5n7p9x54o3x7p22o2x8n19o5x8n18o7x4p12x7n80"
    "x73o55x51u13x51l7x6n36o4m8x10d294x31nx42ox2mp2x2o78x29o10no8x22o11m4n5p22x18o4m4p38x21o7n20x23o9x3m53o15m7p4"
    "x20n10dm2o2mo9x4m45o11m2pf4pm10xf2x25o7x10d6x3m36o14mx10d4po2mo8x35om2po9x3m48o14m4o4p4mp2m10dopo3px20n11x18"
    "ox25o12m6pm65x7oxox4ox15ox10op6x47o12m5x10d6x4mx8o2x2o2x22ox7ox2ox5ox2mo7m2x2m2x3m2xo6xm5x5o2m2x7m3x5m139x53"
    "o18m4o5p10d2pxpm3o30x48o20m2opo8x10d166x47o7m2x9m23p4o2m34x48o17m3po11x10d6x13p19x43o13mop6x10d54x27o2x15m4x"
    "10d2n3py7o185x44o15mp100x32u32l10d9n12x8o2xo2x8ox2ox24o6mx2m2x4momo2m3p9x10d70x8o2x39o7m2x7mopom27xo10m40o7m"
    "o4m8pm8xo11m46o16m3po5p13x73o263x9ox37o8mx8mo5p10x10d19n3x2p30o2x22mx14m73x7ox2ox38o6m3xmx2mx7mom8x10d6x6ox2"
    "ox32o5mx2mx5mo7x10d310x19o4m2p183xo15x21n29y13xp922o102x111nx5p11x196o2636x97o2p13x1071ox9f4039x583o8633x569"
    "o7x31ox10d4x2p79ox10d6x30o2x5mp10x48o7m5p4y4opy10x10dx7nx21o5x19o688x32u32l23n4p101x75o4xmo55m7x4m13o64x2opo"
    "m11x2m14x6136o8x1238o42x9o8935x4ox7ox2ox291o45x3o17x4o8x396o2308x107o5x13o3x9o7x10o2xy2mp4f4700x46m2x23m9x11"
    "6y60x246y10x39y2x60y5m3y6m8f8m2y7m30y4m61y21x66y3my154x20n12x87y9x25n135x26u26l26u7lx18l26u26lux2u2xu2x2u2x4"
    "ux8u4lxlx7lx11l26u26l2ux4u2x8ux7ux26l2ux4ux5uxu3x7ux26l26u26l26u26l26u26l26u26l26u26l26u28l2x25uy25ly6l25uy2"
    "5ly6l25uy25ly6l25uy25ly6l25uy25ly6lul2x50d512y55m4y50m8ym14ym2y5p15x5mx15m1104x10lo20l225x7mx17m2x7mx2mx5m21"
    "3x45o3x7m7o2x10d4xoy320x30om17x44o4m10d5xy1248x7ox4ox2ox15ox197o2x9n7m41x34u34l7mo4x10d4x2p785x59ny3ny4n76x4"
    "5ny15n194x4ox27ox2oxo2xox10ox4oxoxo6xo4xoxoxox3ox2oxo2xoxoxoxoxox2oxo2x4ox7ox4ox4oxox10ox17o5x3ox5ox17o52x2y"
    "270x44y4x100y12x15y2x15yx15yx37y10x13n161y56x29y13x44y4x9y7x2y14x6y154x984y5x16y3x13y3x116y12x89y7x12y4xy15x"
    "12y4x56y8x10y6x40y8x30y2x2y78x340y12x14y2x5y3x5y3x7y9x29y3x11y5x6y10x10y6x8y8x7y9x147yx55y37x10d1030x42720o3"
    "2x4153o7x222o2x5762o14x7473o3103x542o1506x4939o715958xf30x96f128x240m196112x"
)
