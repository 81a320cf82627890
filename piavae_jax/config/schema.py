"""The fields of an experiment, their meaning and their defaults: those of Multi-VAE + PIA in the paper."""

import dataclasses

MODELS = ("multvae", "recvae", "hvamp", "multidae", "cdae", "ract", "lambdanet", "warp")
WITH_POSTERIOR = ("multvae", "recvae", "hvamp", "ract", "lambdanet")
"""The models with a posterior, which PIA can align."""
WITH_LINEAR_BODY = ("multvae", "ract", "lambdanet")
"""The models that may do without hidden layers."""
RECONSTRUCTIONS = ("multinomial", "warp", "lambdarank")
PRECISIONS = ("float32", "tf32", "bfloat16")
MASKS = ("bernoulli", "per_user", "popularity", "length", "complementary")
PRIORS = ("normal", "composite", "vamp")
BETA_SCHEDULES = ("linear", "cyclical", "constant")
ANCHOR_FORMS = ("closed", "sampled")
LINEAR_MODELS = ("none", "ease", "edlae")
FACTOR_MODELS = ("none", "wmf")
OPTIMIZERS = ("adam", "sgd")
INTERACTIONS = ("device", "stream")
OF_THE_RUN = ("name", "seed", "workdir", "data", "fusion", "evaluation")
"""Fields, or parts, that say which run it is and how it is measured, not what kind of model it trains."""
OF_THE_MACHINE = (
    "training.devices",
    "training.interactions",
    "training.item_shards",
    "training.item_block",
    "training.tensorboard",
    "training.checkpoint_seconds",
    "training.snapshot_epochs",
    "training.steps_per_dispatch",
)
"""Fields that change how training runs and what it leaves, not what comes out."""


@dataclasses.dataclass
class DataConfig:
    """Where the interactions are."""

    path: str = ""
    """Folder of a prepared data set, made by `bin/prepare.py`."""


@dataclasses.dataclass
class ModelConfig:
    """The body. Multi-VAE: I - hidden - (2 x latent_dim) - reversed hidden - I."""

    name: str = "multvae"
    """`multvae`, `recvae`, `hvamp` (hierarchical, gated), `multidae`, `cdae`, `ract`, `lambdanet` or `warp`."""
    hidden: tuple[int, ...] = (600,)
    """Sizes of the encoder's hidden layers, mirrored by Multi-VAE's decoder; a Multi-VAE with none, `()`, is linear.
    `recvae` and `hvamp` want them equal; of `multidae`, `cdae` and `warp` the last is the code, and there is no other
    latent."""
    latent_dim: int = 200
    """D."""
    reconstruction: str = "multinomial"
    """What the decoded row is judged by: the `multinomial` likelihood, or the ranking losses `warp` and `lambdarank`.
    For `multvae`, `recvae`, `hvamp`, `multidae` and `cdae`; `ract`, `lambdanet` and `warp` have their own."""
    precision: str = "float32"
    """What matrix products may round their factors to: `float32`, `tf32` (NVIDIA GPUs) or `bfloat16`. Sums, parameters
    and losses stay float32."""


@dataclasses.dataclass
class MaskConfig:
    """Which interactions the encoder sees while it trains."""

    kind: str = "bernoulli"
    """`bernoulli` keeps each alike; `per_user` draws each user's probability from [low, high]; `popularity` keeps
    popular items less often; `length` keeps a number of items drawn evenly, up to n; `complementary` encodes what a
    Bernoulli mask keeps and what it drops, as two views of a user."""
    keep_prob: float = 0.5
    """Probability that the mask keeps an interaction, on average with `popularity`; 1 trains without masking."""
    low: float = 0.2
    """Of `per_user`; the least share of a history that `length` keeps."""
    high: float = 1.0
    """Of `per_user`."""
    power: float = 0.5
    """Of `popularity`: an item's probability goes with its popularity to the power of minus this."""
    consistency: float = 0.0
    """Of `complementary`: weight of the distance between the posteriors of the two views."""


@dataclasses.dataclass
class PriorConfig:
    """What the posterior is compared with."""

    kind: str = "normal"
    """`normal` is N(0, I); `composite` RecVAE's mixture with the encoder of the epoch before; `vamp` the mixture of the
    posteriors of learned pseudo-inputs."""
    pseudo_inputs: int = 500
    """Of `vamp`, and of the model `hvamp`."""


@dataclasses.dataclass
class KLConfig:
    """beta, the weight of the divergence from the prior."""

    schedule: str = "linear"
    """`linear`: min(cap, updates / total_steps); `cyclical`: a linear climb to the cap in the first half of every
    `period`; `constant`: the cap."""
    cap: float = 0.2
    total_steps: int = 200_000
    """Of `linear`."""
    period: int = 10_000
    """Of `cyclical`, in updates."""
    per_user: bool = False
    """True multiplies beta by the user's number of interactions, n: the cap is then RecVAE's gamma."""


@dataclasses.dataclass
class AlternationConfig:
    """Encoder and decoder in turn (RecVAE), each with an optimiser of its own, the decoder without mask."""

    encoder_passes: int = 0
    """Passes over the users in which the encoder (and the anchors) move; 0 trains both together, one pass an epoch."""
    decoder_passes: int = 0
    """Passes in which the decoder moves."""


@dataclasses.dataclass
class StagesConfig:
    """What `ract` and `lambdanet` do one after the other."""

    pretraining: int = 100
    """Epochs as a plain Multi-VAE; LambdaNet may have none."""
    critic: int = 50
    """Epochs in which RaCT's critic learns; the remaining ones train both."""
    critic_learning_rate: float = 1e-4
    joint_learning_rate: float = 2e-6
    """Of RaCT's last stage."""


@dataclasses.dataclass
class PiaConfig:
    """Personalised item alignment and its adaptive weight (Algorithm 1)."""

    enabled: bool = True
    """False trains without anchors."""
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
class FusionConfig:
    """Several models as one: their scores are added after training, with a weight chosen on validation users."""

    members: int = 1
    """Models that differ by their seed, `seed` and the following numbers; their log-softmax is averaged."""
    others: tuple[dict, ...] = ()
    """Models of other kinds: for each kind, values by config path that differ from this config, such as
    `{"pia.enabled": False}`; `config.differences` finds them. There are `members` of every kind, and the share of each
    kind in the score is chosen on validation users."""
    linear: str = "none"
    """The linear model whose scores are added: `none`, `ease` or `edlae`."""
    regularization: float = 300.0
    """lambda of the linear model."""
    dropout: float = 0.33
    """p of `edlae`."""
    activity_exponent: float = 0.0
    """Of `edlae`: users count `n^-activity_exponent`, so that the most active ones do not decide."""
    keep: int = 0
    """Weights of the linear model to keep for each item, for catalogues too large for I x I numbers; 0 keeps all."""
    weights: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0, 256.0)
    """Candidates for the weight of the linear score."""
    factors: str = "none"
    """The factor model whose scores are added too: `none` or `wmf`, which folds users in."""
    factor_dim: int = 512
    """D of the factor model. This and the next two are what CiteULike-a and Amazon-CD want (docs/results.md)."""
    factor_regularization: float = 0.003
    """lambda of the factor model."""
    factor_unobserved_weight: float = 0.03
    """alpha_0 of `wmf`, of every pair, next to 1 for an interaction."""
    factor_weights: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    """Candidates for the weight of the factor model's score, beside 0."""

    @property
    def count(self) -> int:
        """Members of all kinds together."""
        return self.members * (1 + len(self.others))

    @property
    def fuses(self) -> bool:
        """Whether there is more than one model."""
        return self.count > 1 or self.linear != "none" or self.factors != "none"


@dataclasses.dataclass
class OptimizerConfig:
    """The gradient method."""

    name: str = "adam"
    """`adam` or `sgd`."""
    learning_rate: float = 1e-3
    l2: float = 0.0
    """Adds l2 times the sum of squares of all weight matrices to the loss; biases and anchors are left free."""


@dataclasses.dataclass
class TrainingConfig:
    """The fit loop."""

    epochs: int = 200
    batch_size: int = 500
    early_stopping: int = 0
    """Stop after so many epochs without a new best validation nDCG@100; 0 never stops early."""
    activity_exponent: float = 0.0
    """Users count `n^-activity_exponent` in the loss, n their number of interactions, so that the most active ones do
    not decide; 0 counts all alike, as published models do."""
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
    snapshot_epochs: int = 0
    """Keep the parameters after every so many epochs in `snapshots/`, for analysis; 0 keeps none."""
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
    mask: MaskConfig = dataclasses.field(default_factory=MaskConfig)
    prior: PriorConfig = dataclasses.field(default_factory=PriorConfig)
    kl: KLConfig = dataclasses.field(default_factory=KLConfig)
    alternation: AlternationConfig = dataclasses.field(default_factory=AlternationConfig)
    stages: StagesConfig = dataclasses.field(default_factory=StagesConfig)
    pia: PiaConfig = dataclasses.field(default_factory=PiaConfig)
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
