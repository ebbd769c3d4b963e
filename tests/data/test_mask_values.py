"""Masks are never silently wrong: what is binary passes, anything else is refused or picked."""

import io
import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from palpate.data import cached, from_hugging_face, from_samples, load_data, load_pairs
from palpate.data.augment import Augmentation
from palpate.data.prepare import prepare
from palpate.data.reading.files import UnclearMask
from palpate.data.reading.mask_values import MaskRule, parse_value, structures_of
from palpate.data.reading.masks import read_mask
from palpate.data.structures import UnclearMasks

from .conftest import noise, save

SIDE = 64
RED, GREEN = (255, 0, 0), (0, 255, 0)


def disc(x, y, radius, side=SIDE, fine=1):
    rows, columns = (np.mgrid[: side * fine, : side * fine] + 0.5) / fine
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


ONE, OTHER = disc(20, 20, 10), disc(44, 44, 9)


def labels(ground, one, other, dtype=np.uint8):
    values = np.full((SIDE, SIDE), ground, dtype=dtype)
    values[ONE], values[OTHER] = one, other
    return values


def coloured(one=RED, other=GREEN, ground=(0, 0, 0)):
    pixels = np.full((SIDE, SIDE, 3), ground, dtype=np.uint8)
    pixels[ONE], pixels[OTHER] = one, other
    return pixels


def indexed(colours=(0, 0, 0, 255, 0, 0, 0, 255, 0)):
    picture = Image.fromarray(labels(0, 1, 2)).convert("P")
    picture.putpalette(list(colours))
    return picture


def jpeg(values, quality):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def supersampled(x, y, radius):
    fine = disc(x, y, radius, fine=4).reshape(SIDE, 4, SIDE, 4).mean((1, 3))
    return np.rint(255 * fine).astype(np.uint8)


def resized(size, how):
    return np.asarray(Image.fromarray(ONE.astype(np.uint8) * 255).resize(size, how))


def noisy_probabilities():
    soft = gaussian_filter(ONE.astype(float), 1)
    return np.clip(soft + np.random.default_rng(0).normal(0, 0.03, soft.shape), 0, 1)


WHITE = ONE.astype(np.uint8) * 255
STRAY = WHITE.copy()
STRAY[60, 3] = 128
BINARY = {
    "hard": WHITE,
    "0 and 1": ONE.astype(np.uint8),
    "stray pixel": STRAY,
    "grey ground": np.where(ONE, 255, 40).astype(np.uint8),
    "16 bits": ONE.astype(np.uint16) * 65535,
    "soft": supersampled(20, 20, 10),
    "soft and tiny": supersampled(20.3, 20.6, 1.5),
    "soft in 16 bits": supersampled(20, 20, 10).astype(np.uint16) * 257,
    "blurred": np.rint(gaussian_filter(WHITE.astype(float), 2)).astype(np.uint8),
    "bilinear": resized((150, 150), Image.Resampling.BILINEAR),
    "bicubic": resized((40, 40), Image.Resampling.BICUBIC),
    "blocks": np.kron(supersampled(20, 20, 10), np.ones((3, 3), dtype=np.uint8)),
    "half covered edge": np.repeat(np.uint8([[0] * 20 + [128] + [255] * 43]), SIDE, axis=0),
    "once a JPEG": np.asarray(jpeg(WHITE, 60)),
    "once a fine JPEG": np.asarray(jpeg(WHITE, 98)),
    "resized JPEG": np.asarray(jpeg(WHITE, 75).resize((90, 90), Image.Resampling.BILINEAR)),
    "probabilities": noisy_probabilities().astype(np.float32),
    "floats 0 and 1": ONE.astype(np.float32),
    "floats 0 and 255": WHITE.astype(np.float32),
    "RGB": np.repeat(WHITE[..., None], 3, axis=2),
    "yellow": coloured((255, 255, 0), (255, 255, 0)),
    "alpha": np.dstack([np.full((SIDE, SIDE, 3), 255, np.uint8), WHITE]),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_masks_pass_whatever_their_edges(name):
    values = BINARY[name]
    found = read_mask(Image.fromarray(values)).foreground
    expected = (ONE | OTHER if name == "yellow" else ONE).mean()
    if name in ("soft and tiny", "half covered edge"):
        expected = (values >= 128).mean()
    assert found.any()
    assert found.mean() == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_jpeg_ringing_passes(quality):
    found = read_mask(jpeg(WHITE, quality)).foreground
    assert (found != ONE).mean() < 0.002


RIM = np.where(disc(30, 30, 20), 255, 0).astype(np.uint8)
RIM[disc(30, 30, 20) & ~disc(30, 30, 19)] = 128
UNCLEAR = {
    "ignored border": (labels(0, 1, 255), (0, 1, 255)),
    "grey label map": (labels(0, 127, 255), (0, 127, 255)),
    "0 is the structure": (labels(255, 0, 128), (255, 0, 128)),
    "nearly the same grey": (labels(0, 200, 210), (0, 200, 210)),
    "next to white": (labels(0, 254, 255), (0, 254, 255)),
    "small numbers": (labels(0, 1, 2), (0, 1, 2)),
    "both bright": (labels(128, 255, 255), (128, 255)),
    "rim": (RIM, (0, 255, 128)),
    "two lines": (np.where(np.eye(SIDE), 128, WHITE).astype(np.uint8), (0, 255, 128)),
    "16-bit instances": (labels(0, 1, 2, np.uint16), (0, 1, 2)),
    "16 bits": (labels(0, 32768, 65535, np.uint16), (0, 32768, 65535)),
    "red and green": (coloured(), ((0, 0, 0), RED, GREEN)),
    "red on white": (coloured(RED, RED, (255, 255, 255)), ((255, 255, 255), RED)),
    "red on black": (coloured(RED, RED), ((0, 0, 0), RED)),
    "palette": (indexed(), (0, 1, 2)),
    "palette of one colour": (indexed([0] * 9), (0, 1, 2)),
    "floats": (labels(0, 0.5, 1, np.float32), (0, 0.5, 1)),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_masks_of_several_values_are_refused_with_values_and_areas(name):
    drawing, values = UNCLEAR[name]
    drawing = drawing if isinstance(drawing, Image.Image) else Image.fromarray(drawing)
    with pytest.raises(UnclearMask, match=r"\d % of the pixels") as caught:
        read_mask(drawing)
    assert set(caught.value.values) == set(values)
    assert caught.value.values[0] == values[0]  # the commonest


def test_areas_are_shares_of_the_pixels():
    share = f"{100 * ONE.mean():.3g} %"
    with pytest.raises(UnclearMask, match=rf"127 \({share}\), 255"):
        read_mask(Image.fromarray(labels(0, 127, 255)))


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_label_maps_in_jpeg_are_refused(quality):
    with pytest.raises(UnclearMask, match="two values"):
        read_mask(jpeg(labels(0, 127, 255), quality))
    with pytest.raises(UnclearMask, match="lossy"):
        read_mask(jpeg(coloured(), quality))


def test_a_mask_of_0_and_1_in_jpeg_is_refused_with_the_reason():
    with pytest.raises(UnclearMask, match=r"0 and 1, the format has destroyed it: .* PNG"):
        read_mask(jpeg(ONE.astype(np.uint8), 75))
    assert not read_mask(jpeg(np.zeros((SIDE, SIDE), np.uint8), 75)).foreground.any()


def test_an_image_given_as_its_mask_is_refused():
    shades = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) + 60
    with pytest.raises(UnclearMask, match="an image given as its mask"):
        read_mask(Image.fromarray(shades))


PICKED = {
    "grey": (labels(0, 127, 255), 127, ONE),
    "zero": (labels(255, 0, 128), 0, ONE),
    "several": (labels(0, 1, 2), [1, 2], ONE | OTHER),
    "colour": (coloured(), "#ff0000", ONE),
    "triple": (coloured(), [GREEN], OTHER),
    "index": (indexed(), 2, OTHER),
    "colour of an index": (indexed(), "#00ff00", OTHER),
    "brightness": (labels(0, 100, 200), ">=150", OTHER),
    "floats": (labels(0, 0.3, 1, np.float32), "0.3", ONE),
    "brightness of floats": (labels(0, 0.3, 1, np.float32), ">=0.5", OTHER),
    "instances": (labels(0, 1, 300, np.uint16), ">=1", ONE | OTHER),
}


@pytest.mark.parametrize("name", PICKED)
def test_values_pick_the_structure(name):
    drawing, values, expected = PICKED[name]
    drawing = drawing if isinstance(drawing, Image.Image) else Image.fromarray(drawing)
    (structure,) = structures_of(values)
    np.testing.assert_array_equal(read_mask(drawing, structure.rule).foreground, expected)


def test_ignored_values_leave_a_binary_mask():
    found = read_mask(Image.fromarray(labels(0, 1, 255)), MaskRule(ignore=(255,)))
    np.testing.assert_array_equal(found.foreground, ONE)
    np.testing.assert_array_equal(found.ignored, OTHER)
    with pytest.raises(UnclearMask, match="two values"):
        read_mask(Image.fromarray(labels(0, 1, 255)), MaskRule(ignore=(254,)))


def test_exact_values_are_not_picked_from_a_jpeg():
    with pytest.raises(UnclearMask, match="expected a lossless file to pick the value 127"):
        read_mask(jpeg(labels(0, 127, 255), 90), MaskRule((127,)))


def test_what_users_write_is_checked():
    assert [s.name for s in structures_of(["255=a tumour", "127=liver"])] == ["a tumour", "liver"]
    assert structures_of({1: "a", 2: "a"})[0].rule.values == (1, 2)
    assert structures_of([">=128=liver"])[0] == ("liver", MaskRule((parse_value(">=128"),)))
    for values, ignore, message in (
        ("red", None, "Expected a grey value"),
        ([127, "255=liver"], None, "a name for each value"),
        ({1: "a", "1": "b"}, None, "1 twice"),
        (127, 127, "127 in both"),
        ({127: " "}, None, "a name for each"),
    ):
        with pytest.raises(ValueError, match=message):
            structures_of(values, ignore)


@pytest.fixture
def folders(tmp_path):
    """Writes twelve images with the same mask."""

    def write(mask, ending="png", folder="source"):
        for number in range(12):
            save(tmp_path / folder / "images" / f"{number}.png", noise((SIDE, SIDE), number))
            drawing = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
            save(tmp_path / folder / "masks" / f"{number}.{ending}", drawing)
        return tmp_path / folder / "images", tmp_path / folder / "masks"

    return write


def test_pairs_of_label_maps_are_refused_with_the_way_on(folders):
    with pytest.raises(UnclearMasks, match=r"values=\[127\] for one, values=\{127: \"NAME\", 255"):
        load_pairs(*folders(labels(0, 127, 255)), prompt="tumour")
    with pytest.raises(UnclearMasks, match="#ff0000"):
        load_pairs(*folders(coloured(), folder="colours"), prompt="tumour")


def test_each_structure_of_a_pair_is_a_sample_with_its_own_prompt(folders):
    paths = folders(labels(0, 127, 255))
    data = load_pairs(*paths, values={255: "tumour", 127: "left lobe"})
    told = {case.key: (case.prompt, case.structure) for case in data.cases}
    assert ("tumour", "tumour") in told.values()
    assert ("left lobe", "left lobe") in told.values()
    assert {key.split("/")[0] for key in told} == {"tumour", "left_lobe"}
    masks = {sample.prompt: sample.mask[0].numpy() for sample in (data[0], data[1])}
    np.testing.assert_array_equal(masks["tumour"], OTHER)
    np.testing.assert_array_equal(masks["left lobe"], ONE)
    named = load_pairs(*paths, prompt="a {structure} in CT", values={255: "tumour", 127: "liver"})
    assert {case.prompt for case in named.cases} == {"a tumour in CT", "a liver in CT"}
    with pytest.raises(ValueError, match=r"a prompt with \{structure\}"):
        load_pairs(*paths, prompt="lesion", values={255: "tumour", 127: "liver"})


def test_a_value_that_no_mask_has_is_refused(folders):
    with pytest.raises(ValueError, match=r"value 126 in some of 12 masks.* 0 .* 127 .* 255 "):
        load_pairs(*folders(labels(0, 127, 255)), prompt="tumour", values=126)
    with pytest.warns(UserWarning, match=r"12 of 24 .* has 126 \(liver\), they have 0 .* 255"):
        data = load_pairs(*folders(labels(0, 127, 255)), values={126: "liver", 255: "tumour"})
    assert {case.prompt for case in data.cases} == {"tumour"}


def test_keys_and_fingerprint_stay_without_values(folders):
    from palpate.evaluation.results.fingerprint import hash_data

    binary = load_pairs(*folders(WHITE), prompt="tumour")
    assert (binary.mask_rules, binary[0].ignored) == ("", None)
    hashes = {hash_data(data, binary.cases) for data in (binary, _with_size_only(binary))}
    assert len(hashes) == 1
    picked = load_pairs(*folders(WHITE), prompt="tumour", values=255)
    assert picked.cases == binary.cases
    assert hash_data(picked, picked.cases) not in hashes


class _with_size_only:  # noqa: N801 - stands for a data set of the time before rules
    def __init__(self, data):
        self.size = data.size


def test_ignored_pixels_follow_resizing_augmentation_and_cache(folders, tmp_path):
    data = load_pairs(*folders(labels(0, 1, 255)), prompt="tumour", ignore=255, size=32)
    sample = data[0]
    assert sample.ignored.shape == (1, 32, 32)
    assert sample.ignored.float().mean() == pytest.approx(OTHER.mean(), abs=0.01)
    assert not (sample.mask & sample.ignored).any()
    turned = data.augmented(Augmentation(flip_horizontal=1.0))[0]
    assert torch.equal(turned.ignored, sample.ignored.flip(-1))
    assert torch.equal(turned.mask, sample.mask.flip(-1))
    kept = cached(data, tmp_path / "cache")
    for _ in range(2):
        assert torch.equal(kept[0].mask, sample.mask)
        assert torch.equal(kept[0].ignored, sample.ignored)
    other = load_pairs(
        tmp_path / "source/images", tmp_path / "source/masks", prompt="x", values=255
    )
    assert not torch.equal(cached(other, tmp_path / "cache")[0].mask, sample.mask)


def test_samples_in_memory(folders):
    def mapping(mask, **more):
        return {"image": noise((SIDE, SIDE)), "mask": mask, **more}

    for mask in (labels(0, 128, 255), labels(0, 128, 255, np.int64), labels(0.0, 128, 255, float)):
        with pytest.raises(UnclearMasks, match=r"sample '0+': .*128 .*255"):
            from_samples([mapping(mask, prompts="tumour")])
    data = from_samples([mapping(labels(0, 1, 2, np.int64))], values={1: "tumour", 2: "liver"})
    assert [(case.key, case.prompt) for case in data.cases] == [
        ("tumour/000000", "tumour"),
        ("liver/000000", "liver"),
    ]
    assert torch.equal(data[1].mask[0], torch.from_numpy(OTHER))
    partial = from_samples([mapping(labels(0, 1, 255), prompts="tumour")], ignore=255)
    assert torch.equal(partial[0].ignored[0], torch.from_numpy(OTHER))
    told = from_samples([mapping(ONE, ignored=OTHER, prompts="tumour")])
    assert torch.equal(told[0].ignored[0], torch.from_numpy(OTHER))
    again = from_samples([told[0]])
    assert torch.equal(again[0].ignored, told[0].ignored)
    soft = from_samples([mapping(noisy_probabilities(), prompts="tumour")])
    assert soft[0].mask.float().mean().item() == pytest.approx(ONE.mean(), abs=0.005)


def test_a_folder_of_label_maps(folders, tmp_path):
    folders(labels(0, 127, 255), folder="set")
    lines = [
        {"img_name": f"{n}.png", "mask_name": f"{n}.png", "prompts": {"p1": "lesion"}}
        for n in range(3)
    ]
    anns = tmp_path / "set" / "anns" / "test.json"
    anns.parent.mkdir()
    anns.write_text(json.dumps(lines))
    load = lambda **options: load_data("folder", tmp_path / "set", **options)  # noqa: E731
    with pytest.raises(UnclearMasks, match="127"):
        load()
    assert [case.prompt for case in load(values={127: "liver", 255: "tumour"}).cases[:2]] == [
        "liver",
        "tumour",
    ]
    anns.write_text(json.dumps([{**line, "values": [127], "ignore": [255]} for line in lines]))
    sample = load()[0]
    assert torch.equal(sample.mask[0], torch.from_numpy(ONE))
    assert torch.equal(sample.ignored[0], torch.from_numpy(OTHER))
    anns.write_text(json.dumps([{**line, "values": {"127": "liver"}} for line in lines]))
    with pytest.raises(ValueError, match="an entry for each structure"):
        load()
    with pytest.raises(ValueError, match="whose masks are drawn"):
        load_data("phantom-echo", values=127)


def test_hugging_face_tables():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    values = {"image": [noise((SIDE, SIDE))], "mask": [Image.fromarray(labels(0, 127, 255))]}
    table = datasets.Dataset.from_dict(values, features=features)
    with pytest.raises(UnclearMasks, match="127"):
        from_hugging_face(table, options={"text": "lesion"})
    data = from_hugging_face(table, options={"values": "255=tumour,127=liver"})
    assert [case.prompt for case in data.cases] == ["tumour", "liver"]
    data = from_hugging_face(table, options={"text": "liver", "ignore": "255", "values": "127"})
    assert torch.equal(data[0].ignored[0], torch.from_numpy(OTHER))


def test_prepare_picks_values_and_keeps_ignored_pixels(folders, tmp_path):
    source = folders(labels(0, 127, 255))[0].parent
    told = {"structure": "lesion"}
    with pytest.raises(ValueError, match=r"--mask\.values 127=NAME 255=NAME"):
        prepare("pairs", source, tmp_path / "out", options=told)
    where = prepare(
        "pairs", source, tmp_path / "two", options={"values": "255=tumour,127=liver"}, workers=1
    )
    data = load_data("folder", where)
    assert {(case.key.split("/")[0], case.structure) for case in data.cases} == {
        ("tumour", "tumour"),
        ("liver", "liver"),
    }
    where = prepare(
        "pairs", source, tmp_path / "one", options={**told, "values": "127", "ignore": "255"}
    )
    sample = load_data("folder", where)[0]
    assert torch.equal(sample.mask[0], torch.from_numpy(ONE))
    assert torch.equal(sample.ignored[0], torch.from_numpy(OTHER))
    for values in ("126", "126=tumour,3=liver"):
        with pytest.raises(ValueError, match=r"they have 0 .*127 .*255 "):
            prepare("pairs", source, tmp_path / "none", options={**told, "values": values})


def test_prepare_refuses_sets_whose_masks_are_all_empty(folders, tmp_path):
    source = folders(ONE.astype(np.uint8), "jpg")[0].parent
    with pytest.raises(ValueError, match="0 and 1, the format has destroyed it"):
        prepare("pairs", source, tmp_path / "out", options={"structure": "polyp"})
    nothing = folders(np.zeros((SIDE, SIDE), np.uint8), "jpg", "empty")[0].parent
    with pytest.raises(ValueError, match="got none in any"):
        prepare("pairs", nothing, tmp_path / "other", options={"structure": "polyp"})


def test_no_warning_for_binary_masks(folders):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_pairs(*folders(STRAY), prompt="polyp")
