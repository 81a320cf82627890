"""Search over the settings of a config: spaces, a study that processes share, pruning, report, pictures."""
