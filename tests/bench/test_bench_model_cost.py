import jax
import model_cost
import pytest


@pytest.fixture
def promotion_as_optax_needs_it():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("promotion_as_optax_needs_it")
def test_models_are_measured_beside_multvae(run, capsys):
    arguments = ["--shape", "tiny", "--models", "warp", "--steps", "1", "--rounds", "1", "--batch-size", "64"]
    result = run(model_cost.main, *arguments, "--profile", "warp")
    assert list(result) == ["multvae", "warp"]
    assert result["multvae"]["ratio"] == result["multvae"]["ratio_per_parameter"] == 1.0
    ours = result["warp"]
    assert ours["step_ms"] > 0
    assert ours["ratio_per_parameter"] == pytest.approx(
        ours["ratio"] * result["multvae"]["parameters"] / ours["parameters"]
    )


def test_only_what_is_measured_can_be_profiled(run, capsys):
    with pytest.raises(SystemExit):
        run(model_cost.main, "--models", "warp", "--profile", "recvae")
    assert "--profile must be one of --models (warp), got recvae" in capsys.readouterr().err
