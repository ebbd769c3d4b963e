"""A table as Markdown and as LaTeX; whatever a name contains, it stays text."""

import re
from typing import Final

import pandas as pd

from palpate.report.table import Table

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # at the start of a line it would be an argument of the line break before
    "]": "{]}",
    "ε": r"$\varepsilon$",
    "∞": r"$\infty$",
    "−": r"$-$",
    "–": r"--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
}
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>|~#])")
_WIDE: Final = 8  # columns; beyond, the table is set smaller and across both columns of a page


def markdown(table: Table) -> str:
    """A pipe table under a heading, with its caption.

    >>> escape_markdown("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    shown = _without_repeats(table).map(escape_markdown)
    header = [escape_markdown(str(column)) for column in shown.columns]
    rule = [":--" if column in table.text_columns else "--:" for column in shown.columns]
    lines = [header, rule, *shown.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"## {escape_markdown(table.title)}\n\n{body}\n\n{escape_markdown(table.caption)}\n"


def latex(table: Table) -> str:
    """A ``table`` environment in booktabs style; lines of one data set stand together."""
    shown = _without_repeats(table)
    columns = "".join("l" if column in table.text_columns else "r" for column in shown.columns)
    wide = len(columns) > _WIDE
    environment = "table*" if wide else "table"
    body = [_line(map(escape_latex, map(str, shown.columns))), r"\midrule"]
    for index, cells in enumerate(shown.to_numpy().tolist()):
        if index and cells[0]:
            body.append(r"\midrule")
        body.append(_line(map(_cell, cells)))
    tabular = "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]
    )
    if wide:
        tabular = f"\\resizebox{{\\textwidth}}{{!}}{{%\n{tabular}}}"
    return "\n".join(
        [
            f"% needs \\usepackage{{booktabs{',graphicx' if wide else ''}}}",
            rf"\begin{{{environment}}}[t]",
            r"\centering\small",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            tabular,
            rf"\end{{{environment}}}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is.

    >>> print(escape_latex("5 % of a_b & {c}"))
    5 \\% of a\\_b \\& \\{c\\}
    """
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _line(cells: object) -> str:
    assert hasattr(cells, "__iter__")
    return " & ".join(cells) + r" \\"


def _cell(text: str) -> str:
    """The interval of a number is set smaller than the number."""
    number, bracket, rest = str(text).partition(" [")
    interval = rf" {{\scriptsize [{escape_latex(rest)}}}" if bracket else ""
    return escape_latex(number) + interval


def _without_repeats(table: Table) -> pd.DataFrame:
    """Blank what the line above already says, in the leading columns that name a group."""
    shown = table.shown.copy()
    same = pd.Series(True, index=shown.index)
    for column in table.group_columns:
        same &= table.shown[column].eq(table.shown[column].shift())
        shown[column] = shown[column].where(~same, "")
    return shown
