from functools import partial

import pytest
import torch

from palpate.attacks import fgsm, noise, pgd
from palpate.data.sample import collate
from palpate.evaluation.image_attacks import UNTOUCHED, AttackAtRadius, at_radii, check

from .blobs import blobs

BATCH = collate(blobs(3))
IMAGES, MASKS, KEYS = BATCH.images, BATCH.masks, BATCH.keys
LINF = AttackAtRadius("mine", noise, "linf", 8 / 255)
L2 = AttackAtRadius("mine", noise, "l2", 1.0)


def moved(index: int, by: float) -> torch.Tensor:
    images = IMAGES.clone()
    images[index, 0, 3, 3] += by
    return images


def test_attacks_are_crossed_with_epsilons_after_the_clean_images():
    crossed = at_radii({"fgsm": fgsm, "pgd": partial(pgd, norm="l2")}, [0.1, 0.2])
    assert crossed[0] == UNTOUCHED
    assert [str(each) for each in crossed] == [
        "clean", "fgsm linf 25.5/255", "fgsm linf 51/255", "pgd l2 0.1", "pgd l2 0.2",
    ]  # fmt: skip


def test_a_bound_epsilon_is_kept():
    crossed = at_radii({"pgd": partial(pgd, epsilon=0.3), "fgsm": fgsm}, [0.1])
    assert [(t.name, t.epsilon) for t in crossed[1:]] == [("pgd", 0.3), ("fgsm", 0.1)]


@pytest.mark.parametrize(
    ("attacks", "epsilons", "message"),
    [
        ({"pgd": pgd}, None, "Attack 'pgd' has no epsilon"),
        ({"mine": lambda *_: IMAGES}, [0.1], "Attack 'mine' has no epsilon"),
        ({"pgd": pgd}, [8.0], r"'pgd' in units of pixel value, 0 to 1, got 8.*8 / 255"),
        ({"pgd": pgd}, [-0.1], "got -0.1"),
        ({"pgd": pgd}, [float("nan")], "got nan"),
        ({"pgd": pgd}, [0.1, 0.1], "every epsilon once"),
        ({"pgd": partial(pgd, norm="l1")}, [0.1], "norm 'l1'; expected 'linf', 'l2'"),
        ({"clean": pgd}, [0.1], "other names than 'clean'"),
    ],
)
def test_senseless_radii_and_names_are_refused(attacks, epsilons, message):
    with pytest.raises(ValueError, match=message):
        at_radii(attacks, epsilons)


def test_an_l2_radius_may_exceed_one():
    assert at_radii({"pgd": partial(pgd, norm="l2")}, [3.0])[1].epsilon == 3.0


def test_an_attack_gets_what_it_names_and_nothing_else():
    seen = {}

    def nosy(model, images, masks, *, epsilon, generator, threshold):
        seen.update(epsilon=epsilon, generator=generator, threshold=threshold)
        return images

    def modest(model, images, masks):
        return images

    given = {"generators": [torch.Generator()], "threshold": 0.7}
    AttackAtRadius("nosy", nosy, "linf", 0.1).run(abs, IMAGES, MASKS, **given)
    assert seen == {"epsilon": 0.1, "generator": given["generators"], "threshold": 0.7}
    AttackAtRadius("modest", modest, "linf", 0.1).run(abs, IMAGES, MASKS, **given)


@pytest.mark.parametrize("attack", [LINF, L2])
def test_what_real_attacks_return_is_accepted(attack):
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).round()
    masks = images[:, :1] > 0
    adversarial = noise(abs, images, masks, epsilon=attack.epsilon, norm=attack.norm)
    assert torch.equal(check(adversarial, images, attack, KEYS), adversarial)


@pytest.mark.parametrize(
    ("adversarial", "attack", "message"),
    [
        (moved(1, 9 / 255), LINF, r"'mine' .*0\.0313.*'k1': its distance is 0\.0352.*0\.0039"),
        (moved(2, 1.01 - IMAGES[2, 0, 3, 3].item()), L2, r"'k2': pixel values .* 1\.01\] instead"),
        (IMAGES - 0.07, L2, r"'k0': its distance is 2\.4.* more than epsilon"),
        (moved(1, float("nan")), LINF, "'k1': 1 pixel values are not finite"),
        (IMAGES[:2], LINF, r"shape \(3, 3, 20, 20\), got \(2, 3, 20, 20\)"),
        (None, LINF, "got NoneType"),
    ],
)  # fmt: skip
def test_broken_promises_are_named(adversarial, attack, message):
    with pytest.raises(ValueError, match=message):
        check(adversarial, IMAGES, attack, KEYS)


@pytest.mark.parametrize("excess", [1e-4, 1e-3])
def test_slight_excess_is_seen(excess):
    check(moved(0, LINF.epsilon), IMAGES, LINF, KEYS)
    with pytest.raises(ValueError, match="more than epsilon"):
        check(moved(0, LINF.epsilon * (1 + excess)), IMAGES, LINF, KEYS)


@pytest.mark.parametrize(
    ("norm", "epsilon", "said"),
    [
        ("linf", 8 / 255, "mine linf 8/255"),
        ("l2", 0.5, "mine l2 0.5"),
        ("normalised", 0.03, "mine normalised 0.03"),
    ],
)
def test_only_radii_in_linf_are_told_in_steps_of_an_8_bit_image(norm, epsilon, said):
    assert str(AttackAtRadius("mine", noise, norm, epsilon)) == said
