"""scripts/setup.sh with fakes of pyenv, conda, uv, pip and a clone of tensorflow/models.

Nothing is downloaded. Each test has its own folder with a workspace, a home and a PATH that holds
only the tools that set-up needs. `make test` runs the real set-up, with the real packages, before
any of these tests.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = (
    "bash sh cat sed ls mkdir mktemp rm mv cp touch chmod grep sort tail cksum dirname uname env "
    "ln flock"
).split()

GOOD = f'exec "{sys.executable}" "$@"'  # a Python 3.7 that runs
BROKEN_SHIM = 'echo "pyenv: python3.7: command not found" >&2; exit 127'

# A Python that creates an "environment" (a copy of itself) and records the calls of pip; it passes
# everything else to the real Python.
WITHOUT_NETWORK = """
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" "$3/lib/python3.7/site-packages"; cp "$0" "$3/bin/python" ;;
    *"pip "*"download"*)
        while [ "$1" != --dest ]; do shift; done
        mkdir -p "$2"; cp "{wheel}" "$2" ;;
    *"pip "*"--target"*) echo "$*" >>"{calls}" ;;
    *"pip "*)
        if [ -e "{broken}" ]; then echo "no route to the index"; exit 1; fi
        echo "$*" >>"{calls}" ;;
    *grpc_tools*) touch object_detection/protos/a_pb2.py ;;
    *"import tensorflow"*) echo "imports" >>"{calls}" ;;
    *) exec "{python}" "$@" ;;
esac
"""


class Machine:
    """A machine of fake programs below ``folder``."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "work space"  # a blank in the path must not matter
        self.research = self.root / "models" / "research"
        self.log = self.root / ".setup.log"
        self.calls = folder / "calls"
        self.broken = folder / "the-network-is-broken"
        for new in (self.root / "scripts", self.root / "models", folder / "bin", folder / "home"):
            new.mkdir(parents=True)
        shutil.copy(str(ROOT / "scripts" / "setup.sh"), str(self.root / "scripts"))
        for name in ("requirements.txt", "scripts/requirements-spark.txt"):
            shutil.copy(str(ROOT / name), str(self.root / name))
        for tool in TOOLS:
            (folder / "bin" / tool).symlink_to(shutil.which(tool))

    def program(self, path, body):
        """Writes a program at ``path``, below the machine's folder; returns its absolute path."""
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{self.folder / 'bin' / 'sh'}\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def python_without_network(self, path):
        wheel = self.folder / "package-0.0.3-py3-none-any.whl"
        self._write_wheel(wheel)
        return self.program(
            path,
            WITHOUT_NETWORK.format(
                wheel=wheel, calls=self.calls, broken=self.broken, python=sys.executable
            ),
        )

    def _write_wheel(self, path):
        with zipfile.ZipFile(str(path), "w") as wheel:
            for name in (
                "object_detection/model_main.py",
                "object_detection/export_inference_graph.py",
                "nets/inception_v2.py",
                "deployment/model_deploy.py",
                "package-0.0.3.dist-info/LICENSE",
                "package-0.0.3.dist-info/RECORD",
            ):
                wheel.writestr(name, name)

    def processor(self, flags):
        """Lets grep find these flags in /proc/cpuinfo."""
        info = self.folder / "cpuinfo"
        info.write_text(f"flags : fpu {flags} aes\n")
        (self.folder / "bin" / "grep").unlink()
        self.program(
            "bin/grep",
            f'case "$*" in *" /proc/cpuinfo") set -- "$1" "$2" "{info}" ;; esac\n'
            f'exec {shutil.which("grep")} "$@"',
        )

    def setup(self, *arguments, **environment):
        """Runs setup.sh; returns (exit status, stdout, stderr)."""
        process = self.start_setup(*arguments, **environment)
        out, err = process.communicate()
        return process.returncode, out, err

    def start_setup(self, *arguments, **environment):
        """Starts setup.sh; returns the process."""
        environment = dict(
            {"PATH": str(self.folder / "bin"), "HOME": str(self.folder / "home")}, **environment
        )
        return subprocess.Popen(
            ["bash", str(self.root / "scripts" / "setup.sh")] + list(arguments),
            env=environment,
            cwd=str(self.folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def found(self, **environment):
        status, out, err = self.setup("--find-python", **environment)
        assert status == 0, err
        return out.strip()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


# --- which Python ---------------------------------------------------------------------------------


def test_a_working_python37_is_used(machine):
    python = machine.program("bin/python3.7", GOOD)
    machine.program("home/.pyenv/versions/3.7.16/bin/python", GOOD)
    assert machine.found() == python


@pytest.mark.parametrize("pyenv_is_on_the_path", [True, False])
def test_pyenvs_failing_shim_is_skipped_for_pyenvs_own_python(machine, pyenv_is_on_the_path):
    machine.program("bin/python3.7", BROKEN_SHIM)
    if pyenv_is_on_the_path:
        machine.program("bin/pyenv", f'echo "{machine.folder / "elsewhere"}"')
        python = machine.program("elsewhere/versions/3.7.16/bin/python", GOOD)
    else:
        python = machine.program("home/.pyenv/versions/3.7.16/bin/python", GOOD)
    assert machine.found() == python


def test_the_workspaces_own_environment_is_skipped(machine):
    inside = machine.program("work space/.venv/bin/python3.7", GOOD)
    outside = machine.program("home/.pyenv/versions/3.7.16/bin/python", GOOD)
    path = f"{os.path.dirname(inside)}:{machine.folder / 'bin'}"
    assert machine.found(PATH=path) == outside


def test_condas_environments_are_searched(machine):
    machine.program("bin/conda", f'echo "{machine.folder / "conda"}"')
    machine.program("conda/bin/python", "echo it is cpython 3.12 >&2; exit 1")
    python = machine.program("conda/envs/old/bin/python", GOOD)
    assert machine.found() == python


def test_conda_downloads_one_where_there_is_none(machine):
    good = machine.program("good", GOOD)
    machine.program(
        "bin/conda",
        f'[ "$1" = create ] || exit 0\nmkdir -p "$5/bin"; cp "{good}" "$5/bin/python3.7"',
    )
    assert machine.found() == str(machine.root / ".python3.7" / "conda" / "bin" / "python3.7")


UV = """
case "$*" in
    "python install 3.7") mkdir -p "$UV_PYTHON_INSTALL_DIR/cpython-3.7.9/bin"
                          cp "{good}" "$UV_PYTHON_INSTALL_DIR/cpython-3.7.9/bin/python3.7" ;;
    *) exit 1 ;;
esac
"""


def test_uv_downloads_one_where_there_is_none(machine):
    machine.program("bin/uv", UV.format(good=machine.program("good", GOOD)))
    fetched = str(machine.root / ".python3.7" / "cpython-3.7.9" / "bin" / "python3.7")
    assert machine.found() == fetched
    (machine.folder / "bin" / "uv").unlink()
    assert machine.found() == fetched, "what was downloaded once is found again"


def test_the_pinned_uv_replaces_one_that_no_longer_offers_it(machine):
    pinned = machine.program("pinned-uv", UV.format(good=machine.program("good", GOOD)))
    machine.program(
        "bin/uv", "echo 'error: No download found for request: cpython-3.7-linux' >&2; exit 2"
    )
    machine.program(
        "bin/python3",
        f'''
        case "$*" in
            *"pip install"*uv==0.6.17*)
                while [ "$1" != --target ]; do shift; done
                mkdir -p "$2/bin"; cp "{pinned}" "$2/bin/uv" ;;
            *) echo it is cpython 3.11 >&2; exit 1 ;;
        esac''',
    )
    assert machine.found() == str(
        machine.root / ".python3.7" / "cpython-3.7.9" / "bin" / "python3.7"
    )


def test_without_any_python37_one_message_lists_the_ways_to_install_it(machine):
    shim = machine.program("bin/python3.7", BROKEN_SHIM)
    newer = machine.program("bin/python3", "echo it is cpython 3.11 >&2; exit 1")
    status, out, err = machine.setup()
    assert status == 1
    assert out == "[1/4] Python 3.7\n"
    assert err.count("error: ") == 1 and "no working Python 3.7" in err
    assert f"{shim}: pyenv: python3.7: command not found" in err
    assert f"{newer}: it is cpython 3.11" in err
    for way in (
        "pyenv install 3.7",
        "conda create",
        "uv python install 3.7",
        "python3.7-venv",
        "make setup PYTHON=",
    ):
        assert way in err
    assert not (machine.root / ".venv").exists()


def test_the_named_python_is_used(machine):
    machine.program("bin/python3.7", GOOD)
    named = machine.program("my python", GOOD)
    assert machine.found(PYTHON=named) == named


def test_a_named_python_that_does_not_work_is_an_error(machine):
    machine.program("bin/python3.7", GOOD)
    status, _, err = machine.setup("--find-python", PYTHON="/no/such/python")
    assert status == 1
    assert "PYTHON=/no/such/python is not a working Python 3.7" in err


# --- all steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, build", [("avx avx2", "intel-tensorflow==1.15.2"), ("avx", "tensorflow==1.15.5")]
)
def test_the_faster_build_is_chosen_for_the_processor(machine, flags, build):
    machine.python_without_network("bin/python3.7")
    machine.processor(flags)
    status, out, err = machine.setup()
    assert status == 0, err
    assert f"requirements.txt ({'intel' if 'intel' in build else 'stock'} TensorFlow)" in out
    wanted = (machine.root / ".venv" / "requirements.txt").read_text()
    assert re.findall("^\\S*tensorflow==.*", wanted, re.MULTILINE) == [build]
    assert machine.setup(CPU="stock")[0] == 0
    machine.processor("avx avx2")
    assert machine.setup() == (0, "", ""), "a choice that was made is kept"


def test_first_run_second_run_and_change_of_cpu(machine):
    machine.python_without_network("bin/python3.7")
    machine.processor("avx")
    status, out, err = machine.setup(CPU="")
    assert status == 0, err
    assert [line[:5] for line in out.splitlines() if line.startswith("[")] == [
        "[1/4]",
        "[2/4]",
        "[3/4]",
        "[4/4]",
    ]
    calls = machine.calls.read_text()
    assert "pip==24.0" in calls and calls.endswith("imports\n")
    wanted = machine.root / ".venv" / "requirements.txt"
    assert "\ntensorflow==1.15.5\n" in wanted.read_text()

    machine.calls.unlink()
    assert machine.setup() == (0, "", ""), "a second run has nothing to do and prints nothing"
    assert not machine.calls.exists()

    assert machine.setup(CPU="intel")[0] == 0
    assert "\nintel-tensorflow==1.15.2\n" in wanted.read_text()
    assert not re.search("^tensorflow==", wanted.read_text(), re.MULTILINE)
    assert "uninstall -y -q tensorflow intel-tensorflow" in machine.calls.read_text()
    assert machine.setup() == (0, "", ""), "the choice is kept until another is made"

    with open(str(machine.root / "requirements.txt"), "a") as requirements:
        requirements.write("one-more==1.0\n")
    assert machine.setup()[0] == 0
    assert "\nintel-tensorflow==1.15.2\n" in wanted.read_text() and "one-more" in wanted.read_text()


def test_the_packages_of_spark_come_and_go(machine):
    machine.python_without_network("bin/python3.7")
    wanted = machine.root / ".venv" / "requirements.txt"
    assert machine.setup()[0] == 0
    assert "pyspark==" not in wanted.read_text()
    assert machine.setup(SPARK="1")[0] == 0
    assert "\npyspark==3.4.4" in wanted.read_text()
    assert "uninstall" not in machine.calls.read_text(), "TensorFlow stays as it is"
    assert machine.setup(SPARK="") == (0, "", ""), "the choice is kept until another is made"
    assert machine.setup(SPARK="0")[0] == 0
    assert "pyspark==" not in wanted.read_text()
    assert "uninstall -y -q pyspark py4j pyarrow" in machine.calls.read_text()
    status, _, err = machine.setup(SPARK="yes")
    assert (status, err) == (1, "error: SPARK=yes: expected 1 or 0\n")


def test_two_set_ups_at_a_time_do_the_work_once(machine):
    machine.python_without_network("bin/python3.7")
    with open(str(machine.log), "a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # as a set-up that is running holds it
        second = machine.start_setup()
        assert second.stdout.readline() == "waiting for another `make setup` in this folder\n"
        assert not (machine.root / ".venv").exists()
        # The first one ends.
        fcntl.flock(log, fcntl.LOCK_UN)
    out, err = second.communicate()
    assert second.returncode == 0, err
    assert "Installed." in out
    assert machine.setup() == (0, "", "")


def test_an_unknown_cpu_is_refused_before_anything_is_done(machine):
    machine.python_without_network("bin/python3.7")
    status, _, err = machine.setup(CPU="arm")
    assert (status, err) == (1, "error: CPU=arm: expected intel or stock\n")
    assert not (machine.root / ".venv").exists()


def test_an_interrupted_set_up_prints_the_cause_and_resumes(machine):
    machine.python_without_network("bin/python3.7")
    machine.broken.touch()
    status, _, err = machine.setup()
    assert status == 1
    assert "no route to the index" in err and str(machine.log) in err, (
        "the end of the log, and where the rest is"
    )
    half = machine.root / ".venv" / "lib" / "python3.7" / "site-packages" / "half-a-package"
    half.touch()
    machine.broken.unlink()
    assert machine.setup()[0] == 0
    assert not half.exists(), "an incomplete environment is not reused"


def test_an_environment_that_set_up_did_not_make_is_not_changed(machine):
    machine.python_without_network("bin/python3.7")
    (machine.root / ".venv").mkdir()
    (machine.root / ".venv" / "mine").touch()
    status, _, err = machine.setup()
    assert status == 1 and "did not make it" in err
    assert [path.name for path in (machine.root / ".venv").iterdir()] == ["mine"]


# --- models/research ------------------------------------------------------------------------------


def tree(folder):
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def clone(folder, compiled):
    """A fake of the research folder of a clone of tensorflow/models."""
    for name in (
        "object_detection/model_main.py",
        "object_detection/export_inference_graph.py",
        "object_detection/protos/a.proto",
        "slim/nets/inception_v2.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    if compiled:
        (folder / "object_detection" / "protos" / "a_pb2.py").touch()
    return folder


def test_the_packages_folders_go_where_tensorflow_models_has_them(machine):
    machine.python_without_network("work space/.venv/bin/python")
    status, out, err = machine.setup("--models")
    assert status == 0, err
    for name in (
        "object_detection/model_main.py",
        "slim/nets/inception_v2.py",
        "slim/deployment/model_deploy.py",
        "LICENSE",
    ):
        assert (machine.research / name).is_file()
    assert not list(machine.research.rglob("*.dist-info"))
    assert [path.name for path in (machine.root / "models").iterdir()] == ["research"]
    before = tree(machine.research)
    assert machine.setup("--models")[0] == 0
    assert tree(machine.research) == before


def test_another_version_of_the_package_replaces_the_installed_one(machine):
    machine.python_without_network("work space/.venv/bin/python")
    assert machine.setup("--models")[0] == 0
    marker = machine.research / ".made-by-make-setup"
    wanted = marker.read_text()
    marker.write_text("tf-object-detection==0.0.2")
    (machine.research / "object_detection" / "of_the_old_one.py").touch()
    assert machine.setup("--models")[0] == 0
    assert marker.read_text() == wanted
    assert not (machine.research / "object_detection" / "of_the_old_one.py").exists()


@pytest.mark.parametrize("linked", [False, True])
def test_your_own_clone_is_used_and_not_changed(machine, linked):
    machine.python_without_network("bin/python3.7")
    if linked:
        machine.research.symlink_to(clone(machine.folder / "my clone", compiled=True))
    else:
        clone(machine.research, compiled=True)
    before = tree(machine.research)
    status, out, err = machine.setup()
    assert status == 0, err
    assert "your own clone of tensorflow/models, not changed" in out
    assert tree(machine.research) == before
    assert machine.research.is_symlink() == linked
    assert machine.setup() == (0, "", "")


def test_a_clone_that_replaces_the_installed_package_is_checked(machine):
    machine.python_without_network("bin/python3.7")
    assert machine.setup()[0] == 0
    assert machine.setup() == (0, "", "")
    shutil.rmtree(str(machine.research))
    machine.research.symlink_to(clone(machine.folder / "my clone", compiled=False))
    status, out, err = machine.setup()
    assert status == 0, err
    assert "your own clone" in out and "compiling object_detection/protos" in out
    assert machine.calls.read_text().endswith("imports\n")
    assert machine.setup() == (0, "", "")
    machine.research.unlink()
    machine.research.symlink_to(clone(machine.folder / "another clone", compiled=True))
    assert "your own clone" in machine.setup()[1]
    assert machine.setup() == (0, "", "")
    machine.research.unlink()
    clone(machine.research, compiled=True)
    assert "your own clone" in machine.setup()[1]


def test_missing_proto_modules_of_a_clone_are_compiled(machine):
    machine.python_without_network("work space/.venv/bin/python")
    clone(machine.research, compiled=False)
    before = tree(machine.research)
    status, out, err = machine.setup("--models")
    assert status == 0, err
    assert "compiling object_detection/protos" in out
    assert "grpcio-tools==" in machine.calls.read_text()
    assert tree(machine.research) == dict(before, **{"object_detection/protos/a_pb2.py": b""})


def test_a_folder_that_is_not_a_clone_is_refused_and_not_changed(machine):
    machine.python_without_network("work space/.venv/bin/python")
    machine.research.mkdir()
    (machine.research / "thesis.txt").write_text("mine")
    status, _, err = machine.setup("--models")
    assert status == 1
    assert str(machine.research) in err and "contains no object_detection" in err
    assert tree(machine.research) == {"thesis.txt": b"mine"}


def test_an_incomplete_clone_is_refused(machine):
    machine.python_without_network("bin/python3.7")
    clone(machine.research, compiled=True)
    shutil.rmtree(str(machine.research / "slim"))
    status, _, err = machine.setup()
    assert status == 1
    assert str(machine.research / "slim" / "nets") in err and "not a complete clone" in err


# --- the pins -------------------------------------------------------------------------------------


def test_every_package_is_pinned_once():
    lines = [
        line
        for name in ("requirements.txt", "scripts/requirements-spark.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    pins = [line.split("#")[0].strip() for line in lines if line and not line.startswith("#")]
    pins += [
        word
        for line in lines
        if line.startswith("#@")
        for word in line.split()[1:]
        if not word.startswith("--")
    ]
    assert all(re.match(r"^[\w.-]+==[\w.]+$", pin) for pin in pins), pins
    names = [re.sub("[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins]
    assert len(names) == len(set(names))
    for file in (ROOT / "Makefile", ROOT / "scripts" / "setup.sh"):
        assert not re.findall(r"\w+==\d\S*", file.read_text()), (
            "versions belong in requirements.txt"
        )
