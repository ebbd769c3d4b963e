"""Attacks on images and texts and MedIS side by side, in one table and one folder."""

import json
from dataclasses import fields
from functools import partial

import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from palpate.attacks import noise, pgd
from palpate.attacks.text import TEXT_ATTACKS, TextAttack, character_noise
from palpate.evaluation import (
    ExampleStore,
    Joint,
    Medis,
    Protocol,
    Row,
    evaluate,
    evaluate_medis,
    evaluate_texts,
    medis_lines,
    read_examples,
    read_fingerprint,
    read_rows,
)
from palpate.evaluation.resolve import find_attacks
from palpate.evaluation.results.kinds import rows_of_images, rows_of_texts
from palpate.evaluation.sanity import card_from_rows

from .blobs import BlobFinder, blobs

TYPOS = TextAttack(partial(character_noise, count=3), "benign")
JOINT = Joint(partial(pgd, epsilon=8 / 255, steps=2), TYPOS, 1)
MEDIS = Medis(targets=["untargeted", "white"], losses=["dice", "bce"], steps=2)
NAMES = [field.name for field in fields(Row)]
NEW_COLUMNS = NAMES[NAMES.index("kind") :]
ATTACKS = {"noise": noise, "typos": TYPOS, "joint": JOINT, "medis-tables": MEDIS}


def run(attacks=ATTACKS, data=None, **settings):
    settings = {"epsilons": [8 / 255], "batch_size": 3} | settings
    return evaluate(BlobFinder(), data or blobs(5), attacks, **settings)


def timeless(rows):
    return rows.drop(columns="seconds")


@pytest.fixture(scope="module")
def rows():
    return run()


def test_every_condition_has_its_rows(rows):
    assert rows.groupby(["kind", "attack"]).size().to_dict() == {
        ("image", "clean"): 5,
        ("image", "noise"): 5,
        ("text", "typos"): 5,
        ("joint", "joint"): 5,
        ("medis", "medis-tables"): 5 * 2 * 2,
    }


@pytest.mark.parametrize("name", ATTACKS)
def test_what_stands_beside_an_attack_does_not_change_its_rows(name, rows):
    alone = run({name: ATTACKS[name]})
    beside = rows[rows["attack"].isin(["clean", name])].reset_index(drop=True)
    assert_frame_equal(timeless(alone), timeless(beside), rtol=1e-5, atol=1e-6)


def test_attacks_of_all_kinds_can_be_added_to_a_folder(rows, tmp_path):
    for name, attack in ATTACKS.items():
        run({name: attack}, out=tmp_path, limit=2)
    told = []
    again = run(out=tmp_path, progress=lambda *what: told.append(what[1:3]))
    assert_frame_equal(timeless(again), timeless(rows), rtol=1e-5, atol=1e-6)
    # Of the first batch the third sample is missing; two samples had 2 + 2 + 2 * 2 rows each.
    assert told[0] == (2 * 8 + 1, 5 * 8)
    assert told[-1] == (5 * 8, 5 * 8)
    assert_frame_equal(read_rows(tmp_path), again)


def test_kinds_are_told_apart(rows):
    assert set(rows_of_images(rows)["attack"]) == {"clean", "noise"}
    assert set(rows_of_texts(rows)["attack"]) == {"clean", "typos", "joint"}
    lines = medis_lines(rows)
    assert list(lines["loss"][:4]) == ["dice", "bce"] * 2  # as given, not by the alphabet
    assert list(lines["target"][:4]) == ["untargeted"] * 2 + ["white"] * 2
    older = rows.drop(columns=["kind", "target", "loss_name"])
    older = older[older["attack"].isin(["clean", "noise", "typos"])]
    assert set(rows_of_images(older)["attack"]) == {"clean", "noise"}
    assert set(rows_of_texts(older)["attack"]) == {"clean", "typos"}
    assert medis_lines(older).empty
    assert rows_of_texts(rows_of_images(rows)).empty


def test_a_row_of_medis_is_a_row_like_any_other(rows):
    some = rows[rows["kind"] == "medis"]
    clean = rows[rows["attack"] == "clean"].set_index("key")["dsc"]
    assert (some["dsc_clean"] == some["key"].map(clean)).all()
    assert (some["linf"] <= 2 / 255 * (1 + 1e-5)).all()
    assert set(some["epsilon"]) == {10 / 255}
    assert some[["psnr", "hd95", "score", "steps", "miou_target"]].notna().all(axis=None)
    others = rows[rows["kind"] != "medis"]
    assert others[["score", "steps", "miou_target"]].isna().all(axis=None)


def test_the_card_is_about_attacks_on_images(rows):
    assert card_from_rows(rows) == card_from_rows(rows_of_images(rows))


def test_examples_are_of_images_alone(tmp_path):
    run(examples=ExampleStore(tmp_path, 2))
    assert {example.row.attack for example in read_examples(tmp_path)} == {"clean", "noise"}


def test_medis_can_be_confined_to_the_first_samples(rows):
    few = Medis(targets=["white"], losses=["dice"], steps=2, limit=2)
    some = run({"noise": noise, "few": few})
    assert set(some.loc[some["kind"] == "medis", "key"]) == {"k0", "k1"}
    assert len(rows_of_images(some)) == 10


def test_attacks_are_found_by_name():
    assert find_attacks(["pgd", "text-typos"]) == {
        "pgd": pgd, "text-typos": TEXT_ATTACKS["text-typos"],
    }  # fmt: skip
    assert find_attacks({"mine": "noise", "other": pgd}) == {"mine": noise, "other": pgd}
    rows = run(["noise"])
    assert set(rows["attack"]) == {"clean", "noise"}


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        (["fsgm"], r"no attack 'fsgm'; expected one of noise, .*Did you mean 'fgsm'"),
        ("pgd", r"a list of attacks, got 'pgd'; write \['pgd'\]"),
        (["pgd", "pgd"], "every attack once, got pgd, pgd"),
        ({"clean": TYPOS}, "other names than 'clean'"),
        ({"mine": 3}, "attack 'mine' to be a function .*, got int"),
    ],
)
def test_attacks_that_cannot_be_found_are_named(attacks, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        find_attacks(attacks)


@pytest.mark.parametrize("name", ["typos", "joint", "medis-tables"])
def test_only_attacks_on_images_have_another_protocol(name):
    with pytest.raises(ValueError, match=rf"images only under the protocol 'stored'.* got {name}"):
        run({name: ATTACKS[name]}, protocol=Protocol("stored", storage="png"))
    rows = run({name: ATTACKS[name]}, protocol=Protocol("mine"), limit=1)
    assert set(rows["protocol"]) == {"mine"}


def test_the_older_functions_give_the_same_and_say_what_to_use(rows, tmp_path):
    with pytest.warns(DeprecationWarning, match=r"use evaluate\(model, data, attacks\)"):
        texts = evaluate_texts(BlobFinder(), blobs(5), {"typos": TYPOS, "joint": JOINT})
    assert_frame_equal(timeless(texts), timeless(rows_of_texts(rows)), rtol=1e-5, atol=1e-6)
    options = {"targets": ["untargeted", "white"], "losses": ["dice", "bce"], "steps": 2}
    with pytest.warns(DeprecationWarning, match="use medis_lines"):
        lines = evaluate_medis(BlobFinder(), blobs(5), **options)
    assert_frame_equal(timeless(lines), timeless(medis_lines(rows)), rtol=1e-5, atol=1e-6)
    (tmp_path / "medis.json").write_text("{}")
    with (
        pytest.warns(DeprecationWarning, match="use medis_lines"),
        pytest.raises(ValueError, match="lines of MedIS in the format of an older version"),
    ):
        evaluate_medis(BlobFinder(), blobs(1), out=tmp_path, **options)


def test_rows_of_an_older_version_are_not_computed_again(tmp_path):
    """It named functions with their files, and its rows had fewer columns."""
    rows = run({"noise": noise, "typos": TYPOS}, out=tmp_path)
    made_of = read_fingerprint(tmp_path)
    older = {k: v.replace("palpate.attacks.", "palpate.attacks.noise.") for k, v in made_of.items()}
    assert older != made_of
    (tmp_path / "protocol.json").write_text(json.dumps(older))
    (part,) = tmp_path.glob("part-*.parquet")
    table = pq.read_table(part)
    columns = [name for name in table.column_names if name not in NEW_COLUMNS]
    metadata = {**table.schema.metadata, b"palpate": json.dumps(older).encode()}
    pq.write_table(table.select(columns).replace_schema_metadata(metadata), part)
    model = BlobFinder()
    model.forward = lambda *_, **__: pytest.fail("a row was computed again")
    attacks = {"noise": noise, "typos": TYPOS}
    again = evaluate(model, blobs(5), attacks, epsilons=[8 / 255], out=tmp_path)
    assert_frame_equal(again.drop(columns="kind"), rows.drop(columns="kind"))
    assert set(rows_of_texts(again)["attack"]) == {"clean", "typos"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["grey"]}, "some of untargeted, random"),
        ({"losses": ["dise"]}, "no loss 'dise'"),
        ({"limit": 0}, "limit >= 1, got 0"),
        ({"copies": 0}, "copies >= 1, got 0"),
    ],
)
def test_medis_is_checked_when_it_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        Medis(**options)
