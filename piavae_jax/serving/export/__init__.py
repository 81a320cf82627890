"""A trained run as a file that scores users without this package: a `jax.export` artefact, or ONNX."""

from piavae_jax.serving.export.command import FORMATS, export_run

__all__ = ["FORMATS", "export_run"]
