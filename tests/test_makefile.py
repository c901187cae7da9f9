"""The Makefile: its targets, what each runs, and the options it passes on."""

import functools
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAINING_DEMO = "workspace/training_demo"
GRAPHS = f"{TRAINING_DEMO}/trained-inference-graphs"
# What make hands on to a make that it starts; the tests must not depend on how they were started.
FROM_MAKE = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}

# Given in the environment, where a target may leave some of them unused.
EVERY_VARIABLE = (
    "MASTER=x ARCHIVE=x SPARK=1 CORRECTED=x "
    "IMAGES=x CONFIG=x RUN_DIR=x GRAPH=x START=x CHECKPOINT=x FROM=x SPLIT=x FOLD=0 SEED=0 "
    "VAL_SHARE=0.1 TEST_SHARE=0.2 EXIF=x DRAW=x ANNOTATIONS=x FORMAT=x ALLOW_MISSING=1 "
    "EMPTY_IMAGES=keep PAD=1 UNFOLDED=1 TILES=2 THRESHOLD=0.5 SKIP_BAD=1 OUTPUT=x "
    "RUNTIME=tensorflow"
)
EVERY_VARIABLE = dict(word.split("=") for word in EVERY_VARIABLE.split())


def run_make(*arguments, folder=ROOT, **environment):
    """The finished process, with both streams in its stdout."""
    inherited = {name: value for name, value in os.environ.items() if name not in FROM_MAKE}
    return subprocess.run(
        ["make", "--no-print-directory"] + list(arguments),
        cwd=str(folder),
        env=dict(inherited, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def make(*arguments, **environment):
    done = run_make(*arguments, **environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refused(*arguments, **environment):
    """What a make prints that must fail before it runs a step."""
    done = run_make("--dry-run", *arguments, **environment)
    assert done.returncode, done.stdout
    assert ".py" not in done.stdout
    return done.stdout


def targets():
    text = (ROOT / "Makefile").read_text()
    named = re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE).group(1).split()
    assert sorted(named) == sorted(set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)))
    return named


def test_bare_make_lists_every_target_with_one_line():
    lines = make().splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(targets())
    assert all(re.match(r"  make [a-z-]+ +\S.{5,}", line) and len(line) <= 140 for line in lines)


@functools.lru_cache(maxsize=None)
def known_options(path):
    """The options in the usage of a script, or those that a shell script names."""
    if path.suffix == ".sh":
        usage = path.read_text(encoding="utf-8")
    else:
        usage = subprocess.check_output([sys.executable, str(path), "--help"], text=True)
        usage = usage.split("\n\n")[0]
    return set(re.findall(r"--[a-z-]+", usage))


@pytest.mark.parametrize("target", targets())
def test_every_file_that_make_runs_is_there_and_knows_its_options(target):
    commands = make("--dry-run", target, **EVERY_VARIABLE).replace("\\\n", " ")
    for script, options in re.findall(
        r"^(?:\S*/python|@?.*\bbash) (\S+\.(?:py|sh))(.*)$", commands, re.MULTILINE
    ):
        known = known_options(ROOT / script)
        for option in re.findall(r"(--[a-z-]+)", options):
            assert option in known, f"{script} does not know {option}"


@pytest.mark.parametrize(
    "options, graph",
    [
        ([], None),
        (["CONFIG=my configs/mine.config"], "mine"),
        (["RUN_DIR=/data/my runs/first/"], "first"),
        (["CONFIG=mine.config", "RUN_DIR=runs/first"], "first"),
        (["CONFIG=mine.config", "GRAPH=best"], "best"),
    ],
)
def test_a_config_or_run_of_ones_own_leaves_the_shipped_graph_alone(options, graph):
    folder = f"{GRAPHS}/{graph}"
    exported = make("--dry-run", "export", *options)
    used = "".join(
        make("--dry-run", target, *options, IMAGES="x") for target in ("eval", "report", "predict")
    )
    if graph is None:
        assert "--name" not in exported and "trained-inference-graphs" not in used
    else:
        assert f"--name='{graph}'" in exported
        assert re.findall(r"--(?:graph|graph-dir|config)='(.*?)'", used) == [
            folder,
            folder,
            folder,
            folder + "/pipeline.config",
            folder,
        ]


@pytest.mark.parametrize(
    "given, file",
    [
        ("mine", "workspace/training_demo/training/mine.config"),
        ("mine.config", "workspace/training_demo/training/mine.config"),
        ("my configs/mine.config", "my configs/mine.config"),
        ("workspace/training_demo/training/demo.config",) * 2,
    ],
)
def test_config_is_a_name_or_a_path(given, file):
    for target in ("anchors", "check", "train"):
        assert f"--config='{file}'" in make("--dry-run", target, f"CONFIG={given}")
    run = f"workspace/training_demo/training/{pathlib.Path(file).stem}"
    assert f"--run-dir='{run}'" in make("--dry-run", "export", f"CONFIG={given}")


def test_without_config_the_scripts_defaults_are_used():
    for target in ("anchors", "check", "train", "export", "eval", "report", "predict"):
        commands = make("--dry-run", target, IMAGES="x")
        assert not re.search("--(config|run-dir|name|graph|graph-dir)=", commands)


def test_data_passes_its_options_on():
    commands = (
        make(
            "--dry-run",
            "data",
            "FROM=a",
            "ANNOTATIONS=b",
            "FORMAT=coco",
            "EXIF=apply",
            "ALLOW_MISSING=1",
            "EMPTY_IMAGES=keep",
            "SEED=1",
            "TEST_SHARE=0.3",
            "VAL_SHARE=0.2",
            "BAD_BOXES=drop",
        )
        .replace("\\\n", " ")
        .splitlines()
    )
    given = [sorted(re.findall(r"--[a-z-]+", command)) for command in commands if ".py" in command]
    assert given == [
        [
            "--allow-missing",
            "--annotations",
            "--bad-boxes",
            "--empty-images",
            "--exif",
            "--format",
            "--from",
            "--seed",
            "--test-share",
            "--val-share",
        ],
        ["--allow-missing", "--bad-boxes", "--empty-images", "--exif", "--seed", "--val-share"],
        ["--empty-images", "--exif"],
    ]


class Copy:
    """A folder with the Makefile in which all steps are replaced by one that records its words."""

    def __init__(self, folder):
        self.root = folder
        self.recorded = folder / "recorded"
        (folder / "scripts").mkdir(parents=True)
        for name in ("Makefile", "scripts/variables.mk", "scripts/variables.awk"):
            shutil.copy2(str(ROOT / name), str(folder / name))
        (folder / "scripts" / "setup.sh").write_text(
            """printf '%s\\n' "$CPU" "$PYTHON" >settings\n"""
        )
        (folder / "scripts" / "setup_deploy.sh").write_text("")
        (folder / TRAINING_DEMO / "annotations").mkdir(parents=True)
        self.python = self.write_python(folder / ".venv" / "bin" / "python")

    def write_python(self, path):
        """A stand-in for Python that appends a line to self.recorded; --from=FAIL makes it fail."""
        path.parent.mkdir(parents=True, exist_ok=True)
        recorded = shlex.quote(str(self.recorded))
        path.write_text(
            "#!/bin/sh\n"
            f"{{ printf '%s\\0' \"$@\"; echo; }} >>{recorded}\n"
            "case $2 in --from=FAIL) exit 1;; esac\n"
        )
        path.chmod(0o755)
        return path

    def commands(self, *arguments, **environment):
        """The words that the steps of a target received, a list for each step."""
        self.recorded.write_text("")
        done = run_make("--silent", *arguments, folder=self.root, **environment)
        assert done.returncode == 0, done.stdout
        # Not splitlines(), which also splits at characters that a name may hold.
        lines = self.recorded.read_text().split("\n")[:-1]
        return [line.split("\0")[:-1] for line in lines]


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path / "copy")


def test_data_keeps_old_label_files_until_their_step_replaces_them(copy):
    labels = copy.root / TRAINING_DEMO / "annotations"
    names = [
        split + ending
        for split in ("train", "val", "test")
        for ending in ("_labels.csv", ".record")
    ]
    for name in names + ["mine.csv"]:
        (labels / name).write_text("")
    done = run_make("data", "FROM=FAIL", folder=copy.root)
    assert done.returncode
    assert len(copy.recorded.read_text().splitlines()) == 1, "step 02 ran after step 01 had failed"
    assert {path.name for path in labels.iterdir()} == {"mine.csv"} | set(names)


def test_clean_removes_only_what_the_steps_make():
    files = re.findall(r"^rm -f (.*)$", make("--dry-run", "clean"), re.MULTILINE)[0].split()
    assert {pathlib.PurePath(name).name for name in files} == {"classes.pbtxt"} | {
        split + ending
        for split in ("train", "val", "test")
        for ending in ("_labels.csv", ".record")
    }
    assert "*" not in make("--dry-run", "clean")


def test_clean_removes_shards_and_no_other_file_of_a_record_s_name(copy):
    labels = copy.root / TRAINING_DEMO / "annotations"
    waiting = labels / "mine" / ".val.record.shards"
    waiting.mkdir(parents=True)
    (waiting / "val.record-00000-of-00002.0123456789abcdef").touch()
    for name in ("train.record-00000-of-00001", "train.record-notes", "mine.record"):
        (labels / name).touch()
    (copy.root / "tests").mkdir(exist_ok=True)
    done = run_make("clean", folder=copy.root)
    assert done.returncode == 0, done.stderr
    left = {path.name for path in labels.iterdir()}
    assert left == {"train.record-notes", "mine.record", "mine"}
    assert not list((labels / "mine").iterdir())


def test_every_target_sets_up_first():
    for target in set(targets()) - {"help", "clean"}:
        assert "scripts/setup.sh" in make("--dry-run", target, IMAGES="x")


# What a name can hold that a shell or make itself would interpret
ODD_NAMES = [
    "odd name",
    "two  spaces ",
    'odd"name',
    "odd'name",
    "odd$name",
    "odd$$name",
    "odd${HOME}name",
    "odd`touch executed`name",
    "odd$(touch executed)name",
    "odd$(shell touch executed)name",
    "odd\\name",
    "odd\\",
    "odd\\'name",
    "odd;touch executed",
    "odd (1)",
    "odd)name",
    "a&b|c>executed",
    "odd*?[a-z]{a,b}",
    "odd,name",
    "odd#name",
    "odd%name",
    "odd!name",
    "odd=name",
    "~",
    "-odd",
    "--odd",
    "größe\u3000棚",
]
# variable: the option as which steps receive it
OPTIONS = {
    "FROM": "--from",
    "ANNOTATIONS": "--annotations",
    "CORRECTED": "--corrected",
    "FORMAT": "--format",
    "SPLIT": "--split",
    "FOLD": "--fold",
    "SEED": "--seed",
    "TEST_SHARE": "--test-share",
    "VAL_SHARE": "--val-share",
    "EXIF": "--exif",
    "EMPTY_IMAGES": "--empty-images",
    "BAD_BOXES": "--bad-boxes",
    "OUT_OF_IMAGE": "--out-of-image",
    "RUN_DIR": "--run-dir",
    "GRAPH": "--name",
    "CHECKPOINT": "--checkpoint",
    "IMAGES": "--images",
    "DRAW": "--draw",
    "THRESHOLD": "--threshold",
    "TILES": "--tiles",
    "RUNTIME": "--runtime",
}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_value_arrives_as_it_was_typed(copy, name):
    targets_with_values = ("data", "export", "predict")
    values = dict.fromkeys(OPTIONS, name)
    typed = copy.commands(*targets_with_values, *(f"{key}={name}" for key in values))
    from_environment = copy.commands(*targets_with_values, **values)
    assert typed == from_environment
    words = sum(typed, [])
    assert {f"{option}={name}" for option in OPTIONS.values()} <= set(words)
    assert all(word.startswith("--") or word.endswith(".py") for word in words)
    assert not (copy.root / "executed").exists()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_derived_from_a_value_keep_its_characters(copy, name):
    config = f"configs/{name}.config"
    graph = f"{GRAPHS}/{name}"
    _, train, export, report = copy.commands(
        *("train", "export", "report"), *(f"CONFIG={config}", f"START={name}")
    )
    assert train[1:] == [f"--config={config}", f"--start-from={graph}"]
    assert export[1:] == [f"--run-dir={TRAINING_DEMO}/training/{name}", f"--name={name}"]
    assert report[1:] == [f"--config={graph}/pipeline.config"]
    check, export = copy.commands("check", "export", f"CONFIG={name}", f"RUN_DIR=/data/{name}/")
    assert f"--config={TRAINING_DEMO}/training/{name}.config" in check
    assert export[1:] == [f"--run-dir=/data/{name}/", f"--name={name}"]
    assert not (copy.root / "executed").exists()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_python_and_a_checkout_may_have_any_name(tmp_path, name):
    copy = Copy(tmp_path / name)
    python = copy.write_python(tmp_path / "pythons" / name / "python")
    copy.python.unlink()
    given = (f"CPU={name}", f"PYTHON={name}", f"PYTHON_HERE={python}")
    assert copy.commands("setup", "bench", *given) == [["scripts/experiments/benchmarks.py"]]
    assert (copy.root / "settings").read_text() == f"{name}\n{name}\n"
    assert not (copy.root / "executed").exists()


def test_several_test_files_are_several_words(copy):
    (words,) = copy.commands("test", "TESTS=tests/a.py `touch executed` $x")
    assert words[-4:] == ["tests/a.py", "`touch", "executed`", "$x"]


def test_values_reach_programs_that_read_the_environment(tmp_path, copy):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s" "$SHELF_DATA" >read\n')
    python.chmod(0o755)
    value = "a $(shell touch executed)`b`$HOME"
    for given, environment in (
        ((f"SHELF_DATA={value}",), {}),
        ((), {"SHELF_DATA": value}),
    ):
        run_make("bench", f"PYTHON_HERE={python}", *given, folder=copy.root, **environment)
        assert (copy.root / "read").read_text() == value
        (copy.root / "read").unlink()
    assert not (copy.root / "executed").exists()


def test_the_printed_command_can_be_copied():
    name = "it's $5 (new) `x`"
    setup, step = make("-n", "predict", f"IMAGES={name}").splitlines()
    assert f"--images={name}" in shlex.split(step)


FLAGS = {
    "ALLOW_MISSING": ("data", "--allow-missing"),
    "OVERWRITE": ("config", "--overwrite"),
    "PAD": ("predict", "--pad-strips"),
    "SKIP_BAD": ("predict", "--skip-bad"),
    "UNFOLDED": ("export", "--unfolded"),
}


def test_every_flag_of_the_makefile_is_tested():
    text = (ROOT / "scripts" / "variables.mk").read_text()
    assert re.search("^FLAGS := (.*)$", text, re.MULTILINE).group(1).split() == sorted(FLAGS)
    used = re.findall(r"\$\(if \$\((\w+)\),--[a-z-]+\)", (ROOT / "Makefile").read_text())
    assert set(used) == set(FLAGS)


@pytest.mark.parametrize("flag", sorted(FLAGS))
def test_a_flag_is_read_by_its_value(flag):
    target, option = FLAGS[flag]
    for value in ("1", "yes", "true", "on", "YES", "True", "oN"):
        assert option in make("-n", target, f"{flag}={value}", IMAGES="x"), value
        assert option in make("-n", target, IMAGES="x", **{flag: value}), value
    for value in ("0", "no", "false", "off", "NO", "False", "oFF", ""):
        assert option not in make("-n", target, f"{flag}={value}", IMAGES="x"), value
        assert option not in make("-n", target, IMAGES="x", **{flag: value}), value
    for value in ("2", "maybe", "01", "yes no", "1 1", "y", "%", "$(shell echo 1)", "`echo 1`"):
        for message in (
            refused(target, f"{flag}={value}"),
            refused(target, **{flag: value}),
        ):
            assert f"{flag}={value} is neither on (1 yes true on) nor off" in message


@pytest.mark.parametrize(
    "target, variable, users",
    [
        ("eval", "FROM", "data"),
        ("predict", "FROM", "data"),
        ("anchors", "PAD", "eval predict predict-spark prelabel suspects"),
        ("data", "PAD", "eval predict predict-spark prelabel suspects"),
        ("eval", "THRESHOLD", "deploy predict predict-spark prelabel suspects"),
        ("export", "START", "check train"),
        (
            "clean",
            "CONFIG",
            "anchors check config deploy eval export predict predict-spark prelabel report "
            "suspects tensorboard train",
        ),
        ("lint", "TESTS", "test"),
        ("train", "SHELF_DATA", "bench test"),
    ],
)
def test_a_variable_that_the_target_does_not_use_is_refused(target, variable, users):
    message = refused(target, f"{variable}=x")
    assert f"{variable}= has no effect on `make {target}`; expected with: {users}. Leave" in message
    assert f"{variable}= has no effect" in refused(target, f"{variable}=")
    for user in users.split():
        make("-n", target, user, f"{variable}=1", IMAGES="x")


def test_without_a_target_every_variable_is_refused():
    assert "CONFIG= has no effect on `make help`" in refused("CONFIG=x")


def test_a_target_that_does_not_exist_is_named_before_its_variables():
    message = "No rule to make target 'tran'; did you mean train? `make` lists the targets"
    assert message in refused("tran", "CONFIG=x")
    assert "target 'xyz'; `make` lists the targets" in refused("xyz")


@pytest.mark.parametrize("target", targets())
def test_the_variables_of_a_target_are_those_that_change_its_commands(target):
    """What variables.awk reads in the Makefile, against what make makes of each variable."""
    alone = make("-n", target, IMAGES="x")
    known = (ROOT / "scripts" / "variables.mk").read_text().split("\nON :=")[0]
    refused_ones = {}
    for variable in set(re.findall(r"\b[A-Z_]{3,}\b", known.split(" := ", 1)[1])) - {
        "FLAGS",
        "NAME",  # not read from the environment
    }:
        value = {"IMAGES": "other"}.get(variable, "1")
        answer = run_make("-n", target, f"{variable}={value}", IMAGES="x")
        if answer.returncode == 0:
            assert answer.stdout != alone, variable
        else:
            refused_ones[variable] = value
    # make refuses them on its command line alone: from the environment they reach the Makefile.
    assert make("-n", target, **{"IMAGES": "x", **refused_ones}) == alone


def test_the_environment_of_other_programs_does_not_matter():
    for target in ("clean", "anchors"):
        alone = make("-n", target)
        others = {"PAD": "a4", "IMAGES": "a\nb", "FORMAT": "$(shell touch executed)", "FROM": "x"}
        assert make("-n", target, **others) == alone
    assert "PAD=a4 is neither on" in refused("eval", PAD="a4")


def test_evaluation_detects_as_prediction_does(copy):
    options = ("TILES=2", "PAD=1")
    *detections, score = copy.commands("eval", *options)
    assert len(detections) == 2
    for words in detections:
        assert {"--tiles=2", "--pad-strips"} <= set(words)
    (predict,) = copy.commands("predict", "IMAGES=x", *options)
    assert {"--tiles=2", "--pad-strips"} <= set(predict)


def test_an_unknown_variable_is_refused_and_a_similar_one_named():
    for wrong, right in (
        ("CONFG", "CONFIG"),
        ("config", "CONFIG"),
        ("IMAGE", "IMAGES"),
        ("RUNDIR", "RUN_DIR"),
        ("SKIP_BAD_IMAGES", "SKIP_BAD"),
        ("FORM", "FROM"),
    ):
        assert f"{wrong}= is not a variable" in refused("train", f"{wrong}=x")
        assert f"did you mean {right}=?" in refused("train", f"{wrong}=x")
    message = refused("clean", "JAVA_HOME=/")
    assert "JAVA_HOME= is not a variable" in message and "did you mean" not in message
    make("-n", "train", JAVA_HOME="of another program", CONFG="x")


def test_a_value_that_is_empty_or_of_two_lines_is_refused():
    assert "FROM= has no value" in refused("data", "FROM=")
    assert "FROM= has no value" in refused("data", "FROM= ")
    assert make("-n", "data", FROM="") == make("-n", "data")
    for given, environment in ((["FROM=a\nb"], {}), ([], {"FROM": "a\nb"})):
        assert "FROM= has a line break" in refused("data", *given, **environment)


def test_data_of_a_named_dataset_in_tiles(copy):
    check, first, second, fourth = copy.commands("data", "NAME=sku110k", "TILES=1,2", "FROM=x")
    assert check[1:] == ["--tiles=1,2", "--check-options"]
    assert first[1:] == ["--dataset=sku110k", "--from=x"]
    assert second[1:] == ["--dataset=sku110k"]
    assert fourth[1:] == ["--dataset=sku110k", "--tiles=1,2"]
    assert copy.commands("data", "PRODUCT_SCALE=0.1", "PRODUCT_ASPECT_RATIO=0.6")[3][1:] == [
        "--product-scale=0.1",
        "--product-aspect-ratio=0.6",
    ]
    assert copy.commands("data", "MAX_SIDE=1280")[3][1:] == ["--max-side=1280"]


def test_eval_detects_in_the_images_of_each_dataset(copy):
    *detect, score = copy.commands("eval", "NAME=default,sku110k", "TILES=2")
    folder = f"{TRAINING_DEMO}/annotations"
    assert [words[1:] for words in detect] == [
        ["--labels", f"{place}/{split}_labels.csv", "--tiles=2"]
        for place in (folder, f"{folder}/sku110k")
        for split in ("val", "test")
    ]
    assert score[1:] == ["--dataset=default,sku110k"]


def test_a_name_in_the_environment_is_not_that_of_a_dataset():
    # Windows' subsystem for Linux sets it to the name of the computer.
    assert make("-n", "data", "eval", NAME="DESKTOP-1") == make("-n", "data", "eval")


def test_every_variable_that_the_makefile_uses_is_known():
    makefile = (ROOT / "Makefile").read_text()
    known = (ROOT / "scripts" / "variables.mk").read_text().split("\nON :=")[0]
    known = set(re.findall(r"\b[A-Z_]{3,}\b", known.split("VALUES :=")[1]))
    own = set(re.findall(r"^([A-Z_]+) :=", makefile, re.MULTILINE))
    documented = set(re.findall(r"\b([A-Z_]+)=", makefile))
    used = set(re.findall(r"\$\(([A-Z_]+)\)", makefile))
    assert (used | documented) - own - {"COMMA", "LINE_BREAK", "MAKEFILE_LIST"} <= known


def test_tensorboard_needs_a_folder_that_it_can_be_given(copy):
    for name in ("a,b", "a:b"):
        assert f"{name}: TensorBoard takes" in refused("tensorboard", f"RUN_DIR={name}")
    done = run_make("tensorboard", "RUN_DIR=no `such` $run", folder=copy.root)
    assert done.returncode
    assert "error: no `such` $run: no such folder" in done.stdout
    (copy.root / "a run").mkdir()
    (words,) = copy.commands("tensorboard", "RUN_DIR=a run")
    assert words[-1] == "--logdir=a run"


@pytest.fixture
def run_demo(tmp_path):
    """Starts demo.sh with a Python that runs other commands; returns the process."""

    def run_demo(commands):
        python = tmp_path / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{commands}\n")
        python.chmod(0o755)
        (tmp_path / "scripts").mkdir()
        shutil.copy(str(ROOT / "scripts" / "demo.sh"), str(tmp_path / "scripts"))
        return subprocess.Popen(
            ["bash", str(tmp_path / "scripts" / "demo.sh")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group, as a terminal makes one
        )

    return run_demo


INTERRUPTED = "make demo was interrupted. The same command continues"


def test_an_interrupted_demo_says_how_it_continues(run_demo):
    demo = run_demo("echo started; exec sleep 60")
    while "started" not in demo.stdout.readline():
        assert demo.poll() is None
    os.killpg(demo.pid, signal.SIGINT)
    assert INTERRUPTED in demo.communicate()[1]
    assert demo.returncode == 130


@pytest.mark.parametrize("status", [1, 130])  # 130: what the scripts exit with after Ctrl-C
def test_a_demo_that_fails_for_another_reason_is_not_said_to_continue(run_demo, status):
    demo = run_demo(f"exit {status}")
    assert (INTERRUPTED in demo.communicate()[1]) == (status == 130)
    assert demo.returncode == status
