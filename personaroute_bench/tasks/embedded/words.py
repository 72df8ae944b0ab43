"""Invented people, places and organisations, and small English grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personaroute_bench.tasks.embedded.draws import Draws


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# 64 first names and 64 surnames: 4,096 people, so that a walk with an odd stride over all
# pairs gives every item of a task a leading person of its own.
_HER = _words(
    """
    Amina Beatrice Chloe Daria Elif Freya Greta Hana Ines Jana Keiko Leila Mira Nadia Olivia
    Priya Rosa Salma Tara Uma Vera Wanda Yasmin Zoe Alma Brigid Carmen Dolores Esther Farah Gwen
    Helga
    """
)
_HIM = _words(
    """
    Anton Boris Carlos Dmitri Emil Felix Goran Hugo Ivan Jonas Kofi Leo Marek Nils Omar Pavel
    Quentin Ravi Stefan Tomas Umberto Viktor Walter Xavier Yusuf Zoltan Arthur Bruno Cyril Diego
    Edgar Farid
    """
)
FIRST_NAMES = tuple(name for pair in zip(_HER, _HIM, strict=True) for name in pair)
SURNAMES = _words(
    """
    Abara Brandt Castell Dunmore Eriksen Falk Garrow Hollis Ibsen Jansky Kestner Lindqvist
    Marlow Novak Okafor Prentice Quill Rasmus Sorley Tanaka Ulrich Varga Whitlock Yates Zeller
    Ashdown Bellamy Corrin Devlin Elsworth Farrant Gresham Hartley Ives Jessop Kirwan Larkin
    Mendes Norling Osborne Pereira Quist Rourke Santos Thorne Underhill Vance Winslow Yardley
    Zimmer Aldous Birch Calloway Draper Everly Fenwick Grantham Holm Ingram Juneau Keane Locke
    Merrick Nash
    """
)
TOWNS = _words(
    """
    Ashwell Brackenford Coldbrook Dunhaven Eastmere Fallowfield Greycliff Harrowgate Ivybridge
    Kingsmoor Larkhill Millbrook Northolt Oakhurst Pinecrest Queensferry Ravenswick Saltmarsh
    Thornbury Upperton Vale Westerley Yarrow Alderbank Birchover Cranmere Deepdale Elmstead
    Foxholes Glenarm Hazelwick Ironbridge Juniper Kelder Lowmoor Marshgate Netherby Otterburn
    Penrose Quarrington Redcliff Stonehaugh
    """
)
MONTHS = _words(
    """
    January February March April May June July August September October November December
    """
)
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday")
NUMBERS = _words("zero one two three four five six seven eight nine ten eleven twelve")


@dataclass(frozen=True, slots=True)
class Person:
    """An invented person with their pronouns."""

    first: str
    last: str
    they: str
    them: str
    their: str

    @property
    def name(self) -> str:
        """First name and surname."""
        return f"{self.first} {self.last}"

    def slots(self, prefix: str = "") -> dict[str, str]:
        """Return the words that templates may use: who, name, she, She, her, Her, him."""
        return {
            f"{prefix}who": self.first,
            f"{prefix}name": self.name,
            f"{prefix}she": self.they,
            f"{prefix}She": self.they.capitalize(),
            f"{prefix}her": self.their,
            f"{prefix}Her": self.their.capitalize(),
            f"{prefix}him": self.them,
        }


def person(number: int) -> Person:
    """Return person ``number`` of the 4,096 (counted modulo)."""
    number %= len(FIRST_NAMES) * len(SURNAMES)
    first, last = number % len(FIRST_NAMES), number // len(FIRST_NAMES)
    they, them, their = ("she", "her", "her") if first % 2 == 0 else ("he", "him", "his")
    return Person(FIRST_NAMES[first], SURNAMES[last], they, them, their)


def lead_person(seed: int, stream: str, index: int) -> Person:
    """Return the leading person of item ``index``: no two items below 4,096 share one."""
    offset = Draws(seed, "lead", stream).integer(0, 4095)
    return person(offset + index * 2531)


def other_person(draws: Draws, *known: Person) -> Person:
    """Return somebody whose names differ from those of ``known``."""
    while True:
        found = person(draws.integer(0, 4095))
        if all(found.first != who.first and found.last != who.last for who in known):
            return found


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an" by its first sound, as far as its letters tell it."""
    lowered = noun.lower()
    vowel = lowered[0] in "aeiou" and not lowered.startswith(("uni", "use", "eu", "one"))
    return f"{'an' if vowel or lowered.startswith(('hour', 'honest')) else 'a'} {noun}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return ``1 box`` or ``3 boxes``."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def listing(parts: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def sentence(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
