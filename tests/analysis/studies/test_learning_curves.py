import pytest
from material_factory import make_material

from piavae_jax import pictures
from piavae_jax.analysis.studies.learning_curves import LEARNING_CURVES
from piavae_jax.errors import UserError
from piavae_jax.training.run_folder import load, read_metrics


@pytest.fixture(scope="module")
def findings(run_path, twin_path, dataset):
    return LEARNING_CURVES.run(make_material([twin_path, run_path], dataset))


def test_the_summary_is_that_of_the_records(findings, run_path):
    records = read_metrics(load(run_path))
    without, line = findings.tables["summary"].frame.iter_rows(named=True)
    best = max(records, key=lambda record: record["validation/ndcg@100"])
    assert line["best_epoch"] == best["epoch"]
    assert line["validation/ndcg@100"] == best["validation/ndcg@100"]
    assert line["last_lambda_A"] == records[-1]["anchor_weight"]
    assert 2.0 * 2 ** line["increases"] == pytest.approx(line["last_lambda_A"])
    assert (without["anchor"], without["increases"], without["last_lambda_A"]) == (None, None, None)


def test_all_epochs_are_there(findings, run_path):
    table = findings.tables["curves"].frame
    assert table["run"].to_list() == ["masking"] * 12 + ["masking + PIA"] * 12
    expected = [record["kl"] for record in read_metrics(load(run_path))]
    assert table.filter(run="masking + PIA")["kl"].to_list() == expected


def test_the_picture_draws_what_a_run_has(findings, run_path):
    with pictures.style():
        figure = findings.pictures["curves"].draw()
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == ["validation nDCG@100", "KL to the prior, nats a user", "anchor loss L_A", "lambda_A"]
    curves = [line for line in panels["lambda_A"].lines if len(line.get_xdata()) > 1]
    assert len(curves) == 1  # that of the run with PIA
    assert list(curves[0].get_ydata()) == [record["anchor_weight"] for record in read_metrics(load(run_path))]


def test_a_run_without_epochs_is_refused(run_path, dataset, tmp_path):
    for name in ("run.json", "config.json", "vocabulary.parquet"):
        (tmp_path / name).write_bytes((run_path / name).read_bytes())
    with pytest.raises(UserError, match=r"metrics\.jsonl has no epochs to draw; train the run first"):
        LEARNING_CURVES.run(make_material([tmp_path], dataset))
