"""Which fields of a config a search varies, and how: what is known for each model, a config's own, a command's grid.

A config file declares its own space beside `get_config`:

    from piavae_jax.tuning.distributions import Choice, Float, Int

    def get_space():
        return {
            "pia.weight": Float(0.1, 4, log=True),
            "pia.patience": Int(3, 15),
            "model.hidden": Choice([(600,), (600, 300)]),
        }
"""

import ast
import itertools
import runpy
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from piavae_jax.config import ExperimentConfig, apply_settings
from piavae_jax.config.schema import WITH_POSTERIOR
from piavae_jax.errors import UserError
from piavae_jax.tuning.distributions import Choice, Distribution, Float, Int

Space: TypeAlias = Mapping[str, Distribution]
"""Distributions by field, such as `pia.weight`."""

_SHARED = ("name", "workdir", "data.path")

# What to search by default. A space is the sum of what a config's parts leave to choose: model, mask, divergence, PIA.
_RATE: Space = {"optimizer.learning_rate": Float(2e-4, 5e-3, log=True)}
_L2: Space = {"optimizer.l2": Float(1e-7, 1e-3, log=True)}
_MODELS: Mapping[str, Space] = {
    "multvae": {},
    "recvae": _RATE,
    "hvamp": {**_RATE, "prior.pseudo_inputs": Int(100, 1000, log=True)},
    "multidae": {**_RATE, **_L2},
    "cdae": {**_RATE, **_L2},
    "ract": {"stages.joint_learning_rate": Float(1e-6, 1e-4, log=True)},
    "lambdanet": _RATE,
    "warp": {**_RATE, **_L2},
}
_MASKS: Mapping[str, Space] = {
    "bernoulli": {"mask.keep_prob": Float(0.3, 0.9)},
    "per_user": {"mask.low": Float(0.05, 0.5)},
    "popularity": {"mask.keep_prob": Float(0.3, 0.9), "mask.power": Float(0, 1)},
    "length": {"mask.low": Float(0.05, 0.5)},
    "complementary": {"mask.keep_prob": Float(0.3, 0.7), "mask.consistency": Float(0.01, 1, log=True)},
}
_BETA: Space = {"kl.cap": Float(0.01, 0.5, log=True)}
_GAMMA: Space = {"kl.cap": Float(0.001, 0.02, log=True)}
"""Where beta is multiplied by the user's number of interactions."""
_PIA: Space = {"pia.weight": Float(0.01, 8, log=True), "pia.scale": Float(1, 3), "pia.patience": Int(3, 15)}
_ACTIVITY: Space = {"training.activity_exponent": Float(0, 1)}
_SENSITIVITY: Space = {  # the paper's Figures 3 to 5
    "pia.weight": Choice([2.0, 4.0, 8.0]),
    "pia.scale": Choice([1.0, 1.5, 2.0, 2.5, 3.0]),
    "pia.patience": Choice([3, 5, 7, 10, 15]),
}


def known_spaces(config: ExperimentConfig) -> dict[str, Space]:
    """The spaces for a config's model by name: `default` and, where PIA is on, `pia` and `sensitivity`."""
    divergence = _GAMMA if config.kl.per_user else _BETA
    parts = [
        _PIA if config.pia.enabled else {},
        divergence if config.model.name in WITH_POSTERIOR else {},
        _MASKS[config.mask.kind],
        _MODELS[config.model.name],
        _ACTIVITY if config.training.activity_exponent else {},
    ]
    default = {path: entry for part in parts for path, entry in part.items()}
    return {"default": default, **({"pia": _PIA, "sensitivity": _SENSITIVITY} if config.pia.enabled else {})}


def named_space(config: ExperimentConfig, name: str) -> Space:
    """A space of a config's model.

    Raises:
      UserError: it has none of this name.
    """
    known = known_spaces(config)
    if name not in known:
        raise UserError(
            f"--space must be one of {', '.join(known)}, got {name!r}; or declare get_space() in the config file"
        )
    return known[name]


def declared_space(file: str) -> Space | None:
    """What `get_space()` of a config file returns; None where there is none.

    Raises:
      UserError: it fails, or returns something else than distributions by field.
    """
    declare = runpy.run_path(file).get("get_space")
    if declare is None:
        return None
    try:
        space = declare()
    except Exception as error:  # the user's function raises what it likes
        raise UserError(f"get_space() of {file} failed: {type(error).__name__}: {error}; correct it") from error
    if not isinstance(space, Mapping) or not all(isinstance(entry, Distribution) for entry in space.values()):
        raise UserError(f"get_space() of {file} must return Float, Int or Choice by field, got {space!r}; correct it")
    return space


def parse_grid(texts: Sequence[str]) -> Space:
    """Read axes such as `pia.weight=0.5,1,2`.

    Raises:
      UserError: one is not of this form, or a field comes twice.
    """
    space = {}
    for text in texts:
        path, _, values = text.partition("=")
        try:
            options = ast.literal_eval(f"[{values}]")
        except (ValueError, SyntaxError):
            options = []
        if not path or not options:
            raise UserError(
                f"--grid must be FIELD=VALUE,VALUE,... such as pia.weight=0.5,1,2, got {text!r}; words want quotes of "
                'their own, as in --grid \'optimizer.name="adam","sgd"\', and a switch has True,False'
            )
        if path in space:
            raise UserError(f"--grid must name each field once, got {path} again; give all its values together")
        space[path] = Choice(options)
    return space


def check_space(config: ExperimentConfig, space: Space, *, grid: bool = False) -> None:
    """Refuse, before any work is done, a space that some trial would fail on.

    Args:
      config: what is varied.
      space: how.
      grid: whether every combination will be a trial, so that each is tried; else fields are tried one at a time.

    Raises:
      UserError: it is empty, names no field of the config or one that trials cannot vary, or holds a value that breaks
        the field's rule.
    """
    if not space:
        raise UserError("a space must vary at least one field, got none; see piavae_jax/tuning/spaces.py")
    for path, distribution in space.items():
        if path in _SHARED or path.startswith("fusion."):
            raise UserError(f"a space must leave {path} alone, which a trial cannot vary; set it in the config")
        for value in () if grid else distribution.extremes:
            apply_settings(config, {path: value})
    for point in grid_points(space) if grid else ():
        apply_settings(config, point)


def grid_points(space: Space) -> list[dict[str, Any]]:
    """Every combination of a space's choices; the last field changes fastest.

    Raises:
      UserError: a field is not a `Choice`.
    """
    for path, distribution in space.items():
        if not isinstance(distribution, Choice):
            raise UserError(f"a grid needs Choice for every field, got {distribution} for {path}; choose --sampler=tpe")
    options = (distribution.extremes for distribution in space.values())
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*options)]
