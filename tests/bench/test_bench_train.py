import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train

from piavae_jax import losses, masking, models

USERS, I, H, D = 6, 30, 8, 4


def test_a_small_run_gives_its_figures(run):
    jax.config.update("jax_numpy_dtype_promotion", "standard")  # optax's Adam promotes
    try:
        result = run(train.main, "--shape", "tiny", "--steps", "2", "--rounds", "1", "--batch-size", "64", "--no-torch")
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    wanted = (
        "users_per_s step_ms torch_step_ms torch_loaded_step_ms floor_ms ratio_torch ratio_torch_loaded ratio_floor "
        "pia_overhead stream_overhead peak_rss_mb compile_s device"
    )
    assert list(result) == wanted.split()
    assert result["torch_step_ms"] is None
    assert all(result[key] > 0 for key in ("users_per_s", "step_ms", "floor_ms", "ratio_floor", "compile_s"))


@pytest.mark.parametrize("pia", [False, True])
def test_the_torch_reference_has_our_loss(pia, monkeypatch):
    torch = pytest.importorskip("torch")
    from torch_multvae import TorchMultVAE

    theirs = TorchMultVAE(I, hidden=H, latent_dim=D, keep_prob=1.0, pia=pia)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    rows = (np.random.default_rng(0).random((USERS, I)) < 0.3).astype(np.float32)

    def layer(linear):
        return {
            "kernel": jnp.asarray(linear.weight.detach().numpy().T),
            "bias": jnp.asarray(linear.bias.detach().numpy()),
        }

    first, _, second = theirs.encoder
    third, _, last = theirs.decoder
    params = {
        "encoder": {"InputLayer_0": layer(first), "Linear_0": layer(second)},
        "decoder": {"Linear_0": layer(third), "Linear_1": layer(last)},
    }
    model = models.multvae(I, hidden=(H,), latent_dim=D)
    dense = jnp.asarray(rows)
    posterior = model.encode(params, masking.encoder_input(dense))
    logits = model.decode(params, posterior.mean)
    if pia:
        anchors = jnp.asarray(theirs.anchors.detach().numpy())
        ours, _ = losses.pia_elbo(posterior, logits, dense, beta=0.2, anchors=anchors, anchor_weight=2.0)
    else:
        ours, _ = losses.elbo(posterior, logits, dense, beta=0.2)
    value = theirs.loss(torch.from_numpy(rows), beta=0.2, anchor_weight=2.0)
    np.testing.assert_allclose(ours.mean(), value.detach().numpy(), rtol=1e-5)
