"""Copies of model folders with one change, and the decoders that a package knows."""

import ast
import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Change = Callable[[dict[str, Any]], None]


def changed_copy(folder: Path, target: Path, change: Change) -> Path:
    """Copy a model folder to ``target`` with a changed manifest; return ``target``.

    Args:
        folder: the model folder to copy.
        target: a folder that does not exist yet.
        change: changes the manifest, as JSON data, in place.
    """
    shutil.copytree(folder, target)
    path = target / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return target


def known_decoders(package: ModuleType) -> set[str]:
    """Return the decoders for which a ``match`` of ``package`` has a ``case``."""
    return {
        node.value.value
        for node in ast.walk(ast.parse(inspect.getsource(package)))
        if isinstance(node, ast.MatchValue)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
