import subprocess
import sys

import pytest

from piavae_jax.data.locks import exclusive
from piavae_jax.errors import UserError


def test_a_second_holder_is_refused_and_the_next_is_not(tmp_path):
    file = tmp_path / "lock"
    with exclusive(file, refusal="busy"), pytest.raises(UserError, match="busy"), exclusive(file, refusal="busy"):
        pass
    with exclusive(file, refusal="still busy"):
        pass


def test_an_error_lets_go_and_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), exclusive(tmp_path / "lock", refusal="busy"):
        raise RuntimeError("mine")
    with exclusive(tmp_path / "lock", refusal="still busy"):
        pass


def test_a_process_that_dies_lets_go(tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from piavae_jax.data.locks import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), refusal='busy'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(100)\n"
    )
    file = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", code, file], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="busy"), exclusive(file, refusal="busy"):
            pass
        holder.kill()
    with exclusive(file, refusal="still busy"):
        pass
