"""The folder of a study: tables as CSV, pictures as PNG, a page that shows all of it, whole or not at all."""

from pathlib import Path
from typing import NamedTuple

from piavae_jax import pictures
from piavae_jax.analysis.harness.formats import to_markdown
from piavae_jax.analysis.harness.study import Findings, Study
from piavae_jax.data.atomic import check_replaceable, new_folder
from piavae_jax.data.json_files import read_json, write_json, write_text
from piavae_jax.errors import UserError

INFO = "study.json"
INDEX = "analysis.md"


class Written(NamedTuple):
    """What there is of a study."""

    folder: Path
    files: tuple[str, ...]
    """Names in the folder, the page first."""
    missing_pictures: str
    """Why there are none, if so; empty else."""


def check_study_folder(root: Path, study: Study) -> None:
    """Refuse, before any work is done, to replace a folder that is no study's.

    Raises:
      UserError: there is one of the study's name.
    """
    check_replaceable(root / study.name, overwrite=True, marker=INFO)


def write_findings(root: Path, study: Study, findings: Findings, *, runs: dict[str, str], seconds: float) -> Written:
    """Write a study's folder, in place of an older one.

    Args:
      root: the analysis.
      study: what was asked.
      findings: what came of it.
      runs: paths of the runs by label.
      seconds: wall-clock time of the study.
    """
    folder = root / study.name
    page = f"{study.name}.md"
    with new_folder(folder, overwrite=True, marker=INFO) as staging:
        drawn, problem = _draw(findings, staging)
        for stem, table in findings.tables.items():
            write_text(staging / f"{stem}.csv", table.frame.write_csv())
        write_text(staging / page, _page(study, findings, runs, drawn=drawn, problem=problem))
        files = (page, *drawn, *(f"{stem}.csv" for stem in findings.tables))
        info = {"name": study.name, "title": study.title, "sentences": findings.sentences, "runs": runs}
        write_json(staging / INFO, {**info, "seconds": seconds, "files": files})
    return Written(folder, files, problem)


def write_index(root: Path, *, data_name: str) -> None:
    """Write `analysis.md`, a page with what each study found and a link to its own."""
    parts = [f"# Analysis of {data_name}"]
    for path in sorted(root.glob(f"*/{INFO}")):
        info = read_json(path)
        name = path.parent.name
        parts += [f"## [{info['title']}]({name}/{name}.md)", _bullets(info["sentences"])]
    write_text(root / INDEX, "\n\n".join(parts) + "\n")


def _draw(findings: Findings, folder: Path) -> tuple[list[str], str]:
    """Draw the pictures; returns their files, or why there are none."""
    names = []
    try:
        with pictures.style():
            for stem, picture in findings.pictures.items():
                pictures.save(picture.draw(), folder / f"{stem}.png")
                names.append(f"{stem}.png")
    except UserError as error:  # matplotlib is missing: the numbers are worth having all the same
        return [], str(error)
    return names, ""


def _page(study: Study, findings: Findings, runs: dict[str, str], *, drawn: list[str], problem: str) -> str:
    parts = [f"# {study.title}", _bullets(findings.sentences)]
    for stem, picture in findings.pictures.items():
        if f"{stem}.png" in drawn:
            parts.append(f"![{picture.caption}]({stem}.png)\n\n{picture.caption}")
    parts += [f"No pictures: {problem}"] if problem else []
    for stem, table in findings.tables.items():
        parts.append(f"**{table.title}** ([{stem}.csv]({stem}.csv))\n\n{to_markdown(table)}")
    if runs:
        parts.append("Runs: " + "; ".join(f"{label}: `{path}`" for label, path in runs.items()))
    return "\n\n".join(parts) + "\n"


def _bullets(sentences: tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
