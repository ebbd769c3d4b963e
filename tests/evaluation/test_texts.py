"""Rows of attacks on the text: measured on what they returned, resumable, one sample at a time."""

from copy import deepcopy
from functools import partial
from unittest import mock

import pytest
import torch
from pandas.testing import assert_frame_equal

from palpate.attacks import noise, pgd
from palpate.attacks.text import TEXT_ATTACKS, TextAttack, character_noise, embedding, hotflip
from palpate.data import load_data
from palpate.evaluation import Joint, evaluate, prompt_sensitivity, read_rows
from palpate.evaluation.text.conditions import describe_text_attack
from palpate.evaluation.text.sources import text_sources
from palpate.overlap import count, dice
from palpate.text.lexicon import lexicon

from ..attacks.text import listening

NAMES = ("text-levels", "text-levels-best", "text-typos", "text-side", "text-hotflip")
ATTACKS = {name: TEXT_ATTACKS[name] for name in NAMES} | {
    "text-typos": TextAttack(partial(character_noise, count=5), "benign"),
    "text-hotflip": TextAttack(partial(hotflip, flips=1, top=4), "adversarial"),
}
PGD = partial(pgd, epsilon=8 / 255, steps=3)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """Nobody may change it."""
    return listening.listening(listening.write_model(tmp_path_factory.mktemp("clipseg")))


@pytest.fixture
def model(loaded):
    return deepcopy(loaded)


@pytest.fixture(scope="session")
def whole(loaded, data):
    """All rows; nobody may change them."""
    return press(deepcopy(loaded), data)


@pytest.fixture(scope="session")
def data():
    return load_data("phantom-endoscopy", size=32, limit=4, prompt="p6", seed=3)


def press(model, data, attacks=ATTACKS, **settings):
    return evaluate(model, data, attacks, **{"batch_size": 1} | settings)


def timeless(rows):
    return rows.drop(columns="seconds")


def sample_of(data, key):
    return next(s for s in (data[i] for i in range(len(data))) if s.case.key == key)


def test_there_is_a_row_per_sample_and_attack_that_applies(whole):
    rows = whole
    assert (
        rows.groupby("key")["attack"].apply(set).map({"clean", *NAMES}.difference).tolist()
        == [{"text-side"}] * 4
    )  # polyps have no left and right
    texts = rows[rows["attack"] != "clean"]
    assert set(texts["norm"]) == {"text"}
    assert (texts[["epsilon", "linf", "l2"]] == 0).all(axis=None)
    assert set(rows["prompt_level"]) == {"p6"}


def test_rows_say_what_the_ordinary_forward_says_of_their_prompt(model, data, whole):
    rows = whole[whole["key"].isin([case.key for case in data.cases[:2]])]
    originals = {case.key: case.prompt for case in data.cases}
    for row in rows.itertuples():
        sample = sample_of(data, row.key)
        images, masks = sample.image[None], sample.mask[None]
        with torch.no_grad():
            clean, attacked = (model(images, [p]) > 0 for p in (originals[row.key], row.prompt))
        assert row.dsc == dice(count(attacked, masks)).item()
        assert row.dsc_clean == dice(count(clean, masks)).item()
        kept = row.attack == "clean" or row.attack.startswith("text-levels")
        assert kept or row.prompt != originals[row.key]


class AsAWhole(torch.nn.Module):
    """Takes images and texts together only, as most models do."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, prompts):
        return self.model(images, prompts)


def test_a_model_that_cannot_be_taken_apart_gets_the_same_rows(model, data):
    attacks = {name: ATTACKS[name] for name in ("text-levels", "text-typos")}
    attacks["joint"] = Joint(PGD, ATTACKS["text-typos"], 1)
    rows, wanted = (press(each, data, attacks, limit=2) for each in (AsAWhole(model), model))
    same = ["key", "attack", "prompt", "dsc", "forwards"]
    assert_frame_equal(rows[same], wanted[same])


@pytest.mark.parametrize(
    ("attack", "kind", "message"),
    [
        (ATTACKS["text-hotflip"], ValueError, "model that shows its tokens"),
        (embedding(radius=0.5, steps=1), RuntimeError, "Expected logits that depend on the text"),
    ],
)
def test_nor_is_there_anything_to_climb(attack, kind, message, model, data):
    with pytest.raises(kind, match=message):
        press(AsAWhole(model), data, {"text-x": attack}, limit=1)


def test_the_worst_is_the_worst_and_the_best_the_best(model, data, whole):
    for key, some in whole.groupby("key"):
        index = [case.key for case in data.cases].index(key)
        sample = data[index]
        texts = {t for texts in data.texts[index].values() for t in texts} - {""}
        with torch.no_grad():
            scores = [
                dice(count(model(sample.image[None], [t]) > 0, sample.mask[None])).item()
                for t in texts
            ]
        dsc = some.set_index("attack")["dsc"]
        assert dsc["text-levels"] == pytest.approx(min(scores), abs=1e-6)
        assert dsc["text-levels-best"] == pytest.approx(max(scores), abs=1e-6)


def test_sensitivity_is_best_minus_worst(whole):
    rows = whole
    table = prompt_sensitivity(rows).set_index("key")
    dsc = rows.pivot(index="key", columns="attack", values="dsc")
    assert len(table) == 4
    difference = dsc["text-levels-best"] - dsc["text-levels"]
    assert (table["sensitivity"] - difference).abs().max() == 0
    assert (table["worst"] <= table["dsc_clean"] + 1e-6).all()
    assert (table["best"] >= table["dsc_clean"] - 1e-6).all()
    assert table["sensitivity"].max() > 0.01
    with pytest.raises(ValueError, match="got 3 and 4 that make 3 pairs"):
        prompt_sensitivity(rows.drop(rows.index[rows["attack"] == "text-levels"][0]))
    with pytest.raises(ValueError, match="that make 0 pairs"):
        prompt_sensitivity(rows.iloc[:0])


def test_it_is_deterministic_and_no_sample_sees_its_neighbours(model, data, whole):
    whole = timeless(whole)
    assert_frame_equal(timeless(press(model, data)), whole)
    typos = {"text-typos": ATTACKS["text-typos"]}
    keys = [case.key for case in data.cases[1:3]]
    alone = {key: timeless(press(model, [sample_of(data, key)], typos)) for key in keys}
    for key, rows in alone.items():
        among = whole[(whole["key"] == key) & whole["attack"].isin(["clean", "text-typos"])]
        assert_frame_equal(rows, among.reset_index(drop=True))
    other = timeless(press(model, data, typos, seed=1))
    pressed = [each.query("attack == 'text-typos'")["prompt"] for each in (whole, other)]
    assert set(pressed[0]) != set(pressed[1])


class Stopped(Exception):  # noqa: N818
    """Ends an evaluation at a moment the test chooses."""


def test_an_interrupted_evaluation_goes_on_and_ends_in_the_same_rows(model, data, whole, tmp_path):
    def stop(stage, done, total, note):
        if done == 2 * 5:  # text-side has no rows
            raise Stopped

    with pytest.raises(Stopped):
        press(model, data, out=tmp_path, progress=stop)
    some = read_rows(tmp_path)
    assert set(some["key"]) == {case.key for case in data.cases[:2]}
    resumed = press(model, data, out=tmp_path)
    assert_frame_equal(timeless(resumed), timeless(whole))
    assert len(resumed.merge(some, how="inner")) == len(some)  # seconds too: not computed again


class Loads:
    """A data set that remembers what was loaded."""

    def __init__(self, data):
        self.data, self.cases, self.texts, self.loaded = data, data.cases, data.texts, []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.loaded.append(index)
        return self.data[index]


def test_what_is_done_or_does_not_apply_is_not_loaded_again(model, data, tmp_path):
    watched = Loads(data)
    some = {name: ATTACKS[name] for name in ("text-levels", "text-side")}
    press(model, watched, some, out=tmp_path)
    assert watched.loaded == list(range(4))
    press(model, watched, some, out=tmp_path)  # text-side has no rows, and needs no image to know
    assert watched.loaded == list(range(4))


def test_rows_of_texts_and_of_images_can_share_a_folder(model, data, tmp_path):
    images = evaluate(model, data, {"noise": noise}, epsilons=[8 / 255], out=tmp_path)
    texts = press(model, data, {"text-levels": ATTACKS["text-levels"]}, out=tmp_path)
    both = read_rows(tmp_path)
    assert len(both) == len(images) + len(texts) - 4  # the clean rows are the same
    again = evaluate(model, data, {"noise": noise}, epsilons=[8 / 255], out=tmp_path)
    assert_frame_equal(again, images)


def test_another_model_or_setting_needs_another_folder(model, data, tmp_path):
    press(model, data, out=tmp_path, limit=1)
    other = TextAttack(partial(character_noise, edits=3), "benign")
    with pytest.raises(ValueError, match=r"attack.text-typos \(.*edits=3"):
        press(model, data, {"text-typos": other}, out=tmp_path)
    with torch.no_grad():
        model.net.decoder.film_add.bias.add_(0.1)
    with pytest.raises(ValueError, match="weights"):
        press(model, data, out=tmp_path)


@pytest.fixture
def other_words():
    """A lexicon with one synonym more."""
    usual = lexicon()
    (first, *rest) = usual.synonyms
    changed = usual._replace(synonyms=((*first, "outgrowth"), *rest))

    def swap_lexicon():
        return mock.patch("palpate.text.lexicon.lexicon", return_value=changed)

    return swap_lexicon


def test_other_words_need_another_folder(model, data, other_words, tmp_path):
    synonyms = {"text-synonyms": TEXT_ATTACKS["text-synonyms"]}
    press(model, data, synonyms, out=tmp_path, limit=1)
    with other_words(), pytest.raises(ValueError, match=r"attack.text-synonyms \(.*lexicon"):
        press(model, data, synonyms, out=tmp_path)
    together = Joint(PGD, TEXT_ATTACKS["text-synonyms"])
    described = describe_text_attack(together)
    with other_words():
        assert describe_text_attack(together) != described
    assert describe_text_attack(together) == described


def test_other_texts_of_the_same_images_need_another_folder(model, data, tmp_path):
    """The prompts asked with are the same; what the benign set holds is not."""
    levels = {"text-levels": TEXT_ATTACKS["text-levels"]}
    watched = Loads(data)
    press(model, watched, levels, out=tmp_path, limit=1)
    watched.texts = [{**texts, "p9": ("a bump",)} for texts in data.texts]
    with pytest.raises(ValueError, match=r"attack.text-levels \(.*texts"):
        press(model, watched, levels, out=tmp_path)


def test_conditions_are_attacked_within_their_radius(model, data):
    attacks = {
        "text-embedding": embedding(radius=0.4, steps=6),
        "text-cosine": embedding(cosine=0.9, steps=6),
    }
    rows = press(model, data, attacks, limit=3).set_index(["attack", "key"])
    prompts = {case.key: case.prompt for case in data.cases}
    for name, norm, epsilon in (("embedding", "embedding", 0.4), ("cosine", "cosine", 0.1)):
        some = rows.loc[f"text-{name}"]
        assert set(some["norm"]) == {norm}
        assert some["epsilon"].tolist() == pytest.approx([epsilon] * 3)
        assert some["prompt"].to_dict() == {key: prompts[key] for key in some.index}
        assert (some["backwards"] == 6).all()
        assert (some["forwards"] == 13).all()  # with and without gradient, and the choice
        assert (some["dsc"] <= some["dsc_clean"]).all()


def test_a_condition_that_left_its_region_ends_the_evaluation(model, data):
    far = TextAttack(lambda view, source: 2 * view.model.read([source.prompt]), "adversarial",
                     norm="embedding", epsilon=0.5)  # fmt: skip
    with pytest.raises(ValueError, match=r"'far' \(epsilon 0.5, embedding\).* 1 away"):
        press(model, data, {"far": far})


def test_joint_rows_have_the_budget_of_the_image_and_the_text_that_went_with_it(model, data):
    typos = ATTACKS["text-typos"]
    attacks = {"joint": Joint(PGD, typos, rounds=1, image_name="pgd"), "text-typos": typos}
    rows = press(model, data, attacks).set_index(["attack", "key"])
    together, clean = rows.loc["joint"], rows.loc["clean"]
    assert set(together["norm"]) == {"linf"}
    assert together["epsilon"].tolist() == [8 / 255] * 4
    assert together["linf"].between(7 / 255, 8 / 255 * (1 + 1e-5)).any()
    assert (together["backwards"] == 2 * 3).all()
    image = evaluate(model, data, {"pgd": PGD}, batch_size=1).set_index(["attack", "key"])
    for alone in (rows.loc["text-typos"], image.loc["pgd"], clean):
        assert (together["dsc"] <= alone["dsc"] + 1e-6).all()


def test_a_joint_attack_that_leaves_the_ball_ends_the_evaluation(model, data):
    def blind(model, images, masks, *, epsilon):
        return (images + 2 * epsilon).clamp(0, 1)

    attack = Joint(partial(blind, epsilon=16 / 255), TEXT_ATTACKS["text-typos"])
    with pytest.raises(ValueError, match=r"'blind'.* returned an invalid"):
        press(model, data, {"blind": attack})


def test_costs_are_texts_answered(model, data):
    rows = press(model, data, {"text-size": TEXT_ATTACKS["text-size"]}, limit=2)
    assert set(rows.loc[rows["attack"] == "text-size", "forwards"]) == {3}
    assert (rows["seconds"] > 0).all()


def test_samples_that_differ_in_prompt_alone_are_refused(model, data):
    sample = data[0]
    other = type(sample)(
        type(sample.case)(**{**vars(sample.case), "prompt": "another"}), sample.image, sample.mask
    )
    with pytest.raises(ValueError, match="differ in key or prompt level"):
        press(model, [sample, other])


@pytest.mark.parametrize(
    ("attacks", "settings", "message"),
    [
        (ATTACKS, {"limit": 0}, "limit >= 1"),
        ({"clean": TEXT_ATTACKS["text-empty"]}, {}, "other names than 'clean'"),
        ({"joint": Joint(pgd, TEXT_ATTACKS["text-empty"])}, {}, "'joint' has no epsilon"),
    ],
)
def test_senseless_arguments_are_refused(attacks, settings, message, model, data):
    with pytest.raises(ValueError, match=message):
        press(model, data, attacks, **settings)


def test_the_other_thing_in_an_image_is_told_from_its_own_texts():
    data = load_data("phantom-endoscopy", size=32, limit=40, prompt="p1")
    sources = text_sources(data, data.cases)
    names = [case.image_name for case in data.cases]
    pairs = [i for i, name in enumerate(names) if names.count(name) == 2]
    assert pairs
    for i, source in enumerate(sources):
        assert source.prompt in source.own
        assert bool(source.beside) == (i in pairs)
        if i in pairs:
            (other,) = (j for j in pairs if j != i and names[j] == names[i])
            assert set(source.beside) == set(sources[other].own)
    assert set(sources[0].others) == {case.prompt for case in data.cases}


def test_levels_of_one_thing_are_not_another_thing():
    data = load_data("phantom-endoscopy", size=32, limit=1, prompt="all")
    assert {source.beside for source in text_sources(data, data.cases)} == {()}


def test_without_texts_only_prompts_are_known(data):
    samples = [data[i] for i in range(3)]
    (first, *_) = text_sources(samples, [s.case for s in samples])
    assert (first.own, first.beside) == ((), ())
    assert len(first.others) == 3
