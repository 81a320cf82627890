import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed():
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    check = "\nassert loss.shape == () and terms.anchor.shape == (8,)\nassert set(gradients) == set(params)"
    subprocess.run([sys.executable, "-W", "error", "-c", example + check], check=True, timeout=120)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:bin|configs|piavae_jax)/\w+\.py", README))))
def test_files_that_it_names_exist(path):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("target", ["quickstart", "test"])
def test_its_two_commands_are_make_targets(target):
    assert f"\n    make {target}\n" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
