"""The studies of the theory on two small runs: what they say is what the measurements say, and pictures are drawn."""

import jax
import numpy as np
import polars as pl
import pytest
from material_factory import make_material
from matplotlib import image

from piavae_jax import pictures
from piavae_jax.analysis.contraction import Curvature
from piavae_jax.analysis.harness.run_pairs import Pair
from piavae_jax.analysis.measurements import (
    DriftMeasurement,
    GeometryMeasurement,
    measure_drift,
    measure_geometry,
    measure_information,
)
from piavae_jax.analysis.studies.drift import DRIFT, _judge, by_interactions, compare
from piavae_jax.analysis.studies.geometry import GEOMETRY, by_input_distance
from piavae_jax.analysis.studies.geometry import summarize as summarize_geometry
from piavae_jax.analysis.studies.information import INFORMATION
from piavae_jax.analysis.studies.masking import MASKING
from piavae_jax.analysis.studies.masking import summarize as by_shared_items
from piavae_jax.analysis.studies.transfer import TRANSFER

RUNS = ["masking", "masking + PIA"]
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def material(run_path, twin_path, dataset):
    return make_material([twin_path, run_path], dataset)


@pytest.fixture(scope="module")
def findings(material):
    found = {}

    def find(study):
        if study.name not in found:
            found[study.name] = study.run(material)
        return found[study.name]

    return find


@pytest.mark.parametrize("study", [TRANSFER, GEOMETRY, INFORMATION, MASKING, DRIFT], ids=lambda study: study.name)
def test_pictures_are_drawn_and_have_a_table(findings, tmp_path, study):
    found = findings(study)
    assert set(found.pictures) <= set(found.tables)
    for stem, picture in found.pictures.items():
        with pictures.style():
            pictures.save(picture.draw(), tmp_path / f"{stem}.png")
        assert image.imread(tmp_path / f"{stem}.png")[..., :3].std() > 0.05
    assert all(sentence[0].isupper() or sentence.startswith("masking") for sentence in found.sentences)
    assert all(sentence.endswith(".") for sentence in found.sentences)


def test_transfer_bins_hold_all_pairs(findings):
    tables = findings(TRANSFER).tables
    bins, theorem = tables["transfer"].frame, tables["theorem"].frame
    assert theorem["run"].to_list() == RUNS
    sums = bins.group_by("run", maintain_order=True).agg(
        pl.col("pairs").sum(), helped=(pl.col("helped") * pl.col("pairs")).sum()
    )
    assert sums["pairs"].to_list() == theorem["pairs"].to_list()
    np.testing.assert_allclose(sums["helped"] / sums["pairs"], theorem["helped"])
    for part in bins.partition_by("run"):
        assert part["w2"].is_sorted()


def test_geometry_says_what_is_measured(findings, material, dataset):
    line = findings(GEOMETRY).tables["bounds"].frame.row(1, named=True)
    found = measure_geometry(material.subjects["masking + PIA"], dataset.train, key=KEY)
    assert line["lipschitz"] == found.lipschitz
    assert line["largest_share_of_bound"] == (found.pairs["w2"] / found.pairs["bound"]).max() < 1
    assert line["gap"] == pytest.approx(found.pairs["gap"].mean())
    assert f"{found.mean_w2:.2f}, at most {found.mean_bound:.2f}" in findings(GEOMETRY).sentences[1]


def test_distances_are_binned_in_order():
    pairs = pl.DataFrame({"input_distance": np.arange(100)[::-1], "w2": np.arange(100.0)[::-1] * 2})
    binned = by_input_distance(pairs)
    assert binned.height == 20
    np.testing.assert_allclose(binned["input_distance"], np.arange(2, 100, 5))
    np.testing.assert_allclose(binned["w2"], 2 * np.arange(2, 100, 5))


def test_information_says_what_is_measured(findings, material, dataset):
    table = findings(INFORMATION).tables["information"].frame
    assert table.select("run", "input").rows() == [(run, seen) for run in RUNS for seen in ("clean", "masked")]
    found = measure_information(material.subjects["masking"], dataset.train, masks=2, key=KEY)
    assert table["mutual_information"][1] == found.decomposition.mutual_information.value
    assert table["active_units"][1] == found.active
    assert findings(INFORMATION).tables["units"].frame.height == 4 * 6


def test_masking_classes_are_by_shared_items():
    pairs = pl.DataFrame({"s": [0, 1, 4, 3, 80], "h": [9, 8, 7, 6, 5]}).with_columns(
        pl.lit(pl.Series([0.1, 0.2, 0.3, 0.5, 0.4])).alias(name)
        for name in ("closer", "contraction_bound", "farther", "expansion_bound")
    )
    table = by_shared_items(pairs)
    assert table["at_least"].to_list() == [0, 1, 3, 65]
    assert table["pairs"].to_list() == [1, 1, 2, 1]
    assert table["closer"].to_list() == [0.1, 0.2, 0.4, 0.4]


def test_masking_needs_no_model(findings, dataset):
    found = findings(MASKING)
    curves = found.tables["masking"].frame
    assert (curves["contraction_bound"] <= curves["exact"] + 1e-12).all()
    assert f"{np.median(dataset.train.lengths) / 2:.0f} items from itself" in found.sentences[2]


def test_drift_says_what_is_measured(findings, material, dataset):
    lines = findings(DRIFT).tables["drift"].frame
    found = measure_drift(material.subjects["masking"], dataset.train, key=KEY)
    assert lines["variance"][0] == pytest.approx(found.users["variance"].mean())
    assert lines["own_drift"].null_count() == 1
    ratios = findings(DRIFT).tables["contraction"].frame
    assert ratios["absolute"][0] == pytest.approx(lines["variance"][1] / lines["variance"][0])
    scale = lines["spread"][0] / lines["spread"][1]
    np.testing.assert_allclose(ratios["relative"], ratios["absolute"] * scale)


def drift_of(variance, spread):
    users = pl.DataFrame(
        dict.fromkeys(("variance", "largest", "drift", "own_drift", "between_masks", "clean_masked"), [variance] * 16)
        | {"interactions": np.arange(16)}
    )
    return DriftMeasurement(users, spread, Curvature(np.full(3, 0.5), np.full(3, 2.0)))


def test_the_prediction_is_that_of_the_proposition():
    ratios = compare(Pair("new", "old", True), {"old": drift_of(4.0, 8.0), "new": drift_of(1.0, 1.0)}, 1.0)
    assert ratios["predicted"].to_list() == [0.25, 0.5]  # tau = 2 / (2 + 2)
    assert ratios["absolute"].to_list() == [0.25, 0.25]
    assert ratios["relative"].to_list() == [2.0, 2.0]


def test_without_a_curvature_nothing_is_predicted():
    old, new = (drift_of(*values)._replace(curvature=None) for values in ((4.0, 8.0), (1.0, 1.0)))
    ratios = compare(Pair("new", "old", True), {"old": old, "new": new}, 1.0)
    assert ratios["predicted"].null_count() == 2
    sentence = _judge(next(ratios.iter_rows(named=True)))
    assert sentence.startswith(
        "variance of new over old: 0.250, over the variance between users 2.000; Proposition 3.2"
    )


def test_equal_pairs_do_not_hide_how_well_w1_is_known():
    pairs = pl.DataFrame({"w1_lower": [0.0, 0.5], "w2": [0.0, 1.0], "ratio": [0.0, 1.0], "input_distance": [0, 2]})
    others = {name: [0.0, 0.0] for name in ("bound", "overlap", "gap", "most")}
    measured = GeometryMeasurement(
        pairs=pairs.with_columns(**{name: pl.Series(values) for name, values in others.items()}),
        **{name: 1.0 for name in GeometryMeasurement._fields if name not in ("pairs", "one_item")},
        one_item=pl.DataFrame({"ratio": [1.0]}),
    )
    assert summarize_geometry(measured)["w1_known_within"].item() == 0.5


def test_users_are_classed_by_interactions():
    classes = by_interactions(drift_of(1.0, 1.0).users)
    np.testing.assert_allclose(classes["interactions"], np.arange(0.5, 16, 2))
