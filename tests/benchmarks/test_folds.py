"""Translators by the people that they were trained without."""

import pytest

from benchmarks.evaluation.folds import check_folds, parse_folds
from edge.errors import ConfigError


def test_each_person_has_the_translator_that_did_not_see_them() -> None:
    folds = parse_folds(["models/a=1, 2", "odd=name=3"])
    assert folds == {"1": "models/a", "2": "models/a", "3": "odd=name"}
    check_folds(folds, ["3", "1", "3"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models/a"], "expected a translator and the people"),
        (["=1,2"], "expected a translator and the people"),
        (["models/a=1,,2"], "expected a translator and the people"),
        (["models/a="], "expected a translator and the people"),
        (["models/a=1,2", "models/b=2"], "person 2 is named twice"),
    ],
)
def test_a_wrong_fold_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_folds(words)


def test_a_person_without_a_translator_is_refused() -> None:
    with pytest.raises(ConfigError, match="no translator for 10,4; expected one for every person"):
        check_folds({"1": "models/a"}, ["1", "4", "10"])
