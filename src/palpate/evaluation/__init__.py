"""Evaluation of models under attack: rows of results, metrics, statistics and the sanity card."""

from palpate.evaluation.deprecated import evaluate_medis, evaluate_texts
from palpate.evaluation.evaluate import evaluate
from palpate.evaluation.medis.condition import Medis
from palpate.evaluation.medis.rows import medis_lines
from palpate.evaluation.predict import predict
from palpate.evaluation.protocol.protocol import PAPER, SOUND, Protocol
from palpate.evaluation.results.examples import Example, ExampleStore, read_examples
from palpate.evaluation.results.rows import CLEAN, COLUMNS, Identity, Row
from palpate.evaluation.results.store import RowStore, merge_rows, read_fingerprint, read_rows
from palpate.evaluation.statistics.prompt_sensitivity import prompt_sensitivity
from palpate.evaluation.text.conditions import Joint
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
    "Medis",
    "Protocol",
    "Row",
    "RowStore",
    "evaluate",
    "evaluate_medis",
    "evaluate_texts",
    "fit_universal_on",
    "medis_lines",
    "merge_rows",
    "predict",
    "prompt_sensitivity",
    "read_examples",
    "read_fingerprint",
    "read_rows",
    "transfer_matrix",
]
