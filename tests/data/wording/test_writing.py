import re
from itertools import chain

import numpy as np
import pytest

from palpate.data.wording import (
    PUBLISHED,
    fact_words,
    facts_in_name,
    general_facts,
    in_words,
    known_sets,
    read_wording,
    wording_of,
    write_prompts,
)
from palpate.text.lexicon import lexicon, pattern
from palpate.text.positions import PLACES, find_places, mirror_words
from tests.data.wording.drawn import blank, ellipse

RED, GREY = (190, 40, 40), (90, 90, 90)
HEART = {"view": "2CH", "phase": "ES", "sex": "M", "age": "80", "quality": "Good"}
LEVELS = {"camus": 8, "busi": 7, "chexlocalize": 7}  # the others: 10


def picture(mask, rgb=RED):
    return np.full((*mask.shape, 3), rgb, dtype=np.uint8)


def write(mask, dataset="kvasir", structure="polyp", rgb=RED, facts=None, **options):
    return write_prompts(dataset, structure, picture(mask, rgb), mask, facts or {}, **options)


def all_texts(prompts):
    return list(chain.from_iterable([t] if isinstance(t, str) else t for t in prompts.values()))


@pytest.fixture
def polyp():
    return ellipse(120, 150, 25, 20, 14, 14)


@pytest.fixture
def two_polyps(polyp):
    return polyp | ellipse(120, 150, 110, 95, 30, 20, 20)


def test_the_levels_of_a_polyp(polyp):
    prompts = write(polyp)
    assert list(prompts) == [f"p{level}" for level in range(10)]
    assert [prompts[f"p{level}"] for level in range(7)] == [
        "",
        "polyp",
        "round polyp",
        "red round polyp",
        "small red round polyp",
        "one small red round polyp",
        "one small red round polyp, located in the top left of the image",
    ]
    general = general_facts("polyp")
    assert prompts["p7"] == [f"polyp which {fact}" for fact in general]
    assert prompts["p8"] == [f"{prompts['p5']} which {fact}" for fact in general]
    assert prompts["p9"][4].endswith(f"{general[4]}, located in the top left of the image")


def test_several_are_several(two_polyps):
    prompts = write(two_polyps)
    assert prompts["p1"] == "polyp"
    assert prompts["p6"] == (
        "two small and medium red polyps, located in the bottom right and top left of the image"
    )
    assert prompts["p8"][0].startswith("two small and medium red polyps each of which bulges")


def test_what_is_not_known_is_not_said(polyp):
    prompts = write(polyp, rgb=GREY)
    assert prompts["p3"] == prompts["p2"] == "round polyp"
    assert write(polyp, "camus", "left ventricle")["p6"] == [
        "left ventricular cavity of the heart",
        "left ventricular cavity in an echocardiogram",
    ]


def test_the_levels_of_a_heart(polyp):
    prompts = write(polyp, "camus", "left atrium", facts=HEART)
    said = [prompts[f"p{level}"][1] for level in range(1, 8)]
    start = "left atrial cavity in an echocardiogram"
    assert said == [
        start,
        f"{start} in the two-chamber view",
        f"{start} in the two-chamber view at end-systole",
        f"{start} in the two-chamber view at end-systole of a male patient",
        f"{start} in the two-chamber view at end-systole of an eighty-year-old male patient",
        f"{start} in the two-chamber view at end-systole of an eighty-year-old male patient with "
        "good image quality",
        "left atrial cavity of round shape in an echocardiogram in the two-chamber view at "
        "end-systole of an eighty-year-old male patient with good image quality",
    ]


def test_the_levels_of_a_tumour(polyp):
    prompts = write(polyp, "busi", "breast tumour", GREY, {"pathology": "malignant"})
    assert prompts["p2"] == [
        "malignant breast tumour on ultrasound",
        "breast tumour of regular outline on ultrasound",
    ]
    assert prompts["p6"][0] == (
        "one small round malignant breast tumour, located in the top left of the ultrasound image"
    )


def test_the_levels_of_a_radiograph(polyp):
    facts = {"view": "AP", "findings": "Edema; Support Devices"}
    prompts = write(polyp, "chexlocalize", "pleural_effusion", GREY, facts)
    assert prompts["p5"] == (
        "pleural effusion of round shape, located in the top left of a frontal view of the chest, "
        "in a study that shows edema, support devices"
    )
    assert prompts["p2"] == "pleural effusion in a frontal chest radiograph"


@pytest.mark.parametrize("dataset", [*known_sets(), "anything"])
def test_every_wording_has_its_levels_and_a_text_for_the_empty_mask(dataset, two_polyps):
    levels = list(write(two_polyps, dataset))
    assert levels == [
        f"p{n}" for n in range(LEVELS.get(dataset, 7 if dataset == "anything" else 10))
    ]
    empty = write(blank(), dataset, "polyp")
    assert list(empty) == levels
    assert empty["p0"] == ""
    (text,) = {empty[level] for level in levels[1:]}
    assert re.match(r"no polyp\b", text)


@pytest.mark.parametrize("dataset", [*known_sets(), "anything"])
@pytest.mark.parametrize("facts", [{}, HEART, {"view": "lateral", "findings": "edema"}])
def test_texts_are_clean(dataset, facts, two_polyps):
    for structure in ("polyp", "myocardium", "thing"):
        for text in all_texts(write(two_polyps, dataset, structure, facts=facts))[1:]:
            assert text == text.strip(" ,;") != ""
            assert not re.search(
                r"\s\s|\s[,.]|,,|\b(?:of|in|a|an|the|with|which)$|[{}\[\]]|None", text
            )
            assert not re.search(r"\b(?:a|an|of|in|with) (?:,|of|in a|with)\b", text)


@pytest.mark.parametrize("dataset", [*known_sets(), "anything"])
def test_the_texts_of_a_mirrored_image_are_the_mirrored_texts(dataset, two_polyps):
    for horizontal, vertical in ((True, False), (False, True), (True, True)):
        flipped = two_polyps[:: -1 if vertical else 1, :: -1 if horizontal else 1]
        mirrored = [
            mirror_words(text, horizontal=horizontal, vertical=vertical)
            for text in all_texts(write(two_polyps, dataset))
        ]
        assert all_texts(write(np.ascontiguousarray(flipped), dataset)) == mirrored


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dataset", ["kvasir", "busi", "chexlocalize", "anything"])
def test_attacks_find_the_place_in_every_text_that_says_one(dataset, place):
    number = PLACES.index(place)
    x, y = 25 + 50 * (number % 3), 20 + 40 * (number // 3)
    prompts = write(ellipse(120, 150, x, y, 10, 10), dataset, "polyp", facts={"view": "frontal"})
    placed = [text for text in all_texts(prompts) if "located" in text]
    assert placed
    assert all([found.places for found in find_places(text)] == [(place,)] for text in placed)


def test_attacks_know_the_words(polyp):
    for attribute, text in {
        "size": "tiny small medium large",
        "number": "one two three four",
        "structure": "polyp",
    }.items():
        words = chain.from_iterable(chain.from_iterable(lexicon().attributes[attribute]))
        assert pattern(tuple(words)).findall(text) == text.split()


def test_synonyms_add_phrasings_and_take_none_away(polyp):
    plain, more = write(polyp), write(polyp, synonyms=2)
    assert more["p0"] == ""
    assert more["p1"] == ["polyp", "polypoid lesion", "mucosal polyp"]
    for level in list(plain)[1:]:
        said = [plain[level]] if isinstance(plain[level], str) else plain[level]
        assert more[level][: len(said)] == said
        assert len(said) < len(more[level]) <= 3 * len(said)
        assert len(set(more[level])) == len(more[level])


def test_the_published_rule_can_be_asked_for():
    mask = blank(90, 180)
    mask[:, 70:100] = True
    assert "in the center of" in write(mask)["p6"]
    assert "in the right of" in write(mask, rule=PUBLISHED)["p6"]


def test_what_does_not_fit_is_refused(polyp, without_shape_checks):
    with pytest.raises(ValueError, match=r"mask of the size of its image, got \(120, 150\)"):
        write_prompts("kvasir", "polyp", picture(blank(8, 8)), polyp, {})
    with pytest.raises(ValueError, match="name of what the mask outlines"):
        write(polyp, structure=" ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"view": "four-chamber"}, {"view": "four-chamber"}),
        ({"view": "A4C "}, {"view": "four-chamber"}),
        ({"view": "Oblique"}, {"view": "oblique"}),
        ({"sex": "O"}, {}),
        ({"sex": "Woman"}, {"sex": "female", "patient": "female patient"}),
        ({"age": "0"}, {"age": "zero-year-old", "patient": "zero-year-old patient"}),
        (
            {"age": "47.0"},
            {"age": "forty-seven-year-old", "patient": "forty-seven-year-old patient"},
        ),
        ({"age": "999"}, {}),
        ({"age": "006M"}, {}),
        ({"age": "old"}, {}),
        ({"quality": "n/a"}, {}),
        ({"findings": " ; "}, {}),
        ({"device": " Vivid\n7 "}, {"device": "Vivid 7"}),
    ],
)
def test_facts_become_words(given, words):
    assert fact_words(given) == words


def test_names_of_published_files_tell_facts():
    assert facts_in_name("busi", "benign (12).png") == {"pathology": "benign"}
    assert facts_in_name("chexlocalize", "patient1_study1_view2_lateral.jpg") == {"view": "lateral"}
    assert facts_in_name("camus", "something.png") == facts_in_name("kvasir", "a_2CH_ED.png") == {}


def test_numbers_in_words():
    words = [in_words(number) for number in range(100)]
    assert len(set(words)) == 100
    assert (words[0], words[19], words[20], words[81]) == (
        "zero",
        "nineteen",
        "twenty",
        "eighty-one",
    )


def test_a_wording_of_ones_own(tmp_path, polyp):
    path = tmp_path / "own.yaml"
    path.write_text('p1: "{size} {structure}"\np2: ["{device} one", "[{colour}] two"]\n')
    wording = read_wording(path, ["device"])
    prompts = write(polyp, facts={"device": "GE"}, wording=wording)
    assert prompts == {"p0": "", "p1": "small polyp", "p2": ["GE one", "red two"]}
    assert write(blank(), wording=wording) == {"p0": "", "p1": "no polyp", "p2": "no polyp"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected levels such as p1"),
        ("[p1, p2]", "Expected levels such as p1"),
        ("p0: ''", "Expected levels such as p1"),
        ("p1: {structure}", "Put texts with brackets into quotation marks"),
        ("p1: 3", "Expected a text or a list of texts at level 'p1', got '3'"),
        ("p1: []", "Expected a text or a list"),
        ("p1: ''", "Expected a text at level 'p1', got an empty one"),
        ("1: polyp", "Expected the name of a level such as p1"),
        ("random: polyp", "none of random, all, override, got 'random'"),
        ("p1: '{strcture}'", r"own.yaml: Level 'p1': .*Did you mean 'structures?'\?"),
        ("p1: polyp\nempty: [a, b]", "Expected one text for 'empty', got 2"),
        ("p1: {size} {structure}", "Expected YAML in .*own.yaml, but: .*quotation marks"),
        ("p1: !!python/object/apply:os.getcwd []", "Expected YAML"),
        ("\x00", "Expected YAML"),
    ],
)
def test_a_broken_wording_is_refused(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_wording(path)


def test_a_wording_that_is_not_there_or_too_large_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="file of prompt templates"):
        read_wording(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ValueError, match="got more than 1000000 bytes"):
        read_wording(tmp_path / "large.yaml")


def test_plain_wordings_need_nothing_that_masks_and_structures_do_not_tell(polyp):
    for dataset in known_sets():
        assert wording_of(dataset).levels.keys() == write(polyp, dataset).keys()
