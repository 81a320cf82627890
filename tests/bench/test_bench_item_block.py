import item_block
import jax


def test_blocks_are_measured_beside_all_items(run):
    arguments = ["--shape", "tiny", "--blocks", "16", "--steps", "2", "--rounds", "1", "--batch-size", "64"]
    with jax.numpy_dtype_promotion("standard"):
        result = run(item_block.main, *arguments)
    assert list(result) == ["0", "16"]
    assert result["0"]["ratio"] == 1.0
    assert all(figures["step_ms"] > 0 and figures["temp_mb"] > 0 for figures in result.values())
