"""One training at a time in a folder."""

import pytest
from runs import CONFIG

from conftest import load_script
from shelfdet import UserError
from shelfdet.training import plan, run_lock


@pytest.fixture(scope="module")
def step_06():
    return load_script("06_train")


def test_two_trainings_in_one_folder_are_refused(tmp_path):
    with run_lock.RunLock(tmp_path / "run"):
        with pytest.raises(UserError, match="another training is running in this folder"):
            run_lock.RunLock(tmp_path / "run")
    with run_lock.RunLock(tmp_path / "run"):
        pass


def test_a_run_folder_that_is_a_file_is_refused(step_06, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "check_files", lambda _: None)
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="run: is a file; expected a folder for the run"):
        step_06.main(["--config", str(CONFIG), "--run-dir", str(tmp_path / "run")])
