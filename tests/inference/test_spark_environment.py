"""The archive of the environment: what is in it, and that it starts."""

import os
import subprocess
import tarfile

import pytest

from shelfdet import UserError
from shelfdet.inference.spark import environment


@pytest.fixture
def packages(tmp_path):
    folder = tmp_path / "site-packages"
    for name in ("mine/__init__.py", "pyspark/__init__.py", "mine/__pycache__/a.pyc", "a.pth"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "mine" / "__init__.py").write_text("place = __file__")
    return folder


def test_the_python_of_the_archive_runs_where_it_was_unpacked(tmp_path, packages):
    archive = tmp_path / "environment.tar.gz"
    assert environment.pack(archive, packages=packages) == archive.stat().st_size
    place = tmp_path / "another place" / "environment"
    with tarfile.open(str(archive)) as file:
        names = file.getnames()
        file.extractall(str(place))
    assert not [name for name in names if "pyspark" in name or name.endswith((".pyc", ".pth"))]
    program = "import mine, os, ssl, sys; print(mine.place, os.__file__, sys.version_info[:2])"
    done = subprocess.run(
        ["environment/bin/python", "-c", program],
        cwd=str(place.parent),
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    library = place / "lib" / "python3.7"
    assert done.stdout.split("\n")[0] == (
        f"{library / 'site-packages' / 'mine' / '__init__.py'} {library / 'os.py'} (3, 7)"
    )


def test_wrong_targets_are_refused(tmp_path, packages):
    with pytest.raises(UserError, match="does not end in .tar.gz"):
        environment.pack(tmp_path / "environment.zip", packages=packages)
    with pytest.raises(UserError, match="python3.7: no such file; expected the Python"):
        environment.pack(tmp_path / "a.tar.gz", base=tmp_path, packages=packages)
