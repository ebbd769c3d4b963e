"""Metrics by name, of the user, and in rows."""

import inspect
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from pandas.testing import assert_frame_equal

from palpate.attacks import noise
from palpate.evaluation import RowStore, evaluate, read_rows
from palpate.evaluation.metrics import METRICS, Metric, MetricInputs, find_metrics
from palpate.evaluation.results.rows import COLUMNS, Row

from .blobs import BlobFinder, blobs
from .sample_row import ROW, SCORES

DEFAULT = ("dsc", "iou", "miou", "hd95", "nsd")


def area_error(predictions, masks):
    return (predictions.flatten(1).sum(1) - masks.flatten(1).sum(1)).abs()


area_error.direction = "lower"
area_error.unit = "px"


def confidence(logits):
    return logits.sigmoid().flatten(1).max(1).values


def parameters(metric):
    return {*inspect.signature(metric.function).parameters}


def press(metrics=None, **settings):
    return evaluate(
        BlobFinder(), blobs(2), {"noise": noise}, epsilons=[0.1], metrics=metrics, **settings
    )


def test_the_default_ones_are_the_columns_of_old():
    assert tuple(metric.name for metric in find_metrics()) == DEFAULT
    assert tuple(press().columns) == COLUMNS


OF_MASKS = {n: m for n, m in METRICS.items() if not {"maps", "curves", "logits"} & parameters(m)}


@pytest.mark.parametrize("metric", OF_MASKS.values(), ids=OF_MASKS)
def test_each_keeps_its_range_and_its_rule_for_empty_masks(metric):
    something = torch.zeros(1, 1, 6, 8, dtype=torch.bool)
    something[..., 1:4, 2:5] = True
    empty = torch.zeros_like(something)
    best = metric.range[metric.direction == "higher"]
    assert metric(something, something).item() == best
    assert metric(empty, empty).item() == best
    worst = 0.0 if metric.direction == "higher" else 10.0  # the diagonal
    if metric.name != "miou":  # whose background is mostly right
        assert metric(something, empty).item() == metric(empty, something).item() == worst
    assert metric.empty
    assert metric.label


def test_one_of_your_own_is_a_column():
    rows = press(["dsc", area_error, confidence, "recall"])
    assert [name for name in rows.columns if name not in COLUMNS] == [
        "area_error", "confidence", "recall",
    ]  # fmt: skip
    assert "hd95" not in rows.columns
    plain = press()
    assert_frame_equal(rows[["dsc", "dsc_clean"]], plain[["dsc", "dsc_clean"]])
    pixels = rows["height"] * rows["width"]
    expected = ((rows["area"] - rows["mask_area"]).abs() * pixels).round()
    assert rows["area_error"].tolist() == expected.tolist()
    assert rows.attrs["metrics"]["area_error"]["direction"] == "lower"
    assert rows.attrs["metrics"]["area_error"]["unit"] == "px"


def test_success_is_told_by_dsc_whether_or_not_it_is_asked_for():
    assert press(["hd95"])["dsc"].notna().all()


def test_a_store_keeps_to_its_metrics(tmp_path):
    press([area_error], out=tmp_path)
    rows = press([area_error], out=tmp_path)
    assert rows["area_error"].notna().all()
    with pytest.raises(ValueError, match=r"they differ in metric.*area_error"):
        press(out=tmp_path)

    def changed(predictions, masks):
        return 2 * area_error(predictions, masks)

    changed.__name__ = "area_error"
    with pytest.raises(ValueError, match=r"metric\.area_error .*source"):
        press([changed], out=tmp_path)


def test_rows_that_lack_a_metric_are_read_and_gone_on_with(tmp_path):
    press(out=tmp_path)
    (path,) = tmp_path.glob("part-*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["nsd"]), path)
    old = read_rows(tmp_path)
    assert "nsd" not in old.columns
    assert tuple(column for column in COLUMNS if column != "nsd") == tuple(old.columns)
    both = evaluate(BlobFinder(), blobs(2), {"noise": noise}, epsilons=[0.1, 0.2], out=tmp_path)
    assert tuple(both.columns) == COLUMNS
    assert (both["nsd"].isna() == (both["epsilon"] < 0.2)).all()


def test_rows_from_before_metrics_were_declared_are_read(tmp_path):
    rows = press(out=tmp_path)
    (path,) = tmp_path.glob("part-*.parquet")
    table = pq.read_table(path)
    bare = table.cast(table.schema.remove_metadata())
    for name in bare.schema.names:
        index = bare.schema.get_field_index(name)
        bare = bare.set_column(index, bare.schema.field(name).remove_metadata(), bare[name])
    pq.write_table(bare.replace_schema_metadata(table.schema.metadata), path)
    assert_frame_equal(read_rows(tmp_path), rows)


def test_a_row_is_a_line_and_back():
    assert Row.of(ROW.columns()) == ROW
    assert (ROW.dsc, ROW.dsc_clean) == (0.5, 0.9)


def test_a_metric_called_as_another_column_is_refused(tmp_path):
    def seconds(predictions, masks):
        return area_error(predictions, masks)

    with pytest.raises(ValueError, match="no columns of a row, got seconds"):
        press([seconds], out=tmp_path)
    with pytest.raises(ValueError, match="no columns of a row, got seconds"):
        RowStore(tmp_path, {}, metrics=[seconds])


def nan_where_empty(predictions, masks):
    return (predictions & masks).flatten(1).sum(1) / masks.flatten(1).sum(1)


def mean_over_the_batch(predictions, masks):
    return (predictions == masks).float().mean()


def stumbles(predictions, masks):
    return {}["key"]


def unknown(prediction, masks):
    return area_error(prediction, masks)


def iou(predictions, masks):
    return area_error(predictions, masks)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (nan_where_empty, "'nan_where_empty' to return finite.*got nan for 'empty images'"),
        (mean_over_the_batch, r"one number per image, shape \(4,\), got Tensor"),
        (stumbles, r"'stumbles' cannot be computed: KeyError: 'key' \(line \d+ of .*registry"),
        (unknown, "got a parameter 'prediction'. Did you mean 'predictions'"),
        (iou, "'iou' is that of a metric of palpate"),
        ("isc", "no metric 'isc'; expected some of dsc, .*file.py:function"),
        ("nowhere.py:lesions", "There is no file"),
        (replace(METRICS["dsc"], name="two", range=(2.0, 3.0)), "from 2 to 3, got 1 for 'empty"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_any_work(metric, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_metrics([metric])


def test_what_is_no_metric_is_named():
    with pytest.raises(ValueError, match=r"a list of metrics, got 'dsc'; write \['dsc'\]"):
        find_metrics("dsc")
    with pytest.raises(ValueError, match="an identifier as name, got 'a b'"):
        Metric(area_error, "a b")
    with pytest.raises(ValueError, match="different names, got two named 'area_error'"):
        find_metrics([area_error, Metric(area_error, "area_error")])


def test_an_error_names_the_image():
    masks = torch.tensor([[True], [False]]).view(2, 1, 1, 1)
    inputs = MetricInputs(torch.zeros_like(masks), masks)
    metric = Metric(lambda counts: counts.tp / counts.mask_area, "mine")
    with pytest.raises(ValueError, match="got nan for 'b'"):
        metric.of(inputs, ["a", "b"])


def test_scores_stay_with_their_rows(tmp_path):
    metric = Metric(area_error, "area_error")
    with RowStore(tmp_path, {"a": "b"}, metrics=["dsc", metric]) as store:
        store.add([replace(ROW, scores={"dsc": 0.5, "dsc_clean": 0.9, "area_error": 3.0})])
    (row,) = read_rows(tmp_path).to_dict("records")
    assert row["area_error"] == 3.0
    assert row["dsc"] == SCORES["dsc"]
