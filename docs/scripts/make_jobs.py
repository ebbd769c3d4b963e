"""Play the seven users of ``docs/jobs.md`` from empty folders, and write what the terminal said.

python docs/scripts/make_jobs.py [USER ...]

Each user gets files of their own (``job_files.py``), then the commands run as they are on the page.
Users named on the command line are played again; the sections of the others stay.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import job_files
import torch

PAGE = Path(__file__).resolve().parents[1] / "jobs.md"
INTRODUCTION = """\
# From files to an answer

Seven users, each with a folder and at most three commands. All of it comes from
`python docs/scripts/make_jobs.py`, which makes the files, runs the commands and pastes the output.
Networks and images are small and made for this page, so the scores say nothing about real models.
Lines left out are marked `...`. The seconds are CPU seconds of the whole command.
"""


@dataclass(frozen=True)
class Job:
    """What a user has, wants and types.

    Attributes:
        title: Who it is.
        told: What they have and want, in two sentences.
        commands: The commands, with the exit status that each is expected to have.
        keep: Regular expression of the lines of the output that are shown.
        answer: The file that answers the question, and what is in it.
        shown: Files of the user that are shown, by name and language.
    """

    title: str
    told: str
    commands: tuple[tuple[str, int], ...]
    keep: str
    answer: tuple[str, str]
    shown: tuple[tuple[str, str], ...] = ()


SCORES = r"^DSC|^ .*(/255|─|Random|FGSM|PGD|\[\d)|^Sanity|^  (warn|fail)|^runs/"
JOBS = {
    "student": Job(
        "A student with a U-Net and 12 images",
        "Has `net.py` with a function `make` that returns the trained network, and the folders "
        "`images` and `masks`. Wants to know how much of the DSC is left under attack.",
        (("palpate evaluate net.py:make --images images --masks masks --size 64", 0),),
        SCORES,
        ("runs/net-student/report/index.html", "tables, pictures and the sanity card"),
    ),
    "engineer": Job(
        "An engineer with ONNX, DICOM and acceptance criteria",
        "Has `liver.onnx`, the CT scans of 12 patients (`scans/case00/ct/*.dcm`, outlined in "
        "`scans/case00/liver.nii.gz`) and `criteria.yaml`. Wants a verdict, as exit status for CI.",
        (
            (
                "palpate data prepare mask2d --source scans --out data --split-as test --options "
                'images "{case}/ct/" masks "{case}/liver.nii.gz" labels 1=liver window 40,400', 0,
            ),
            (
                "palpate run --model.name liver.onnx --data.name folder --data.root data/mask2d "
                "--data.size 64 --criteria criteria.yaml", 0,
            ),
            ("palpate gate runs/liver-folder", 4),
        ),
        SCORES + r"|^data/|images; |^Acceptance|^  (Criterion|DSC|folder)",
        ("runs/liver-folder/verdict.json", "criteria, intervals and verdict"),
        (("criteria.yaml", "yaml"),),
    ),
    "author": Job(
        "The author of a new attack",
        "Has `mine.py` with a function `attack`, and a network in `net.py`. Wants to know whether "
        "the attack is correct, and whether it is stronger than PGD at equal cost.",
        (("palpate attacks check mine.py:attack", 0), ("palpate run --config mine.yaml", 0)),
        r"^  (check|inside|does|reprod|alone|indep|restores|keeps|epsilon|attack|clean|noise)|"
        r"^palpate/tiny on|DSC under|^[=d].*passes|mine \(|" + SCORES,
        ("runs/mine/tables/", "`against` and `strength`, as CSV, Markdown and LaTeX"),
        (("mine.yaml", "yaml"),),
    ),
    "reviewer": Job(
        "A reviewer with only a run folder",
        "Has `submission`, the run folder of the author above, and none of the author's files. "
        "Wants to know whether its numbers are those that the code in it gives.",
        (("palpate verify submission", 0), ("palpate rerun submission --out again", 0)),
        r"^(?!(attacks|sanity|verify): ).*\S",
        ("again/", "the same run, made on the reviewer's machine"),
    ),
    "teacher": Job(
        "A teacher who needs a slide",
        "Has no files. Wants a picture of a segmentation that an attack breaks.",
        (
            (
                "palpate run --model.name palpate/tiny --data.name phantom-endoscopy "
                "--data.test-limit 2 --evaluate.attacks noise fgsm --evaluate.epsilon-255 2 8 "
                "--evaluate.examples 2 --evaluate.sanity-samples 1", 0,
            ),
        ),
        SCORES,
        ("runs/tiny-phantom-endoscopy/figures/", "the pictures, as PNG and as vector graphics"),
    ),
    "volumes": Job(
        "An owner of volumes",
        "Has CT volumes in NIfTI (`volumes/imagesTr`, `volumes/labelsTr`; 1 liver, 2 tumour) and "
        "a network with three classes as TorchScript. Wants the robustness for each structure.",
        (
            (
                "palpate data prepare mask2d --source volumes --out data --split-as test --options "
                "slices largest labels 1=liver,2=tumour window 40,400", 0,
            ),
            (
                'palpate run --model.name net.ts --model.options out classes classes "{liver: 1, '
                'tumour: 2}" --data.name folder --data.root data/mask2d --data.size 64', 0,
            ),
        ),
        SCORES + r"|^data/|images; ",
        ("runs/net-folder/report/index.html", "a table for each structure"),
    ),
    "grey": Job(
        "An owner of a grey one-channel network",
        "Has `echo.ts`, a TorchScript network that reads one channel, and grey images with masks. "
        "Wants to know how much of the DSC is left under attack.",
        (("palpate evaluate echo.ts --images images --masks masks --size 64", 0),),
        SCORES,
        ("runs/echo-grey/report/index.html", "tables, pictures and the sanity card"),
    ),
}  # fmt: skip


def main() -> None:
    """Play the users named on the command line, or all, and write the page."""
    home = Path(tempfile.mkdtemp(prefix="jobs-"))
    wanted = sys.argv[1:] or [*JOBS]
    if "reviewer" in wanted and "author" not in wanted:
        wanted.insert(0, "author")
    for user in (user for user in JOBS if user in wanted):
        folder = home / user
        folder.mkdir()
        getattr(job_files, user)(folder)
        told = section(JOBS[user], folder)
        sections = read_sections() | {user: told}
        write_page(sections)
    shutil.rmtree(home)
    print(PAGE)


def write_page(sections: Mapping[str, str]) -> None:
    """Write the sections in the order of the users."""
    parts = [f"<!-- {name} -->\n\n{sections[name]}" for name in JOBS if name in sections]
    PAGE.write_text("\n".join([INTRODUCTION, *parts]), encoding="utf-8")


def read_sections() -> dict[str, str]:
    """Sections of the page as it is, by user."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    parts = re.split(r"^<!-- (\w+) -->$", text, flags=re.MULTILINE)
    return {name: body.strip() + "\n" for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def section(job: Job, folder: Path) -> str:
    """Run the commands of a user, and tell what happened in Markdown."""
    lines = [f"## {job.title}", "", job.told, ""]
    for name, language in job.shown:
        lines += [
            f"`{name}`:",
            "",
            f"```{language}",
            (folder / name).read_text().strip(),
            "```",
            "",
        ]
    for command, status in job.commands:
        told, seconds = played(command, status, folder)
        shown = "\n".join(shortened(told, job.keep))
        note = f"{seconds:.0f} CPU seconds" + (f", exit status {status}" if status else "") + ":"
        lines += ["```", command, "```", "", note, "", "```text", shown, "```", ""]
    path, content = job.answer
    assert (folder / path).exists(), f"{folder / path} is missing"
    lines += [f"Answer: `{path}` ({content}).", "", machine(), ""]
    return "\n".join(lines)


def played(command: str, status: int, folder: Path) -> tuple[str, float]:
    """Run a command in a folder; what it printed, and its CPU seconds."""
    words = [sys.executable, "-m", *shlex.split(command)]
    settings = {**os.environ, "COLUMNS": "100"}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(words, cwd=folder, env=settings, stdout=out, stderr=out)
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        out.seek(0)
        told = out.read()
    print(command, f"-> {process.returncode}, {used.ru_utime + used.ru_stime:.0f} s", flush=True)
    if process.returncode != status:
        raise SystemExit(f"Expected exit status {status}, got {process.returncode}:\n{told}")
    return told, used.ru_utime + used.ru_stime


def shortened(told: str, keep: str) -> list[str]:
    """The lines that ``keep`` finds; others become ``...``, blank and progress lines vanish."""
    lines: list[str] = []
    for line in told.splitlines():
        if not line.strip() or re.match(r"\w[\w ]*: \d+/\d+", line):
            continue
        if re.search(keep, line):
            lines.append(line.rstrip())
        elif not lines or lines[-1] != "...":
            lines.append("...")
    return lines


def machine() -> str:
    """When and on what the seconds were measured."""
    threads = torch.get_num_threads()
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores ({platform.machine()}) "
        f"shared with other work, {threads} thread{'s' * (threads > 1)}, Python "
        f"{platform.python_version()}, torch {torch.__version__}."
    )


if __name__ == "__main__":
    main()
