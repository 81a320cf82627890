"""What the values of a config must be."""

import dataclasses
import math
from typing import Any, get_args, get_origin

from piavae_jax.config.schema import (
    ANCHOR_FORMS,
    BETA_SCHEDULES,
    FACTOR_MODELS,
    INTERACTIONS,
    LINEAR_MODELS,
    MASKS,
    MODELS,
    OF_THE_MACHINE,
    OF_THE_RUN,
    OPTIMIZERS,
    PRECISIONS,
    PRIORS,
    RECONSTRUCTIONS,
    WITH_LINEAR_BODY,
    WITH_POSTERIOR,
    AlternationConfig,
    ExperimentConfig,
    FusionConfig,
    KLConfig,
    MaskConfig,
    ModelConfig,
    OptimizerConfig,
    PiaConfig,
    PriorConfig,
    StagesConfig,
    TrainingConfig,
)
from piavae_jax.errors import UserError

_TYPES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    dict: "a dictionary of values by config path",
}
_SEEDS = 2**32  # a PRNG key made of a larger number would be that of a smaller one


def validate(config: ExperimentConfig) -> ExperimentConfig:
    """Check every value of a config and return it.

    Raises:
      UserError: the first field that breaks its rule, with the rule, the value and the way out.
    """
    _check_fields(config, ExperimentConfig)
    _require(0 <= config.seed < _SEEDS, "seed", "be a whole number >= 0 and below 2**32", config.seed, "choose any")
    _require(config.name != "popularity", "name", "differ from the baseline's", config.name, "choose another")
    named = bool(config.name) and "/" not in config.name
    _require(named, "name", "be a folder name without slashes", config.name, "use config.workdir for a path")
    _require(bool(config.data.path), "data.path", "name a prepared data set", "", "make one with bin/prepare.py")
    _validate_model(config.model)
    _validate_mask(config.mask)
    _validate_prior(config.prior)
    _validate_kl(config.kl)
    _validate_alternation(config.alternation)
    _validate_stages(config.stages)
    _validate_pia(config.pia)
    _validate_fusion(config.fusion)
    _validate_optimizer(config.optimizer)
    _validate_training(config.training)
    _validate_together(config)
    _check_at_least(config.evaluation, "evaluation.", {"batch_size": 1})
    return config


def _require(condition: bool, name: str, rule: str, value: Any, way_out: str) -> None:
    if not condition:
        raise UserError(f"config.{name} must {rule}, got {value!r}; {way_out}")


def _require_one_of(choices: tuple[str, ...], name: str, value: str, way_out: str) -> None:
    _require(value in choices, name, f"be one of {choices}", value, way_out)


def _check_fields(config: Any, kind: type, prefix: str = "") -> None:
    """Check names and types of all fields, and make tuples of lists; values are judged afterwards."""
    _require(isinstance(config, kind), prefix.rstrip(".") or "config", f"be a {kind.__name__}", config, "see its class")
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    for name in vars(config).keys() - fields.keys():
        raise UserError(f"config has no field {prefix}{name}; it has {', '.join(fields)}")
    for name, expected in fields.items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(expected):
            _check_fields(value, expected, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif get_origin(expected) is tuple:
            setattr(config, name, _checked_tuple(value, get_args(expected)[0], prefix + name))
        else:
            _require(_is_a(value, expected), prefix + name, f"be {_TYPES[expected]}", value, "correct its type")


def _checked_tuple(value: Any, kind: type, name: str) -> tuple[Any, ...]:
    right = isinstance(value, tuple | list) and all(_is_a(entry, kind) for entry in value)
    _require(right, name, f"be a tuple, each entry {_TYPES[kind]}", value, "one entry is written (600,)")
    return tuple(value)


def _is_a(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _check_at_least(config: Any, prefix: str, bounds: dict[str, float]) -> None:
    for name, bound in bounds.items():
        value = getattr(config, name)
        _require(
            math.isfinite(value) and value >= bound,
            prefix + name,
            f"be a finite number >= {bound}",
            value,
            "correct it",
        )


def _validate_model(model: ModelConfig) -> None:
    _require_one_of(MODELS, "model.name", model.name, "the default is multvae")
    sizes = (*model.hidden, model.latent_dim)
    layers = len(model.hidden) > 0 or model.name in WITH_LINEAR_BODY
    _require(layers, "model.hidden", f"name at least one layer for {model.name}", model.hidden, "try (600,)")
    _require(min(sizes) >= 1, "model.hidden and latent_dim", "be positive", sizes, "the paper uses (600,) and 200")
    _require_one_of(RECONSTRUCTIONS, "model.reconstruction", model.reconstruction, "the default is multinomial")
    _require_one_of(PRECISIONS, "model.precision", model.precision, "float32 rounds nothing")
    if model.name in ("recvae", "hvamp"):
        equal = len(set(model.hidden)) == 1
        _require(equal, "model.hidden", f"name layers of one size for {model.name}", model.hidden, "try (600, 600)")


def _validate_mask(mask: MaskConfig) -> None:
    _require_one_of(MASKS, "mask.kind", mask.kind, "the default is bernoulli")
    _require(0 < mask.keep_prob <= 1, "mask.keep_prob", "be in (0, 1]", mask.keep_prob, "1 trains without masking")
    masks = mask.kind != "complementary" or mask.keep_prob < 1
    _require(masks, "mask.keep_prob", "be below 1 for complementary masks", mask.keep_prob, "0.5 halves a history")
    bounds = (mask.low, mask.high)
    _require(0 < mask.low <= mask.high <= 1, "mask.low and high", "be 0 < low <= high <= 1", bounds, "try 0.2 and 1")
    _require(math.isfinite(mask.power), "mask.power", "be a finite number", mask.power, "0 makes all items alike")
    _check_at_least(mask, "mask.", {"consistency": 0})


def _validate_prior(prior: PriorConfig) -> None:
    _require_one_of(PRIORS, "prior.kind", prior.kind, "the default is normal")
    _check_at_least(prior, "prior.", {"pseudo_inputs": 1})


def _validate_kl(kl: KLConfig) -> None:
    _require_one_of(BETA_SCHEDULES, "kl.schedule", kl.schedule, "the default is linear")
    _check_at_least(kl, "kl.", {"cap": 0, "total_steps": 1, "period": 2})


def _validate_alternation(alternation: AlternationConfig) -> None:
    _check_at_least(alternation, "alternation.", {"encoder_passes": 0, "decoder_passes": 0})
    passes = (alternation.encoder_passes, alternation.decoder_passes)
    both = (passes[0] > 0) == (passes[1] > 0)
    _require(both, "alternation", "name passes of both, or of neither", passes, "RecVAE uses 3 and 1")


def _validate_stages(stages: StagesConfig) -> None:
    _check_at_least(stages, "stages.", {"pretraining": 0, "critic": 0})
    _check_at_least(stages, "stages.", {"critic_learning_rate": 0, "joint_learning_rate": 0})


def _validate_pia(pia: PiaConfig) -> None:
    _check_at_least(pia, "pia.", {"weight": 0, "scale": 1, "patience": 1, "anchor_std": 0})
    bounded = pia.weight <= pia.max_weight < math.inf
    _require(bounded, "pia.max_weight", "be finite and at least pia.weight", pia.max_weight, "the default is 1000")
    _require_one_of(ANCHOR_FORMS, "pia.form", pia.form, "`closed` is Eq. 10")


def _validate_fusion(fusion: FusionConfig) -> None:
    _require_one_of(LINEAR_MODELS, "fusion.linear", fusion.linear, "the default is none")
    _check_at_least(fusion, "fusion.", {"members": 1, "regularization": 0, "keep": 0, "activity_exponent": 0})
    _require(0 <= fusion.dropout < 1, "fusion.dropout", "be in [0, 1)", fusion.dropout, "0.33 is a good start")
    exact = fusion.linear == "none" or fusion.regularization > 0 or (fusion.linear == "edlae" and fusion.dropout > 0)
    _require(exact, "fusion.regularization", f"be above 0 for {fusion.linear}", fusion.regularization, "try 300")
    fusion.others = tuple(_checked_kind(settings) for settings in fusion.others)
    _require_one_of(FACTOR_MODELS, "fusion.factors", fusion.factors, "the default is none")
    _check_at_least(fusion, "fusion.", {"factor_dim": 1})
    for name, usual in {"factor_regularization": 0.003, "factor_unobserved_weight": 0.03}.items():
        value = getattr(fusion, name)
        _require(
            0 < value < math.inf, f"fusion.{name}", "be a finite number above 0", value, f"{usual} is a good start"
        )
    for name in ("weights", "factor_weights"):
        candidates = getattr(fusion, name)
        sound = len(candidates) > 0 and all(math.isfinite(weight) for weight in candidates)
        _require(sound, f"fusion.{name}", "be at least one finite number", candidates, "try (4, 8, 16, 32)")


def _checked_kind(settings: dict[Any, Any]) -> dict[str, Any]:
    """The settings of another kind of members, as they come back from JSON; their values are judged with the kind."""
    name = "fusion.others"
    _require(len(settings) > 0, name, "differ from the config in something", settings, "leave it out")
    for path, value in settings.items():
        _require(isinstance(path, str), name, "name fields of the config", path, 'such as "kl.cap"')
        common = path.partition(".")[0] in OF_THE_RUN or path in OF_THE_MACHINE
        _require(not common, name, "leave to the config itself what all kinds share", path, "leave it out")
        plain = isinstance(value, bool | int | float | str | tuple | list)
        _require(plain, f"{name}: {path}", "be a number, a text or a tuple", value, "set one field at a time")
    return {path: tuple(value) if isinstance(value, list) else value for path, value in settings.items()}


def _validate_optimizer(optimizer: OptimizerConfig) -> None:
    _require_one_of(OPTIMIZERS, "optimizer.name", optimizer.name, "the paper uses adam")
    _check_at_least(optimizer, "optimizer.", {"learning_rate": 0, "l2": 0})


def _validate_training(training: TrainingConfig) -> None:
    _check_at_least(training, "training.", {"epochs": 1, "batch_size": 1, "early_stopping": 0, "activity_exponent": 0})
    _check_at_least(training, "training.", {"steps_per_dispatch": 1, "devices": 0, "checkpoint_seconds": 0})
    _check_at_least(training, "training.", {"snapshot_epochs": 0})
    whole = training.snapshot_epochs == 0 or training.item_shards == 1
    _require(whole, "training.snapshot_epochs", "be 0 with item_shards", training.snapshot_epochs, "use one shard")
    _check_at_least(training, "training.", {"item_shards": 1, "item_block": 0})
    _require_one_of(INTERACTIONS, "training.interactions", training.interactions, "`device` is faster")


def _validate_together(config: ExperimentConfig) -> None:
    """Rules between fields of different parts."""
    name, fusion = config.model.name, config.fusion
    shards = config.training.item_shards
    _require(
        shards == 1 or not fusion.fuses, "training.item_shards", "be 1 for fused models", shards, "or switch fusion off"
    )
    with_pia = name in WITH_POSTERIOR or not config.pia.enabled
    _require(with_pia, "pia.enabled", f"be False for {name}, which has no posterior to align", True, "switch it off")
    with_prior = name in ("multvae", "recvae") or config.prior.kind == "normal"
    _require(
        with_prior, "prior.kind", f"be normal for {name}", config.prior.kind, "only multvae and recvae have others"
    )
    own_loss = name in ("ract", "lambdanet", "warp")
    judged_by = config.model.reconstruction
    free = judged_by == "multinomial" or not own_loss
    _require(free, "model.reconstruction", f"be multinomial for {name}", judged_by, "it has a loss of its own")
    stands_still = name == "ract" or (name == "lambdanet" and config.stages.pretraining > 0)
    _require(
        config.training.early_stopping == 0 or not stands_still,
        "training.early_stopping",
        f"be 0 for {name}, whose validation may stand still before its last stage",
        config.training.early_stopping,
        "all its epochs are trained, and the best one is kept",
    )
    gated = name != "hvamp" or len(config.model.hidden) >= 2
    _require(gated, "model.hidden", "have at least two layers for hvamp", config.model.hidden, "(300, 300) is usual")
    in_blocks = config.training.item_block > 0
    whole = judged_by == "multinomial" or not in_blocks
    _require(whole, "training.item_block", f"be 0 for {judged_by}", config.training.item_block, "it ranks all items")
    alternates = config.alternation.encoder_passes > 0
    may_alternate = name in ("multvae", "recvae") or not alternates
    _require(may_alternate, "alternation", f"be 0 and 0 for {name}", "more", "only multvae and recvae alternate")
    two_views = config.mask.kind == "complementary"
    _require(
        name in ("multvae", "recvae") or not two_views,
        "mask.kind",
        f"be another for {name}",
        config.mask.kind,
        "only multvae and recvae encode two views",
    )
