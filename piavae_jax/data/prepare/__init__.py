"""The command `bin/prepare.py`: a published data set, a table or a generated log in, a prepared data set out."""

from piavae_jax.data.prepare.options import parse


def main(arguments: list[str] | None = None) -> None:
    """Prepare a data set as the arguments say, by default those of the process.

    Raises:
      UserError: for anything that the user can mend; nothing half-written is then left on disk.
    """
    options = parse(arguments)
    from piavae_jax.data.prepare.command import prepare  # Polars loads only for a command line that is right

    prepare(options)
