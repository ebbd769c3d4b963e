"""Numbers one can trust: rows of results, metrics, intervals and the sanity card."""

from palpate.evaluation.evaluate import evaluate
from palpate.evaluation.protocol.protocol import PAPER, SOUND, Protocol
from palpate.evaluation.results.examples import Example, ExampleStore, read_examples
from palpate.evaluation.results.rows import CLEAN, COLUMNS, Identity, Row
from palpate.evaluation.results.store import RowStore, merge_rows, read_fingerprint, read_rows
from palpate.evaluation.statistics.prompt_sensitivity import prompt_sensitivity
from palpate.evaluation.text.conditions import Joint
from palpate.evaluation.text.evaluate import evaluate_texts
from palpate.evaluation.transfer import transfer_matrix
from palpate.evaluation.universal import fit_universal_on

__all__ = [
    "CLEAN",
    "COLUMNS",
    "PAPER",
    "SOUND",
    "Example",
    "ExampleStore",
    "Identity",
    "Joint",
    "Protocol",
    "Row",
    "RowStore",
    "evaluate",
    "evaluate_texts",
    "fit_universal_on",
    "merge_rows",
    "prompt_sensitivity",
    "read_examples",
    "read_fingerprint",
    "read_rows",
    "transfer_matrix",
]
