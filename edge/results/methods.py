"""The methods paragraph of a report: what was done, by what, how accurate it is, ready to cite."""

from collections.abc import Iterable, Sequence
from typing import Final

from edge import __version__
from edge.results.facts import UNIFORM, Facts
from edge.results.models import Accuracy, Measure, UsedModel
from edge.results.summary import SummaryRow
from edge.results.table import Table
from edge.vocabulary import EXPRESSIONS

_SOURCES: Final = {
    "anchors": "Valence and arousal are the mean of class anchors of the literature, weighted with"
    " the probabilities.",
    "recalibration": "Valence and arousal are the mean of one point for each expression, fitted to"
    " annotated photographs, weighted with the probabilities.",
}
"""What is said of values that the network itself does not give."""


def methods_paragraph(table: Table, facts: Facts, rows: Sequence[SummaryRow]) -> str:
    """Return the paragraph; what the record does not say is left open in square brackets.

    Args:
        table: the record.
        facts: of the record.
        rows: the whole of each subject that is reported.
    """
    rate = "" if facts.rate_hz is None else f", {facts.rate_hz:.3g} frames per second"
    used = {model.role: model for model in facts.models}
    sentences = [
        f"Facial affect was estimated with affect-edge {_either(facts.versions, 'VERSION')}"
        f" on {_either(facts.boards, 'BOARD')} from near-infrared video"
        f" ({_either(facts.sources, 'CAMERA')}, {facts.sizes}{rate},"
        " lamp of [WAVELENGTH] nm).",
        f"Faces were detected with {_model(used.get('detector'))} and tracked.",
    ]
    if "translator" in used:
        translator = _model(used["translator"])
        sentences.append(f"They were translated to visible light with {translator}.")
    sentences += [
        f"For each face and frame, {_model(used.get('expression'))} gave probabilities of"
        f" {_expressions(table)}, valence and arousal (class priors:"
        f" {_either(facts.priors, 'PRIORS')}).",
        *(_SOURCES[each] for each in table.affect_sources if each in _SOURCES),
        "Labels are those that stayed stable over time; means and shares weigh each frame by the"
        " time for which it stands.",
    ]
    if "mesh" in used:
        sentences.append(
            "Head pose and the openness of eyes and mouth were measured with"
            f" {_model(used['mesh'])}; PERCLOS is the share of the last minute in which the eyes"
            " were closed. Neither PERCLOS nor blinks have been evaluated on films of people."
        )
    if any(baseline.is_ready for baseline in facts.baselines):
        sentences.append(
            "Values relative to a personal neutral baseline were used within participants only."
        )
    in_view = sum(row.in_view_s for row in rows)
    classified = sum(row.classified_s for row in rows)
    if in_view > 0:
        sentences.append(
            "Faces that were too small, blurred, badly lit, turned away or partly outside the"
            f" picture were not classified ({1 - classified / in_view:.1%} of the time in view);"
            f" {table.dropped} of {len(table.frame_time_s) + table.dropped} frames were lost."
        )
    measured = [model for model in facts.models if model.accuracy is not None]
    sentences += [_accuracy_sentences(model) for model in measured]
    if measured and any(priors != UNIFORM for priors in facts.priors):
        sentences.append("These figures were measured with uniform class priors.")
    kept = "no pictures were stored by the software"
    if table.is_file:
        kept = "the recording is kept [WHERE, BY WHOM AND UNTIL WHEN]"
    sentences.append(
        "Predictions describe the appearance of faces, not felt emotion. Participants gave"
        f" [INFORMED CONSENT]; {kept}."
    )
    return " ".join(sentences)


def _accuracy_sentences(model: UsedModel) -> str:
    """Return the measured accuracy, and whether it is that of another version."""
    assert model.accuracy is not None
    if model.is_same:
        return _accuracy_sentence(model.accuracy)
    return (
        f"{_accuracy_sentence(model.accuracy)} That is another version of {model.name} than the one"
        " that was used."
    )


def _accuracy_sentence(accuracy: Accuracy) -> str:
    names = {
        "top1": "a top-1 accuracy of {}",
        "macro_f1": "a macro F1 of {}",
        "valence_ccc": "a concordance correlation (CCC) of {} for valence",
        "arousal_ccc": "and {} for arousal",
    }
    figures = [
        words.format(_figure(measure))
        for name, words in names.items()
        if (measure := accuracy.measure(name)) is not None
    ]
    return (
        f"On {accuracy.photographs} {accuracy.data}, with {accuracy.protocol.split(':')[0]}, the"
        f" developers report for {accuracy.model} {', '.join(figures)}"
        f" (intervals: {accuracy.interval}); not known: {accuracy.not_known}."
    )


def citations(facts: Facts) -> list[str]:
    """Return what to cite: the software, and the authors of each model."""
    version = " and ".join(facts.versions) or __version__
    found = [f"affect-edge contributors: affect-edge, version {version}. Software, Apache-2.0."]
    found += [f"{model.name}: {model.citation}" for model in facts.models if model.citation]
    return list(dict.fromkeys(found))


def _expressions(table: Table) -> str:
    if not table.unknown:
        return "eight expressions"
    known = len(EXPRESSIONS) - len(table.unknown)
    return f"{known} expressions (it does not know {' and '.join(table.unknown)})"


def _figure(measure: Measure) -> str:
    low, high = measure.interval
    return f"{measure.value:.2f} ({low:.2f} to {high:.2f})"


def _model(model: UsedModel | None) -> str:
    if model is None:
        return "[MODEL]"
    return f"{model.name} (artifact {model.artifact}, sha256 {model.sha256[:16]})"


def _either(values: Iterable[str], missing: str) -> str:
    return " and ".join(values) or f"[{missing}]"
