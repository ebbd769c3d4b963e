"""A run folder that was moved is verified by itself; what is not its own is found or refused."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from palpate.cli import main
from palpate.data import load_data
from palpate.evaluation.results.store import PROTOCOL_FILE, read_every_row
from palpate.located import located
from palpate.pipeline.recipe.config import DataConfig
from palpate.pipeline.recipe.reading import config_from, read_config, write_config
from palpate.pipeline.repeat.evaluate import evaluate_run
from palpate.pipeline.repeat.opened import Elsewhere, opened
from palpate.pipeline.repeat.verify import compared_rows, verify
from palpate.pipeline.run.run import evaluate_again, train_only
from palpate.pipeline.run_folder.sources import SUMS, keep_sources, read_sources, seal
from palpate.pipeline.stages.preparation import Splits

from .conftest import shell

ATTACK = """
from pathlib import Path

from steps_of_mine import length

FACTOR = float(Path("factor.txt").read_text())

def press(model, images, masks, *, epsilon):
    return (images + FACTOR * length(epsilon)).clamp(0, 1)
"""
ATTACKS = {
    "noise": {},
    "pgd": {"steps": 2},
    "square": {"queries": 5},
    "mine": {"attack": "mine.py:press"},
    "text-typos": {},
    "medis-tables": {"targets": ["untargeted", "white"], "losses": ["bce_dice"], "steps": 2},
    "universal": {"fit": {"epochs": 1}},
}
METRIC = (
    "def overlap(predictions, masks):\n    return (predictions & masks).flatten(1).sum(1) / 99\n"
)


@pytest.fixture(scope="module")
def made(values, tmp_path_factory):
    """A run with own code and all kinds of rows, whose last attack was added in a second call.

    The code is deleted and the folder moved afterwards.
    """
    place, before = tmp_path_factory.mktemp("author"), Path.cwd()
    (place / "mine.py").write_text(ATTACK)
    (place / "steps_of_mine.py").write_text("def length(epsilon):\n    return epsilon / 2\n")
    (place / "score.py").write_text(METRIC)
    (place / "factor.txt").write_text("1.0")
    changed = json.loads(json.dumps(values))
    changed["evaluate"] |= {"attacks": ATTACKS, "epsilon_255": [8], "examples": 0}
    changed["evaluate"] |= {"sanity_samples": 0, "metrics": ["dsc", "iou", "score.py:overlap"]}
    os.chdir(place)
    try:
        train_only(config_from(changed))
        evaluate_again(Path("runs/tiny"), None, None)
        evaluate_again(Path("runs/tiny"), ("fgsm",), (4.0,))
        moved = tmp_path_factory.mktemp("reviewer") / "their run"
        shutil.move("runs/tiny", moved)
    finally:
        os.chdir(before)
    shutil.rmtree(place)
    return moved


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run, to spoil."""
    return shutil.copytree(made, tmp_path / "run")


def parts(folder):
    return sorted((folder / "rows").glob("part-*.parquet"))


def rewrite(path, table, like):
    pq.write_table(table.replace_schema_metadata(like.schema.metadata), path)


def test_every_kind_of_row_of_a_moved_run_is_computed_again_to_the_last_bit(made):
    found = verify(made, 0)
    assert {row.status for row in found.rows} == {"identical"}
    kinds = {row.stored["kind"] for row in found.rows}
    assert kinds == {"image", "text", "medis"}
    assert {row.store for row in found.rows} == {"rows", "baseline"}
    assert {"mine", "square", "universal", "fgsm"} <= {row.stored["attack"] for row in found.rows}
    assert found.passed
    assert found.total == len(found.rows)


def test_a_sample_is_drawn_from_the_seed(made):
    def keys(seed):
        return [(r.stored["attack"], r.stored["key"]) for r in verify(made, 3, seed).rows]

    assert len(keys(0)) == 3
    assert keys(0) == keys(0)


# One change of each kind, of a column to a value; 20 rows get one each.
FORGERIES = (
    ("dsc", 0.9), ("dsc", 0.123), ("iou", 0.8), ("overlap", 0.5), ("dsc_clean", 0.99),
    ("epsilon", 2 / 255), ("key", "elsewhere"), ("image_name", "other.png"), ("seed", 7),
    ("group", "patient"), ("prompt", "liver"), ("attack", "apgd"), ("norm", "l2"),
    ("success", None), ("failure", "shifted!"), ("linf", 0.001), ("loss", 9.0), ("area", 0.9),
    ("forwards", 99.0), ("mask_area", 0.4),
)  # fmt: skip


def forge(folder):
    """Change one value in each of 20 rows of images; return what was changed."""
    (path,) = [path for path in parts(folder) if len(pq.read_table(path)) > 20]
    table = pq.read_table(path)
    lines = table.to_pylist()
    images = [i for i, line in enumerate(lines) if line["kind"] == "image"]
    chosen = np.random.default_rng(3).choice(images, len(FORGERIES), replace=False)
    for place, (column, value) in zip(chosen, FORGERIES, strict=True):
        lines[place][column] = not lines[place][column] if value is None else value
    rewrite(path, pa.Table.from_pylist(lines, schema=table.schema), table)
    return sorted((lines[i]["attack"], lines[i]["key"], lines[i]["epsilon"]) for i in chosen)


def test_twenty_of_twenty_forged_rows_are_found_also_if_the_hashes_are_forged(run):
    forged = forge(run)
    assert len(forged) == 20
    (run / SUMS).unlink()
    seal(run)
    found = verify(run, 0)
    wrong = [row.stored for row in found.rows if row.status in ("differs", "unknown")]
    assert sorted((line["attack"], line["key"], line["epsilon"]) for line in wrong) == forged
    assert not found.files
    assert not found.passed


def test_a_changed_file_is_found_without_its_rows(run):
    (path,) = [path for path in parts(run) if len(pq.read_table(path)) > 20]
    forge(run)
    seal(run)  # as another evaluation would; the hash of a part stays
    assert f"rows/{path.name} was changed" in verify(run, 1).files


def test_dropped_rows_are_missed(run):
    path = parts(run)[0]
    table = pq.read_table(path)
    kept = [line["attack"] != "mine" for line in table.to_pylist()]
    dropped = len(kept) - sum(kept)
    rewrite(path, table.filter(pa.array(kept)), table)
    assert dropped
    assert len([line for line in verify(run, 1).missing if line.startswith("mine")]) == dropped


@pytest.fixture
def data_copy(data_root, tmp_path):
    return shutil.copytree(data_root, tmp_path / "data")


def test_one_changed_pixel_is_refused_by_name(run, data_copy):
    path = data_copy / "images" / "test0.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(ValueError, match=r"not the data of the run.*1 changed \(folder test0\)"):
        verify(run, 1, elsewhere=Elsewhere(root=data_copy))


def test_missing_data_are_refused_by_name(run, data_copy, tmp_path):
    (data_copy / "masks" / "test1.png").unlink()
    with pytest.raises(FileNotFoundError, match="test1"):
        verify(run, 1, elsewhere=Elsewhere(root=data_copy))
    with pytest.raises(FileNotFoundError, match=r"--data\.root"):
        verify(run, 1, elsewhere=Elsewhere(root=tmp_path / "nowhere"))


def test_missing_folders_of_own_data_are_refused_with_their_option(run, tmp_path):
    nowhere = Elsewhere(images=tmp_path, masks=tmp_path / "masks")
    with pytest.raises(FileNotFoundError, match=r"masks, which is not there.*--data\.masks"):
        verify(run, 1, elsewhere=nowhere)


def test_changed_code_is_refused_before_it_is_run(run):
    (run / "sources" / "steps_of_mine.py").write_text("raise SystemExit\n")
    with pytest.raises(ValueError, match=r"steps_of_mine\.py changed since the run"):
        verify(run, 1)


def test_other_weights_are_refused_by_hash(run, made):
    (run / "checkpoint" / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="weights"):
        verify(run, 1)
    shutil.rmtree(run / "checkpoint")
    with pytest.raises(FileNotFoundError, match=r"--model\.checkpoint"):
        verify(run, 1)
    assert verify(run, 1, elsewhere=Elsewhere(checkpoint=made / "checkpoint")).rows


def test_rows_of_another_version_are_named(run):
    for path in parts(run):
        table = pq.read_table(path)
        metadata = {**table.schema.metadata, b"palpate.release": b"0.0.9"}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    assert any("palpate 0.0.9" in note for note in verify(run, 1).notes)


def test_a_run_repeated_with_a_changed_attack_says_so(run, made):
    assert not compared_rows(made, run, 0.5).notes
    path = run / "rows" / PROTOCOL_FILE
    path.write_text(path.read_text().replace("steps=2", "steps=3"))
    for part in parts(run):
        table = pq.read_table(part)
        told = {k: v.replace(b"steps=2", b"steps=3") for k, v in table.schema.metadata.items()}
        pq.write_table(table.replace_schema_metadata(told), part)
    (note,) = compared_rows(made, run, 0.5).notes
    assert "rows were not made alike" in note
    assert "steps=3" in note


def test_a_folder_of_an_earlier_version_says_what_it_lacks(run):
    (run / "sources.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no sources\.json"):
        verify(run, 1)


def test_rows_are_not_added_to_those_of_changed_imports(run, monkeypatch):
    """A row store hashes the file of an attack, but not what that file imports."""
    code = run.parent / "code"
    shutil.copytree(run / "sources", code)
    (code / "steps_of_mine.py").write_text("def length(epsilon):\n    return epsilon\n")
    monkeypatch.chdir(code)
    with pytest.raises(ValueError, match=r"steps_of_mine\.py was changed since the rows"):
        evaluate_run(run, ("mine",), (2.0,))


def test_code_is_kept_also_if_an_entry_has_its_name(tmp_path, monkeypatch):
    """As ``--evaluate.attacks mine.py:press`` makes it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def press(model, images, masks, *, epsilon):\n    pass\n")
    config = config_from(
        {"model": {"name": "palpate/tiny"}, "evaluate": {"attacks": {"mine.py:press": {}}}}
    )
    (tmp_path / "run").mkdir()
    data = load_data("phantom-endoscopy", size=32, limit=1)
    keep_sources(config, Splits(data, None, None), tmp_path / "run")
    assert set(read_sources(tmp_path / "run").files) == {"mine.py"}


def test_a_hugging_face_folder_is_found_from_where_the_run_was_started(run, tmp_path, monkeypatch):
    config = read_config(run / "config.yaml")
    named = replace(config, data=DataConfig(name="hf:sets/polyps?mask=outline"))
    (run / "config.yaml").unlink()
    write_config(named, run / "config.yaml")
    place = run / read_sources(run).working_folder / "sets" / "polyps"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with opened(run):
        assert located("sets/polyps") == place.resolve()
    with opened(run, Elsewhere(root=run / "sources")):
        assert located("sets/polyps") == place.resolve()
    below = tmp_path / "theirs" / "sets" / "polyps"
    below.mkdir(parents=True)
    with opened(run, Elsewhere(root=tmp_path / "theirs")):
        assert located("sets/polyps") == below


def test_attacks_are_added_to_a_run_that_was_moved(run, tmp_path, monkeypatch):
    """With its code from the folder, and new code from where the user is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("palpate.pipeline.run.run.make_report", lambda folder: folder)
    (tmp_path / "new.py").write_text(
        "def lift(model, images, masks, *, epsilon):\n    return (images + epsilon).clamp(0, 1)\n"
    )
    started = read_sources(run).working_folder
    evaluate_run(Path("run"), ("mine", "new.py:lift"), (4.0,))
    rows = read_every_row(run / "rows")
    added = rows[rows["epsilon"].sub(4 / 255).abs() < 1e-9]
    assert {"mine", "lift"} <= set(added["attack"])
    assert (run / "sources" / "new.py").is_file()
    assert read_sources(run).working_folder == started
    assert verify(run, 4).passed
    (tmp_path / "new.py").write_text("def lift(model, images, masks, *, epsilon):\n    pass\n")
    with pytest.raises(ValueError, match=r"new\.py was changed since the rows"):
        evaluate_run(Path("run"), ("new.py:lift",), (2.0,))


def test_the_run_folder_says_what_it_was_made_of(made):
    kept = read_sources(made)
    assert set(kept.files) == {"mine.py", "score.py"}
    names = ("mine.py", "score.py", "steps_of_mine.py", "factor.txt")
    assert {f"sources/{name}" for name in names} == set(kept.hashes)
    assert {role: len(told) for role, told in kept.data.items()} == {
        "attacked": 5, "train": 8, "val": 4,
    }  # fmt: skip
    assert str(made.parent) not in (made / "sources.json").read_text()


@pytest.mark.slow
def test_a_run_is_repeated_from_any_folder(made, tmp_path):
    done = shell("rerun", str(made), "--out", str(tmp_path / "again"), "--keep-checkpoint")
    assert done.returncode == 0, done.stderr
    assert shell("verify", str(made), "--rows", "2").returncode == 0
    total = len(read_every_row(made / "rows")) + len(read_every_row(made / "baseline"))
    assert f"{total} of {total} rows computed again: {total} identical." in done.stdout
    assert (tmp_path / "again" / "report" / "index.html").is_file()
    assert (tmp_path / "again" / "sources" / "mine.py").is_file()


def finish(*arguments):
    """The exit status of a command in this process."""
    try:
        main(list(arguments))
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_the_exit_status_is_for_a_ci(made, run, capsys):
    forge(run)
    seal(run)
    assert finish("verify", str(made), "--rows", "1") == 0
    assert finish("verify", str(run), "--rows", "1") == 1
    capsys.readouterr()
    assert finish("verify", str(made), "--data.root", str(made)) == 2
    assert "--data.root" in capsys.readouterr().err
