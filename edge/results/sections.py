"""The sections of a report, each as HTML; the last ones are in ``method_sections``."""

from collections.abc import Collection, Sequence
from typing import Final

from edge.results.facts import REASON_WORDS, Facts, wall_text
from edge.results.figures import clock_text, has_hours
from edge.results.marks import Mark, intervals_of
from edge.results.markup import Child, Html, table, tag
from edge.results.summary import SummaryRow, summarise
from edge.results.table import Table
from edge.results.words import (
    DASH,
    duration_text,
    mean_text,
    percent_text,
    seconds_text,
    section,
    signed_text,
)
from edge.vocabulary import EXPRESSIONS

CAPTIONS: Final = {
    "timeline": "Valence: from unpleasant (-1) to pleasant (1). Arousal: from calm (-1) to excited"
    " (1). Lines are means, bands one standard deviation. Where there is no line, nothing is known:"
    " the face was not in view, was not classified, or nothing was recorded. That is not neutral.",
    "circumplex": "Density of the classified time; the cross is the mean with one standard"
    " deviation. The named points are where each expression lies at full intensity.",
    "expressions": "Share of the classified time in which each expression was the stable label.",
}

_HEADINGS: Final = {
    "timeline": "Valence and arousal over time",
    "circumplex": "Where the faces were on the circumplex",
    "expressions": "Expressions over time",
}

_CLIPPED: Final = 0.995  # is printed as 1.00


def subtitle(record: Table, facts: Facts, rows: Sequence[SummaryRow]) -> str:
    """Return who, when and how long, in one line."""
    who = ", ".join(row.subject.name for row in rows[:6]) or "nobody in view"
    if len(rows) > 6:
        who += f" and {len(rows) - 6} more"
    when = f", {facts.started}" if facts.started else ""
    return f"{who}{when}, {duration_text(record.end_s - record.start_s)}"


def warning() -> Html:
    """Return the box that comes before any figure."""
    return tag(
        "div",
        tag("strong", "A hint, not a measurement, and not a diagnosis."),
        " The figures on this page are estimates from pictures of faces. A single one is wrong in"
        " most cases, and an expression is not an emotion. They must not decide about a person.",
        class_="warning",
    )


def session_section(record: Table, facts: Facts, rows: Sequence[SummaryRow]) -> Html:
    """Return who, when, how long, and by what."""
    length = duration_text(record.end_s - record.start_s)
    gaps_s = record.end_s - max(float(record.frame_time_s[0]), 0.0) - record.recorded_s
    when = "not known: the recording has no date"
    unix_ns = [each.unix_ns for each in record.events if each.unix_ns > 0]
    if unix_ns:  # of a file that a daemon played
        when = (
            f"processed {wall_text(min(unix_ns))} to {wall_text(max(unix_ns))}; the recording has"
            " no date of its own"
        )
    if facts.started:
        when = f"{facts.started} to {facts.ended}"
    if facts.started and record.synchronized < 1 and not record.is_file:
        when += (
            f" (the clock was not synchronised for {1 - record.synchronized:.0%} of the frames: it"
            " may be wrong)"
        )
    codes = [row.subject.participant for row in rows if row.subject.participant]
    tracks = sum(row.subject.participant is None for row in rows)
    who = ", ".join(codes) or "no participant was assigned"
    if tracks:
        who += f"; {tracks} {'track' if tracks == 1 else 'tracks'} of faces without a code"
    missing = ""
    if facts.missing:
        missing = f"; messages are missing in {facts.missing} places of the record"
    interruptions = "none"
    if record.gaps:
        interruptions = f"{len(record.gaps)}, together {duration_text(max(gaps_s, 0))}"
    found: list[tuple[str, str]] = [
        ("Who", who),
        ("When", when),
        ("How long", f"{length}, of which {duration_text(record.recorded_s)} were recorded"),
        ("Interruptions", f"{interruptions}{missing}"),
        (
            "Pictures",
            f"{len(record.frame_time_s)} of {facts.sizes}"
            + ("" if facts.rate_hz is None else f", usually {facts.rate_hz:.3g} a second")
            + f"; {record.dropped} were lost",
        ),
        ("Source", f"{' and '.join(facts.sources) or 'not known'}, device {record.device}"),
        ("Purpose", " and ".join(facts.purposes) or "not known"),
    ]
    if len(rows) != 1:  # of one face, the next table says it
        empty = "at no time"
        if record.empty_s > 0:
            share = percent_text(record.empty_s, record.recorded_s)
            empty = f"{duration_text(record.empty_s)}, {share} % of the recorded time"
        found.insert(4, ("Nobody in view", empty))
    if facts.note:
        found.insert(1, ("Note", facts.note))
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in found]
    facts_table = tag(
        "table", tag("caption", "The session at a glance"), tag("tbody", *body), class_="facts"
    )
    return tag("section", tag("h2", "Session"), facts_table)


def classified_section(record: Table, rows: Sequence[SummaryRow], left_out: int) -> Html:
    """Return how much was classified, and why the rest was not."""
    if not rows:
        return section("How much could be classified", tag("p", "No face was in view."))
    cells: list[list[Child]] = [
        [
            _name(row),
            seconds_text(row.in_view_s),
            percent_text(row.in_view_s, record.recorded_s),
            seconds_text(row.classified_s),
            percent_text(row.classified_s, row.in_view_s),
            _reasons(row),
        ]
        for row in rows
    ]
    head: list[Child] = [
        "Face", "In view (s)", "of the record (%)", "Classified (s)", "of that (%)",
        "Why not (share of the time in view)",
    ]  # fmt: skip
    tracks = more = None
    if any(row.subject.participant is None for row in rows):
        tracks = tag(
            "p",
            "A track is the time in which one face was followed. Tracks are not people: whoever was"
            " lost from view and came back has another track, unless a code was assigned.",
            class_="caption",
        )
    if left_out:
        more = tag(
            "p",
            f"{left_out} more faces, in view for a shorter time, are in no table or figure of this"
            " page; the summary (--summary) has them.",
        )
    return section(
        "How much could be classified",
        table("Time in view and time classified, by face", head, cells),
        tracks,
        more,
    )


def expressions_section(record: Table, facts: Facts, rows: Sequence[SummaryRow]) -> Html:
    """Return means of valence and arousal, and the share of each expression."""
    if not rows:
        return Html()
    head: list[Child] = ["Face", "Valence", "Arousal"]
    has_relative = any(row.relative_s > 0 for row in rows)
    if has_relative:
        head += ["Valence, relative", "Arousal, relative"]
    means: list[list[Child]] = []
    for row in rows:
        names = ["valence", "arousal"]
        names += ["valence_relative", "arousal_relative"] if has_relative else []
        means.append([_name(row), *(mean_text(row.values[name]) for name in names)])
    shares: list[list[Child]] = [
        [_name(row), *(percent_text(each, row.classified_s) for each in row.expressions_s)]
        for row in rows
    ]
    note = None
    if has_relative:
        note = tag(
            "p",
            "Relative: zero is the person's own neutral baseline. Use it to follow one person over"
            " time, not to compare people.",
            class_="caption",
        )
    moments = [row.values[name] for row in rows for name in ("valence", "arousal")]
    clipped = None
    if any(each.mean is not None and abs(each.mean) >= _CLIPPED for each in moments):
        clipped = tag(
            "p",
            "Values end at -1 and +1: larger estimates are clipped there. A mean of +1.00 ± 0.00"
            " says that the end of the scale was reached all the time, not that the value is"
            " exact.",
            class_="caption",
        )
    return section(
        "Means and share per expression",
        table("Mean and standard deviation over the classified time, -1 to 1", head, means),
        clipped,
        note,
        table("Share of the classified time by expression (%)", ["Face", *EXPRESSIONS], shares),
        _unknown(record),
        *_found_unequally(facts),
    )


def _unknown(record: Table) -> Html | None:
    """Return which expressions have no share because the network does not know them."""
    if not record.unknown:
        return None
    text = (
        f"A dash: the network does not know {' and '.join(record.unknown)}. Whoever showed that is"
        " under another expression."
    )
    return tag("p", text, class_="caption")


def _found_unequally(facts: Facts) -> list[Html]:
    """Return how well the best and the worst expression are found, where it was measured."""
    found = []
    for model in facts.models:
        if model.accuracy is not None and model.accuracy.expressions:
            by_f1 = sorted(model.accuracy.expressions, key=lambda each: each.f1)
            words = [f"{each.name} ({each.f1:.2f})" for each in by_f1]
            text = (
                f"Shares count labels, and not all labels are equally reliable: F1 (0 to 1) from"
                f" {words[0]} and {words[1]} to {words[-1]}, all under Methods."
            )
            found.append(tag("p", text, class_="caption"))
    return found


def figures_section(kind: str, figures: Sequence[Html], *, series_left_out: int) -> Html:
    """Return the figures of one kind, with their caption.

    Args:
        kind: of ``CAPTIONS``.
        figures: one or more.
        series_left_out: columns of other sensors that are in no timeline.
    """
    more = None
    if kind == "timeline" and series_left_out:
        more = f" {series_left_out} more columns of other sensors are not drawn."
    caption = tag("p", CAPTIONS[kind], more, class_="caption")
    return section(_HEADINGS[kind], *figures, caption)


def marks_section(record: Table, marks: Sequence[Mark], subjects: Sequence[int]) -> Html:
    """Return the marks, and the means between them."""
    if not marks:
        return section("Marks", tag("p", "Nothing was marked."))
    hours = has_hours(record.end_s)
    listed: list[list[Child]] = []
    for number, mark in enumerate(marks, 1):
        is_inside = record.start_s <= mark.time_s <= record.end_s
        outside = "" if is_inside else " (outside the record)"
        at = clock_text(mark.time_s, step_s=0.5, hours=hours)
        listed.append([str(number), at, mark.text + outside])
    chosen = {record.subjects[at] for at in subjects}
    step_s = 1.0 if all(mark.time_s == round(mark.time_s) for mark in marks) else 0.5
    between: list[list[Child]] = [
        [
            _mark_number(marks, row.interval.from_s),
            DASH.join(
                clock_text(each, step_s=step_s, hours=hours)
                for each in (row.interval.from_s, row.interval.to_s)
            ),
            _name(row),
            seconds_text(row.in_view_s),
            percent_text(row.classified_s, row.in_view_s),
            mean_text(row.values["valence"]),
            mean_text(row.values["arousal"]),
            _most(row),
        ]
        for interval in intervals_of(record, None, marks)
        for row in summarise(record, [interval])
        if row.subject in chosen and row.in_view_s > 0
    ]
    head: list[Child] = [
        "Since", "Time", "Face", "In view (s)", "Classified (%)", "Valence", "Arousal",
        "Most of the time",
    ]  # fmt: skip
    return section(
        "Marks",
        table("What was marked", ["Mark", "Time from the start", "Text"], listed),
        table("From each mark to the next: mean and standard deviation", head, between),
    )


def baseline_section(record: Table, facts: Facts, codes: Collection[str | None]) -> Html:
    """Return the neutral baselines of the participants."""
    chosen = [each for each in facts.baselines if each.participant in codes]
    if not chosen:
        return section("Neutral baseline", tag("p", "None was learnt for these faces."))
    hours = has_hours(record.end_s)
    rows: list[list[Child]] = [
        [
            each.participant,
            "before this run" if each.time_s is None else clock_text(each.time_s, hours=hours),
            "ready" if each.is_ready else f"not valid: {each.reason}",
            signed_text(each.valence),
            signed_text(each.arousal),
            DASH if each.read_s is None else seconds_text(each.read_s),
        ]
        for each in chosen
    ]
    head: list[Child] = ["Participant", "Learnt at", "State", "Valence", "Arousal", "From (s)"]
    return section("Neutral baseline", table("Valence and arousal of the relaxed face", head, rows))


def described(name: str, rows: Sequence[SummaryRow]) -> tuple[str, str]:
    """Return title and description of a drawing, for those who do not see it."""
    titles = {
        "timeline": "Valence and arousal over time",
        "circumplex": "Density of valence and arousal",
        "expressions": "Share of each expression over time",
    }
    parts = []
    for row in rows:
        if name == "expressions":
            shares = ", ".join(
                f"{label} {percent_text(each, row.classified_s)} %"
                for label, each in zip(EXPRESSIONS, row.expressions_s, strict=True)
                if each
            )
            parts.append(f"{row.subject.name}: {shares or 'never classified'}.")
        else:
            parts.append(
                f"{row.subject.name}: valence {mean_text(row.values['valence'])}, arousal"
                f" {mean_text(row.values['arousal'])} (mean ± standard deviation)."
            )
    return titles[name], " ".join(parts) + " The tables give the figures."


def _reasons(row: SummaryRow) -> str:
    found = sorted(
        ((seconds, reason) for reason, seconds in row.reasons_s.items() if seconds > 0),
        reverse=True,
    )
    return (
        "; ".join(
            f"{REASON_WORDS[reason]} {percent_text(seconds, row.in_view_s)} %"
            for seconds, reason in found
        )
        or DASH
    )


def _mark_number(marks: Sequence[Mark], at_s: float) -> str:
    number = sum(mark.time_s <= at_s for mark in marks)
    return f"mark\u00a0{number}" if number else "the\u00a0start"


def _most(row: SummaryRow) -> str:
    known_s = [each or 0.0 for each in row.expressions_s]
    at = max(range(len(EXPRESSIONS)), key=lambda index: known_s[index])
    seconds = known_s[at]
    if seconds <= 0:
        return DASH
    return f"{EXPRESSIONS[at]} ({percent_text(seconds, row.classified_s)} %)"


def _name(row: SummaryRow) -> str:
    return row.subject.name.replace(" ", "\u00a0")
