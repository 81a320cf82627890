"""What an experiment is made of: typed values, checked once, without I/O."""

import dataclasses
import math
from typing import Any, get_args, get_origin

from piavae_jax.errors import UserError

PRECISIONS = ("float32", "tf32", "bfloat16")
ANCHOR_FORMS = ("closed", "sampled")
OPTIMIZERS = ("adam", "sgd")
INTERACTIONS = ("device", "stream")
_TYPES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False", str: "a string"}
_SEEDS = 2**32  # a PRNG key made of a larger number would be that of a smaller one


@dataclasses.dataclass
class DataConfig:
    """Where the interactions are."""

    path: str = ""
    """Folder of a prepared data set, made by `bin/prepare.py`."""


@dataclasses.dataclass
class ModelConfig:
    """Multi-VAE: I - hidden - (2 x latent_dim) - reversed hidden - I."""

    hidden: tuple[int, ...] = (600,)
    """Sizes of the encoder's hidden layers, mirrored by the decoder."""
    latent_dim: int = 200
    """D."""
    keep_prob: float = 0.5
    """Probability that the mask keeps an interaction; 1 trains without masking."""
    precision: str = "float32"
    """What matrix products may round their factors to: `float32`, `tf32` (NVIDIA GPUs) or `bfloat16`. Sums, parameters
    and losses stay float32."""


@dataclasses.dataclass
class KLConfig:
    """beta = min(cap, updates / total_steps)."""

    cap: float = 0.2
    total_steps: int = 200_000


@dataclasses.dataclass
class PiaConfig:
    """Personalised item alignment and its adaptive weight (Algorithm 1)."""

    enabled: bool = True
    """False trains plain Multi-VAE, without anchors."""
    weight: float = 2.0
    """lambda_A at the start."""
    scale: float = 2.0
    """Factor of an increase."""
    patience: int = 5
    """Validations without a new best before an increase."""
    max_weight: float = 1000.0
    """Bound of lambda_A."""
    form: str = "closed"
    """`closed` (Eq. 10) or `sampled` (Eq. 9)."""
    anchor_std: float = 0.01
    """Standard deviation of the initial anchors."""


@dataclasses.dataclass
class OptimizerConfig:
    """The gradient method."""

    name: str = "adam"
    """`adam` or `sgd`."""
    learning_rate: float = 1e-3


@dataclasses.dataclass
class TrainingConfig:
    """The fit loop."""

    epochs: int = 200
    batch_size: int = 500
    early_stopping: int = 0
    """Stop after so many epochs without a new best validation nDCG@100; 0 never stops early."""
    steps_per_dispatch: int = 50
    """Steps that run on the device without a word from the host."""
    devices: int = 0
    """Devices that train together; 0 takes all."""
    interactions: str = "device"
    """`device` keeps the training interactions on every device; `stream` reads those of the next steps from disk while
    steps run, for data that do not fit. Same results."""
    item_shards: int = 1
    """Devices that the tables of items (the encoder's first layer, the decoder's last, the anchors, and what the
    optimiser keeps of them) are split over, for catalogues too large for one; must divide the devices. The groups of
    so many devices share each batch."""
    item_block: int = 0
    """Items whose logits are held at a time, for a device too small for a batch's: exact, at one more product of the
    decoder's last layer a step. Where batches are no larger than the hidden layers, the gradients of the tables need
    more memory than the logits, and nothing is saved. 0 holds them all."""
    checkpoint_seconds: float = 30.0
    """Least time between two checkpoints; 0 saves after every epoch. The last epoch is always saved."""
    tensorboard: bool = False
    """Also write TensorBoard event files."""


@dataclasses.dataclass
class EvaluationConfig:
    """What is measured on held-out users; nDCG@100, which selects the model, is among it whatever is named."""

    metrics: tuple[str, ...] = ("ndcg@100", "recall@20", "recall@50")
    batch_size: int = 500


@dataclasses.dataclass
class ExperimentConfig:
    """One experiment, whole: what `configs/*.py` return and a run folder keeps as `config.json`."""

    name: str = "experiment"
    """Names the run folder, `runs/NAME`, unless `workdir` does."""
    seed: int = 0
    workdir: str = ""
    """The run folder; `runs/NAME` when empty."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    kl: KLConfig = dataclasses.field(default_factory=KLConfig)
    pia: PiaConfig = dataclasses.field(default_factory=PiaConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)


def _require(condition: bool, name: str, rule: str, value: Any, way_out: str) -> None:
    if not condition:
        raise UserError(f"config.{name} must {rule}, got {value!r}; {way_out}")


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
    sizes = (*model.hidden, model.latent_dim)
    _require(len(model.hidden) > 0, "model.hidden", "name at least one layer", model.hidden, "the paper uses (600,)")
    _require(min(sizes) >= 1, "model.hidden and latent_dim", "be positive", sizes, "the paper uses (600,) and 200")
    known = model.precision in PRECISIONS
    _require(known, "model.precision", f"be one of {PRECISIONS}", model.precision, "float32 rounds nothing")
    keep_prob = model.keep_prob
    _require(0 < keep_prob <= 1, "model.keep_prob", "be in (0, 1]", keep_prob, "1 trains without masking")


def _validate_pia(pia: PiaConfig) -> None:
    _check_at_least(pia, "pia.", {"weight": 0, "scale": 1, "patience": 1, "anchor_std": 0})
    _require(pia.max_weight >= pia.weight, "pia.max_weight", "be at least pia.weight", pia.max_weight, "raise it")
    _require(pia.form in ANCHOR_FORMS, "pia.form", f"be one of {ANCHOR_FORMS}", pia.form, "`closed` is Eq. 10")


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
    _validate_pia(config.pia)
    _check_at_least(config.kl, "kl.", {"cap": 0, "total_steps": 1})
    _check_at_least(config.training, "training.", {"epochs": 1, "batch_size": 1, "early_stopping": 0})
    _check_at_least(config.training, "training.", {"steps_per_dispatch": 1, "devices": 0, "checkpoint_seconds": 0})
    _check_at_least(config.training, "training.", {"item_shards": 1, "item_block": 0})
    name = config.optimizer.name
    _require(name in OPTIMIZERS, "optimizer.name", f"be one of {OPTIMIZERS}", name, "the paper uses adam")
    place = config.training.interactions
    _require(place in INTERACTIONS, "training.interactions", f"be one of {INTERACTIONS}", place, "`device` is faster")
    _check_at_least(config.optimizer, "optimizer.", {"learning_rate": 0})
    _check_at_least(config.evaluation, "evaluation.", {"batch_size": 1})
    return config


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The config as nested dictionaries of JSON values."""
    return dataclasses.asdict(config)


def _from_dict(kind: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{f'config.{prefix}'.rstrip('.')} must map fields to values, got {values!r}; correct it")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise UserError(f"config has no field {prefix}{unknown[0]}; it has {', '.join(fields)}")
    parsed = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(fields[name].type):
            parsed[name] = _from_dict(fields[name].type, value, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            parsed[name] = tuple(value) if isinstance(value, list) else value
    return kind(**parsed)


def from_dict(values: dict[str, Any]) -> ExperimentConfig:
    """Rebuild a config from `to_dict`, refusing unknown fields; raises UserError."""
    return _from_dict(ExperimentConfig, values, "")
