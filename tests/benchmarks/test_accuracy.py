"""``benchmarks accuracy`` on pictures made from the golden face, and its refusals."""

import json
import re
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from benchmarks.accuracy import show_accuracy
from benchmarks.cli import main
from benchmarks.evaluation.groups import group_figures
from benchmarks.evaluation.neutral import (
    NeutralPrediction,
    relative_to_neutral,
    relative_to_own_neutral,
)
from edge.vision.golden import golden_picture
from edge.vision.values import Affect, Prediction
from tests.support.command_errors import refusal
from tests.support.generators import translator_folder

HEADER = "file,subject,expression,valence,arousal\n"
ROWS = [
    "a.png,1,neutral,0,0", "b.png,1,happy,0.9,0.2", "c.png,2,neutral,0,0.1",
    "d.png,2,happy,0.8,0.1", "empty.png,2,sad,-0.5,-0.5",
]  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    face, _ = golden_picture()
    for name, gain in (("a", 0.8), ("b", 1.0), ("c", 0.9), ("d", 0.7)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.clip(face * gain, 0, 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((240, 320), 90, np.uint8))
    (tmp_path / "labels.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    return tmp_path


def arguments_for(folder: Path, *more: str) -> list[str]:
    return ["accuracy", "--images", str(folder), "--labels", str(folder / "labels.csv"), *more]


def test_the_result_has_every_figure(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pictures / "result.json"
    assert main(arguments_for(pictures, "--json", str(path))) == 0
    result = json.loads(path.read_text())
    assert (result["n"], result["detected"], result["scored"]) == (5, 4, 4)
    for name in ("top1", "top2", "top3", "macro_f1", "ece"):
        assert 0 <= result[name]["value"] <= 1
        low, high = result[name]["interval95"]
        assert low <= result[name]["value"] <= high
    for axis in ("valence", "arousal"):
        assert set(result[axis]) == {"rmse", "ccc", "sagr"}
    assert set(result["downsampled"]) == {"top1", "macro_f1"}
    assert set(result["normalised_rmse"]) == {"valence", "arousal"}
    assert np.sum(result["confusion"]) == 4
    for score, interval in zip(result["f1"], result["f1_interval95"], strict=True):
        assert (score is None) == (interval is None)
        assert score is None or interval[0] <= score <= interval[1]
    # the golden face is clearly happy in any light: two of the four are labelled so
    assert result["top1"]["value"] == 0.5
    for name in ("board", "governor", "throttled", "threads", "versions", "models", "commit",
                 "date", "command"):  # fmt: skip
        assert name in result
    # by person, and against guessing
    assert result["people"]["1"]["n"] == result["people"]["2"]["n"] == 2
    assert result["people"]["1"]["most_predicted"] == {"expression": "happy", "share": 1.0}
    assert result["chance"] == 0.125
    assert result["over_chance"]["value"] == pytest.approx(0.375)
    assert result["majority"] == {"expression": "neutral", "share": 0.5}
    assert result["over_majority"] == {"value": 0.0, "interval95": [0.0, 0.0]}
    assert result["glasses"] == {"not_labelled": 4}
    assert sum(result["heads"].values()) == 4
    shown = capsys.readouterr().out
    assert "macro_f1" in shown
    assert "a face found on 4" in shown


def test_people_with_glasses_are_compared_with_the_others(pictures: Path) -> None:
    rows = [f"{row},{'yes' if row.split(',')[1] == '2' else 'no'}" for row in ROWS[:4]]
    text = HEADER.replace("\n", ",glasses\n") + "\n".join(rows)
    (pictures / "labels.csv").write_text(
        text.replace("b.png,1,happy,0.9,0.2,no", "b.png,1,happy,0.9,0.2,")
    )
    path = pictures / "result.json"
    assert main(arguments_for(pictures, "--json", str(path))) == 0
    glasses = json.loads(path.read_text())["glasses"]
    assert glasses["not_labelled"] == 1
    assert (glasses["with"]["n"], glasses["with"]["people"], glasses["with"]["top1"]) == (2, 1, 0.5)
    assert (glasses["without"]["n"], glasses["without"]["top1"]) == (1, 0.0)
    # a group may be read as one expression too often
    for group in (glasses["with"], glasses["without"]):
        assert sum(group["annotated"].values()) == pytest.approx(1)
        most = group["most_predicted"]
        assert group["predicted"][most["expression"]] == most["share"]


def test_the_report_shows_people_glasses_guessing_and_changes(pictures: Path) -> None:
    rows = [f"{row},{'yes' if row.split(',')[1] == '2' else 'no'}" for row in ROWS[:4]]
    (pictures / "labels.csv").write_text(HEADER.replace("\n", ",glasses\n") + "\n".join(rows))
    path = pictures / "result.json"
    assert main(arguments_for(pictures, "--json", str(path))) == 0
    result = json.loads(path.read_text())
    shown = StringIO()
    show_accuracy(result, Console(file=shown, width=200))
    lines = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in shown.getvalue().splitlines()
    ]
    by_name = {cells[0]: cells[1:] for cells in lines if cells}
    assert by_name["top1 above guessing, 0.125"][0] == "0.375"
    assert by_name["top1 above always neutral, 0.500"][0] == "0.000"
    assert by_name["2"][:2] == ["2", "0.500"]
    assert by_name["2"][-1] == "happy 1.00"
    assert by_name["with glasses"][:2] == ["2", "0.500, 0.50 .. 0.50"]
    assert by_name["without glasses"][0] == "2"
    assert result["change"] is None  # both are read as happy at rest, which is no baseline
    assert "change of valence ccc" not in by_name
    change = {"value": 0.25, "interval95": [0.0, 0.5]}
    show_accuracy(
        result | {"change": {"valence": change, "arousal": change}}, Console(file=shown, width=200)
    )
    assert re.search(r"change of arousal ccc +│ 0\.250 +│ 0\.000 \.\. 0\.500", shown.getvalue())


def test_changes_are_compared_from_the_first_neutral_picture_of_each_person() -> None:
    truth = np.array([0, 1, 2, 0, 1, 1])
    subjects = ["a", "a", "a", "b", "b", "c"]  # c has no neutral
    target = np.array([[0.1, 0.0], [0.9, 0.2], [-0.4, -0.3], [-0.1, 0.1], [0.7, 0.4], [1, 1]])
    probabilities = np.eye(8)[truth]
    same = group_figures(probabilities, target, truth, target, subjects, glasses=[None] * 6)[
        "change"
    ]
    assert (same["n"], same["people"]) == (3, 2)
    assert same["valence"]["value"] > 0.95
    lying = target * [1, -1]
    other = group_figures(probabilities, lying, truth, target, subjects, glasses=[None] * 6)[
        "change"
    ]
    assert other["valence"]["value"] == pytest.approx(same["valence"]["value"], abs=1e-3)
    assert other["arousal"]["value"] < -0.5
    alone = group_figures(
        probabilities[:3], target[:3], truth[:3], target[:3], ["a"] * 3, glasses=[None] * 3
    )
    assert alone["change"] is None


def test_the_pictures_of_personal_baselines_are_not_scored(pictures: Path) -> None:
    path = pictures / "result.json"
    assert main(arguments_for(pictures, "--personal-baseline", "--json", str(path))) == 0
    result = json.loads(path.read_text())
    assert result["scored"] == 2
    assert result["people_with_baseline"] == 2
    assert result["without_baseline"]["top1"]["value"] == 1.0


def test_predictions_are_relative_to_the_first_neutral_of_the_same_person() -> None:
    random = np.random.default_rng(6)
    predictions = [
        Prediction(
            random.dirichlet(np.ones(8)).astype(np.float32), Affect(*random.uniform(-1, 1, 2))
        )
        for _ in range(7)
    ]
    subjects = ["a", "a", "b", "c", "b", "a", "b"]
    truth = [0, 3, 2, 1, 0, 0, 1]  # c has no neutral
    relative = relative_to_own_neutral(predictions, truth, subjects)
    assert sorted(relative) == [1, 2, 5, 6]
    neutral = {
        "a": NeutralPrediction.mean(predictions[:1]),
        "b": NeutralPrediction.mean(predictions[4:5]),
    }
    for index, prediction in relative.items():
        own, other = ("a", "b") if subjects[index] == "a" else ("b", "a")
        expected = relative_to_neutral(predictions[index], neutral[own], neutral[other])
        np.testing.assert_array_equal(prediction.probabilities, expected.probabilities)
        assert prediction.affect == expected.affect
    assert relative_to_own_neutral(predictions[:2], truth[:2], subjects[:2]) == {}  # of one person


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ("file,subject\na.png,1\n", "no column arousal, expression, valence"),
        (HEADER, "no rows"),
        (HEADER + "a.png,1,joy,0,0\n", "line 2: expression 'joy' is none of"),
        (HEADER + "a.png,1,happy,much,0\n", "line 2: valence 'much' is no number"),
        (HEADER + "a.png,1,happy,2,0\n", "line 2: valence 2; expected -1 to 1"),
        (HEADER + "a.png,1,happy,nan,0\n", "line 2: valence nan; expected -1 to 1"),
        (HEADER + "a.png,1,happy\n", "line 2: an empty field"),
        (
            HEADER.replace("\n", ",glasses\n") + "a.png,1,happy,0,0,often\n",
            "glasses 'often'; expected",
        ),
        (HEADER + "a\0.png,1,happy,0,0\n", "expected a name without a NUL character"),
        (HEADER + "gone.png,1,happy,0,0\n", "gone.png: No such file"),
        (HEADER + "empty.png,1,happy,0,0\n", "no face was found on any of 1 pictures"),
    ],
)
def test_wrong_labels_are_refused_in_one_line(
    pictures: Path, capsys: pytest.CaptureFixture[str], labels: str, complaint: str
) -> None:
    (pictures / "labels.csv").write_text(labels)
    assert complaint in refusal(main, arguments_for(pictures), capsys)


def test_a_baseline_needs_two_people_with_neutral_and_other_pictures(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "labels.csv").write_text(HEADER + "\n".join(ROWS[:2]) + "\n")
    arguments = arguments_for(pictures, "--personal-baseline")
    assert "at least two people" in refusal(main, arguments, capsys)


def test_a_missing_label_file_is_refused(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "labels.csv").unlink()
    assert "No such file" in refusal(main, arguments_for(pictures), capsys)


@pytest.mark.nir
def test_all_faces_of_nir_photographs_are_found(nir_faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    labels = str(nir_faces / "labels.csv")
    images = str(nir_faces / "images")
    assert main(["accuracy", "--images", images, "--labels", labels, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["detected"] == result["n"] == result["scored"]
    # far below the figures of the model card, above those of a constant prediction
    assert result["macro_f1"]["value"] > 0.12
    assert result["valence"]["ccc"]["value"] > 0.2


def test_pipeline_translate_uses_the_translator(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments_for(pictures, "--pipeline", "translate")) == 78
    assert "no translator; name one" in capsys.readouterr().err
    folder = translator_folder(pictures)
    named = ["--set", f'translator.model="{folder}"']
    answers = []
    for pipeline in ("direct", "translate"):
        path = pictures / f"{pipeline}.json"
        assert (
            main(arguments_for(pictures, *named, "--pipeline", pipeline, "--json", str(path))) == 0
        )
        answers.append(json.loads(path.read_text()))
    assert answers[0]["scored"] == answers[1]["scored"] == 4
    # a generator with random weights changes every face
    assert answers[0]["valence"]["rmse"]["value"] != answers[1]["valence"]["rmse"]["value"]
    # the same pictures without it, and the difference
    assert "direct" not in answers[0]
    assert answers[1]["direct"]["valence"] == answers[0]["valence"]
    for name in ("top1", "macro_f1"):
        difference = answers[1]["difference"][name]
        apart = answers[1][name]["value"] - answers[0][name]["value"]
        assert difference["value"] == pytest.approx(apart)
        low, high = difference["interval95"]
        assert low <= difference["value"] <= high
    assert "may have been trained on these people" in capsys.readouterr().out


def test_each_person_is_translated_by_the_translator_that_did_not_see_them(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders, answers = [], []
    for seed in (1, 2):
        (pictures / f"{seed}").mkdir()
        folders.append(translator_folder(pictures / f"{seed}", seed=seed))
    first, second = (str(folder) for folder in folders)
    folds = [f"{first}=1", f"{second}=2"]
    assert "expected --pipeline translate" in refusal(
        main, arguments_for(pictures, "--fold", folds[0]), capsys
    )
    translate = arguments_for(pictures, "--pipeline", "translate")
    missing = refusal(main, [*translate, "--fold", folds[0]], capsys)
    assert "no translator for 2" in missing
    for chosen in (folds, [f"{first}=1,2"], [f"{second}=1,2"]):
        path = pictures / "result.json"
        options = [word for fold in chosen for word in ("--fold", fold)]
        assert main([*translate, *options, "--json", str(path)]) == 0
        answers.append(json.loads(path.read_text()))
    both, only_first, only_second = answers
    assert both["folds"] == {"1": first, "2": second}
    assert "Each picture was translated without its person." in capsys.readouterr().out
    # its error is between those of the two alone, whose pictures it takes
    errors = [each["log_loss"]["value"] for each in (only_first, both, only_second)]
    assert errors[0] != errors[2]
    assert min(errors[0], errors[2]) < errors[1] < max(errors[0], errors[2])
