"""steps.py: the numbered scripts run by another program."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments import steps
from shelfdet import UserError
from shelfdet.core import paths

# What a test's own program needs before it can import shelfdet.
IMPORTS = f"""
import pathlib, sys, time
sys.path.insert(0, {str(paths.ROOT / "scripts")!r})
from experiments import steps
from shelfdet.core import command_line
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Replaces step 02 by a script of these lines."""
    monkeypatch.setattr(steps, "_stopped", threading.Event())

    def put(text):
        path = tmp_path / "02_made.py"
        path.write_text(text)
        monkeypatch.setitem(steps.SCRIPTS, "split", path)

    return put


def test_every_script_exists():
    assert all(path.is_file() for path in steps.SCRIPTS.values())


def test_a_run_logs_its_command_and_output_and_counts_the_cpu_time_of_children_too(
    script, tmp_path
):
    burn = "import time\nwhile time.process_time() < 0.4: pass\n"
    script(f"""
import subprocess, sys
print("hello", sys.argv[1:])
subprocess.run([sys.executable, "-c", {burn!r}])
{burn}
""")
    log = tmp_path / "logs" / "a.log"
    seconds = steps.run("split", ["--fold", 0], log)
    assert seconds >= 0.8
    command, output = log.read_text().splitlines()
    assert command.startswith("$ " + sys.executable)
    assert command.endswith("02_made.py --fold 0")
    assert output == "hello ['--fold', '0']"


def test_a_run_uses_only_its_core(script, tmp_path):
    core = min(os.sched_getaffinity(0))
    script("import os\nprint(os.sched_getaffinity(0))\n")
    steps.run("split", [], tmp_path / "a.log", core=core)
    assert (tmp_path / "a.log").read_text().splitlines()[-1] == f"{{{core}}}"


def test_the_message_of_a_failure_contains_the_end_of_the_log(script, tmp_path):
    script(
        "import sys\nprint('\\n'.join(map(str, range(100))))\nsys.exit('error: no such thing')\n"
    )
    log = tmp_path / "a.log"
    with pytest.raises(UserError) as failure:
        steps.run("split", [], log)
    message = str(failure.value)
    assert message.startswith(f"02_made.py ended with status 1; the end of {log}:\n")
    assert "no such thing" in message
    assert "\n99\n" in message and "\n50\n" not in message


def test_the_message_of_a_failure_without_a_log_refers_to_what_was_printed(script, capfd):
    script("import sys\nsys.exit('error: the reason')\n")
    with pytest.raises(UserError, match="02_made.py ended with status 1; its message is above"):
        steps.run("split", [])
    assert "error: the reason" in capfd.readouterr().err


def test_stop_ends_what_another_thread_runs(script, tmp_path):
    script("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    log = tmp_path / "a.log"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(steps.run, "split", [], log)
        deadline = time.time() + 30
        while time.time() < deadline:
            if log.exists() and "begun" in log.read_text():
                break
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
    popen = steps.subprocess.Popen
    stopping = threading.Thread(target=steps.stop)

    def slow_start(*command, **outputs):
        stopping.start()
        time.sleep(0.3)
        return popen(*command, **outputs)

    monkeypatch.setattr(steps.subprocess, "Popen", slow_start)
    with pytest.raises(steps.Stopped, match="02_made.py: stopped"):
        steps.run("split", [], tmp_path / "a.log")
    stopping.join()


def test_an_interrupt_reaches_a_program_and_its_step_only_once_each(script, tmp_path):
    """The terminal's Ctrl-C reaches both; the program then ends the step, which must not notice."""
    script(
        IMPORTS
        + """
command_line.interrupt_once()
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("tidied", flush=True)
    raise
"""
    )
    program = (
        IMPORTS
        + f"""
command_line.interrupt_once()
steps.SCRIPTS["split"] = pathlib.Path({str(tmp_path / "02_made.py")!r})
command_line.run(lambda: steps.run("split", []))
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert "tidied" in output and process.returncode == 130


def test_the_message_names_the_signal_that_ended_a_step(script, tmp_path):
    script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(UserError, match="ended with status -9"):
        steps.run("split", [], tmp_path / "a.log")
