import jax
import jax.numpy as jnp
import numpy as np
import pytest
from material_factory import make_material
from matplotlib import image
from sklearn.metrics import silhouette_score

from piavae_jax import pictures
from piavae_jax.analysis import encode_rows
from piavae_jax.analysis.studies.cohorts import Geometry, measure_cohorts
from piavae_jax.analysis.studies.figure2 import FIGURE2, Panel, judge, project
from piavae_jax.evaluation import MetricSummary


@pytest.fixture(scope="module")
def material(run_path, twin_path, dataset):
    return make_material([twin_path, run_path], dataset)


@pytest.fixture(scope="module")
def findings(material):
    return FIGURE2.run(material)


def test_separate_cohorts_in_a_row():
    generator = np.random.default_rng(0)
    cohort_of = np.repeat(np.arange(3), 30)
    points = np.stack([np.choose(cohort_of, [0.0, 3.0, 7.0]), np.zeros(90)], axis=1)
    points = (points + generator.uniform(-0.5, 0.5, points.shape)).astype(np.float32)
    geometry = measure_cohorts(jnp.asarray(points), cohort_of)
    centres = [points[cohort_of == number].mean(axis=0) for number in range(3)]
    assert geometry.few_middling == pytest.approx(np.linalg.norm(centres[0] - centres[1]), rel=1e-5)
    assert geometry.middling_many == pytest.approx(np.linalg.norm(centres[1] - centres[2]), rel=1e-5)
    assert geometry.few_many == pytest.approx(np.linalg.norm(centres[0] - centres[2]), rel=1e-5)
    spread = np.mean([np.linalg.norm(point - centres[cohort]) for point, cohort in zip(points, cohort_of, strict=True)])
    assert geometry.within == pytest.approx(spread, rel=1e-5)
    assert geometry.neighbours == 1.0
    assert geometry.silhouette == pytest.approx(silhouette_score(points, cohort_of), rel=1e-4)
    assert geometry.silhouette > 0.7


def test_entangled_cohorts_are_told_from_separate_ones():
    generator = np.random.default_rng(0)
    geometry = measure_cohorts(jnp.asarray(generator.normal(size=(150, 4)), jnp.float32), np.repeat(np.arange(3), 50))
    assert abs(geometry.silhouette) < 0.1
    assert geometry.neighbours == pytest.approx(1 / 3, abs=0.1)


def test_projection_keeps_clusters_and_is_a_function_of_the_seed():
    generator = np.random.default_rng(0)
    means = np.repeat(np.eye(3, 8) * 50, 20, axis=0) + generator.normal(size=(60, 8))
    points = project(means.astype(np.float32), seed=0)
    assert silhouette_score(points, np.repeat(np.arange(3), 20)) > 0.6
    np.testing.assert_array_equal(points, project(means.astype(np.float32), seed=0))


def test_the_study_measures_the_posteriors_that_the_runs_have(findings, material, dataset):
    table = findings.tables["separation"].frame
    assert table["run"].to_list() == ["masking", "masking + PIA"]
    places = findings.tables["tsne"].frame
    assert places.height == 2 * 3 * (50 // 4)
    subject, rows = material.subjects["masking + PIA"], dataset.train
    users = places.filter(run="masking + PIA")["training_row"].to_numpy()
    posterior = encode_rows(subject.model, subject.params, rows, users=users)
    points = np.concatenate([posterior.mean, np.exp(0.5 * np.asarray(posterior.logvar))], axis=1)
    few, many = points[:12].mean(axis=0), points[24:].mean(axis=0)
    assert table["few_many"][1] == pytest.approx(np.linalg.norm(few - many), rel=1e-4)
    assert table["ndcg@100"][0] == pytest.approx(material.test_users["masking"].summary("ndcg@100").mean)
    masked = encode_rows(subject.model, subject.params, rows, users=users, mask=subject.mask, key=jax.random.key(0))
    points = np.concatenate([masked.mean, np.exp(0.5 * np.asarray(masked.logvar))], axis=1)
    assert table["masked_silhouette"][1] == pytest.approx(silhouette_score(points, np.repeat([0, 1, 2], 12)), abs=1e-5)
    assert table["masked_silhouette"][1] != pytest.approx(table["silhouette"][1], abs=1e-5)
    np.testing.assert_array_equal(rows.lengths[users], places.filter(run="masking")["interactions"].to_numpy())


def test_sentences_and_picture(findings, tmp_path):
    assert any("nDCG@100 of masking + PIA minus masking: " in sentence for sentence in findings.sentences)
    assert not any("The paper's order" in sentence for sentence in findings.sentences)  # there is no clean run
    with pictures.style():
        pictures.save(findings.pictures["tsne"].draw(), tmp_path / "tsne.png")
    pixels = (image.imread(tmp_path / "tsne.png")[..., :3] * 255).round()
    for color in pictures.ORDERED_COLOURS:
        wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
        assert (np.abs(pixels - wanted) < 3).all(axis=-1).sum() > 50  # the legend's dot at least


def make_panel(quality, **geometry):
    values = dict(silhouette=0.1, neighbours=0.5, few_middling=1.0, middling_many=2.0, few_many=2.5, within=1.0)
    return Panel(np.zeros((3, 2)), Geometry(**{**values, **geometry}), None, MetricSummary(quality, 0.01, 9, 0))


def test_the_papers_claims_are_judged_by_what_was_found():
    like_the_paper = (
        make_panel(0.40, silhouette=0.9, few_many=1.5),
        make_panel(0.42, silhouette=0.1),
        make_panel(0.43, silhouette=0.5),
    )
    text = " ".join(judge(*like_the_paper))
    assert "This does not" not in text
    assert "(.409 < .426 < .437 on ML-20M), holds here." in text
    unlike = (make_panel(0.42, silhouette=0.1), make_panel(0.41, silhouette=0.2), make_panel(0.4, few_many=0.5))
    text = " ".join(judge(*unlike))
    assert "Of what the paper says" not in text
    assert "does not hold here." in text
