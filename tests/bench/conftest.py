import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a benchmark's `main` with data and results in a folder of the test's own, and returns its JSON."""
    import harness

    monkeypatch.setattr(harness, "DATA", tmp_path)
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results.jsonl")

    def run_main(main, *flags):
        monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
        main()
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        (record,) = map(json.loads, harness.RESULTS.read_text().splitlines())
        assert record["result"] == result
        return result

    return run_main
