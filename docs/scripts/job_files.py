"""The files of the users of ``docs/jobs.md``: small trained networks, and made images."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.losses import DiceLoss
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import palpate as pp

SIDE = 64  # pixels
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
WINDOW = (40, 400)  # centre and width in HU, as the commands for volumes give it
LIVER, TUMOUR = 90, 190  # HU

Pairs = tuple[Tensor, Tensor]  # images (n, c, h, w) in [0, 1], labels (n, h, w)

NETWORK = """\
from pathlib import Path

import torch
from torch import nn


class UNet(nn.Module):
    def __init__(self, channels=CHANNELS, classes=CLASSES):
        super().__init__()
        self.top = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.bottom = nn.Sequential(
            nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 16, 5, padding=4, dilation=2), nn.ReLU(),
        )
        self.up = nn.Upsample(scale_factor=2)
        self.join = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(24, classes, 3, padding=1)

    def forward(self, x):
        top = self.top(x)
        middle = self.middle(top)
        low = self.join(torch.cat([self.up(self.bottom(middle)), middle], 1))
        return self.head(torch.cat([self.up(low), top], 1))


def make():
    net = UNet()
    net.load_state_dict(torch.load(Path(__file__).with_name("unet.pt")))
    return net.eval()
"""


def student(folder: Path) -> None:
    """A U-Net in Python with its weights, and 12 images with masks."""
    network(folder, phantoms("phantom-dermoscopy", "train", 48))
    save_pairs(folder, phantoms("phantom-dermoscopy", "test", 12))


def grey(folder: Path) -> None:
    """A one-channel network as TorchScript, and 10 grey images with masks."""
    net = network(folder / "made", grey_of(phantoms("phantom-echo", "train", 150)))
    torch.jit.trace(net, torch.zeros(1, 1, SIDE, SIDE)).save(str(folder / "echo.ts"))
    shutil.rmtree(folder / "made")
    save_pairs(folder, grey_of(phantoms("phantom-echo", "test", 30)))


def engineer(folder: Path) -> None:
    """A network in ONNX, 12 patients in DICOM with outlines in NIfTI, and acceptance criteria."""
    net = network(folder / "made", slices(range(100, 124), tumours=False))
    torch.onnx.export(net, (torch.zeros(1, 1, SIDE, SIDE),), folder / "liver.onnx", dynamo=False)
    shutil.rmtree(folder / "made")
    for number in range(12):
        case = folder / "scans" / f"case{number:02d}"
        image, mask = scan(number, tumours=False)
        write_series(case / "ct", image, patient=f"P{number:02d}")
        write_nifti(case / "liver.nii.gz", mask)
    (folder / "criteria.yaml").write_text(CRITERIA)


CRITERIA = """\
criteria:
  - {metric: dsc, condition: clean, at_least: 60 %}
  - {metric: dsc, condition: pgd 2/255, at_least: 60 %}
  - {metric: dsc, condition: pgd 8/255, at_least: 70 %}
"""


def volumes(folder: Path) -> None:
    """A network with classes as TorchScript, and 6 CT volumes in NIfTI with label maps."""
    net = network(folder / "made", slices(range(100, 124), tumours=True), classes=3)
    torch.jit.trace(net, torch.zeros(1, 1, SIDE, SIDE)).save(str(folder / "net.ts"))
    shutil.rmtree(folder / "made")
    for number in range(6):
        image, mask = scan(number, tumours=True)
        write_nifti(folder / "volumes" / "imagesTr" / f"liver_{number:02d}.nii.gz", image)
        write_nifti(folder / "volumes" / "labelsTr" / f"liver_{number:02d}.nii.gz", mask)


def author(folder: Path) -> None:
    """An attack in Python, a network to attack, and a recipe that compares it with PGD."""
    network(folder, phantoms("phantom-dermoscopy", "train", 48))
    (folder / "mine.py").write_text(ATTACK)
    (folder / "mine.yaml").write_text(RECIPE)


ATTACK = '''\
import torch
from palpate.attacks import LOSSES


def attack(model, images, masks, *, epsilon, steps=10, decay=0.8, generator=None):
    """Sign of an averaged gradient, from the clean image."""
    step, momentum = 2 * epsilon / steps, torch.zeros_like(images)
    adversarial = images.clone()
    for _ in range(steps):
        with torch.enable_grad():
            adversarial.requires_grad_()
            loss = LOSSES["bce"](model(adversarial), masks).sum()
            gradient = torch.autograd.grad(loss, adversarial)[0]
        momentum = decay * momentum + gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
        moved = adversarial.detach() + step * momentum.sign()
        adversarial = images + (moved - images).clamp(-epsilon, epsilon)
        adversarial = adversarial.clamp(0, 1)
    return adversarial.detach()
'''

RECIPE = """\
name: mine
data: {name: phantom-dermoscopy, size: 64, test_limit: 16}
model: {name: "net.py:make", adapter: null}
evaluate:
  attacks:
    noise: {}
    pgd: {budgets: {steps: [5, 20]}}
    mine: {attack: "mine.py:attack", budgets: {steps: [5, 20]}, against: pgd}
  epsilon_255: [2]
"""


def reviewer(folder: Path) -> None:
    """The run folder of the author of the attack, and nothing else."""
    shutil.copytree(folder.parent / "author" / "runs" / "mine", folder / "submission")


def teacher(folder: Path) -> None:
    """Nothing."""


def network(folder: Path, pairs: Pairs, classes: int = 1) -> nn.Module:
    """Write ``net.py``, train its network on the pairs and store its weights beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = pairs
    source = NETWORK.replace("=CHANNELS", f"={images.shape[1]}").replace("=CLASSES", f"={classes}")
    (folder / "net.py").write_text(source)
    names: dict[str, type[nn.Module]] = {}
    exec(compile(source, "net.py", "exec"), names)
    torch.manual_seed(0)
    net = names["UNet"]()
    dice_loss = DiceLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(200):
        chosen = torch.randint(len(images), (8,))
        logits, truth = net(images[chosen]), labels[chosen]
        if classes == 1:
            loss = binary_cross_entropy_with_logits(logits[:, 0], truth.float())
            loss = loss + dice_loss(logits.sigmoid(), truth[:, None])
        else:
            loss = cross_entropy(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(net.state_dict(), folder / "unet.pt")
    return net.eval()


def phantoms(name: str, split: str, limit: int) -> Pairs:
    """Synthetic images of 64 pixels with one structure in each."""
    samples = [
        sample
        for sample in pp.load_data(name, size=SIDE, split=split, limit=limit)
        if sample.case.structure in ("skin lesion", "left ventricle")
    ]
    return (
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.mask[0].long() for sample in samples]),
    )


def grey_of(pairs: Pairs) -> Pairs:
    return pairs[0].mean(1, keepdim=True), pairs[1]


def save_pairs(folder: Path, pairs: Pairs) -> None:
    """Write images and masks as PNG files of the same names, in two folders."""
    for number, (image, mask) in enumerate(zip(*pairs, strict=True), start=1):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        for kind, values in (("images", pixels.squeeze()), ("masks", mask.byte().numpy() * 255)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / kind / f"{number:02d}.png")


def scan(seed: int, *, tumours: bool) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A made CT of 64 x 64 pixels and 9 slices, in HU, with a liver and maybe a tumour in it."""
    generator = np.random.default_rng(seed)
    z, y, x = np.mgrid[:9, :64, :64].astype(float)
    body = ((x - 32) / 28) ** 2 + ((y - 32) / 24) ** 2 < 1
    cx, cy = generator.uniform(24, 32), generator.uniform(26, 36)
    radius = generator.uniform(11, 15)
    liver = ((x - cx) ** 2 + ((y - cy) * 1.3) ** 2) / radius**2 + ((z - 4) / 5) ** 2 < 1
    dx, dy = generator.uniform(-4, 4, 2)
    spot = (x - cx - dx) ** 2 + (y - cy - dy) ** 2 + (3 * (z - 4)) ** 2 < 16
    labels = liver.astype(np.uint8) + (liver & spot if tumours else np.zeros_like(liver))
    values = np.where(body, 20, -900) + generator.normal(0, 25, x.shape)
    values += (LIVER - 20) * (labels > 0) + (TUMOUR - LIVER) * (labels == 2)
    return values.round().astype(np.int16), labels.astype(np.uint8)


def slices(seeds: Sequence[int], *, tumours: bool) -> Pairs:
    """Slices of made scans in the window, for training."""
    scans = [scan(seed, tumours=tumours) for seed in seeds]
    values = torch.from_numpy(np.concatenate([image for image, _ in scans])).float()
    low = WINDOW[0] - WINDOW[1] / 2
    images = ((values - low) / WINDOW[1]).clamp(0, 1)[:, None]
    return images, torch.from_numpy(np.concatenate([mask for _, mask in scans])).long()


AFFINE = np.diag([-1.5, -1.5, 5.0, 1.0])  # voxels of 1.5 x 1.5 x 5 mm, as in the DICOM series


def write_nifti(path: Path, voxels: NDArray[np.generic]) -> None:
    """Write a stack (slices, rows, columns) as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), AFFINE), path)


def write_series(folder: Path, stack: NDArray[np.int16], patient: str) -> None:
    """Write a stack (slices, rows, columns) as a DICOM series, one file for each slice."""
    folder.mkdir(parents=True)
    series = generate_uid(entropy_srcs=[patient])
    for number, pixels in enumerate(stack):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CT_STORAGE
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[patient, str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CT_STORAGE, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.PatientID, file.Modality = series, patient, "CT"
        file.Rows, file.Columns, file.InstanceNumber = *pixels.shape, number + 1
        file.ImagePositionPatient, file.ImageOrientationPatient = (
            [0, 0, 5 * number],
            [1, 0, 0, 0, 1, 0],
        )
        file.PixelSpacing, file.SliceThickness = [1.5, 1.5], 5
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 1
        file.RescaleSlope, file.RescaleIntercept = 1, 0
        file.PixelData = pixels.tobytes()
        file.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
