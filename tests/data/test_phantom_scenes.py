"""Are masks where the pictures show something, and are texts true of them?"""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from palpate.data.phantoms import PHANTOMS, phantom_entries
from palpate.data.phantoms.canvas import Canvas
from palpate.data.phantoms.dermoscopy import PIGMENTS
from palpate.data.phantoms.endoscopy import POLYP_COLOURS, nearest_colour
from palpate.data.phantoms.words import LARGE, SMALL, centroid, place_word, size_word

LESIONS = ["phantom-endoscopy", "phantom-dermoscopy"]
CANVAS = Canvas(112)


def scenes(name, count, things=None):
    look = next(iter(PHANTOMS[name].appearances))
    entries = phantom_entries(name, "test", 5, look, things)
    return list(islice((entry.scene for entry in entries if entry.number == 0), count))


def paint(name, scene, seed=0):
    modality = PHANTOMS[name]
    look = next(iter(modality.appearances.values()))
    return modality.paint(scene, CANVAS, look, np.random.default_rng(seed))


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def raised_and_alone():
    drawn = scenes("phantom-endoscopy", 60, things=1)
    return [s for s in drawn if s.absent is None and s.polyps[0].height > 0.6][:6]


def test_recolouring_a_polyp_changes_what_its_mask_shows():
    for scene in raised_and_alone():
        other = replace(scene.polyps[0], albedo=(0.05, 0.1, 0.9))
        before, after = (
            paint("phantom-endoscopy", s) for s in (scene, replace(scene, polyps=(other,)))
        )
        changed = np.abs(after - before).max(axis=0) > 0.05
        assert overlap(changed, scene.mask(0, CANVAS)) > 0.85  # less white reflections


def test_taking_the_pigment_changes_what_the_mask_of_a_lesion_shows():
    for scene in scenes("phantom-dermoscopy", 6, things=1):
        # Much pigment, so that its border counts although pigment fades there.
        full, none = (
            replace(scene, lesions=(replace(scene.lesions[0], pigment=pigment),))
            for pigment in ((9.0, 9.0, 9.0), (0.0, 0.0, 0.0))
        )
        before, after = (paint("phantom-dermoscopy", s) for s in (full, none))
        changed = np.abs(after - before).max(axis=0) > 0.12 * after.max(axis=0) + 0.02
        assert overlap(changed, scene.mask(0, CANVAS)) > 0.85


def test_the_chambers_are_darker_than_the_muscle_and_the_three_masks_share_no_pixel():
    contrast = []
    for scene in scenes("phantom-echo", 20):
        picture = paint("phantom-echo", scene)[0]
        ventricle, muscle, atrium = (scene.mask(number, CANVAS) for number in range(3))
        assert not (ventricle & muscle).any()
        assert not (ventricle & atrium).any()
        assert not (muscle & atrium).any()
        assert min(part.mean() for part in (ventricle, muscle, atrium)) > 0.01
        assert picture[~scene.sector.shown(CANVAS)].max() == 0
        contrast.append(picture[muscle].mean() - picture[ventricle].mean())
    assert np.mean(contrast) > 0.08
    assert np.mean(np.array(contrast) > 0) > 0.9


def test_a_heart_contracts_in_systole_and_has_a_right_side_in_four_chamber_views_only():
    hearts = scenes("phantom-echo", 120)
    areas = {
        phase: np.mean([s.mask(0, CANVAS).mean() for s in hearts if s.phase == phase])
        for phase in ("systole", "diastole")
    }
    assert areas["systole"] < 0.8 * areas["diastole"]
    valves = {
        view: np.mean([s.heart.valve_x for s in hearts if s.view == view])
        for view in ("two-chamber", "four-chamber")
    }
    assert valves["four-chamber"] > valves["two-chamber"] + 0.05


def test_poor_quality_shows_less_contrast():
    contrast = {"good": [], "poor": []}
    for scene in scenes("phantom-echo", 12):
        for quality, values in contrast.items():
            picture = paint("phantom-echo", replace(scene, quality=quality))[0]
            muscle, cavity = scene.mask(1, CANVAS), scene.mask(0, CANVAS)
            values.append(picture[muscle].mean() - picture[cavity].mean())
    assert np.mean(contrast["poor"]) < 0.7 * np.mean(contrast["good"])


def _near(value, edges, tolerance):
    return any(abs(value - edge) < tolerance for edge in edges)


@pytest.mark.parametrize("name", LESIONS)
def test_words_for_size_and_place_are_true_of_the_masks(name):
    checked = 0
    for scene in scenes(name, 80):
        if getattr(scene, "absent", None) is not None:
            continue
        for number, words in enumerate(scene.asked):
            mask = scene.mask(number, CANVAS)
            if not _near(mask.mean(), (SMALL, LARGE), 0.01):
                assert words.size == size_word(mask)
                checked += 1
            if not any(_near(part, (1 / 3, 2 / 3), 0.02) for part in centroid(mask)):
                assert words.place == place_word(mask)
                checked += 1
    assert checked > 100


def test_words_for_colour_are_true_of_polyps_and_pigments():
    assert all(nearest_colour(albedo) == word for word, albedo in POLYP_COLOURS.items())
    for scene in scenes("phantom-endoscopy", 40):
        assert all(p.words.colour == nearest_colour(p.albedo) for p in scene.polyps)
    for scene in scenes("phantom-dermoscopy", 40):
        for lesion in scene.lesions:
            ratio = np.divide(lesion.pigment, PIGMENTS[lesion.words.colour])
            np.testing.assert_allclose(ratio, ratio[0])
            assert 0.3 < ratio[0] < 2


@pytest.mark.parametrize("name", LESIONS)
def test_ovals_are_longer_than_round_ones(name):
    for scene in scenes(name, 40):
        for thing in getattr(scene, "polyps", None) or getattr(scene, "lesions", ()):
            assert (thing.outline.aspect > 1.3) == (thing.words.shape == "oval")


def test_polyps_show_on_the_picture_as_the_colour_that_is_said():
    """White is paler, red redder, brown darker than the average polyp."""
    seen = {}
    for scene in scenes("phantom-endoscopy", 120):
        if scene.polyps:
            mask = scene.mask(0, CANVAS)
            colour = paint("phantom-endoscopy", scene)[:, mask].mean(axis=1)
            seen.setdefault(scene.polyps[0].words.colour, []).append(colour)
    red, green, blue = {}, {}, {}
    for word, colours in seen.items():
        red[word], green[word], blue[word] = np.mean(colours, axis=0)
    assert min(red, key=red.get) == "brown"
    assert max(blue, key=blue.get) == "white"
    assert min(green, key=lambda word: green[word] / red[word]) == "red"
    assert all(blue["orange"] / red["orange"] < blue[w] / red[w] for w in ("pink", "white"))


@pytest.mark.parametrize("name", LESIONS)
def test_two_things_are_apart_and_differ_in_colour_and_place(name):
    for scene in scenes(name, 25, things=2):
        one, other = scene.asked
        assert one.colour != other.colour
        assert one.place != other.place
        masks = [scene.mask(number, CANVAS) for number in (0, 1)]
        assert not (masks[0] & masks[1]).any()
        assert all(mask.any() for mask in masks)


def test_some_endoscopic_scenes_have_two_polyps_and_a_few_none():
    drawn = scenes("phantom-endoscopy", 300)
    assert 0.2 < np.mean([len(scene.polyps) == 2 for scene in drawn]) < 0.4
    assert 0.01 < np.mean([len(scene.polyps) == 0 for scene in drawn]) < 0.09
    empty = next(scene for scene in drawn if not scene.polyps)
    assert not empty.mask(0, CANVAS).any()
    assert len(empty.asked) == 1


@pytest.mark.parametrize("name", PHANTOMS)
def test_no_threshold_of_brightness_finds_the_mask(name):
    """The best of all thresholds, each way round, stays far from a segmentation."""
    best = []
    for scene in scenes(name, 12):
        mask, gray = scene.mask(0, CANVAS), paint(name, scene).mean(axis=0)
        if mask.any():
            cuts = np.linspace(0.05, 0.95, 19)
            best.append(max(max(overlap(gray > c, mask), overlap(gray < c, mask)) for c in cuts))
    assert np.mean(best) < 0.75
