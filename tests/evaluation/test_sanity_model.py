"""Models that are broken in known ways, and the check that must notice."""

from dataclasses import replace

import pytest
import torch

from palpate.evaluation.sanity import card_from_model

from .blobs import BlobFinder, blob, blobs
from .planted import BatchStatistics, Learning, NeverEvaluating, Wrong

STRONG = 32 / 255


def examine(model, samples=None, **settings):
    settings = {"epsilon": STRONG, "steps": 10, "batch_size": 4} | settings
    card = card_from_model(model, samples or blobs(4), **settings)
    return {check.number: check for check in card}


def failing(card):
    return {number for number, check in card.items() if check.status == "fail"}


def test_a_sound_model_passes_every_check():
    card = examine(BlobFinder())
    assert {number: check.status for number, check in card.items()} == dict.fromkeys(
        (1, 4, 7, *range(9, 16), 18, 19, 20), "pass"
    )


def test_images_of_different_size_are_examined_too():
    card = examine(BlobFinder(), [blob(0), blob(1, 24, 30), blob(2)], batch_size=2)
    assert not failing(card)


def test_a_model_that_rounds_has_no_gradient():
    card = examine(Wrong(before=lambda images: (images * 32).round() / 32))
    assert {9, 10} <= failing(card)
    assert "4 of 4 images have none at all" in card[10].measured
    assert "100 % of the pixels have none" in card[10].measured


def test_a_model_that_saturates_hides_the_gradient_of_the_cross_entropy():
    card = examine(Wrong(after=lambda logits: 1e4 * logits), epsilon=48 / 255)
    assert 10 in failing(card)
    assert card[11].status == "warn"  # the default loss does not depend on the scale of the logits
    assert "100 % of the pixels have a saturated sigmoid" in card[11].measured


def test_saturation_is_mentioned_also_where_the_attack_copes():
    card = examine(Wrong(after=lambda logits: 10 * logits))
    assert card[11].status == "warn"


def test_a_random_model_is_noticed():
    card = examine(Wrong(after=lambda logits: logits + torch.randn_like(logits)))
    assert {1, 15} <= failing(card)


def test_a_model_whose_images_decide_on_each_other_is_noticed():
    card = examine(BatchStatistics())
    assert card[15].status == "fail"
    assert "depends on the other images" in card[15].meaning
    assert "differ by up to 0, alone" in card[15].measured
    assert examine(BatchStatistics(), batch_size=1)[15].status == "pass"


def test_a_detached_model_is_no_robust_model():
    card = examine(Wrong(before=lambda images: images.detach()))
    assert {4, 9, 10, 11, 14} <= failing(card)
    assert "RuntimeError" in card[10].measured


def test_a_model_that_answers_nan_is_noticed():
    card = examine(Wrong(after=lambda logits: logits * torch.nan))
    assert {1, 4, 9, 10, 11, 14, 15} <= failing(card)
    assert "returned NaN or infinity for ['k0'" in card[4].measured


def test_a_gradient_that_is_nan_where_the_answer_is_not_is_noticed():
    def root(logits):  # the slope of the square root is infinite at 0
        return logits + (images_like(logits) * 0).sqrt()

    def images_like(logits):
        return logits * 0

    assert 10 in failing(examine(Wrong(after=root)))


def test_pixels_without_gradient_are_counted():
    def crop(images):
        padded = torch.full_like(images, 0.5)
        padded[..., :, 6:14] = images[..., :, 6:14]
        return padded

    card = examine(Wrong(before=crop))
    assert card[10].status == "warn"
    assert "60 % of the pixels have none" in card[10].measured


def test_a_model_that_ignores_the_image_fails():
    card = examine(Wrong(before=lambda images: images * 0 + blob(0).image), [blob(0), blob(2)])
    assert {4, 9, 10} <= failing(card)


def test_a_model_that_changes_while_it_is_attacked_is_noticed():
    assert 12 in failing(examine(Learning()))
    card = examine(NeverEvaluating())
    assert "in training mode: itself, smooth" in card[12].measured
    assert 12 in failing(card)


def test_an_attack_that_has_not_converged_is_noticed():
    assert examine(BlobFinder(), steps=1, epsilon=STRONG)[9].status != "pass"


def test_damage_that_does_not_survive_storage_is_noticed():
    samples = [replace(s, image=(s.image * 255).round() / 255) for s in (blob(0), blob(2))]
    clean = torch.stack([sample.image for sample in samples])

    def enlarge(images):  # half a grey level decides, and no file holds one
        apart = (images[:, None] - clean).abs().flatten(2).sum(2)
        own = clean[apart.argmin(1)]  # an image may come alone
        return own + 100 * (images - own)

    card = examine(Wrong(before=enlarge), samples, epsilon=0.45 / 255)
    assert card[14].status == "fail"


def test_of_many_samples_a_few_are_taken_evenly():
    looked = set()

    class Watched(list):
        def __getitem__(self, index):
            looked.add(index)
            return super().__getitem__(index)

    data = Watched(blobs(10))
    data.cases = [sample.case for sample in blobs(10)]
    card_from_model(BlobFinder(), data, count=3, steps=1)
    assert looked == {0, 3, 6}


def test_a_plain_function_can_be_examined():
    model = BlobFinder().requires_grad_(False)
    card = examine(lambda images, prompts: model(images, prompts))
    assert card[12].status == "not_run"
    assert not failing(card)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_as_it_was(training):
    model = BlobFinder().train(training)
    examine(model, steps=1)
    assert model.training == training
    assert all(parameter.requires_grad for parameter in model.parameters())


class Counting(BlobFinder):
    """Counts how often it is asked."""

    asked = 0

    def forward(self, images, prompts):
        type(self).asked += 1
        return super().forward(images, prompts)


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(Counting, "asked", 0)
    return lambda: Counting.asked


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A card and what is kept of its examination."""
    file = tmp_path_factory.mktemp("kept") / "examination.json"
    return examine(Counting(), out=file, steps=1), file.read_bytes()


@pytest.fixture
def file(kept, tmp_path):
    """An examination of one step that was kept."""
    path = tmp_path / "examination.json"
    path.write_bytes(kept[1])
    return path


def test_an_examination_that_was_kept_is_not_made_again(kept, asked, tmp_path):
    file = tmp_path / "run" / "examination.json"
    assert examine(Counting(), out=file, steps=1) == kept[0]
    before = asked()
    assert before > 0
    assert examine(Counting(), out=file, steps=1) == kept[0]
    assert asked() == before
    assert file.read_bytes() == kept[1]


def heavier(model):
    with torch.no_grad():
        model.smooth.weight.mul_(1.001)
    return model


def said_to_be_random(model):
    model.is_random = True
    return model


def with_another_threshold(model):
    model.threshold_logit = 0.25
    return model


@pytest.mark.parametrize("change", [heavier, said_to_be_random, with_another_threshold])
def test_another_model_is_examined_anew(change, asked, file):
    examine(change(Counting()), out=file, steps=1)
    assert asked() > 0


@pytest.mark.parametrize(
    "other",
    [{"count": 2}, {"epsilon": 0.1}, {"steps": 2}, {"seed": 1}, {"precision": "bf16"}],
    ids=lambda other: next(iter(other)),
)
def test_under_other_settings_it_is_examined_anew(other, asked, file):
    examine(Counting(), out=file, **{"steps": 1} | other)
    assert asked() > 0


def test_on_other_samples_it_is_examined_anew(asked, file):
    examine(Counting(), blobs(5)[1:], out=file, steps=1)
    assert asked() > 0


@pytest.mark.parametrize("damage", ["", "[]", '{"made_of": {}}', "\udcff"])
def test_a_damaged_examination_is_made_again(damage, kept, asked, tmp_path):
    file = tmp_path / "examination.json"
    file.write_text(damage, errors="surrogateescape")
    assert examine(Counting(), out=file, steps=1) == kept[0]
    before = asked()
    assert before > 0
    assert examine(Counting(), out=file, steps=1) == kept[0]
    assert asked() == before


def test_a_check_that_could_not_be_carried_out_is_tried_again(asked, tmp_path):
    class Failing(Counting):
        def forward(self, images, prompts):
            if torch.is_grad_enabled():
                raise RuntimeError("the machine is tired")
            return super().forward(images, prompts)

    assert failing(examine(Failing(), out=tmp_path / "examination.json"))
    assert not (tmp_path / "examination.json").exists()


def test_a_function_has_no_weights_to_tell_it_apart_and_is_examined_each_time(tmp_path):
    model = BlobFinder().eval().requires_grad_(False)
    examine(lambda images, prompts: model(images, prompts), out=tmp_path / "examination.json")
    assert not (tmp_path / "examination.json").exists()
