import dataclasses
import json
import shutil

import pytest
from material_factory import make_material

from piavae_jax import pictures
from piavae_jax.analysis.studies.table3 import TABLE3
from piavae_jax.evaluation import summarize_groups


@pytest.fixture(scope="module")
def material(run_path, twin_path, dataset):
    return make_material([twin_path, run_path], dataset)


@pytest.fixture(scope="module")
def findings(material):
    return TABLE3.run(material)


def test_means_are_those_of_the_groups(findings, material):
    table = findings.tables["groups"].frame
    for label, users in material.test_users.items():
        for summary in summarize_groups(users):
            line = table.filter(run=label, interactions=summary.group.label).row(0, named=True)
            assert line["users"] == summary.users
            if summary.users:
                assert line["ndcg@100"] == pytest.approx(summary.metrics["ndcg@100"].mean)
            else:
                assert line["ndcg@100"] is None


def test_differences_are_of_the_means(findings):
    means, differences = (findings.tables[name].frame for name in ("groups", "differences"))
    assert set(differences["interactions"]) == {"5-10", "11-50"}  # nobody has more
    for line in differences.iter_rows(named=True):
        new, old = (
            means.filter(run=run, interactions=line["interactions"])[line["metric"]][0]
            for run in ("masking + PIA", "masking")
        )
        assert line["difference"] == pytest.approx(new - old)
        assert line["low"] <= line["difference"] <= line["high"]


def test_the_papers_claim_is_set_beside_what_was_found(findings):
    assert any("nDCG@100 of masking + PIA minus masking: 5-10 interactions" in text for text in findings.sentences)
    assert any(text.startswith("The paper (ML-20M) finds that PIA helps every group") for text in findings.sentences)


def test_the_picture_has_a_panel_for_each_metric(findings):
    with pictures.style():
        figure = findings.pictures["differences"].draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["nDCG@100", "Recall@20", "Recall@50"]
    assert [text.get_text().split("\n")[0] for text in figure.axes[0].get_yticklabels()] == ["5-10", "11-50"]


def test_users_are_averaged_over_seeds_first(run_path, twin_path, dataset, tmp_path):
    other = tmp_path / "other-seed"
    shutil.copytree(run_path, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"seed": 4}))
    material = make_material([twin_path, run_path, other], dataset)
    one, two = (label for label in material.runs if "PIA" in label)
    users = dict(material.test_users)
    worse = {metric: values / 2 for metric, values in users[two].values.items()}
    material.__dict__["test_users"] = users | {two: dataclasses.replace(users[two], values=worse)}
    table = TABLE3.run(material).tables["groups"].frame
    assert list(dict.fromkeys(table["run"])) == ["masking", "masking + PIA (2 seeds)"]
    mean = table.filter(run="masking + PIA (2 seeds)", interactions="11-50")["ndcg@100"][0]
    members = summarize_groups(users[one])[1]
    assert mean == pytest.approx(0.75 * members.metrics["ndcg@100"].mean)


def test_one_run_has_means_and_nothing_to_compare(run_path, dataset):
    findings = TABLE3.run(make_material([run_path], dataset))
    assert list(findings.tables) == ["groups"]
    assert not findings.pictures
