import json
import shutil

import numpy as np
import pytest
from material_factory import make_material

from piavae_jax import pictures
from piavae_jax.analysis.studies.table6 import TABLE6, overhead
from piavae_jax.errors import UserError


def copy_run(path, root, seconds, device="1 x cpu"):
    """A run whose epochs took so long."""
    folder = root / path.name
    shutil.copytree(path, folder, ignore=shutil.ignore_patterns("checkpoints"))
    lines = [{"epoch": epoch, "best_epoch": 1, "train_seconds": value} for epoch, value in enumerate(seconds, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"device": device}))
    return folder


def test_the_first_epoch_is_left_out(run_path, twin_path, dataset, tmp_path):
    paths = [copy_run(twin_path, tmp_path, [50, 2, 2, 2]), copy_run(run_path, tmp_path, [90, 3, 3, 3])]
    findings = TABLE6.run(make_material(paths, dataset))
    without, with_pia = findings.tables["seconds"].frame.iter_rows(named=True)
    assert (without["median_seconds"], with_pia["median_seconds"]) == (2, 3)
    assert (without["median_overhead"], with_pia["median_overhead"]) == (None, 0.5)
    assert (with_pia["without_PIA"], with_pia["epochs"]) == ("masking", 3)
    assert "in the median 3.000 and 2.000, +50.0% (+50.0% to +50.0%)." in findings.sentences[0]
    assert not any("differ much" in sentence for sentence in findings.sentences)
    with pictures.style():
        axes = findings.pictures["seconds"].draw().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["masking", "masking + PIA"]


def test_a_busy_machine_is_told_of_and_hides_nothing_from_the_fastest_tenth(run_path, twin_path, dataset, tmp_path):
    slow = [9, *[1.0] * 4, *[2.0] * 8]
    paths = [copy_run(twin_path, tmp_path, [9, *[1.0] * 12]), copy_run(run_path, tmp_path, slow)]
    findings = TABLE6.run(make_material(paths, dataset))
    assert findings.tables["seconds"].frame["fast_overhead"].to_list() == [None, 0.0]
    assert findings.tables["seconds"].frame["median_overhead"].to_list() == [None, 1.0]
    assert any("Epochs of masking + PIA differ much in time" in sentence for sentence in findings.sentences)


def test_other_devices_are_not_compared(run_path, twin_path, dataset, tmp_path):
    paths = [copy_run(twin_path, tmp_path, [1, 1]), copy_run(run_path, tmp_path, [1, 1], device="1 x NVIDIA A10G")]
    findings = TABLE6.run(make_material(paths, dataset))
    assert findings.sentences[0].startswith("No run with PIA has its twin without PIA here")


def test_one_epoch_tells_nothing(run_path, dataset, tmp_path):
    with pytest.raises(UserError, match="must have two epochs, the first one compiles"):
        TABLE6.run(make_material([copy_run(run_path, tmp_path, [1])], dataset))


def test_the_interval_covers_the_ratio_and_narrows_with_epochs():
    generator = np.random.default_rng(0)
    widths = []
    for epochs in (20, 500):
        found = overhead(generator.normal(1.16, 0.1, epochs), generator.normal(1, 0.1, epochs), quantile=0.5, seed=0)
        assert found.low < 0.16 < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3
