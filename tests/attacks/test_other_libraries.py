"""FGSM and PGD of foolbox and of the Adversarial Robustness Toolbox end where ours end.

Neither knows segmentation: foolbox is given our loss, and ART a classifier with a class per pixel.
Only for few steps: the signs of gradients near zero make any two implementations part later.
"""

from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from palpate.attacks import fgsm, pgd
from palpate.attacks.losses import bce

pytestmark = [
    pytest.mark.slow,  # torchattacks, which takes less to import, is compared with in every run
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore"),  # of their imports; none of ours is asked for here
]

EPSILON, STEP, LENGTH = 8 / 255, 2 / 255, 0.5
_HOW = "pip install --no-deps foolbox eagerpy adversarial-robustness-toolbox"


@pytest.fixture
def task():
    random = torch.Generator().manual_seed(4)
    images = torch.rand(4, 3, 12, 12, generator=random)  # some at the edge of the pixel range
    return images, torch.rand(4, 1, 12, 12, generator=random) > 0.5


def attack(steps, norm="linf"):
    if not steps:
        return partial(fgsm, epsilon=EPSILON)
    length, step = (EPSILON, STEP) if norm == "linf" else (LENGTH, 0.2)
    options = {"random_start": False, "keep": "last", "norm": norm}
    return partial(pgd, epsilon=length, step_size=step, steps=steps, **options)


def assert_same(net, ours, theirs, images, masks):
    assert (ours - images).abs().max() > 1e-3
    assert_close(bce(net(ours), masks), bce(net(theirs), masks), rtol=1e-4, atol=0)
    assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "norm"), [(0, "linf"), (1, "linf"), (3, "linf"), (1, "l2"), (3, "l2")]
)
def test_reaches_the_loss_of_foolbox(steps, norm, task, net):
    foolbox = pytest.importorskip("foolbox", reason=f"foolbox is not installed ({_HOW})")
    images, masks = task
    names = {"linf": "LinfPGD", "l2": "L2PGD"} if steps else {"linf": "LinfFastGradientAttack"}
    kind = getattr(foolbox.attacks, names[norm])

    class Segmenting(kind):
        def get_loss_fn(self, model, labels):
            raw = labels.raw.float()

            def loss(inputs):
                logits = model(inputs)
                total = F.binary_cross_entropy_with_logits(logits.raw, raw, reduction="sum")
                return type(logits)(total)

            return loss

    options = {"abs_stepsize": STEP if norm == "linf" else 0.2, "steps": steps} if steps else {}
    other = Segmenting(random_start=False, **options)
    model = foolbox.PyTorchModel(net.eval(), bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(masks)
    radius = EPSILON if norm == "linf" else LENGTH
    theirs = other.run(model, images, criterion, epsilon=radius)
    ours = attack(steps, norm)(net, images, masks, loss=bce)
    assert_same(net, ours, theirs, images, masks)


class PixelsAsClasses(torch.nn.Module):
    def __init__(self, net) -> None:
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images).flatten(1)


class OverPixels(torch.nn.Module):
    """Not torch's own loss: of that ART would think that it wants one class an image."""

    def forward(self, logits, masks):
        masks = (masks > 0).float()  # its FGSM makes labels add up to 1
        return F.binary_cross_entropy_with_logits(logits, masks)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_reaches_the_loss_of_art(steps, task, net):
    evasion = pytest.importorskip("art.attacks.evasion", reason=f"ART is not installed ({_HOW})")
    estimators = pytest.importorskip("art.estimators.classification")
    images, masks = task
    classifier = estimators.PyTorchClassifier(
        PixelsAsClasses(net.eval()),
        loss=OverPixels(),
        input_shape=tuple(images.shape[1:]),
        nb_classes=masks[0].numel(),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    if steps:
        other = evasion.ProjectedGradientDescentPyTorch(
            classifier, eps=EPSILON, eps_step=STEP, max_iter=steps, num_random_init=0, verbose=False
        )
    else:
        other = evasion.FastGradientMethod(classifier, eps=EPSILON)
    theirs = torch.from_numpy(other.generate(images.numpy(), masks.flatten(1).float().numpy()))
    ours = attack(steps)(net, images, masks, loss=bce)
    assert_same(net, ours, theirs, images, masks)
