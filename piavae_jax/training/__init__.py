"""From a config and a data set to a run folder: pure train step, fit loop, checkpoints, results."""
