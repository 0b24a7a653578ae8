"""Approach 1 against approach 2: predictions through translators, and without them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.evaluation.folds import Folds, check_folds
from benchmarks.evaluation.metrics import differences
from benchmarks.evaluation.pictures import float_network
from edge.errors import ConfigError
from edge.vision.inference.manifest import Recalibration
from edge.vision.resize import resize_area
from edge.vision.translate import Translator, translator_for
from exporters.recipes.adapt import (
    AdaptOptions,
    Predictor,
    cross_validate,
    fit,
    predict_all,
    predictor_from_artifact,
)
from exporters.recipes.nirfaces import load_nir_faces
from exporters.recipes.recalibrate import square_network


def predictor_through(
    predict: Predictor, translators: Sequence[Translator], side: int
) -> Predictor:
    """Return a function that predicts translated crops, as the daemon translates them.

    Args:
        predict: predicts crops of ``side`` pixels.
        translators: that of each picture of a batch; all take pictures of the same size.
        side: of the expression network's input, pixels.
    """

    def predict_translated(crops: Tensor) -> Tensor:
        pictures = (crops[:, 0] * 255).round().to(torch.uint8).numpy()
        made = [
            resize_area(translator.translate(picture), (side, side))
            for translator, picture in zip(translators, pictures, strict=True)
        ]
        return predict(torch.from_numpy(np.stack(made).astype(np.float32) / 255)[:, None])

    return predict_translated


def open_folds(folds: Folds) -> dict[str, Translator]:
    """Return the translator of each person, in float.

    Raises:
        ConfigError: they take pictures of different sizes.
        ModelError: a model fails verification.
    """
    opened = {
        folder: translator_for(float_network(folder, "spectrum-translation"))
        for folder in sorted(set(folds.values()))
    }
    sizes = {(each.info.width, each.info.height) for each in opened.values()}
    if len(sizes) != 1:
        raise ConfigError(f"--fold: translators of the sizes {sorted(sizes)}; expected one size")
    return {person: opened[folder] for person, folder in folds.items()}


def recalibrate(
    model: str, folds: Folds, images: Path, labels: Path, options: AdaptOptions
) -> tuple[dict[str, Any], Recalibration]:
    """Return the figures of translated pictures, those of direct ones, and their differences.

    Translator and recalibration of each person's predictions have not seen that person. The
    second result is the recalibration for translated pictures, fitted on all people.

    Args:
        model: folder of the expression network, or its name.
        folds: the translators.
        images: folder of the photographs.
        labels: their annotations.
        options: of the fit.

    Raises:
        ConfigError: a person is in no fold, the photographs show one person only, or the network's
            input is not square.
        ModelError: a model fails verification.
    """
    network, options = square_network(model, options)
    side, predict = network.info.width, predictor_from_artifact(network)
    direct = load_nir_faces(images, labels, options.margin, side)
    check_folds(folds, direct.subjects)
    translators = open_folds(folds)
    width = next(iter(translators.values())).info.width
    nir = direct if width == side else load_nir_faces(images, labels, options.margin, width)
    through = predictor_through(predict, [translators[each] for each in nir.subjects], side)
    predictions = predict_all(through, nir, options)
    figures, *translated = cross_validate(predictions, nir, options)
    plain, *plain_predictions = cross_validate(
        predict_all(predict, direct, options), direct, options
    )
    everyone = nir.indices_of(set(nir.subjects))
    result = {
        **figures,
        "direct": plain,
        "difference": differences(
            (plain_predictions[0], plain_predictions[1]),
            (translated[0], translated[1]),
            np.asarray(nir.labels),
            np.asarray(nir.affect.double()),
            nir.subjects,
        ),
        "folds": dict(folds),
    }
    return result, fit(predictions, nir, everyone, options)
