"""Writes tables as Markdown and LaTeX, with all special characters escaped."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

import pandas as pd

from palpate.reporting.tables.table import Table

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
    "ε": r"$\varepsilon$",
    "∞": r"$\infty$",
    "−": r"$-$",
    "–": r"--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "°": r"$^\circ$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "ß": r"{\ss}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
    "œ": r"{\oe}",
    "Œ": r"{\OE}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "ł": r"{\l}",
    "Ł": r"{\L}",
}
_ACCENTS: Final = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u ",
    "\u0307": ".", "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v ", "\u0327": "c ",
}  # fmt: skip
_MARKDOWN: Final = re.compile(r"([\\`*_<>|~#]|\](?=[(\[:]))")  # brackets only where a link begins
_LONG: Final = 40  # lines; beyond, the table runs over several pages
_WIDE: Final = 8  # columns; beyond, the table is set smaller and across both columns of a page


def markdown(table: Table) -> str:
    """A pipe table under a heading, with its caption."""
    shown = _without_repeats(table).map(escape_markdown)
    header = [escape_markdown(str(column)) for column in shown.columns]
    rule = [":--" if column in table.text_columns else "--:" for column in shown.columns]
    lines = [header, rule, *shown.to_numpy().tolist()]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"## {escape_markdown(table.title)}\n\n{body}\n\n{escape_markdown(table.caption)}\n"


def latex(table: Table) -> str:
    """A booktabs table in its float, or a ``longtable`` where it would not fit on one page."""
    shown = _without_repeats(table)
    columns = "".join("l" if column in table.text_columns else "r" for column in shown.columns)
    header = ["\\toprule", _line(escape_latex(str(c)) for c in shown.columns), "\\midrule"]
    body = []
    for index, cells in enumerate(shown.to_numpy().tolist()):
        if index and cells[0]:
            body.append("\\midrule")
        body.append(_line(_cell(str(cell), shrink=len(shown) <= _LONG) for cell in cells))
    caption = f"\\caption{{{escape_latex(table.caption)}}}\\label{{tab:{table.name}}}"
    if len(shown) > _LONG:
        return _longtable(columns, caption, header, body)
    return _float(columns, caption, [*header, *body, "\\bottomrule"])


def _float(columns: str, caption: str, lines: list[str]) -> str:
    wide = len(columns) > _WIDE
    environment = "table*" if wide else "table"
    tabular = [f"\\begin{{tabular}}{{{columns}}}", *lines, "\\end{tabular}"]
    if wide:
        tabular = ["\\resizebox{\\textwidth}{!}{%", *tabular, "}"]
    return _joined(
        f"% needs \\usepackage{{booktabs{',graphicx' if wide else ''}}}",
        f"\\begin{{{environment}}}[t]",
        "\\centering\\small",
        caption,
        *tabular,
        f"\\end{{{environment}}}",
    )


def _longtable(columns: str, caption: str, header: list[str], body: list[str]) -> str:
    return _joined(
        "% needs \\usepackage{booktabs,longtable}, and a page of one column",
        "{\\tiny\\setlength{\\tabcolsep}{2pt}" if len(columns) > _WIDE else "{\\scriptsize",
        f"\\begin{{longtable}}{{{columns}}}",
        f"{caption}\\\\",
        *header,
        "\\endfirsthead",
        *header,
        "\\endhead",
        *body,
        "\\bottomrule",
        "\\end{longtable}}",
    )


def escape_latex(text: str) -> str:
    r"""Escape text so that LaTeX prints it literally.

    >>> print(escape_latex("5 % of a_b & {c}"))
    5 \% of a\_b \& \{c\}
    """
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(map(_latex_sign, composed))


def _latex_sign(sign: str) -> str:
    r"""Write a character in plain LaTeX: accents as commands, other scripts as code points.

    >>> print(_latex_sign("é"), _latex_sign("\u0430"))  # the second only looks like an a
    {\'e} \texttt{U+0430}
    """
    if sign in _LATEX or (sign.isascii() and sign.isprintable()):
        return _LATEX.get(sign, sign)
    letter, *accents = list(unicodedata.normalize("NFD", sign))
    if not (accents and letter.isascii() and _ACCENTS.keys() >= set(accents)):
        return f"\\texttt{{U+{ord(sign):04X}}}"
    for accent in accents:
        letter = f"{{\\{_ACCENTS[accent]}{letter}}}"
    return letter


def escape_markdown(text: str) -> str:
    r"""Escape text so that Markdown shows it literally, on one line.

    >>> print(escape_markdown("a|b <i>"))
    a\|b \<i\>
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _joined(*lines: str) -> str:
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(text: str, shrink: bool) -> str:
    """In a float the interval of a number is set smaller than the number."""
    number, bracket, rest = text.partition(" [")
    if not (bracket and shrink):
        return escape_latex(text)
    return f"{escape_latex(number)} {{\\scriptsize [{escape_latex(rest)}}}"


def _without_repeats(table: Table) -> pd.DataFrame:
    """Blank repeated values in the leading columns that name a group."""
    shown = table.shown.copy()
    same = pd.Series(True, index=shown.index)
    for column in table.group_columns:
        same &= table.shown[column].eq(table.shown[column].shift())
        shown[column] = shown[column].where(~same, "")
    return shown
