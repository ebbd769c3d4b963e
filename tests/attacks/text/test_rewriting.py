"""Candidates that are made without a look at the model."""

from dataclasses import replace
from itertools import chain

import pytest

from palpate.attacks.text import TEXT_ATTACKS, PromptSource, swap, synonyms
from palpate.attacks.text.characters import character_noise
from palpate.attacks.text.phrases import beside, empty, levels, negations, others
from palpate.data import load_data
from palpate.data.phantoms.dermoscopy import PIGMENTS
from palpate.data.phantoms.endoscopy import POLYP_COLOURS, SHAPES
from palpate.data.phantoms.wording import lesion_prompts
from palpate.data.phantoms.words import SIZES, Attributes
from palpate.randomness import generator
from palpate.text.lexicon import lexicon, pattern
from palpate.text.positions import PLACES, find_places

REWRITES = {name: attack for name, attack in TEXT_ATTACKS.items() if not attack.needs_model}
POLYP = Attributes("polyp", "small", "round", "pink", "top left")
HEART = (
    "Left ventricular cavity of oval shape in the two-chamber view in an echocardiogram at "
    "end-systole of a forty-seven-year-old male patient with medium image quality"
)
BREAST = "Two small oval-shaped benign tumors at the top left, center in the breast ultrasound."


def phantom_prompts():
    names = ("phantom-endoscopy", "phantom-dermoscopy", "phantom-echo")
    data = chain.from_iterable(load_data(n, size=64, limit=4).texts for n in names)
    return sorted({text for levels_ in data for texts in levels_.values() for text in texts})


PROMPTS = [*phantom_prompts(), HEART, BREAST, "", "polyp"]


def sourced(prompt):
    return PromptSource(prompt, own=("polyp", prompt), beside=(prompt, "mole"), others=("skin",))


@pytest.mark.parametrize("name", REWRITES)
def test_candidates_differ_from_the_prompt_and_from_each_other(name):
    applied = 0
    for prompt in PROMPTS:
        texts = list(REWRITES[name].propose(None, sourced(prompt), generator(0, prompt)))
        applied += bool(texts)
        assert len(set(texts)) == len(texts)
        if name.startswith("text-levels"):
            assert not prompt or texts[0] == prompt
        else:
            assert prompt not in texts
    assert applied


@pytest.mark.parametrize("name", REWRITES)
def test_the_same_random_numbers_give_the_same_candidates(name):
    for prompt in PROMPTS[:20]:
        runs = [REWRITES[name].propose(None, sourced(prompt), generator(3, "k")) for _ in range(2)]
        assert list(runs[0]) == list(runs[1])


def test_what_is_random_follows_the_generator():
    for attack in (character_noise, synonyms):
        drawn = [attack(PromptSource(HEART), generator=generator(0, str(i))) for i in range(2)]
        assert drawn[0] != drawn[1]


# Swaps


@pytest.mark.parametrize("level", ["p3", "p4", "p5", "p6", "p8", "p9"])
@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("size", SIZES),
        ("colour", POLYP_COLOURS),
        ("shape", SHAPES),
        ("place", PLACES),
    ],
)
def test_a_swap_is_the_text_of_a_lesion_that_differs_in_that_attribute(attribute, words, level):
    """Written out anew from other attributes: not a letter besides them may differ."""
    prompt, *_ = lesion_prompts([POLYP], 0)[level]
    others_ = [replace(POLYP, **{attribute: w}) for w in words if w != getattr(POLYP, attribute)]
    expected = {lesion_prompts([other], 0)[level][0] for other in others_} - {prompt}
    assert expected <= set(swap(PromptSource(prompt), attribute=attribute))
    assert expected or level in {"p3", "p4", "p5", "p8"}


@pytest.mark.parametrize("attribute", ["place", *lexicon().attributes])
def test_a_swap_leaves_every_other_attribute_and_all_other_letters(attribute):
    for prompt in PROMPTS:
        for text in swap(PromptSource(prompt), attribute=attribute):
            assert kept(prompt, text, besides=attribute)
            assert places(prompt) == places(text) or attribute == "place"


def kept(prompt, text, *, besides):
    """Whether every attribute that both texts may say, but one, is said by the same words."""
    names = [name for name in lexicon().attributes if name not in (besides, "structure", "side")]
    return all(said(name, prompt) == said(name, text) for name in names)


def said(attribute, text):
    concepts = chain.from_iterable(lexicon().attributes[attribute])
    return {c[0] for c in concepts if pattern(c).search(text)}


def places(text):
    return [found.places for found in find_places(text)]


def test_places_swap_for_every_other_place():
    texts = swap(PromptSource("polyp, located in upper left of the image"), attribute="place")
    assert [places(text) for text in texts] == [[(p,)] for p in PLACES if p != "top left"]
    assert texts[0] == "polyp, located in top of the image"


def test_a_list_of_places_becomes_one_that_is_not_in_it():
    texts = swap(PromptSource(BREAST), attribute="place")
    assert len(texts) == 7
    assert "Two small oval-shaped benign tumors at the right in the breast ultrasound." in texts


def test_a_list_of_words_becomes_one():
    texts = swap(PromptSource("two small, large white polyp"), attribute="size")
    assert texts == ["two tiny white polyp", "two medium white polyp"]


@pytest.mark.parametrize("attribute", ["place", "size", "number", "colour"])
def test_ages_views_quality_and_names_are_no_attributes_of_a_lesion(attribute):
    assert swap(PromptSource(HEART), attribute=attribute) == []


def test_what_is_said_of_the_kind_at_large_stays():
    prompt = "polyp which is a small lump"
    assert swap(PromptSource(prompt), attribute="size") == []


def test_sides_are_those_of_the_body():
    assert swap(PromptSource(HEART), attribute="side") == [HEART.replace("Left", "Right")]
    assert swap(PromptSource("polyp in the left of the image"), attribute="side") == []


def test_capitals_stay():
    texts = swap(PromptSource("Myocardium of the heart."), attribute="structure")
    assert "Left ventricular cavity of the heart." in texts


def test_an_unknown_attribute_is_refused():
    with pytest.raises(ValueError, match=r"place, size.*got 'color'. Did you mean 'colour'"):
        swap(PromptSource("polyp"), attribute="color")


# Words


def test_the_lexicon_is_without_contradiction():
    words = list(chain.from_iterable(lexicon().synonyms))
    assert len(set(words)) == len(words)
    assert all(word == word.lower().strip() for word in words)
    for families in lexicon().attributes.values():
        for family in families:
            inside = list(chain.from_iterable(family))
            assert len(set(inside)) == len(inside)


def test_the_lexicon_knows_what_phantoms_are_called():
    wanted = {
        "size": SIZES,
        "colour": [*POLYP_COLOURS, *PIGMENTS],
        "shape": ["round", "oval", "lobed", "irregular", "bullet", "horseshoe"],
        "structure": ["polyp", "skin lesion", "left ventricular cavity", "myocardium"],
    }
    for attribute, words in wanted.items():
        known = set(chain.from_iterable(chain.from_iterable(lexicon().attributes[attribute])))
        assert set(words) <= known


def test_synonyms_change_no_attribute():
    for prompt in PROMPTS:
        for text in synonyms(PromptSource(prompt), generator=generator(0, prompt)):
            assert kept(prompt, text, besides="")
            assert places(prompt) == places(text)


def test_synonyms_exchange_whole_words_one_by_one_and_together():
    texts = synonyms(PromptSource("Large polyp"), count=40, generator=generator(0))
    assert texts[:4] == [
        "Big polyp", "Large polypoid lesion", "Large polypoid growth", "Large mucosal polyp",
    ]  # fmt: skip
    assert set(texts[4:]) == {f"Big {t.removeprefix('Large ')}" for t in texts[1:4]}
    assert synonyms(PromptSource("polyps enlarge"), generator=generator(0)) == []


# Letters


def distance(a, b):
    """Insertions, deletions, substitutions and exchanges of neighbours from a to b."""
    rows = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            rows[i][j] = min(
                rows[i - 1][j] + 1,
                rows[i][j - 1] + 1,
                rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
            )
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


@pytest.mark.parametrize("slip", ["typo", "swap", "homoglyph", "casing"])
@pytest.mark.parametrize("edits", [1, 3])
def test_no_more_letters_are_hit_than_agreed(slip, edits):
    prompt = "one small pink round polyp, located at the left"
    texts = character_noise(
        PromptSource(prompt), slips=[slip], edits=edits, generator=generator(0, slip)
    )
    assert len(texts) > 5
    assert all(len(text) == len(prompt) for text in texts)
    assert {distance(prompt, text) for text in texts} == {edits}


def test_no_letter_is_hit_twice():
    source = PromptSource("bcdfgh")
    settings = {"count": 60, "generator": generator(0)}
    for text in character_noise(source, slips=["swap"], edits=3, **settings):
        assert all(abs(text.index(c) - i) <= 1 for i, c in enumerate(source.prompt))
    for text in character_noise(source, slips=["typo"], edits=9, **settings):
        assert all(a != b for a, b in zip(text, source.prompt, strict=True))


def test_slips_are_what_they_are_called():
    def slipped(slip):
        return character_noise(
            PromptSource("Small polyp"), slips=[slip], edits=1, generator=generator(0)
        )

    assert all(text.lower() == "small polyp" for text in slipped("casing"))
    assert all(sorted(text) == sorted("Small polyp") for text in slipped("swap"))
    for text in slipped("homoglyph"):
        assert [b.isascii() for a, b in zip("Small polyp", text, strict=True) if a != b] == [False]
    for text in slipped("typo"):
        ((old, new),) = [(a, b) for a, b in zip("Small polyp", text, strict=True) if a != b]
        assert new.lower() in {"s": "ad", "m": "n", "a": "s", "l": "k", "p": "o", "o": "ip",
                               "y": "tu"}[old.lower()]  # fmt: skip
        assert new.isupper() == old.isupper()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"edits": 0}, "edits >= 1 and count >= 1, got 0 and 16"),
        ({"count": 0}, "got 2 and 0"),
        ({"slips": ["smear"]}, r"typo, swap, homoglyph, casing, got \['smear'\]"),
        ({"slips": []}, r"got \[\]"),
    ],
)
def test_senseless_noise_is_refused(settings, message, unchecked):
    with pytest.raises(ValueError, match=message):
        character_noise(PromptSource("polyp"), generator=generator(0), **settings)


# Whole texts


def test_the_benign_set_is_the_prompt_and_all_its_levels_but_the_empty_one():
    source = PromptSource("polyp", own=("", "round polyp", "polyp", "a polyp"))
    assert levels(source) == ["polyp", "round polyp", "a polyp"]


def test_texts_of_others_are_not_ones_own():
    source = PromptSource("polyp", own=("a polyp",), beside=("mole", "polyp"), others=("",))
    assert beside(source) == ["mole"]
    assert others(source, generator=generator(0)) == []


def test_others_are_drawn():
    pool = tuple(f"polyp {i}" for i in range(100))
    source = PromptSource("polyp 7", others=pool)
    drawn = others(source, count=20, generator=generator(0))
    assert len(set(drawn)) == 20
    assert set(drawn) < set(pool)
    assert drawn != others(source, count=20, generator=generator(1))
    with pytest.raises(ValueError, match="count >= 1"):
        others(source, count=0, generator=generator(0))


def test_only_what_says_something_can_be_emptied_or_denied():
    assert empty(PromptSource("polyp")) == [""]
    for prompt in ("", "No tumor in the breast", " without polyp"):
        assert negations(PromptSource(prompt)) == []
    assert empty(PromptSource("")) == []
    assert negations(PromptSource("a polyp"))[0] == "no polyp"
    assert negations(PromptSource("LV cavity"))[0] == "no LV cavity"
    assert negations(PromptSource("an"))[0] == "no an"
