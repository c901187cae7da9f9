"""steps.py: the numbered scripts as other programs call them."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from shelfdet import UserError
from shelfdet.core import paths, steps


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Puts a script of these lines in step 02's place."""
    monkeypatch.setattr(steps, "_stopped", threading.Event())

    def put(text):
        path = tmp_path / "02_made.py"
        path.write_text(text)
        monkeypatch.setitem(steps.SCRIPTS, "split", path)

    return put


def test_every_step_is_there():
    assert all(path.is_file() for path in steps.SCRIPTS.values())


def test_a_run_logs_its_line_and_output_and_counts_the_cpu_time_of_children_too(script, tmp_path):
    burn = "import time\nwhile time.process_time() < 0.4: pass\n"
    script(
        f"import subprocess, sys\nprint('hello', sys.argv[1:])\nsubprocess.run([sys.executable, '-c', {burn!r}])\n{burn}"
    )
    seconds = steps.run("split", ["--fold", 0], tmp_path / "logs" / "a.log")
    assert seconds >= 0.8
    command, said = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert (
        command.startswith("$ " + sys.executable)
        and command.endswith("02_made.py --fold 0")
        and said == "hello ['--fold', '0']"
    )


def test_a_run_keeps_to_its_core(script, tmp_path):
    core = min(os.sched_getaffinity(0))
    script("import os\nprint(os.sched_getaffinity(0))\n")
    steps.run("split", [], tmp_path / "a.log", core=core)
    assert (tmp_path / "a.log").read_text().splitlines()[-1] == "{%d}" % core


def test_a_failure_shows_the_end_of_the_log(script, tmp_path):
    script(
        "import sys\nprint('\\n'.join(map(str, range(100))))\nsys.exit('error: no such thing')\n"
    )
    with pytest.raises(UserError) as told:
        steps.run("split", [], tmp_path / "a.log")
    assert str(told.value).startswith(
        f"02_made.py ended with status 1; the end of {tmp_path / 'a.log'}:\n"
    )
    assert (
        "no such thing" in str(told.value)
        and "\n99\n" in str(told.value)
        and "\n50\n" not in str(told.value)
    )


def test_a_failure_that_printed_its_message_points_at_it(script, capfd):
    script("import sys\nsys.exit('error: look here')\n")
    with pytest.raises(UserError, match="02_made.py ended with status 1; its message is above"):
        steps.run("split", [])
    assert "error: look here" in capfd.readouterr().err


def test_stop_ends_what_another_thread_runs(script, tmp_path):
    script("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(steps.run, "split", [], tmp_path / "a.log")
        deadline = time.time() + 30
        while time.time() < deadline and "begun" not in (
            (tmp_path / "a.log").exists() and (tmp_path / "a.log").read_text() or ""
        ):
            time.sleep(0.02)
        steps.stop()
        with pytest.raises(steps.Stopped, match="02_made.py: stopped"):
            running.result(30)
    with pytest.raises(steps.Stopped, match="02_made.py: not started"):
        steps.run("split", [], tmp_path / "b.log")
    assert not (tmp_path / "b.log").exists()


def test_a_step_that_is_being_started_while_stop_is_called_is_ended_too(
    script, tmp_path, monkeypatch
):
    script("import time\ntime.sleep(60)\n")
    popen, stopping = steps.subprocess.Popen, []

    def slow(*line, **outputs):
        stopping.append(threading.Thread(target=steps.stop))
        stopping[0].start()
        time.sleep(0.3)
        return popen(*line, **outputs)

    monkeypatch.setattr(steps.subprocess, "Popen", slow)
    with pytest.raises(steps.Stopped, match="02_made.py: stopped"):
        steps.run("split", [], tmp_path / "a.log")
    stopping[0].join()


def test_an_interrupt_reaches_a_program_and_its_step_once_each(script, tmp_path):
    """The terminal's Ctrl-C reaches both at once; then the one ends the other. The step's last words are said whole."""
    tidy = f"import sys, time\nsys.path.insert(0, {str(paths.ROOT / 'scripts')!r})\nfrom shelfdet.core import command_line\ncommand_line.end_once()\ntry:\n    print('begun', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(0.5)\n    print('tidied', flush=True)\n    raise\n"
    script(tidy)
    outer = f"import sys\nsys.path.insert(0, {str(paths.ROOT / 'scripts')!r})\nfrom shelfdet.core import command_line, steps\ncommand_line.end_once()\nimport pathlib\nsteps.SCRIPTS['split'] = pathlib.Path({str(tmp_path / '02_made.py')!r})\ncommand_line.run(lambda: steps.run('split', []))\n"
    process = subprocess.Popen(
        [sys.executable, "-c", outer],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert "tidied" in said and process.returncode == 130


def test_a_kill_is_told_as_one(script, tmp_path):
    script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(UserError, match="ended with status -9"):
        steps.run("split", [], tmp_path / "a.log")
