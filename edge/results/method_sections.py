"""The last sections of a report: methods, with models and their accuracy, and limits."""

from collections.abc import Sequence
from typing import Final

from edge.results.facts import PURPOSES, Facts
from edge.results.markup import Child, Html, join, table, tag
from edge.results.methods import citations, methods_paragraph
from edge.results.models import Accuracy
from edge.results.summary import SummaryRow
from edge.results.table import Table
from edge.results.words import DASH, section

TERMS: Final = (
    (
        "[BOARD], [CAMERA], [WAVELENGTH] and the like",
        "what the record does not say; write it there.",
    ),
    (
        "Track",
        "the time in which one face was followed without a code; one person may have several.",
    ),
    ("Region detector", "looks for a known face near the place where it was last."),
    ("Device", "the computer with the camera; its name is set in its configuration."),
    ("Artifact", "the file of a network; its sha256 tells one version from another."),
    ("Top-1 accuracy", "share of pictures whose most likely expression is the right one."),
    (
        "Macro F1",
        "0 to 1: how well each expression is found without false alarms; all eight count alike.",
    ),
    ("CCC", "concordance correlation: 1 is the same values as the annotators', 0 is no relation."),
    ("Class priors", "how frequent each expression was assumed to be; uniform: all alike."),
)


def methods_section(record: Table, facts: Facts, rows: Sequence[SummaryRow]) -> Html:
    """Return the methods paragraph, the models, their accuracy, and what to cite."""
    models: list[list[Child]] = [
        [
            model.role.replace("_", " "),
            model.name,
            f"{model.artifact}, {model.precision}, {model.runtime}",
            tag("span", model.sha256, class_="hash"),
        ]
        for model in facts.models
    ]
    parts: list[Child] = [
        tag("p", "To be copied; fill in what stands in square brackets.", class_="caption"),
        tag("p", methods_paragraph(record, facts, rows), class_="quote"),
        tag("h3", "Terms"),
        tag("ul", *(tag("li", tag("strong", term), f": {text}") for term, text in TERMS)),
    ]
    if models:
        head: list[Child] = ["Task", "Model", "Artifact", "sha256 of the artifact"]
        parts.append(table("Models", head, models))
    for model in facts.models:
        if model.accuracy is not None:
            parts.append(_accuracy_table(model.accuracy, is_same=model.is_same))
    parts.append(tag("h3", "To be cited"))
    parts.append(tag("ul", *(tag("li", each) for each in citations(facts))))
    return section("Methods", *parts)


def limits_section(facts: Facts) -> Html:
    """Return what the figures must not be used for."""
    purpose = " and ".join(facts.purposes) or "not known"
    consent = (
        " Inform the participants, and let them withdraw."
        if PURPOSES["research-consent"] in facts.purposes
        else ""
    )
    lines = [
        "A single prediction is wrong in most cases. Averages over a session have not been"
        " evaluated.",
        "An expression is what a face looks like to annotators, not what a person feels. This is no"
        " diagnosis, and no lie detector.",
        "Such networks are less accurate for some people. Do not compare people by these figures,"
        " and do not decide about a person by them.",
        "Time in which a face was not classified is missing, not neutral; it may be missing for a"
        " reason that matters, such as a turned head.",
        f"Declared purpose: {purpose}.{consent} The EU AI Act, Art. 5(1)(f), forbids inferring"
        " emotions at the workplace and in education except for medical or safety reasons; the"
        " GDPR, Art. 9, covers these data.",
    ]
    return section("Limits", tag("ul", *(tag("li", line) for line in lines)))


def _accuracy_table(accuracy: Accuracy, *, is_same: bool) -> Html:
    rows: list[list[Child]] = [
        [
            measure.text,
            f"{measure.value:.2f}",
            f"{measure.interval[0]:.2f} to {measure.interval[1]:.2f}",
            DASH if measure.jittered is None else f"{measure.jittered:.2f}",
        ]
        for measure in accuracy.measures
    ]
    expressions: list[list[Child]] = [
        [
            each.name,
            str(each.photographs),
            f"{each.f1:.2f}",
            f"{each.interval[0]:.2f} to {each.interval[1]:.2f}",
        ]
        for each in accuracy.expressions
    ]
    by_expression = None
    if expressions:
        by_expression = table(
            f"How well {accuracy.model} finds each expression: 0 not at all, 1 without a mistake",
            ["Expression", "Photographs", "F1", "95 % interval"],
            expressions,
        )
    measured = accuracy.measured
    other = (
        None
        if is_same
        else tag(
            "p",
            f"These figures are those of the model {accuracy.model} as it is installed where this"
            " page was made; the record was made with another version of it.",
        )
    )
    return join(
        table(
            f"Accuracy of {accuracy.model}: {accuracy.photographs} {accuracy.data};"
            f" {accuracy.protocol}",
            ["Measure", "Value", "95 % interval", "Jittered"],
            rows,
        ),
        by_expression,
        other,
        tag(
            "p",
            f"Intervals: {accuracy.interval}. Jittered: {accuracy.jittered}. Not known:"
            f" {accuracy.not_known}. Measured by {measured.command}, {measured.hardware},"
            f" {measured.date}.",
            class_="caption",
        ),
    )
