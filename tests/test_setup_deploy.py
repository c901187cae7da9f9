"""scripts/setup_deploy.sh with a stand-in for Python: what it installs, once, and how it fails."""

import pathlib
import re
import shutil
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"
# Notes its call; then does as pip does, or fails.
PYTHON = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/calls"
if [ -e "$(dirname "$0")/fails" ]; then echo "no network"; exit 1; fi
while [ "$1" != --target ]; do shift; done
mkdir -p "$2" && echo new > "$2/package"
"""


@pytest.fixture
def install(tmp_path):
    """Runs the script in a folder of its own: (its status, its output, that folder)."""
    (tmp_path / "scripts").mkdir()
    for name in ("setup_deploy.sh", "requirements-deploy.txt"):
        shutil.copy2(str(SCRIPTS / name), str(tmp_path / "scripts"))
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def install():
        command = ["bash", str(tmp_path / "scripts" / "setup_deploy.sh"), str(python)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )
        return done.returncode, done.stdout, tmp_path

    return install


def test_a_second_run_finds_nothing_to_do(install):
    status, output, folder = install()
    assert status == 0 and "to .deploy-packages" in output
    assert (folder / ".deploy-packages" / "package").read_text() == "new\n"
    assert install()[:2] == (0, "")
    (call,) = (folder / "calls").read_text().splitlines()
    assert "install --no-deps" in call and call.endswith("/scripts/requirements-deploy.txt")


def test_other_requirements_are_installed_again(install):
    folder = install()[2]
    (folder / ".deploy-packages" / "package").write_text("old")
    with open(str(folder / "scripts" / "requirements-deploy.txt"), "a") as file:
        file.write("another==1.0\n")
    assert install()[0] == 0
    assert (folder / ".deploy-packages" / "package").read_text() == "new\n"


def test_a_failure_leaves_the_older_packages(install):
    folder = install()[2]
    (folder / ".deploy-packages" / "requirements-are-in").write_text("of an older file")
    (folder / "fails").touch()
    status, output, _ = install()
    assert status == 1
    assert "no network" in output and "run `make setup-deploy` again" in output
    assert (folder / ".deploy-packages" / "package").read_text() == "new\n"


def test_every_package_has_one_version():
    lines = (SCRIPTS / "requirements-deploy.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip() for line in lines if line and not line.startswith("#")]
    assert all(re.match(r"[\w-]+==[\d.]+$", pin) for pin in pins)
    names = [pin.split("==")[0].lower().replace("_", "-") for pin in pins]
    assert len(set(names)) == len(names)
    # Those in .venv are of its own versions.
    main = (SCRIPTS.parent / "requirements.txt").read_text().lower()
    assert not [name for name in names if re.search(f"^{name}==", main, re.MULTILINE)]
