"""Which fields decide whether a trial is among the best."""

import warnings
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from piavae_jax.errors import UserError

TOP_SHARE = 0.25
LEAST_TRIALS = 8


def field_importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """How much each field tells the best quarter of the trials from the others, by PED-ANOVA (Watanabe et al. 2023).

    All trials that have ended count. One that was pruned or failed is not among the best, which is all that the
    method asks of it; without them, a field that decides who is pruned would seem to decide nothing.

    Returns:
      Shares by field, largest first, that add up to 1.

    Raises:
      UserError: there are too few trials, or they do not differ.
    """
    from optuna import importance  # it imports scikit-learn and pandas, two seconds that only this needs

    ended = [trial for trial in trials if trial.state.is_finished() and trial.params]
    if len(ended) < LEAST_TRIALS:
        raise UserError(f"importances need at least {LEAST_TRIALS} trials that have ended, got {len(ended)}; run more")
    copy = optuna.create_study(direction="maximize")
    copy.add_trials([_completed(trial) for trial in ended])
    evaluator = importance.PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return importance.get_param_importances(copy, evaluator=evaluator)
        except UserWarning as warning:  # the best quarter is everybody
            raise UserError(
                f"importances need trials of more differing quality, most of the {len(ended)} have the same; run more"
            ) from warning


def _completed(trial: FrozenTrial) -> FrozenTrial:
    quality = max(trial.intermediate_values.values(), default=0.0) if trial.state != TrialState.FAIL else 0.0
    return create_trial(params=trial.params, distributions=trial.distributions, value=quality)
