"""From a run folder to pure functions: restored as trained, refused where there is no Gaussian latent."""

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

from piavae_jax import analysis, masking
from piavae_jax.errors import UserError
from piavae_jax.training import run_folder


def test_encodes_as_the_run_does(subject, dataset):
    users = np.array([7, 2, 31])
    posterior = analysis.encode_rows(subject.model, subject.params, dataset.train, users=users, batch_size=2)
    batch = analysis.batch_of(dataset.train, users)
    expected = subject.model.encode(subject.params, masking.encoder_input(batch))
    np.testing.assert_allclose(posterior.mean, expected.mean, atol=1e-6)
    np.testing.assert_allclose(posterior.logvar, expected.logvar, atol=1e-6)


def test_masks_are_those_of_the_user_whatever_the_batch(subject, dataset):
    draw = dict(mask=subject.mask, key=jax.random.key(1))
    some = analysis.encode_rows(subject.model, subject.params, dataset.train, users=np.array([4, 9]), **draw)
    everyone = analysis.encode_rows(subject.model, subject.params, dataset.train, **draw)
    np.testing.assert_allclose(some.mean, everyone.mean[[4, 9]], atol=1e-6)
    clean = analysis.encode_rows(subject.model, subject.params, dataset.train)
    assert np.abs(clean.mean - everyone.mean).max() > 1e-3


def test_weights_are_those_of_the_best_epoch(subject):
    records = run_folder.read_metrics(subject.run)
    best = records[-1]["best_epoch"]
    assert subject.beta == records[best - 1]["beta"] > 0
    assert subject.anchor_weight == records[best - 1]["anchor_weight"] > 0
    assert subject.anchors.shape == (subject.model.num_items, subject.model.latent_dim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: setattr(config.model, "name", "multidae"), "'multidae', which has no single Gaussian"),
        (lambda config: setattr(config.model, "name", "hvamp"), "'hvamp', which has no single Gaussian"),
        (lambda config: setattr(config.fusion, "linear", "ease"), "is a fused model"),
    ],
)
def test_refuses_what_has_no_gaussian_latent(dataset, tmp_path, change, message):
    config = tiny_config(str(dataset.path))
    change(config)
    run_folder.create(tmp_path / "run", config, dataset)
    with pytest.raises(UserError, match=message):
        analysis.load_subject(tmp_path / "run")
