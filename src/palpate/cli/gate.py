"""``palpate gate``: the verdict on a run as a table and as exit status."""

import shlex
import sys
from pathlib import Path

import tyro

from palpate.cli.json_output import check_target, give

# 1 and 2 are the exit statuses of errors, as of every command.
STATUSES = {"met": 0, "not met": 3, "undecided": 4}


def gate(
    run: tyro.conf.Positional[Path],
    criteria: Path | None = None,
    page: bool = False,
    json: Path | None = None,
) -> None:
    """Judge a run by acceptance criteria; the exit status is the verdict.

    Exit status: 0 if the criteria are met, 3 if they are not met, 4 if the run has too few images
    to decide, 1 after an error and 2 if the command line cannot be read. Writes verdict.json in the
    run folder, puts the verdict on the page if there is one, and prints the path of verdict.json.

    Args:
        run: Run folder with rows.
        criteria: YAML file of criteria; by default those that the run was started with.
        page: Write tables, figures and the whole page of the run, too.
        json: Print the verdict as JSON, or write it to this file.
    """
    from palpate.cli.tables.verdict import show_verdict
    from palpate.pipeline.run.acceptance import VERDICT
    from palpate.pipeline.run.run import gate as judged
    from palpate.reporting.pdf.document import PDF

    check_target(json)
    verdict = judged(run, criteria, page=page)

    def show() -> None:
        show_verdict(verdict)
        print(run / VERDICT)

    give(verdict.plain, show, json)
    if (run / "report" / PDF).is_file():
        print(
            f"{run / 'report' / PDF} does not have this verdict; write it again: "
            f"{shlex.join(['palpate', 'report', str(run), '--pdf'])}",
            file=sys.stderr,
        )
    sys.exit(STATUSES[verdict.verdict])
