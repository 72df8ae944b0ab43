"""matplotlib's SVG, made to stand in a page: no style of its own, colours that follow the page.

The page's policy allows no style attribute, so each property becomes an attribute of its own, and
each colour of `COLOURS` a class that the page's style fills in, for light and for dark.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as Tree

# What figures are drawn in: as hexadecimal for the PNG, by name for the page.
COLOURS = {
    "paper": "#ffffff",
    "ink": "#1c1d21",
    "soft": "#55585f",
    "line": "#d9dade",
    "c0": "#1d55b5",
    "c1": "#a8430c",
    "c2": "#17643a",
    "c3": "#8a2b80",
    "c4": "#6b5a00",
    "c5": "#a3281e",
    "c6": "#00656e",
    "c7": "#4b4f9b",
}
_NAMES = {colour: name for name, colour in COLOURS.items()}
_LINK = "{http://www.w3.org/1999/xlink}href"
# The page has its own fonts; a transform of nothing says nothing.
_DROPPED = ("font-family", "font")


def for_page(svg: str, prefix: str, label: str) -> str:
    """Return the drawing as an element of a page.

    Args:
        svg: what matplotlib wrote, texts as texts.
        prefix: put before every id, so that several drawings can stand in one page.
        label: what a reader who does not see it is told.
    """
    root = Tree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if _name(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(#|href="#)([\w.-]+)', svg))
    for element in root.iter():
        element.tag = _name(element.tag)
        _tidy(element, prefix, used)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-label": label}
    return Tree.tostring(root, encoding="unicode", short_empty_elements=False)


def _tidy(element: Tree.Element, prefix: str, used: set[str]) -> None:
    attributes = element.attrib
    classes = []
    for declaration in attributes.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if not value or key in _DROPPED:
            continue
        if key in ("fill", "stroke") and value in _NAMES:
            classes.append(f"{key}-{_NAMES[value]}")
        else:
            attributes[key] = value
    if element.tag == "text" and not any(name.startswith("fill-") for name in classes):
        classes.append("fill-ink")
    if classes:
        attributes["class"] = " ".join(classes)
    link = attributes.pop(_LINK, None)
    if link is not None:
        attributes["href"] = f"#{prefix}{link.removeprefix('#')}"
    if "clip-path" in attributes:
        attributes["clip-path"] = attributes["clip-path"].replace("url(#", f"url(#{prefix}")
    name = attributes.pop("id", None)
    if name in used:
        attributes["id"] = f"{prefix}{name}"


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]
