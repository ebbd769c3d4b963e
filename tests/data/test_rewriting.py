import json

import numpy as np
import pytest
from PIL import Image

from palpate.cli import main
from palpate.data import load_data
from palpate.data.annotations import read_entries
from palpate.data.prompts import import_prompts, rewrite_prompts


def annotations(folder, split="test"):
    return json.loads((folder / "anns" / f"{split}.json").read_text())


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def folder(data_folder):
    for number, entry in enumerate(data_folder.entries):
        entry |= {"structure": "polyp", "facts": {"device": f"GE {number}"}, "bbox": [1, 2, 3, 4]}
    return data_folder.write().path


def test_prompts_are_written_and_all_else_stays(folder):
    before = annotations(folder)
    assert rewrite_prompts(folder) == {"test": 2}
    for old, new in zip(before, annotations(folder), strict=True):
        assert {**old, "prompts": None} == {**new, "prompts": None}
        assert new["prompts"]["p6"].startswith("one medium ")
        assert new["prompts"]["p6"].endswith("polyp, located in the top left of the image")
    assert load_data("folder", folder, prompt="p1")[0].case.prompt == "polyp"


def test_the_first_annotations_are_kept(folder):
    first = (folder / "anns" / "test.json").read_bytes()
    rewrite_prompts(folder)
    rewrite_prompts(folder, structure="lump")
    assert (folder / "anns-original" / "test.json").read_bytes() == first


def test_writing_twice_changes_nothing(folder):
    rewrite_prompts(folder)
    once = contents(folder)
    rewrite_prompts(folder)
    assert contents(folder) == once


def test_templates_may_use_the_facts_of_the_folder(folder, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text('p1: "{structure} seen by {device}"')
    rewrite_prompts(folder, templates=own)
    assert [e["prompts"] for e in annotations(folder)] == [
        {"p0": "", "p1": "polyp seen by GE 0"}, {"p0": "", "p1": "polyp seen by GE 1"},
    ]  # fmt: skip


def test_entries_may_lack_prompts(data_folder):
    for entry in data_folder.entries:
        del entry["prompts"]
    folder = data_folder.write().path
    rewrite_prompts(folder, structure="polyp")
    assert read_entries(folder, "test")[0].prompts["p1"] == ("polyp",)


def test_a_folder_called_like_a_data_set_speaks_like_it(data_folder, tmp_path):
    folder = data_folder.add("patient0001_4CH_ED.png", "mask_2/patient0001_4CH_ED_gt.png").write()
    del folder.entries[:2]
    path = folder.write().path.rename(tmp_path / "camus")
    rewrite_prompts(path)
    assert annotations(path)[0]["prompts"]["p3"][0] == (
        "myocardium of the heart in the four-chamber view at end-diastole"
    )


def test_what_was_prepared_is_not_undone_by_preparing_again(folder):
    records = [{"entry": entry, "mask_name": entry["mask_name"]} for entry in annotations(folder)]
    summary = {"name": "kvasir", "records": records, "seed": 3}
    (folder / "dataset.json").write_text(json.dumps(summary))
    rewrite_prompts(folder)
    kept = json.loads((folder / "dataset.json").read_text())
    assert kept["seed"] == 3
    assert [record["entry"] for record in kept["records"]] == annotations(folder)
    assert len(annotations(folder)[0]["prompts"]["p7"]) == 5  # the wording of kvasir
    assert not (folder / "anns-original").exists()


def test_one_bad_file_and_nothing_is_written(folder):
    (folder / "masks" / "b.png").write_bytes(b"no image")
    before = contents(folder)
    with pytest.raises(ValueError, match=r"(?s)Expected prompts for all entries \(1\).*b\.png"):
        rewrite_prompts(folder)
    assert contents(folder) == before


def test_all_entries_that_lack_a_word_are_named(folder, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text('p1: "{view} {structure}"')
    with pytest.raises(ValueError, match=r"(?s)\(2\).*a\.png.*'view'.*b\.png"):
        rewrite_prompts(folder, templates=own)


def test_a_file_outside_is_refused(folder, tmp_path):
    outside = tmp_path / "outside.png"
    (folder / "images" / "a.png").rename(outside)
    (folder / "images" / "a.png").symlink_to(outside)
    with pytest.raises(ValueError, match="links that lead outside"):
        rewrite_prompts(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "kvasr"}, r"got 'kvasr'\. Did you mean 'kvasir'"),
        ({"synonyms": -1}, "Expected synonyms >= 0, got -1"),
    ],
)
def test_wrong_options_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        rewrite_prompts(folder, **options)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected the annotations of split 'train'"):
        rewrite_prompts(tmp_path)


def test_a_broken_summary_is_refused(folder):
    (folder / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"Expected what palpate wrote in .*dataset\.json"):
        rewrite_prompts(folder)


def test_the_command_line(folder, capsys):
    main(["data", "prompts", str(folder), "--structure", "lump", "--synonyms", "1"])
    assert capsys.readouterr().out == "test: 2 entries\n"
    assert annotations(folder)[0]["prompts"]["p1"] == "lump"


def test_an_empty_mask_says_so(folder):
    Image.fromarray(np.zeros((8, 12), dtype=np.uint8)).save(folder / "masks" / "a.png")
    rewrite_prompts(folder)
    assert annotations(folder)[0]["prompts"]["p5"] == "no polyp"


# Published files


def publish(path, *entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [{"mask_name": name, "prompts": {"p1": text}, "cat": 0} for name, text in entries]
    path.write_text(json.dumps(records))
    return path


def test_prompts_are_taken_over_by_the_name_of_the_mask(folder, tmp_path):
    before = annotations(folder)
    found = import_prompts(folder, publish(tmp_path / "x.json", ("a.jpg", "A"), ("c.jpg", "C")))
    assert found.taken == {"test": 1}
    assert (found.missing, found.ambiguous, found.unused) == (("b.png",), (), ("c",))
    after = annotations(folder)
    assert after[0] == {**before[0], "prompts": {"p1": "A"}}
    assert after[1] == before[1]


@pytest.mark.parametrize("below", ["", "anns"])
def test_a_folder_of_published_files_is_read_whole(folder, tmp_path, below):
    publish(tmp_path / "out" / below / "test.json", ("a.png", "A"))
    publish(tmp_path / "out" / below / "train.json", ("b.png", "B"))
    assert import_prompts(folder, tmp_path / "out").taken == {"test": 2}
    assert [e["prompts"]["p1"] for e in annotations(folder)] == ["A", "B"]


def test_where_files_differ_the_one_of_the_split_counts(folder, tmp_path):
    publish(tmp_path / "out/test.json", ("a.png", "of test"))
    publish(tmp_path / "out/train.json", ("a.png", "of train"), ("b.png", "B"))
    publish(tmp_path / "out/val.json", ("b.png", "not B"))
    found = import_prompts(folder, tmp_path / "out")
    assert found.ambiguous == ("b.png",)
    assert annotations(folder)[0]["prompts"] == {"p1": "of test"}


def test_files_that_agree_are_no_problem(folder, tmp_path):
    for name in ("one", "two"):
        publish(tmp_path / f"out/{name}.json", ("a.png", "A"), ("b.png", "B"))
    assert import_prompts(folder, tmp_path / "out").taken == {"test": 2}


def test_published_files_of_another_set_are_refused(folder, tmp_path):
    before = contents(folder)
    path = publish(tmp_path / "x.json", ("z.png", "Z"))
    with pytest.raises(
        ValueError, match=r"none of its 1 masks \(such as 'z'\).*'a'.*same data set"
    ):
        import_prompts(folder, path)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "Expected a list of entries"),
        ("[", "Expected JSON"),
        ('[{"mask_name": 3, "prompts": {"p1": "x"}}]', "entry 0: no 'mask_name'"),
        ('[{"mask_name": "a.png"}]', "entry 0: .*or no 'prompts'"),
        ('[{"mask_name": "a.png", "prompts": {"p1": [3]}}]', "entry 0"),
        ("[3]", "entry 0"),
    ],
)
def test_broken_published_files_are_refused(folder, tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        import_prompts(folder, tmp_path / "x.json")


def test_missing_published_files_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected annotations in"):
        import_prompts(folder, tmp_path / "none")


def test_the_command_line_tells_what_did_not_match(folder, tmp_path, capsys):
    path = publish(tmp_path / "x.json", ("a.png", "A"), *((f"c{i}.png", "C") for i in range(12)))
    main(["data", "prompts", str(folder), "--annotations", str(path)])
    said = capsys.readouterr().out
    assert "Took over the prompts of 1 of test." in said
    assert "1 masks here are not in the published files and keep their prompts: b.png." in said
    assert "12 published masks are not here: c0, " in said
    assert said.strip().endswith("...")
    with pytest.raises(SystemExit, match="Expected --annotations alone"):
        main(["data", "prompts", str(folder), "--annotations", str(path), "--structure", "x"])
