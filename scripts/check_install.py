"""Checks that pip can install everything that a Raspberry Pi may run, on Raspberry Pi OS 12 and 13.

Those are the extras of ``deploy/install.sh``, of ``forward``, and of docs/bench-on-a-pi.md.

It runs pip's resolver against the package index, on any machine, in under a minute. It installs no
dependency, and does not check that the packages run on a board (make test-arm64 runs arm64 wheels).
Two checks for each release:

1. Every dependency has a wheel for aarch64, the release's Python and its glibc. The project's own
   wheel is then installed into a folder for that platform.
2. In an environment with ``--system-site-packages``, pip replaces apt's packages only where it
   must. Empty packages with the names and versions of apt's stand for them.

Exit: 0 nothing is wrong; 1 lines that begin with WRONG say what is.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "[litert,picamera,parquet,postgresql,dashboard,forward,bench]"
OLD_EXTRAS = "[tflite]"
"""The older runtime, on the release whose Python it has wheels for."""


@dataclass(frozen=True)
class Release:
    """A release of Raspberry Pi OS, and apt's Python packages that dependencies could use.

    ``apt`` maps names to versions as pip sees them. simplejpeg comes from Raspberry Pi's archive,
    where 1.8.2 is the newest possible version; the others come from Debian.
    """

    name: str
    python: str
    glibc: int  # minor version of glibc 2
    apt: dict[str, str]
    kept: frozenset[str]  # those of ``apt`` that pip must not replace


RELEASES = (
    Release(
        "Raspberry Pi OS 12 (bookworm)", "3.11", 36,
        {"numpy": "1.24.2", "opencv": "4.6.0", "simplejpeg": "1.8.2", "picamera2": "0.3.31",
         "typing_extensions": "4.4.0", "rich": "13.3.1", "pygments": "2.14.0"},
        frozenset({"opencv", "picamera2", "pygments"}),
    ),
    Release(
        "Raspberry Pi OS 13 (trixie)", "3.13", 41,
        {"numpy": "2.2.4", "opencv": "4.10.0", "simplejpeg": "1.8.2", "picamera2": "0.3.31",
         "typing_extensions": "4.13.2", "rich": "13.9.4", "pygments": "2.18.0"},
        frozenset({"numpy", "opencv", "picamera2", "rich", "pygments"}),
    ),
)  # fmt: skip


def run(*command: str | Path) -> str:
    """Return the output of a command; exit with its errors if it fails."""
    done = subprocess.run([str(p) for p in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"WRONG  {' '.join(map(str, command[:4]))}...: {done.stderr.strip()[-800:]}")
    return done.stdout


def pip(*arguments: str | Path, python: str | Path = sys.executable) -> list[dict[str, Any]]:
    """Run ``pip install``; return what it installs, or would install with ``--dry-run``."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
            "--report", report.name, *arguments)  # fmt: skip
        found: list[dict[str, Any]] = json.loads(Path(report.name).read_text())["install"]
    return found


def platform_options(release: Release) -> list[str]:
    """Return pip's options for the release on aarch64; pip does not expand platform tags."""
    tag = f"cp{release.python.replace('.', '')}"
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(release.glibc, 16, -1)]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", release.python]
    for abi in (tag, "abi3", "none"):
        options += ["--abi", abi]
    for each in (*tags, "manylinux2014_aarch64"):
        options += ["--platform", each]
    return options


def _opencv(found: list[dict[str, Any]]) -> tuple[int, ...]:
    """Return the version of OpenCV that pip chose."""
    (version,) = (
        item["metadata"]["version"]
        for item in found
        if item["metadata"]["name"].lower() == "opencv-python-headless"
    )
    return tuple(map(int, version.split(".")))


def check_wheels(release: Release, wheel: Path, folder: Path) -> list[str]:
    """Return dependencies without a wheel for the release; install the project's own wheel."""
    requirement, options = f"{wheel}{EXTRAS}", platform_options(release)
    found = pip(
        "--dry-run", "--ignore-installed", "--target", folder / "none", *options, requirement
    )
    names = [item["download_info"]["url"].rpartition("/")[2] for item in found]
    native = sorted(name for name in names if not name.endswith("-none-any.whl"))
    print(f"ok     {release.name}: {len(names)} wheels, {len(native)} of them native:")
    for name in native:
        print(f"         {name}")
    pip("--no-deps", "--target", folder / "site", *options, wheel)
    models = list((folder / "site/affect_edge_models").glob("*/manifest.json"))
    wrong = [name for name in native if "aarch64" not in name]
    if _opencv(found) < (4, 13):  # the range allows an older one, for the extra tflite alone
        wrong.append(f"OpenCV {_opencv(found)}, expected the newest")
    if release.python == "3.11":
        old = pip("--dry-run", "--ignore-installed", "--target", folder / "none", *options,
                  f"{wheel}{OLD_EXTRAS}")  # fmt: skip
        print(f"ok     {release.name}: {OLD_EXTRAS} with OpenCV {_opencv(old)}")
        if _opencv(old)[:2] != (4, 11):
            wrong.append(f"{OLD_EXTRAS}: OpenCV {_opencv(old)}, expected 4.11")
    bundled = list((ROOT / "models").glob("*/manifest.json"))
    if len(models) != len(bundled):
        wrong.append(f"{len(models)} models in {wheel.name}, expected {len(bundled)}")
    return wrong


def check_with_apt(release: Release, wheel: Path, folder: Path) -> list[str]:
    """Return what pip does wrong in an environment with apt's packages."""
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    (own,) = (folder / "venv").glob("lib/python*/site-packages")
    apt = folder / "dist-packages"
    for name, version in release.apt.items():
        about = apt / f"{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (about / "RECORD").write_text("")
    (own / "apt.pth").write_text(f"{apt}\n")  # outside of the environment, as apt's folder is
    python = folder / "venv/bin/python"
    listed = {
        each["name"] for each in json.loads(run(python, "-m", "pip", "list", "--format=json"))
    }
    wrong = [f"pip does not see apt's {name}" for name in release.apt if name not in listed]
    found = pip("--dry-run", "--only-binary=:all:", f"{wheel}{EXTRAS}", python=python)
    new = {item["metadata"]["name"].lower().replace("-", "_"): item["metadata"]["version"]
           for item in found}  # fmt: skip
    for name, version in release.apt.items():
        action = f"installs {new[name]} over it" if name in new else "uses it"
        print(f"         apt's {name} {version}: {action}")
        if (name in release.kept) == (name in new):
            wrong.append(f"apt's {name} {version}: pip {action}")
    if _opencv(found) < (4, 13):
        wrong.append(f"OpenCV {_opencv(found)}, expected the newest")
    if "simplejpeg" not in new:
        wrong.append("pip keeps apt's simplejpeg, which may be built for another NumPy")
    return wrong


def main() -> int:
    """Run both checks for both releases; return the exit code."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work, ROOT)
        (wheel,) = work.glob("*.whl")
        for number, release in enumerate(RELEASES):
            folder = work / str(number)
            folder.mkdir()
            for check in (check_wheels, check_with_apt):
                wrong += [f"{release.name}: {each}" for each in check(release, wheel, folder)]
            shutil.rmtree(folder)
    for each in wrong:
        print(f"WRONG  {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
