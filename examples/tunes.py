"""The tunes, written down by us in ABC (see ``notation``): C major or A minor, 4/4, with our chords.

All are anonymous and traditional or were published before 1900, and every composer named died more
than a century ago. Tunes in 2/4 have their values doubled. A form lists strains in order; ``A'`` is
strain A varied, ``A''`` varied another way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StyleName = Literal["folk", "march", "pop", "swing", "hymn"]


@dataclass(frozen=True)
class Tune:
    """A tune: strains by letter, the forms it is played in, the styles and tempi (bpm) that suit it."""

    slug: str
    title: str
    origin: str
    strains: dict[str, str]
    forms: tuple[str, ...]
    styles: tuple[StyleName, ...]
    tempo_bpm: tuple[int, int]
    minor: bool = False


TUNES: tuple[Tune, ...] = (
    Tune(
        "twinkle",
        "Ah ! vous dirai-je, maman (Twinkle, Twinkle, Little Star)",
        "French, printed 1761",
        {
            "A": '"C"C C G G|"F"A A "C"G2|"F"F F "C"E E|"G7"D D "C"C2|',
            "B": '"C"G G "F"F F|"C"E E "G7"D2|"C"G G "F"F F|"C"E E "G7"D2|',
        },
        ("A B A A' B A' A B A''", "A A' B A A A' B A"),
        ("folk", "pop", "swing"),
        (84, 116),
    ),
    Tune(
        "frere-jacques",
        "Frère Jacques",
        "French round, eighteenth century",
        {
            "A": '"C"C D E C|C D E C|"C"E "F"F "C"G2|"C"E "F"F "C"G2|'
            '"C"G/ A/ G/ F/ E C|G/ A/ G/ F/ E C|"C"C "G7"G, "C"C2|"C"C "G7"G, "C"C2|',
        },
        ("A A A' A", "A A' A A'' A"),
        ("folk", "march", "pop"),
        (96, 132),
    ),
    Tune(
        "ode-to-joy",
        "Ode to Joy",
        "Ludwig van Beethoven, Ninth Symphony, 1824",
        {
            "A": '"C"E E F G|"G7"G F E D|"C"C C D E|"C"E3/2 D/ "G"D2|'
            '"C"E E F G|"G7"G F E D|"C"C C D E|"G7"D3/2 C/ "C"C2|',
            "B": '"G"D D "C"E C|"G"D E/ F/ "C"E C|"G"D E/ F/ "E7"E D|"Am"C "D7"D "G"G,2|'
            '"C"E E F G|"G7"G F E D|"C"C C D E|"G7"D3/2 C/ "C"C2|',
        },
        ("A B B A' B", "A A B B A B"),
        ("march", "hymn", "pop"),
        (92, 126),
    ),
    Tune(
        "yankee-doodle",
        "Yankee Doodle",
        "Anglo-American, eighteenth century",
        {
            "A": '"C"C C D E|"C"C E "G7"D2|"C"C C D E|"C"C2 "G7"B,2|"C"C C D E|"F"F E D C|"G7"B, G, A, B,|"C"C2 C2|',
            "B": '"F"A,3/2 B,/ A, G,|A, B, C2|"C"G,3/2 A,/ G, F,|E,2 G,2|'
            '"F"A,3/2 B,/ A, G,|A, B, C A,|"C"G, C "G7"B, D|"C"C2 C2|',
        },
        ("A B A B A' B", "A A B B"),
        ("march", "folk"),
        (108, 138),
    ),
    Tune(
        "oh-susanna",
        "Oh! Susanna",
        "Stephen Foster (1826-1864), 1848",
        {
            "A": 'C/ D/|"C"E G G3/2 A/|G E C3/2 D/|"C"E E D C|"G7"D3 C/ D/|'
            '"C"E G G3/2 A/|G E C3/2 D/|"C"E E "G7"D D|"C"C4|',
            "B": '"F"F2 F2|A A2 A|"C"G G E C|"G7"D3 C/ D/|"C"E G G3/2 A/|G E C3/2 D/|"C"E E "G7"D D|"C"C4|',
        },
        ("A A B A A' B", "A B A' B A B"),
        ("folk", "march", "swing"),
        (100, 132),
    ),
    Tune(
        "jingle-bells",
        "Jingle Bells",
        "James Lord Pierpont (1822-1893), 1857",
        {
            "A": '"C"G, E D C|G,3 G,/ G,/|G, E D C|"F"A,4|"F"A, F E D|"G"B,4|"G7"G G F D|"C"E4|'
            '"C"G, E D C|G,4|G, E D C|"F"A,3 A,|"F"A, F E D|"G"G G G G|"G7"A G F D|"C"C4|',
            "B": '"C"E E E2|E E E2|E G C3/2 D/|E4|"F"F F F3/2 F/|"C"F E E E/ E/|"D7"E D D E|"G7"D2 G2|'
            '"C"E E E2|E E E2|E G C3/2 D/|E4|"F"F F F3/2 F/|"C"F E E E/ E/|"G7"G G F D|"C"C4|',
        },
        ("A B B'", "A B B"),
        ("pop", "swing", "folk"),
        (112, 144),
    ),
    Tune(
        "good-king-wenceslas",
        "Good King Wenceslas",
        "Tempus adest floridum, Piae Cantiones, 1582; last cadence drawn together into eight bars",
        {
            "A": '"C"C C C D|"C"C C "G"G,2|"F"A, "C"G, "F"A, "G7"B,|"C"C2 C2|'
            '"C"C C C D|"C"C C "G"G,2|"F"A, "C"G, "F"A, "G7"B,|"C"C2 C2|',
            "B": '"C"G "Dm"F "C"E "G"D|"C"E "G7"D "C"C2|"F"A, "C"G, "F"A, "G7"B,|"C"C2 C2|'
            '"C"G, G, "F"A, "G"B,|"C"C C "G"D2|"C"G "Dm"F "C"E "G"D|"C"C "F"F "C"C2|',
        },
        ("A B A B", "A B A' B A B"),
        ("march", "hymn"),
        (96, 126),
    ),
    Tune(
        "au-clair-de-la-lune",
        "Au clair de la lune",
        "French, eighteenth century",
        {
            "A": '"C"C C C D|"C"E2 "G7"D2|"C"C E "G7"D D|"C"C4|',
            "B": '"G"D D D D|"D7"A,2 A,2|"G"D C "D7"B, A,|"G7"G,4|',
        },
        ("A A B A A A' B A", "A A' B A A A'' B A A"),
        ("folk", "pop", "hymn"),
        (80, 112),
    ),
    Tune(
        "london-bridge",
        "London Bridge",
        "English, tune printed 1879",
        {
            "A": '"C"G3/2 A/ G F|E F G2|"G7"D E F2|"C"E F G2|"C"G3/2 A/ G F|E F G2|"G7"D2 G2|"C"E C3|',
        },
        ("A A' A A", "A A A' A A''"),
        ("folk", "swing", "march"),
        (100, 132),
    ),
    Tune(
        "mary-had-a-little-lamb",
        "Mary Had a Little Lamb",
        "American, sung to a tune printed 1847",
        {
            "A": '"C"E D C D|E E E2|"G7"D D D2|"C"E G G2|"C"E D C D|E E E E|"G7"D D E D|"C"C4|',
        },
        ("A A' A A'' A", "A A A' A"),
        ("swing", "folk", "pop"),
        (96, 128),
    ),
    Tune(
        "skip-to-my-lou",
        "Skip to My Lou",
        "American play-party song, 1840s",
        {
            "A": '"C"E E/ E/ C C|E E G2|"G7"D D/ D/ B, B,|D D F2|"C"E E/ E/ C C|E E G2|"G7"D E/ F/ E D|"C"C2 C2|',
            "B": '"C"E2 C2|E E/ E/ G2|"G7"D2 B,2|D D/ D/ F2|"C"E2 C2|E E/ E/ G2|"G7"D E/ F/ E D|"C"C2 C2|',
        },
        ("B A B A' B", "A B A B A'"),
        ("folk", "swing"),
        (104, 138),
    ),
    Tune(
        "deck-the-halls",
        "Deck the Halls",
        "Nos Galan, Welsh, printed 1794",
        {
            "A": '"C"G3/2 F/ E D|C D E C|"G7"D/ E/ F/ D/ "C"E3/2 D/|"G7"C B, "C"C2|'
            '"C"G3/2 F/ E D|C D E C|"G7"D/ E/ F/ D/ "C"E3/2 D/|"G7"C B, "C"C2|',
            "B": '"G7"D3/2 E/ F D|"C"E3/2 F/ "G"G D|"C"E/ ^F/ G "Am"A/ B/ c|"G"B "D7"A "G"G2|'
            '"C"G3/2 F/ E D|C D E C|"F"A/ A/ A/ A/ "C"G3/2 F/|"C"E "G7"D "C"C2|',
        },
        ("A B A B A' B", "A B A' B"),
        ("march", "folk", "pop"),
        (108, 138),
    ),
    Tune(
        "auld-lang-syne",
        "Auld Lang Syne",
        "Scots, printed with this tune 1799",
        {
            "A": 'G,|"C"C3/2 C/ C E|"G7"D3/2 C/ D E|"C"C3/2 C/ E G|"F"A3 A|'
            '"C"G3/2 E/ E C|"G7"D3/2 C/ D E|"F"C3/2 A,/ "G7"A, G,|"C"C4|',
            "B": 'A|"C"G3/2 E/ E C|"G7"D3/2 C/ D A|"C"G3/2 E/ E G|"F"A3 A|'
            '"C"G3/2 E/ E C|"G7"D3/2 C/ D E|"F"C3/2 A,/ "G7"A, G,|"C"C4|',
        },
        ("A B A B", "A B A' B A B"),
        ("hymn", "folk", "pop"),
        (76, 104),
    ),
    Tune(
        "aunt-rhody",
        "Go Tell Aunt Rhody",
        "American, nineteenth century, on a melody of Jean-Jacques Rousseau, 1752",
        {
            "A": '"C"E2 E D|C2 C2|"G7"D2 D F|"C"E "G7"D "C"C2|"C"G2 G F|E2 E2|"G7"D C D E|"C"C4|',
        },
        ("A A A' A", "A A' A A A''"),
        ("folk", "hymn", "pop"),
        (84, 112),
    ),
    Tune(
        "lightly-row",
        "Hänschen klein (Lightly Row)",
        "German, early nineteenth century",
        {
            "A": '"C"G E E2|"G7"F D D2|"C"C D E F|"C"G G G2|"C"G E E2|"G7"F D D2|"C"C E "G7"G G|"C"C4|',
            "B": '"G7"D D D D|D E F2|"C"E E E E|E F G2|"C"G E E2|"G7"F D D2|"C"C E "G7"G G|"C"C4|',
        },
        ("A B A B", "A A B A' B"),
        ("folk", "march", "swing"),
        (100, 132),
    ),
    Tune(
        "korobeiniki",
        "Korobeiniki (The Peddlers)",
        "Russian folk song, 1860s",
        {
            "A": '"E7"E B,/ C/ D C/ B,/|"Am"A, A,/ C/ E D/ C/|"E7"B,3/2 C/ D E|"Am"C A, A,2|'
            '"Dm"D3/2 F/ A G/ F/|"C"E3/2 C/ E D/ C/|"E7"B, B,/ C/ D E|"Am"C A, A,2|',
        },
        ("A A A' A", "A A' A A'' A"),
        ("march", "pop", "folk"),
        (112, 144),
        minor=True,
    ),
    Tune(
        "hark-the-herald",
        "Hark! The Herald Angels Sing",
        "Felix Mendelssohn, Festgesang, 1840",
        {
            "A": '"C"G, C C3/2 B,/|"C"C E "G7"E D|"C"G G G3/2 F/|"C"E "G7"D "C"E2|'
            '"C"G, C C3/2 B,/|"C"C E "Am"E D|"G"G D "D7"D3/2 B,/|"G"B, "D7"A, "G"G,2|',
            "B": '"C"G G G C|"F"F "C"E E "G"D|"C"G G G C|"F"F "C"E E "G"D|'
            '"F"A A A "A7"G|"Dm"F "A7"E "Dm"F2|"G7"D E/ F/ "C"G3/2 C/|"C"C "G7"D "C"E2|',
            "C": '"F"A3/2 A/ A "A7"G|"Dm"F "A7"E "Dm"F2|"G7"D E/ F/ "C"G3/2 C/|"F"C "G7"D "C"C2|',
        },
        ("A B C A B C", "A B C A' B C C"),
        ("hymn", "march"),
        (92, 120),
    ),
    Tune(
        "long-long-ago",
        "Long, Long Ago",
        "Thomas Haynes Bayly (1797-1839), 1833",
        {
            "A": '"C"C C/ D/ E E/ F/|"C"G A/ G/ E2|"G7"G F/ E/ D2|"C"F E/ D/ C2|'
            '"C"C C/ D/ E E/ F/|"C"G A/ G/ E2|"G7"G F/ E/ D E/ D/|"C"C4|',
            "B": '"G7"G F/ E/ D G,/ G,/|"C"F E/ D/ C2|"G7"G F/ E/ D G,/ G,/|"C"F E/ D/ C2|'
            '"C"C C/ D/ E E/ F/|"C"G A/ G/ E2|"G7"G F/ E/ D E/ D/|"C"C4|',
        },
        ("A B A' B", "A A B A' B"),
        ("folk", "hymn", "pop"),
        (84, 112),
    ),
    Tune(
        "bingo",
        "B-I-N-G-O",
        "English and Scottish, 1780",
        {
            "A": 'G,|"C"C C G, G,|"F"A, A, "C"G, G,|"C"C C "G7"D D|"C"E2 C2|'
            '"C"E2 E2|"F"F/ F/ F3|"G"D2 D2|"C"E/ E/ E3|"Am"C2 C2|"D7"D/ D/ D2 C|"G7"B, G, A, B,|"C"C2 C2|',
        },
        ("A A A' A", "A A' A A"),
        ("folk", "swing", "march"),
        (108, 138),
    ),
    Tune(
        "drunken-sailor",
        "Drunken Sailor",
        "English shanty, 1830s; in the Dorian mode",
        {
            "A": '"Am"E E/ E/ E E/ E/|E A, C E|"G"D D/ D/ D D/ D/|D G, B, D|'
            '"Am"E E/ E/ E E/ E/|E ^F G A|"Em"G E D B,|"Am"A,2 A,2|',
            "B": '"Am"E2 E2|E A, C E|"G"D2 D2|D G, B, D|"Am"E2 E2|E ^F G A|"Em"G E D B,|"Am"A,2 A,2|',
        },
        ("A B A B A' B", "A B A B"),
        ("folk", "march", "pop"),
        (108, 144),
        minor=True,
    ),
    Tune(
        "sur-le-pont-d-avignon",
        "Sur le pont d'Avignon",
        "French, this tune from the mid-nineteenth century",
        {
            "A": '"C"C C C2|"G7"D D D2|"C"E "F"F "C"G C|"G7"B, C D G,|'
            '"C"C C C2|"G7"D D D2|"C"E "F"F "C"G C|"G7"D B, "C"C2|',
        },
        ("A A A' A", "A A' A A''"),
        ("swing", "folk", "pop"),
        (100, 128),
    ),
    Tune(
        "abide-with-me",
        "Abide with Me",
        "William Henry Monk (1823-1889), Eventide, 1861",
        {
            "A": '"C"E2 "G"E D|"Am"C2 "C"G2|"F"A "C"G "G7"G F|"C"E4|"C"E2 "Dm"F "C"G|"F"A2 "C"G2|'
            '"Dm"F D "Em"E "D7"^F|"G"G4|"C"E2 "G"E D|"Am"C2 "C"G2|"C"G F "A7"F E|"Dm"D2 "G7"D2|'
            '"G7"D2 "C"E "Dm"F|"C"E "G"D "C"C "Dm"F|"C"E2 "G7"D2|"C"C4|',
        },
        ("A A'", "A A"),
        ("hymn",),
        (66, 84),
    ),
    Tune(
        "what-a-friend",
        "What a Friend We Have in Jesus",
        "Charles Crozat Converse (1832-1918), 1868",
        {
            "A": '"C"G3/2 G/ A/ G/ E/ C/|"C"C2 "F"A,2|"C"G,3/2 C/ E/ C/ G/ E/|"G7"D4|'
            '"C"G3/2 G/ A/ G/ E/ C/|"C"C2 "F"A,2|"C"G,3/2 C/ "G7"E/ D/ C/ B,/|"C"C4|',
            "B": '"G7"D3/2 ^C/ D/ E/ F/ D/|"C"E2 G2|"F"A3/2 A/ "C"G/ E/ F/ E/|"G7"D4|'
            '"C"G3/2 G/ A/ G/ E/ C/|"C"C2 "F"A,2|"C"G,3/2 C/ "G7"E/ D/ C/ B,/|"C"C4|',
        },
        ("A B A B", "A B A' B B"),
        ("hymn", "pop"),
        (72, 92),
    ),
)
