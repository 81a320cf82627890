"""One self-contained HTML page about a trained run, for people who decide what to do with it."""
