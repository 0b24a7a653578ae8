"""HTML from Python values: every text is escaped, only elements made here are not."""

import re
from collections.abc import Sequence
from html import escape
from typing import Final

_SHORT_ROWS: Final = 16
_VOID: Final = frozenset(["meta", "br", "col"])


class Html(str):
    """Text that is HTML already; ``tag`` makes it."""

    __slots__ = ()


Child = str | Html | None


def tag(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: in order; a plain ``str`` is escaped, None is left out.
        attributes: values are escaped; a final underscore of a name is dropped (``class_``), an
            inner one becomes a hyphen; None is left out.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Return children one after the other; a plain ``str`` is escaped."""
    return Html(
        "".join(
            each if isinstance(each, Html) else escape(_printable(each), quote=False)
            for each in children
            if each is not None
        )
    )


def table(
    caption: str, head: list[Child], rows: list[list[Child]], *, row_headers: bool = True
) -> Html:
    """Return a table that a screen reader can read: a caption, headers of columns and of rows.

    Args:
        caption: what the table shows.
        head: of the columns.
        rows: cells.
        row_headers: whether the first cell of a row is its header.
    """
    kinds = [_kind([row[at] for row in rows]) for at in range(len(head))]
    if row_headers:
        kinds[0] = None
    body = []
    for row in rows:
        cells = [tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)]
        if row_headers:
            cells[0] = tag("th", row[0], scope="row")
        body.append(tag("tr", *cells))
    headers = [
        tag("th", cell, scope="col", class_=kind) for cell, kind in zip(head, kinds, strict=True)
    ]
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *headers)),
        tag("tbody", *body),
        class_="short" if len(rows) <= _SHORT_ROWS else None,  # kept on one page in print
    )


def figure(svg: bytes, name: str, title: str, description: str) -> Html:
    """Return a drawing of matplotlib for the inside of a page.

    It refers to nothing outside the page, and its identifiers are its own.

    Args:
        svg: the drawing.
        name: makes its identifiers unique on the page: letters and hyphens.
        title: what a screen reader says first.
        description: what it says then: what is to be seen.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", text)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    inner = text[text.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]+)"', text)
    words = tag("title", title, id=f"{name}-title") + tag("desc", description, id=f"{name}-desc")
    head = (
        f'<svg viewBox="{box[1] if box else ""}" role="img" width="100%"'
        f' aria-labelledby="{name}-title {name}-desc">'
    )
    return tag("figure", Html(head + words + inner.strip()))


def _kind(cells: Sequence[Child]) -> str | None:
    """Return the class of a column: numbers are aligned at the right."""
    is_number = all(re.fullmatch(r"[-+–±<\d.,:% \u00a0]+", cell or "") for cell in cells)
    return "number" if cells and is_number else None


def _printable(text: str) -> str:
    """Replace what HTML cannot hold: control characters, and halves of characters."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
