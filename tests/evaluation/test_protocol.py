"""Each choice of a protocol, by itself."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from palpate.attacks import fgsm, noise, pgd, published_pgd
from palpate.data.sample import Sample
from palpate.evaluation import PAPER, SOUND, ExampleStore, Protocol, evaluate, read_examples
from palpate.evaluation.protocol.storage import stored

from .blobs import BRIGHT, DARK, BlobFinder, blob, blobs

EPSILON = 24 / 255


class Redrawing(list):
    """Samples whose prompts another epoch may exchange; the answers remember the epochs."""

    def __init__(self, samples, epochs=None):
        super().__init__(samples)
        self.cases = [sample.case for sample in samples]
        self.epochs = [] if epochs is None else epochs

    def with_epoch(self, epoch):
        self.epochs.append(epoch)
        other = {BRIGHT: DARK, DARK: BRIGHT}
        swap = len(self.epochs) % 2 == 0
        cases = [replace(c, prompt=other[c.prompt] if swap else c.prompt) for c in self.cases]
        return Redrawing(
            [replace(s, case=c) for s, c in zip(self, cases, strict=True)], self.epochs
        )


def press(data, protocol, attacks=None, **settings):
    attacks = attacks or {"pgd": partial(pgd, steps=3)}
    return evaluate(
        BlobFinder(), data, attacks, epsilons=[EPSILON], protocol=protocol, **settings
    ).set_index(["attack", "key"])


def test_the_sound_protocol_is_the_default():
    assert_rows_equal(press(blobs(2), SOUND), press(blobs(2), Protocol()))
    assert set(press(blobs(1), SOUND)["protocol"]) == {"sound"}


def assert_rows_equal(one, other):
    columns = ["dsc", "iou", "loss", "linf"]
    np.testing.assert_array_equal(one[columns].to_numpy(), other[columns].to_numpy())


@pytest.mark.parametrize("storage", ["png", "jpeg"])
def test_the_image_that_is_scored_is_the_one_that_was_stored(storage, tmp_path):
    store = ExampleStore(tmp_path, 1)
    press(blobs(1), SOUND.switched(storage=storage), examples=store)
    shown = {e.row.attack: e.image for e in read_examples(tmp_path)}
    levels = shown["pgd"] * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    clean = shown["clean"] * 255
    assert np.abs(clean - clean.round()).max() > 0.1  # untouched by the protocol


def test_storage_rounds_half_up_after_clamping():
    image = torch.tensor([-0.2, 0.5 / 255, 1.49 / 255, 1.5 / 255, 1.4]).view(1, 1, 1, 5)
    found = stored(image.expand(1, 3, 2, 5), ["a.png"], SOUND.switched(storage="png"))
    assert_close(found[0, 0, 0] * 255, torch.tensor([0.0, 1, 1, 2, 255]))


def test_jpeg_is_that_of_pillow(tmp_path):
    image = blob(0, 24, 32).image
    path = tmp_path / "x.jpg"
    levels = (image * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(path, quality=75)
    expected = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
    found = stored(image[None], ["x.jpg"], SOUND.switched(storage="jpeg"))[0]
    assert_close(found, expected)
    worse = stored(image[None], ["x.jpg"], SOUND.switched(storage="jpeg", quality=10))[0]
    assert (worse - image).abs().mean() > (found - image).abs().mean()


def test_the_extension_may_decide():
    images = torch.stack([blob(0).image] * 3)
    kept = stored(images, ["a.JPG", "b.jpeg", "c.png"], SOUND.switched(storage="named"))
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])


def test_prompts_are_drawn_for_attack_and_score_at_every_strength():
    data = Redrawing(blobs(2))
    evaluate(
        BlobFinder(), data, {"pgd": partial(pgd, steps=2)}, epsilons=[EPSILON, EPSILON / 2],
        protocol=SOUND.switched(prompts="redrawn"), batch_size=1,
    )  # fmt: skip
    assert len(data.epochs) == len(set(data.epochs)) == 6  # clean, and two strengths, twice each


def test_the_prompt_of_the_score_may_be_another_than_that_of_the_attack():
    """Attacked for what is there, scored for what is not: the answer is wrong without attack."""
    fixed = press(Redrawing(blobs(2)), SOUND, {"noise": noise})
    redrawn = press(Redrawing(blobs(2)), SOUND.switched(prompts="redrawn"), {"noise": noise})
    assert fixed.loc["noise", "dsc"].min() > 0.8
    assert redrawn.loc["noise", "dsc"].max() < 0.5
    assert list(fixed.index) == list(redrawn.index)


def test_data_that_cannot_draw_anew_are_refused():
    with pytest.raises(ValueError, match="draw prompts anew"):
        press(blobs(2), SOUND.switched(prompts="redrawn"))


def shared():
    """Two structures in one image: the bright blob and its dark surroundings."""
    first = blob(0)
    case = replace(first.case, key="other", prompt=DARK, structure="ground")
    return [first, Sample(case, first.image, ~first.mask), blob(2)]


def test_of_several_structures_the_last_file_stays(tmp_path):
    store, alone = ExampleStore(tmp_path, 9), {"fgsm": fgsm}
    own = press(shared(), SOUND, alone)
    rows = press(shared(), SOUND.switched(naming="image"), alone, examples=store)
    images = {e.row.key: e.image for e in read_examples(tmp_path) if e.row.attack == "fgsm"}
    np.testing.assert_array_equal(images["k0"], images["other"])
    assert own.loc[("fgsm", "other"), "dsc"] == rows.loc[("fgsm", "other"), "dsc"]
    assert own.loc[("fgsm", "k2"), "loss"] == rows.loc[("fgsm", "k2"), "loss"]


def test_a_limit_does_not_change_who_is_last():
    switched = SOUND.switched(naming="image")
    whole, part = (press(shared(), switched, {"fgsm": fgsm}, limit=n) for n in (None, 1))
    assert whole.loc[("fgsm", "k0"), "loss"] == part.loc[("fgsm", "k0"), "loss"]


def test_without_a_seed_every_run_differs():
    one, other = (press(blobs(2), SOUND.switched(seeding="none"), {"noise": noise}) for _ in "ab")
    assert (one.loc["noise", "loss"] != other.loc["noise", "loss"]).all()


class Grey(list):
    """Samples whose masks have grey edges."""

    def soft_mask(self, index):
        return self[index].mask.float() * 0.8 + 0.1


def test_grey_values_enter_dsc_and_iou():
    data = Grey(blobs(2))
    rows = press(data, SOUND.switched(truth="soft"))
    clean = press(blobs(2), SOUND)
    for index, key in enumerate(["k0", "k1"]):
        prediction = clean.loc[("clean", key), "clean_area"] * data[index].mask.numel()
        truth = data.soft_mask(index)
        logits = BlobFinder()(data[index].image[None], [data[index].case.prompt])
        found = (logits[0] > 0).float()
        expected = 2 * (found * truth).sum() / (found.sum() + truth.sum())
        assert found.sum() == pytest.approx(prediction)
        assert rows.loc[("clean", key), "dsc"] == pytest.approx(expected.item(), abs=1e-6)


def test_published_attacks_may_leave_the_range_and_are_held_to_their_own_ball(tmp_path):
    attack = {"pgd": partial(published_pgd, steps=1, step_size=None)}
    store = ExampleStore(tmp_path, 1)
    rows = evaluate(
        BlobFinder(), [bright(0)], attack, epsilons=[0.5], protocol=SOUND, examples=store
    )
    row = rows[rows["attack"] == "pgd"].iloc[0]
    assert row["norm"] == "normalised"
    assert row["linf"] == pytest.approx(0.5 * 0.229, abs=1e-4)
    (shown,) = [e.image for e in read_examples(tmp_path) if e.row.attack == "pgd"]
    assert shown.max() > 1


def bright(index):
    sample = blob(index)
    return replace(sample, image=(sample.image + 0.4).clamp(0, 1))


def test_an_attack_that_leaves_the_normalised_ball_is_refused():
    def cheat(model, images, masks, *, epsilon, norm="normalised", std=(0.2, 0.2, 0.2)):
        return (images + 0.21 * epsilon).clamp(0, 1)

    with pytest.raises(ValueError, match=r"'cheat' .* returned an invalid"):
        evaluate(BlobFinder(), blobs(1), {"cheat": cheat}, epsilons=[0.1])


def test_names_say_what_was_switched():
    assert PAPER.switched(storage="float", prompts="fixed").name == (
        "paper, storage=float, prompts=fixed"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage": "gif"}, "storage of a protocol to be one of float, png, jpeg, named"),
        ({"quality": 100}, "quality from 1 to 95"),
    ],
)
def test_choices_that_do_not_exist(changes, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        SOUND.switched(**changes)


class Silent(BlobFinder):
    """Finds nothing anywhere."""

    def forward(self, images, prompts):
        return super().forward(images, prompts) * 0 - 1


def test_an_empty_mask_with_the_noise_of_its_file_is_no_contradiction():
    """By that truth something is there, and a model that finds nothing misses it."""
    (sample,) = blobs(1)
    data = Grey([replace(sample, mask=torch.zeros_like(sample.mask))])
    data.soft_mask = lambda _: torch.full(sample.mask.shape, 3 / 255)
    rows = evaluate(Silent(), data, {}, protocol=SOUND.switched(truth="soft"))
    assert rows["dsc"].tolist() == [0.0]
    assert rows["failure"].tolist() == ["vanished"]
    assert rows["mask_area"].tolist() == [0.0]
    empty = evaluate(Silent(), list(data), {})
    assert (empty["dsc"].item(), empty["failure"].item()) == (1.0, "none")
