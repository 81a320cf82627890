import json
import subprocess
import sys
import time

import optuna
import pytest

from piavae_jax import UserError
from piavae_jax.tuning.journal import open_journal

HOLD = """
import sys, time, pathlib
from piavae_jax.tuning.journal import _Lock
lock = _Lock(pathlib.Path(sys.argv[1]))
lock.acquire()
with open(sys.argv[1], "a") as file:
    file.write('{"op_code": 4, "torn')
print("held", flush=True)
time.sleep(60)
"""


def write_trials(path, count):
    study = optuna.create_study(storage=open_journal(path), study_name="s", load_if_exists=True)
    for _ in range(count):
        study.tell(study.ask(), 1.0)


def read_trials(path):
    return optuna.load_study(storage=open_journal(path), study_name="s").trials


def test_what_is_written_is_read(tmp_path):
    write_trials(tmp_path / "journal", 2)
    assert [trial.value for trial in read_trials(tmp_path / "journal")] == [1.0, 1.0]


def test_a_process_killed_while_it_writes_costs_nobody_a_wait_or_a_line(tmp_path):
    path = tmp_path / "journal"
    write_trials(path, 1)
    whole = path.read_bytes()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.communicate()
    assert path.read_bytes() != whole
    assert len(read_trials(path)) == 1  # what is torn is not read
    started = time.monotonic()
    write_trials(path, 1)
    assert time.monotonic() - started < 10
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert len(read_trials(path)) == 2


@pytest.mark.parametrize("content", ["no journal\nat all\n", '{"op_code": 0}\n'])
def test_something_else_is_refused(tmp_path, content):
    (tmp_path / "journal").write_text(content)
    with pytest.raises(UserError, match=r"journal is damaged .*; restore a copy, or choose another --root"):
        open_journal(tmp_path / "journal")
