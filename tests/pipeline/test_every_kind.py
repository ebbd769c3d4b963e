"""One recipe with every kind of attack: fitted, transferred, on the prompt, on both, and MedIS."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from palpate.attacks import ATTACKS
from palpate.attacks.text import TEXT_ATTACKS
from palpate.cli import main
from palpate.evaluation import Joint, medis_lines, read_rows
from palpate.evaluation.results.kinds import rows_of_images, rows_of_texts
from palpate.evaluation.results.rows import SCHEMA
from palpate.pipeline.attacks.images import attacks_of
from palpate.pipeline.attacks.texts import text_attacks_of
from palpate.pipeline.attacks.universal import ToFit
from palpate.pipeline.recipe.reading import config_from
from palpate.pipeline.run.run import make_report, run
from palpate.reporting.tables.text_tables import text_scores, text_tables

EPSILON = 8 / 255
JOINED = {"image": "pgd", "text": "text-hotflip", "epsilon_255": 2}
TABLES = ("texts", "sensitivity", "text-examples", "medis-fused-targeted", "medis-losses-targeted")


@pytest.fixture(scope="module")
def finished(values, clipseg, tmp_path_factory):
    """A run, with what it was told about progress."""
    out = tmp_path_factory.mktemp("every") / "run"
    evaluate = values["evaluate"] | {
        "attacks": {
            "noise": {},
            "pgd": {"steps": 2},
            "ensemble": {"attack": "sea", "steps": 2, "losses": ["bce", "margin"]},
            "universal": {"fit": {"epochs": 2, "batch_size": 4, "loss": "dice"}},
            "other": {"attack": "transfer", "surrogate": str(clipseg), "steps": 2},
            "chosen": {"attack": "medis", "steps": 2, "losses": ["dice"], "target": "nearest"},
            "text-levels": {},
            "text-levels-best": {},
            "text-hotflip": {"flips": 1, "top": 2},
            "text-embedding": {"radius": 0.25, "steps": 2},
            "both": {
                "attack": "joint", "image": {"attack": "pgd", "steps": 2}, "text": "text-levels",
                "epsilon_255": 4, "rounds": 1,
            },
            "medis-tables": {
                "targets": ["white"], "losses": ["dice", "bce"], "steps": 2, "limit": 3
            },
        },
        "epsilon_255": [8],
        "sanity_samples": 0,
    }  # fmt: skip
    told = []
    config = config_from(values | {"out": str(out), "evaluate": evaluate})
    run(config, lambda stage, *_: told.append(stage))
    return out, told


def test_rows_and_lines_of_every_kind(finished):
    out, told = finished
    rows = read_rows(out / "rows")
    images, texts = rows_of_images(rows), rows_of_texts(rows)
    assert set(images["attack"]) == {
        "clean", "noise", "pgd", "ensemble", "universal", "universal-shuffled", "other", "chosen",
    }  # fmt: skip
    assert images.groupby("attack").size().eq(5).all()
    assert set(texts["attack"]) >= {"clean", "text-levels", "text-embedding", "both"}
    assert set(texts.loc[texts["attack"] == "both", "epsilon"]) == {4 / 255}
    assert len(medis_lines(rows)) == 3 * 2
    assert list(medis_lines(rows)["loss"]) == ["dice", "bce"] * 3
    assert not any((out / older).exists() for older in ("texts", "medis"))
    assert list(dict.fromkeys(told)) == ["training", "baseline", "universal universal", "attacks"]


def test_a_fitted_perturbation_is_kept_and_shifts_the_pixels_it_says(finished):
    out, _ = finished
    assert (out / "universal" / "universal.safetensors").is_file()
    rows = read_rows(out / "rows")
    for name in ("universal", "universal-shuffled"):
        assert rows.loc[rows["attack"] == name, "linf"].between(EPSILON / 4, EPSILON * 1.001).all()


def test_tables_and_chart_are_in_the_report(finished):
    out, _ = finished
    for name in TABLES:
        assert (out / "tables" / f"{name}.tex").is_file(), name
    page = (out / "report" / "index.html").read_text()
    assert "Attacks on the prompt" in page
    assert "MedIS with parallel fusion" in page
    assert "figures/dsc-by-text" in page  # its chart


def test_numbers_of_the_text_table_are_those_of_the_rows(finished):
    out, _ = finished
    rows = rows_of_texts(read_rows(out / "rows"))
    table = pd.read_csv(out / "tables" / "texts.csv", keep_default_na=False).set_index("attack")
    for attack, some in rows[rows["attack"] != "clean"].groupby("attack"):
        assert table.loc[attack, "dsc"] == pytest.approx(some["dsc"].mean())
        assert table.loc[attack, "dsc_clean"] == pytest.approx(some["dsc_clean"].mean())
        assert table.loc[attack, "n"] == len(some)
    assert table.loc["text-levels", "means"] == "the same"
    assert table.loc["text-hotflip", "means"] == "something else"
    assert table.loc["both", "means"] == ""
    pairs = pd.read_csv(out / "tables" / "sensitivity.csv")
    spread = table.loc["text-levels-best", "dsc"] - table.loc["text-levels", "dsc"]
    assert pairs["sensitivity"].item() == pytest.approx(spread)


def test_an_older_run_folder_is_reported_alike(finished, tmp_path):
    """Which kept rows of texts in ``texts/`` and lines of MedIS in ``medis/``."""
    out, _ = finished
    rows = read_rows(out / "rows")
    for name in ("rows", "texts", "medis"):
        (tmp_path / name).mkdir()
    older = pa.schema(list(SCHEMA)[: SCHEMA.get_field_index("kind")])
    for name, some in (("rows", rows_of_images(rows)), ("texts", rows_of_texts(rows))):
        table = pa.Table.from_pandas(some[older.names], schema=older, preserve_index=False)
        made_of = '{"protocol": "sound"}'
        (tmp_path / name / "protocol.json").write_text(made_of)
        table = table.replace_schema_metadata({"palpate": made_of})
        pq.write_table(table, tmp_path / name / "part-0.parquet")
    pq.write_table(pa.Table.from_pandas(medis_lines(rows)), tmp_path / "medis" / "part-0.parquet")
    (tmp_path / "config.yaml").write_text((out / "config.yaml").read_text())
    make_report(tmp_path)
    for name in (*TABLES, "main"):
        ours, theirs = (
            pd.read_csv(folder / "tables" / f"{name}.csv").drop(columns="means", errors="ignore")
            for folder in (out, tmp_path)
        )
        assert_frame_equal(ours, theirs)


def test_a_second_call_attacks_nothing_again_and_reports_the_same(finished):
    from palpate.pipeline.recipe.reading import read_config

    out, _ = finished
    before = {path.name for path in (out / "rows").glob("part-*")}
    table = (out / "tables" / "texts.csv").read_text()
    stages = []
    run(read_config(out / "config.yaml"), lambda stage, *_: stages.append(stage))
    assert {path.name for path in (out / "rows").glob("part-*")} == before
    assert not any(stage.startswith(("training", "universal", "attacks")) for stage in stages)
    assert (out / "tables" / "texts.csv").read_text() == table


@pytest.mark.slow  # quick: attacks of all kinds are added to a folder, attacks on images to a run
def test_more_attacks_on_the_prompt_can_be_added_to_a_run(finished):
    out, _ = finished
    main(["evaluate", "--run", str(out), "--attacks", "text-empty", "--epsilon-255", "8"])
    assert "text-empty" in set(read_rows(out / "rows")["attack"])


@pytest.fixture(scope="module")
def other(values, tmp_path_factory):
    """A run of the model without training, on the same images."""
    out = tmp_path_factory.mktemp("other") / "untrained"
    attacks = {"noise": {}, "pgd": {"steps": 2}}
    evaluate = values["evaluate"] | {"attacks": attacks, "epsilon_255": [8], "examples": 0}
    model = values["model"] | {"adapter": None}
    run(config_from(values | {"out": str(out), "evaluate": evaluate, "model": model}))
    return out


def test_models_of_runs_against_each_other(finished, other, tmp_path, capsys):
    out, _ = finished
    folder = tmp_path / "transfer"
    main(["transfer", str(out), str(other), "--out", str(folder), "--epsilon-255", "8",
          "--steps", "2", "--limit", "3"])  # fmt: skip
    assert capsys.readouterr().out.strip() == str(folder / "tables" / "transfer.md")
    numbers = pd.read_csv(folder / "tables" / "transfer.csv")
    assert len(numbers) == 4
    assert set(numbers["surrogate"]) == {"run", "untrained"}
    assert set(numbers["n"]) == {3}
    table = (folder / "tables" / "transfer.md").read_text()
    assert "DI-MI-FGSM of 2 steps" in table
    with pytest.raises(SystemExit, match="two or more run folders of different names, got run"):
        main(["transfer", str(out), "--out", str(folder)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sea": {"losses": ["bce", "dise"]}}, "no loss 'dise'.*mean 'dice'"),
        ({"universal": {"fit": {"epoch": 3}}}, "fit of attack 'universal' has no option 'epoch'"),
        ({"universal": {"fit": {"epochs": 0}}}, "'universal' cannot be run"),
        ({"pgd": {"fit": {}}}, "'pgd' has no option 'fit'"),
        ({"cosgpd": {}}, "no attack 'cosgpd'.*mean 'cospgd'"),
        ({"transfer": {"surrogate": "nowhere/model"}}, "nowhere/model"),
    ],
)
def test_what_a_recipe_gets_wrong_is_said_at_once(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        attacks_of(options, [EPSILON])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text-hotflip": {"flip": 2}}, "'text-hotflip' has no option 'flip'.*mean 'flips'"),
        ({"text-place": {"attribute": "size"}}, "has no option 'attribute'"),
        ({"text-embedding": {"norm": 2}}, "has no option 'norm'"),
        (
            {"joint": {"image": "pgd"}},
            "'joint' lacks text, epsilon_255; expected .*epsilon_255: 2",
        ),
        (
            {"joint": {"image": "pgd", "text": "text-hotflip"}},
            "'joint' lacks epsilon_255; expected",
        ),
        ({"joint": JOINED | {"epsilon_255": [2]}}, "one radius `epsilon_255` .*8-bit.*got"),
        ({"joint": JOINED | {"rounds": 0}}, "`rounds` .* 1 or more, got 0"),
        (
            {"joint": JOINED | {"image": {"attack": "pgd", "steps": 0}}},
            "'joint' cannot be run.*steps",
        ),
        ({"joint": {"image": "pgd", "text": "pgd", "epsilon_255": 2}}, "to be one of text-levels"),
    ],
)
def test_so_are_mistakes_about_attacks_on_the_prompt(options, message):
    with pytest.raises(ValueError, match=message):
        text_attacks_of(options)


def test_each_attack_goes_where_it_belongs():
    options = {name: {} for name in ("pgd", *TEXT_ATTACKS)}
    options["mine"] = {"attack": "joint", "image": "fgsm", "text": "text-empty", "epsilon_255": 2}
    assert list(attacks_of(options, [EPSILON])) == ["pgd"]
    found = text_attacks_of(options)
    assert list(found) == [*TEXT_ATTACKS, "mine"]
    assert isinstance(found["mine"], Joint)
    assert found["mine"].image.keywords["epsilon"] == 2 / 255
    assert not set(TEXT_ATTACKS) & set(ATTACKS)


def test_a_perturbation_is_fitted_in_the_largest_ball_unless_said_otherwise():
    fits = attacks_of(
        {"a": {"attack": "universal", "fit": {}},
         "b": {"attack": "universal", "fit": {"epsilon_255": 4}}},
        [2 / 255, EPSILON],
    )  # fmt: skip
    assert all(isinstance(fit, ToFit) for fit in fits.values())
    assert [fit.epsilon for fit in fits.values()] == pytest.approx([EPSILON, 4 / 255])


def test_clean_rows_alone_make_no_table_of_texts(finished):
    from palpate.reporting.numbers.checked_rows import checked

    rows = checked(rows_of_texts(read_rows(finished[0] / "rows")))
    assert list(text_tables(rows[rows["attack"] == "clean"])) == []
    assert len(text_scores(rows)) == rows[rows["attack"] != "clean"]["attack"].nunique()


def test_runs_side_by_side(finished, other, tmp_path, capsys):
    out, _ = finished
    main(["compare", str(out), str(other), "--out", str(tmp_path / "both")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "both" / "report" / "index.html")
    numbers = pd.read_csv(tmp_path / "both" / "tables" / "compare.csv")
    assert set(numbers["attack"]) == {"clean", "noise", "pgd"}
    mine, theirs = (
        read_rows(folder / "rows").query("attack == 'pgd' and epsilon > 0.03").set_index("key")
        for folder in (out, other)
    )
    found = numbers.query("attack == 'pgd'").iloc[0]
    assert found["difference"] == pytest.approx((theirs["dsc"] - mine["dsc"]).mean())
    with pytest.raises(SystemExit, match="different runs"):
        main(["compare", str(out), str(out)])
