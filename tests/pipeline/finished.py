"""Run folders with made-up rows: for what is done with runs once they are finished."""

from dataclasses import replace

from palpate.evaluation import COLUMNS, Row, RowStore
from palpate.pipeline.recipe.config import DataConfig, ModelConfig, RunConfig
from palpate.pipeline.recipe.reading import write_config

from ..reporting.conftest import make_rows

KVASIR = {"kvasir": (("polyp",), 6, 0.86)}
CONFIG = RunConfig(
    model=ModelConfig(name="palpate/tiny", adapter=None), data=DataConfig(name="phantom-endoscopy")
)


def few_rows(**changes):
    """Six images under noise and PGD at one radius."""
    return make_rows(KVASIR, attacks=("noise", "pgd"), steps=(8,)).assign(**changes)


def store(folder, rows):
    """Leave rows as an evaluation would."""
    names = [name for name in COLUMNS if name in rows.columns]
    with RowStore(folder, {"protocol": str(rows["protocol"].iloc[0])}) as opened:
        opened.add([Row.of(line) for line in rows[names].to_dict("records")])


def finished_run(folder, rows=None, config=CONFIG):
    """A run folder that has a configuration and rows; the configuration of it."""
    config = replace(config, out=folder)
    folder.mkdir(parents=True)
    write_config(config, folder / "config.yaml")
    store(folder / "rows", few_rows() if rows is None else rows)
    return config
