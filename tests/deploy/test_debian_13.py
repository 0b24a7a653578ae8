"""The installer in a Debian 13 root, whose Python is 3.13: from wheels, and as with a network.

There is no network: a folder stands for the package index, and a folder of packages for apt's.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import ROOT
from tests.support.debian_root import CACHE_13, DebianRoot, debian_cache

pytestmark = [pytest.mark.stage, pytest.mark.timeout(1800)]

PURPOSE = ("--purpose", "research-consent", "--no-start")


@pytest.fixture
def bare(tmp_path: Path) -> DebianRoot:
    debian_cache("dpkg-deb", cache=CACHE_13)
    return DebianRoot(tmp_path, CACHE_13)


def offer(root: DebianRoot, name: str, files: dict[str, str]) -> None:
    """Let apt know a package with some files, and nothing else."""
    folder, made = root.path / "srv/apt", root.path / "srv/made"
    for path, text in files.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    (made / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1:0.3.31-1\nArchitecture: all\nDescription: of a test\n"
    control += "Maintainer: nobody <nobody@localhost>\n"
    (made / "DEBIAN/control").write_text(control)
    folder.mkdir(exist_ok=True)
    package = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", made, package], check=True, capture_output=True)
    shutil.rmtree(made)
    data = package.read_bytes()
    with (folder / "Packages").open("a") as index:
        index.write(f"{control}Filename: ./{name}.deb\nSize: {len(data)}\n"
                    f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n")  # fmt: skip
    (root.path / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/apt ./\n")
    done = root.run("apt-get", "update")
    assert done.returncode == 0, done.stderr


def print_time(done: "subprocess.CompletedProcess[str]") -> None:
    """Print how long the installation took, as it says itself."""
    found = re.search(r"affect-edge [\d.]+ is installed \((\d+) s\)\n$", done.stdout)
    assert found is not None, done.stdout
    print(f"{found[1]} s")


def test_it_installs_from_wheels(bare: DebianRoot) -> None:
    done = bare.install("--wheels", "/root/wheels", "--purpose", "research-consent")
    assert (done.returncode, done.stderr) == (0, "")
    print_time(done)
    checked = bare.run("affect-edge", "check", "-c", "/etc/affect-edge/edge.toml")
    assert checked.returncode == 0, checked.stdout
    python = bare.run("/opt/affect-edge/venv/bin/python", "-c", "import sys; print(sys.version)")
    assert python.stdout.startswith("3.13.")
    unit = bare.run("systemd-analyze", "verify", "--man=no", "affect-edge.service")
    assert "affect-edge" not in unit.stderr, unit.stderr


def copied_project(root: DebianRoot) -> None:
    """Put a copy of the repository into the root, and remove the wheel of affect-edge."""
    for wheel in (root.path / "root/wheels").glob("affect_edge-*.whl"):
        wheel.unlink()
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("edge", "exporters", "benchmarks", "models"):
        shutil.copytree(ROOT / name, root.path / "root/src" / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root.path / "root/src")


def install_online(root: DebianRoot) -> "subprocess.CompletedProcess[str]":
    index = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/root/wheels")
    return root.run("env", *index, "/root/src/deploy/install.sh", *PURPOSE)


def test_with_a_network_it_builds_from_the_copy(bare: DebianRoot) -> None:
    copied_project(bare)
    done = install_online(bare)
    assert (done.returncode, done.stderr) == (0, "")
    print_time(done)
    assert "note: apt has no python3-picamera2" in done.stdout
    assert 'kind = "v4l2"' in (bare.path / "etc/affect-edge/edge.toml").read_text()
    assert bare.run("affect-edge", "version").stdout.startswith("affect-edge ")


def test_apts_picamera2_is_installed_and_used(bare: DebianRoot) -> None:
    """The real one needs a Raspberry Pi's archive; this one says so when it is imported."""
    said = "a package of a test"
    modules = {"picamera2/__init__.py": f"raise ImportError({said!r})\n", "libcamera.py": ""}
    packages = "usr/lib/python3/dist-packages"
    offer(bare, "python3-picamera2", {f"{packages}/{name}": modules[name] for name in modules})
    copied_project(bare)
    done = install_online(bare)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("install.sh: the new release refuses /etc/affect-edge/edge.toml: WRONG")
    assert 'source.kind "picamera"' in line
    assert said in line
    assert (bare.path / packages / "libcamera.py").exists()
    assert 'kind = "picamera"' in (bare.path / "etc/affect-edge/edge.toml").read_text()
    assert not (bare.path / "opt/affect-edge/venv").exists()


def test_without_an_index_one_line_says_so(bare: DebianRoot) -> None:
    copied_project(bare)
    (bare.path / "root/wheels").rename(bare.path / "root/gone")
    done = install_online(bare)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("install.sh: pip: ")
    assert not (bare.path / "opt/affect-edge/venv").exists()


def test_a_copy_without_the_program_is_one_line(bare: DebianRoot) -> None:
    done = install_online(bare)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert "/root/src: no pyproject.toml in it; expected a whole copy" in done.stderr
