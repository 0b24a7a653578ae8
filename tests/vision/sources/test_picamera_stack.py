"""Importing picamera2 and libcamera: each failure is reported in one line with the remedy."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from edge.errors import EXIT_CONFIG, ConfigError
from edge.vision.sources.picamera_stack import load_stack
from tests.support.fake_picamera2 import Job, MappedArray, Picamera2, Script, install

NUMPY_1 = "numpy.dtype size changed, may indicate binary incompatibility. Expected 96, got 88"


def reports_version(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def installed(name: str) -> str:
        if name != "picamera2" or version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", installed)


@pytest.mark.parametrize("version", ["0.3.21", "0.3.38", "0.4.0", "1.0", None])
def test_complete_stack_is_returned_with_its_version(
    version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports_version(monkeypatch, version)
    with install(Script()):
        stack = load_stack()
        assert stack.picamera2 is sys.modules["picamera2"]
        assert stack.libcamera is sys.modules["libcamera"]
    assert stack.picamera2_version == (version or "unknown")


@pytest.mark.parametrize("version", ["0.3.18", "0.3.2", "0.2.9"])
def test_old_version_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reports_version(monkeypatch, version)
    with install(Script()), pytest.raises(ConfigError) as caught:
        load_stack()
    assert f"picamera2 {version} is too old; expected picamera2 0.3.21 or newer" in str(
        caught.value
    )
    assert "full-upgrade" in str(caught.value)


def without_timeout(self: Job) -> None:
    return None


def without_write(self: MappedArray, request: object, stream: str, reshape: bool = True) -> None:
    return None


@pytest.mark.parametrize("missing", ["cancel_all_and_flush", "timeout", "write"])
def test_unknown_version_is_refused_if_functions_are_missing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports_version(monkeypatch, None)
    if missing == "timeout":
        monkeypatch.setattr(Job, "get_result", without_timeout)
    elif missing == "write":
        monkeypatch.setattr(MappedArray, "__init__", without_write)
    else:
        monkeypatch.delattr(Picamera2, missing)
    with install(Script()), pytest.raises(ConfigError, match=r"unknown lacks.*0\.3\.21 or newer"):
        load_stack()


@pytest.mark.parametrize(
    ("raised", "remedy"),
    [
        (f"ValueError({NUMPY_1!r})", "pip install 'simplejpeg>=1.9'"),
        ("ImportError('numpy.core.multiarray failed to import')", "simplejpeg>=1.9"),
        ("ImportError('libcamera.so.0.5: cannot open shared object')", "python3-picamera2"),
        ("OSError('libpisp.so: wrong ELF class')", "python3-picamera2"),
        ("RuntimeError('cannot register\\ntype')", "python3-picamera2"),
        ("AttributeError('no attribute StreamRole')", "python3-picamera2"),
        ("SystemExit('no camera support')", "python3-picamera2"),
    ],
)
def test_any_import_error_is_reported_in_one_line_with_the_remedy(
    raised: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "dist-packages" / "simplejpeg" / "__init__.py"
    if "ValueError" not in raised:
        broken = tmp_path / "dist-packages" / "picamera2" / "__init__.py"
    for name in ("libcamera", "picamera2"):
        folder = tmp_path / "dist-packages" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("import simplejpeg\n" if name == "picamera2" else "")
        monkeypatch.delitem(sys.modules, name, raising=False)
    broken.parent.mkdir(exist_ok=True)
    broken.write_text(f"raise {raised}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "dist-packages"))
    try:
        with pytest.raises(ConfigError) as caught:
            load_stack()
    finally:  # monkeypatch would put it back
        sys.modules.pop("libcamera", None)
    assert remedy in str(caught.value)
    assert f"importing {broken.parent.name} raised {raised.partition('(')[0]}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG


@pytest.mark.parametrize("missing", ["libcamera", "picamera2"])
def test_missing_package_is_named_with_the_remedy(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with install(Script()):
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ConfigError, match="apt install --no-install-rec") as caught:
            load_stack()
        monkeypatch.undo()
    assert missing in str(caught.value)
    assert "--system-site-packages" in str(caught.value)


@pytest.mark.parametrize(("prefix", "is_named"), [("/usr", False), ("/root/.pyenv/3.11", True)])
def test_python_that_is_not_the_systems_is_named(
    prefix: str, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_prefix", prefix)
    with install(Script()):
        monkeypatch.setitem(sys.modules, "libcamera", None)
        with pytest.raises(ConfigError, match="'/usr/bin/python3 -m venv --system-site") as caught:
            load_stack()
        monkeypatch.undo()
    named = f"this environment comes from {prefix}; expected /usr/bin/python3"
    assert (named in str(caught.value)) == is_named
    assert "apt install --no-install-recommends python3-picamera2" in str(caught.value)
