"""Measurements of a small trained model: their tables against the functions that they are made of."""

import jax
import numpy as np
import polars as pl
import pytest

from piavae_jax import analysis, priors
from piavae_jax.analysis import measurements
from piavae_jax.config import apply_settings

KEY, ETA = jax.random.key(5), 1e-3


@pytest.fixture(scope="module")
def posterior(subject, dataset):
    return analysis.encode_rows(subject.model, subject.params, dataset.train)


@pytest.fixture(scope="module")
def transfer(subject, dataset):
    return measurements.measure_transfer(subject, dataset.train, pairs=40, samples=64, learning_rate=ETA, key=KEY)


def test_transfer_is_a_line_a_pair(transfer, dataset, posterior):
    pairs = transfer.pairs
    assert 20 < pairs.height <= 40
    users = pairs.select("u", "v").to_numpy()
    assert np.all(users[:, 0] != users[:, 1])
    overlap = analysis.row_overlap(dataset.train, users)
    np.testing.assert_array_equal(pairs["input_distance"], overlap.distance)
    expected = analysis.w2(*(analysis.take(posterior, users[:, side]) for side in range(2)))
    np.testing.assert_allclose(pairs["w2"], expected, rtol=1e-5)


def test_steps_change_what_the_inner_products_say(transfer):
    pairs = transfer.pairs
    assert np.corrcoef(pairs["change"], pairs["first_order"])[0, 1] > 0.9
    assert (pairs["change"] <= pairs["bound"]).mean() > 0.9
    assert (pairs["latent_mismatch"] <= transfer.lipschitz * pairs["w1"] * 1.2 + 1e-3).all()
    np.testing.assert_allclose(
        pairs["gain"], -pairs["first_order"] / (ETA * pairs["gradient_norm"] ** 2), rtol=1e-3, atol=1e-5
    )


def test_geometry_holds_the_bounds(subject, dataset, posterior):
    found = measurements.measure_geometry(subject, dataset.train, pairs=300, compared=50, key=KEY)
    pairs = found.pairs
    assert pairs.height == 300
    assert (pairs["w1_lower"] <= pairs["w2"] + 1e-6).all()
    assert (pairs["w2"] <= pairs["bound"]).all()
    assert pairs["gap"].count() == 50
    assert (pairs.drop_nulls("gap")["gap"] <= pairs.drop_nulls("gap")["most"] + 1e-4).all()
    assert found.mean_w2 <= found.mean_bound
    assert found.mean_w2_masked <= found.mean_bound_masked
    kl = np.asarray(priors.gaussian_kl(posterior), np.float64)
    np.testing.assert_allclose(found.mean_bound, 2 * np.sqrt(2 * kl.mean()), rtol=1e-5)
    assert found.lipschitz == max(pairs["ratio"].max(), found.one_item["ratio"].max())
    assert found.one_item.height == dataset.train.num_rows


@pytest.mark.parametrize("masks", [0, 2])
def test_information_adds_up(subject, dataset, masks):
    found = measurements.measure_information(subject, dataset.train, masks=masks, samples=20, key=KEY)
    parts = found.decomposition
    np.testing.assert_allclose(parts.ceiling, np.log(50 * max(masks, 1)))
    total = parts.mutual_information.value + parts.marginal_kl.value
    np.testing.assert_allclose(total, parts.mean_kl.value, atol=4 * parts.marginal_kl.standard_error)
    units = found.units
    assert units.height == 6
    assert units["variance"].is_sorted(descending=True)
    np.testing.assert_allclose(units["kl"].sum(), parts.mean_kl.value, rtol=1e-4)
    assert found.active == (units["variance"] > 0.01).sum()


def test_drift_is_measured_from_both_kinds_of_anchors(subject, dataset, posterior):
    found = measurements.measure_drift(subject, dataset.train, masks=4, k=5, curved=3, key=KEY)
    users = found.users
    assert users["own_drift"].null_count() == 0
    assert (users["largest"] <= users["variance"] * (1 + 1e-5)).all()
    assert users["clean_masked"].is_between(0, 1).all()
    assert users["clean_masked"].mean() > 5 / 49  # more than chance
    np.testing.assert_allclose(found.spread, posterior.mean.var(axis=0).sum(), rtol=1e-4)
    assert np.all(found.curvature.smallest <= found.curvature.largest)
    plain = subject._replace(params={name: subject.params[name] for name in ("encoder", "decoder")})
    without = measurements.measure_drift(plain, dataset.train, masks=4, k=5, curved=3, key=KEY).users
    assert without["own_drift"].null_count() == 50
    assert without.drop("own_drift").equals(users.drop("own_drift"))


def test_drift_is_from_the_anchors_that_minimise_eq_9_over_masks(subject, dataset):
    found = measurements.measure_drift(subject, dataset.train, masks=4, k=5, curved=3, key=KEY).users
    mask_key, _ = jax.random.split(KEY)
    means = np.stack(
        [
            analysis.encode_rows(subject.model, subject.params, dataset.train, mask=subject.mask, key=one).mean
            for one in jax.random.split(mask_key, 4)
        ]
    )
    rows = np.zeros((50, 40))
    for user in range(50):
        rows[user, dataset.train.row(user)] = 1
    shares = rows / rows.sum(axis=1, keepdims=True)

    def eq_9(anchors):
        distances = np.square(means[:, :, None] - anchors[None, None]).sum(axis=-1)
        return np.mean(np.sum(shares[None] * distances, axis=-1))

    def anchors_of(points):  # each the mean of its users' posterior means, weighted as Eq. 9 does
        weights = shares / np.maximum(shares.sum(axis=0), 1e-9)
        return weights.T @ points

    best, clean = (
        anchors_of(means.mean(axis=0)),
        anchors_of(analysis.encode_rows(subject.model, subject.params, dataset.train).mean),
    )
    assert eq_9(best) < eq_9(clean)
    expected = np.square(means - (shares @ best)[None]).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(found["drift"], expected, rtol=1e-3)


@pytest.mark.parametrize("change", [{"prior.kind": "composite"}, {"model.reconstruction": "warp"}])
def test_other_objectives_have_no_curvature_here(subject, dataset, change):
    other = subject._replace(config=apply_settings(subject.config, change))
    assert measurements.measure_drift(other, dataset.train, masks=2, k=5, curved=3, key=KEY).curvature is None


def test_masked_pairs_are_the_theorem_at_the_mean_distance():
    overlap = analysis.RowOverlap(shared=np.array([3, 0, 9, 4]), distance=np.array([5, 7, 4, 0]))
    table = measurements.masked_pairs(overlap, keep_prob=0.5)
    assert table.select("h", "s").rows() == [(5, 3), (7, 0), (4, 9)]
    for h, s, mean, *values in table.rows():
        setting = {"keep_prob": 0.5, "delta": h / 2 + s / 2}
        assert mean == setting["delta"]
        closer = analysis.closer_probability(h, s, **setting)
        bounds = analysis.contraction_bound(h, s, **setting), analysis.expansion_bound(h, s, **setting)
        np.testing.assert_allclose(values, [closer, bounds[0], 1 - closer, bounds[1]], atol=1e-12)


def test_masking_curves_are_between_their_bounds():
    curves = measurements.masking_curves(6, 4, keep_prob=0.5, draws=5000, key=KEY)
    assert curves["delta"].to_list() == list(range(1, 12))
    assert (curves["contraction_bound"] <= curves["exact"] + 1e-12).all()
    assert (curves["exact"] <= curves["expansion_ceiling"] + 1e-12).all()
    assert (curves["exact"] - curves["simulated"]).abs().max() < 0.03
    assert curves.select(pl.col("exact").last()).item() == pytest.approx(1)
