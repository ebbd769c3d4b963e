import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from palpate.cli.tables.data_check import check_data
from palpate.cli.tables.data_show import show_samples
from palpate.data import from_hugging_face, load_data
from palpate.pipeline.recipe.config import DataConfig

from .conftest import noise, rectangle

datasets = pytest.importorskip("datasets")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SIZE = (12, 8)


def table(count=3, image="image", mask="mask", **columns):
    values = {
        image: [noise(SIZE, n) for n in range(count)],
        mask: [rectangle(SIZE) for _ in range(count)],
    }
    pictures = datasets.Image()
    features = {image: pictures, mask: pictures}
    plain = datasets.Dataset.from_dict(columns) if columns else None
    made = datasets.Dataset.from_dict(values, features=datasets.Features(features))
    for name in columns:
        made = made.add_column(name, plain[name])
    return made


@pytest.fixture
def saved(tmp_path):
    """Saved as data sets are: a split for training, one for validation."""
    texts = ["polyp", "red polyp", "pale polyp"]
    parts = {name: table(text=texts, patient_id=[1, 1, 2]) for name in ("train", "validation")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    return tmp_path / "set"


def test_a_saved_set_is_loaded_by_its_directory(saved):
    data = load_data(f"hf:{saved}", split="val")
    assert [case.prompt for case in data.cases] == ["polyp", "red polyp", "pale polyp"]
    assert [case.group for case in data.cases] == ["1", "1", "2"]
    assert (data.cases[0].dataset, data.cases[0].split) == ("set", "val")
    expected = torch.from_numpy(np.asarray(noise(SIZE, 1)).copy()).permute(2, 0, 1) / 255
    assert_close(data[1].image, expected, rtol=0, atol=0)
    assert data[1].mask.sum() == 16


def test_options_of_load_data_hold(saved):
    data = load_data(f"hf:{saved}", split="val", size=4, limit=2, override_prompt="thing")
    assert len(data) == 2
    assert data[0].image.shape == (3, 4, 4)
    assert data.cases[0].prompt == "thing"
    with pytest.raises(ValueError, match="appearance=None"):
        load_data(f"hf:{saved}", appearance="narrow-band")
    with pytest.raises(ValueError, match=r"annotations='' for 'hf:.*got 'seed-0'"):
        load_data(f"hf:{saved}", annotations="seed-0")


def test_all_is_every_split(saved):
    assert len(load_data(f"hf:{saved}", split="all")) == 6


def test_they_can_be_looked_at_and_checking_says_why_it_cannot(saved, tmp_path):
    sheet = show_samples(f"hf:{saved}", out=tmp_path / "sheet.png", split="val", count=2)
    assert Image.open(sheet).width > 100
    with pytest.raises(ValueError, match=r"got 'hf:me/polyps', which has no folder to check"):
        check_data(["hf:me/polyps"])


def test_a_folder_of_images_with_metadata_is_one_too(tmp_path):
    (tmp_path / "train").mkdir()
    lines = []
    for n in range(2):
        noise(SIZE, n).save(tmp_path / "train" / f"{n}.png")
        rectangle(SIZE).save(tmp_path / "train" / f"{n}_m.png")
        lines.append(f'{{"file_name": "{n}.png", "mask_file_name": "{n}_m.png", "text": "a"}}')
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(lines))
    data = load_data(f"hf:{tmp_path}", split="train")
    assert len(data) == 2
    assert data[0].mask.sum() == 16


def test_tables_in_memory_work_and_columns_have_names_of_their_own():
    mine = table(image="scan", mask="outline", words=["a", "b", "c"], kind=["x", "y", "x"])
    options = {"image": "scan", "mask": "outline", "prompts": "words", "structure": "kind"}
    data = from_hugging_face(mine, split="train", options=options)
    assert [(case.prompt, case.structure) for case in data.cases] == [
        ("a", "x"),
        ("b", "y"),
        ("c", "x"),
    ]


def test_prompts_by_level():
    levels = [{"p1": "polyp", "p2": ["round polyp", "ball"]}] * 2
    data = from_hugging_face(table(2, prompts=levels), prompt="p2")
    assert data.texts[0] == {"p1": ("polyp",), "p2": ("round polyp", "ball")}


def test_one_text_for_all_from_the_name(tmp_path):
    table().save_to_disk(tmp_path / "bare")
    data = load_data(f"hf:{tmp_path / 'bare'}?text=a polyp")
    assert {case.prompt for case in data.cases} == {"a polyp"}
    with pytest.raises(ValueError, match="a column of prompts, or one text for all"):
        load_data(f"hf:{tmp_path / 'bare'}")


def test_a_table_without_splits_is_not_learnt_from_and_tested_on(tmp_path):
    table(text=["a"] * 3).save_to_disk(tmp_path / "whole")
    assert len(load_data(f"hf:{tmp_path / 'whole'}", split="test")) == 3
    with pytest.raises(ValueError, match=r"'train' in .*one table.*counts as 'test' alone"):
        load_data(f"hf:{tmp_path / 'whole'}", split="train")
    values = {"image": [noise(SIZE)], "mask": [rectangle(SIZE)], "text": ["a"]}
    features = table(1, text=["a"]).features
    part = datasets.Dataset.from_dict(values, features=features, split="train[:50%]")
    part.save_to_disk(tmp_path / "part")
    assert len(load_data(f"hf:{tmp_path / 'part'}", split="train")) == 1
    with pytest.raises(ValueError, match="counts as 'train' alone"):
        load_data(f"hf:{tmp_path / 'part'}", split="test")


def test_no_rows_are_no_data():
    with pytest.raises(ValueError, match=r"at least one row in split 'test' .*got none"):
        from_hugging_face(table(2, text=["a"] * 2).select([]))
    with pytest.raises(ValueError, match="limit >= 1, got -1"):
        from_hugging_face(table(2, text=["a"] * 2), limit=-1)


def test_one_value_of_a_label_map_counts():
    labels = np.zeros((8, 12), dtype=np.uint8)
    labels[0, :3], labels[1, :5] = 1, 2
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    values = {"image": [noise(SIZE)], "label": [Image.fromarray(labels)]}
    mine = datasets.Dataset.from_dict(values, features=features)
    counts = {
        str(k): int(from_hugging_face(mine, options={"label": str(k), "text": "a"})[0].mask.sum())
        for k in (1, 2, 3)
    }
    assert counts == {"1": 3, "2": 5, "3": 0}
    with pytest.raises(ValueError, match="label map"):
        from_hugging_face(mine, options={"text": "a"})
    with pytest.raises(ValueError, match="whole number for label"):
        from_hugging_face(mine, options={"text": "a", "label": "liver"})


def test_classes_are_no_masks():
    mine = table(3, mask="other", label=[0, 1, 0])
    with pytest.raises(
        ValueError, match=r"a column for mask .*got image, other, label\. Say which"
    ):
        from_hugging_face(mine)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", "a directory or a name on the hub after hf:"),
        ("hf:a/b?maks=x", "Did you mean 'mask'"),
    ],
)
def test_names_that_cannot_be_meant_are_told_before_any_work(name, message):
    with pytest.raises(ValueError, match=message):
        load_data(name)
    with pytest.raises(ValueError, match=message):
        DataConfig(name=name)


def test_a_recipe_can_name_one(saved):
    assert DataConfig(name=f"hf:{saved}").name.startswith("hf:")
    with pytest.raises(ValueError, match=r"hf:NAME_OR_DIR, .*got 'kvasr'\. Did you mean 'kvasir'"):
        DataConfig(name="kvasr")


def test_wrong_splits_columns_and_places_are_told(saved, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=r"split 'test' \(test or testing\) .* got train, validation"
    ):
        load_data(f"hf:{saved}", split="test")
    with pytest.raises(ValueError, match=r"a column 'maks' in .*Did you mean 'mask'"):
        load_data(f"hf:{saved}?mask=maks", split="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty, which is a directory, but: "):
        load_data(f"hf:{tmp_path / 'empty'}")


def test_broken_rows_are_listed():
    with pytest.raises(ValueError, match=r"texts in every row \(1\):\n  000001: expected prompts"):
        from_hugging_face(
            table(text=["a", None, "c"], patient=["a", "b", "c"]).cast_column(
                "text", datasets.Value("string")
            )
        )


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(RuntimeError, match="pip install datasets"):
        load_data("hf:me/polyps")
