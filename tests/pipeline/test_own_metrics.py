"""A user's own metric, from the recipe to the page."""

import pandas as pd
import pytest

from palpate.evaluation import read_rows
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import run

pytestmark = pytest.mark.filterwarnings("ignore:.* is made anew with random weights")

OWN = """
import torch
from scipy.ndimage import label

from palpate import metrics

def lesion_count(predictions, masks):
    found = [label(prediction[0].cpu().numpy())[1] for prediction in predictions]
    there = [label(mask[0].cpu().numpy())[1] for mask in masks]
    return [abs(a - b) for a, b in zip(found, there)]

lesion_count.direction = "lower"
lesion_count.label = "Lesions missed or made up"

def share_of_image(predictions, masks):
    return predictions.flatten(1).float().mean(1)

size = metrics.Metric(share_of_image, "size", "lower", "Size", range=(0.0, 1.0), primary=False)

def stumbles(predictions, masks):
    return {}[len(masks)]
"""


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "my_metrics.py"
    path.write_text(OWN)
    return path


def recipe(tmp_path, metrics):
    return config_from(
        {
            "name": "small",
            "out": str(tmp_path / "run"),
            "data": {"name": "phantom-endoscopy", "size": 32, "test_limit": 2},
            "model": {
                "name": "monai/unet",
                "options": {"channels": [4, 8], "strides": [2], "num_res_units": 1},
                "adapter": None,
                "learns": "nothing",
            },
            "evaluate": {
                "attacks": {"noise": {}},
                "epsilon_255": [4, 8],
                "sanity_samples": 0,
                "metrics": metrics,
            },
        }
    )


def test_it_is_in_rows_tables_and_page(code, tmp_path):
    metrics = ["dsc", "hd95", f"{code}:lesion_count", f"{code}:size"]
    page = run(recipe(tmp_path, metrics)).read_text()
    rows = read_rows(tmp_path / "run" / "rows")
    assert {"dsc", "hd95", "lesion_count", "size"} < set(rows.columns)
    assert not {"iou", "nsd"} & set(rows.columns)
    tables = tmp_path / "run" / "tables"
    by = ["attack", "epsilon"]
    for table, column, metric in (
        ("main", "lesion_count", "lesion_count"),
        ("quality", "size", "size"),
    ):
        found = pd.read_csv(tables / f"{table}.csv").set_index(by)[column]
        means = rows.groupby(by)[metric].mean()
        assert found.to_dict() == pytest.approx(means.to_dict())
    assert "Lesions missed or made up (lower is better)" in (tables / "main.md").read_text()
    worst = pd.read_csv(tables / "worst-decile.csv").set_index(by)["worst_lesion_count"]
    assert worst.to_dict() == rows.groupby(by)["lesion_count"].max().to_dict()
    assert "Lesions missed or made up over ε" in page  # the title of its chart
    assert page.count("Lesions missed or made up") >= 3
    assert "HD95 (px)" in page


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["{code}:lesions"], "no function 'lesions' in .*Did you mean 'lesion_count'"),
        (["{code}:stumbles"], r"'stumbles' cannot be computed: KeyError: 4 \(line 21 of .*metrics"),
        (["dcs"], "no metric 'dcs'.*Did you mean 'dsc'"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_any_work(metrics, message, code, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(recipe(tmp_path, [name.format(code=code) for name in metrics]))
    assert not (tmp_path / "run" / "rows").exists()
