"""What can be said of the compiled steps without running them on an accelerator: nothing in them waits for the host."""

import re

import jax
import jax.numpy as jnp
import pytest
from tiny_runs import recipe_of, tiny_config, tiny_dataset

from piavae_jax.data.batches import to_device
from piavae_jax.training.epoch import run_epoch
from piavae_jax.training.session import build_session, start_state
from piavae_jax.training.state import init_state, make_weight_schedule, record_validation
from piavae_jax.training.step import make_run_steps, make_train_step

DATASET = tiny_dataset()
HOST_OPERATIONS = ("callback", "infeed", "outfeed", "stablehlo.send", "stablehlo.recv")


def build(**model):
    config = tiny_config()
    config.training.devices = 1
    for name, value in model.items():
        setattr(config.model, name, value)
    session = build_session(config, DATASET)
    return config, session, start_state(session, config)


def chunk(session):
    users = jnp.arange(16, dtype=jnp.int32)
    return jnp.stack([users, users + 16])


def text_for(platform, **model):
    _, session, state = build(**model)
    capacity = session.capacity.batch
    steps = jax.jit(lambda state, rows, order: session.run_steps["joint"](state, rows, order, capacity))
    return steps.trace(state, session.rows, chunk(session)).lower(lowering_platforms=(platform,)).as_text()


def test_steps_on_a_gpu_are_one_loop_without_the_host():
    text = text_for("cuda")
    assert not [word for word in HOST_OPERATIONS if word in text]
    assert "stablehlo.while" in text


@pytest.mark.parametrize(
    ("precision", "wanted", "unwanted"),
    [("float32", "HIGHEST", "bf16"), ("tf32", "HIGH,", "bf16"), ("bfloat16", "bf16", "precision = [HIGH,")],
)
def test_the_precision_reaches_every_large_product(precision, wanted, unwanted):
    text = text_for("cuda", precision=precision)
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    of_logits = [line for line in products if re.search(r"x40x(f32|bf16)|<40x", line)]
    biases = [line for line in of_logits if "tensor<1x16xf32>" in line]
    assert len(of_logits) - len(biases) == 3  # forward, to the features, to the kernel
    for line in of_logits:
        if line not in biases:
            assert wanted in line
            assert unwanted not in line


def test_steps_move_nothing_between_host_and_device():
    _, session, state = build()
    order = chunk(session)
    with jax.transfer_guard("disallow"):
        state, sums = session.run_steps["joint"](state, session.rows, order, session.capacity.batch)
        jax.block_until_ready((state, sums))


def test_nothing_compiles_after_the_first_epoch():
    _, session, state = build()
    compiled = []

    def note(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    def train_and_validate(state):
        state, _ = run_epoch(session, state, steps_per_dispatch=2, on_chunk=lambda step, means: None)
        return record_validation(state, session.weight_schedule, 0.1)[0]

    state = train_and_validate(train_and_validate(state))  # the second brings the state in its final placement
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        jax.jit(lambda x: x + len(compiled))(jnp.float32(1))  # the listener hears
        assert compiled
        compiled.clear()
        train_and_validate(state)
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def test_a_step_holds_two_arrays_as_wide_as_the_catalogue():
    users, items = 48, 20_000
    config = tiny_config()
    config.model.hidden, config.model.latent_dim = (8,), 4
    recipe = recipe_of(config, items)
    step = make_train_step(recipe.phases[0], lambda count: 0.2, make_weight_schedule(config))
    order = jnp.arange(users, dtype=jnp.int32).reshape(1, users)
    state = init_state(recipe, config)
    program = make_run_steps(step).lower(state, to_device(DATASET.train), order, 1024).compile()
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    # The logits and their gradient; what else there is goes with the parameters: gradients, and their sums by item.
    assert program.memory_analysis().temp_size_in_bytes < 2 * (4 * users * items) + 2 * parameters
