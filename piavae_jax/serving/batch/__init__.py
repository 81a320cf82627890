"""Recommendations for everyone in a log, in parts, in constant memory: what `bin/recommend.py` does."""
