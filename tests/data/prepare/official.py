"""Small downloads in the layouts in which the sets are published; every image differs."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30
KVASIR = ["cju0qkwl35piu0993l0dewei2", "cju1aqqv2hw5p0850l4zxg2qw", "ck2bxiswtxuw80838qkisqjwz"]


def picture(seed, size=(WIDTH, HEIGHT)):
    """Smooth noise, so that JPEG keeps it."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR)


def outline(left, top, right, bottom, size=(WIDTH, HEIGHT), value=255):
    """A mask that is set from (left, top) up to, without, (right, bottom)."""
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    mask[top:bottom, left:right] = value
    return Image.fromarray(mask)


def save(root, name, image, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def as_zip(root, path, prefix=""):
    """The folder as a zip of what is in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(root).as_posix())
    return path


def as_tar(root, path, mode="w:gz"):
    """The folder as a tar, with the leading dots that ``tar czf x.tgz .`` gives names."""
    with tarfile.open(path, mode) as archive:
        archive.add(root, ".")
    return path


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def kvasir(root):
    for number, stem in enumerate(KVASIR):
        save(root, f"Kvasir-SEG/images/{stem}.jpg", picture(number), quality=95)
        mask = outline(4, 4, 20 + number, 24)
        save(root, f"Kvasir-SEG/masks/{stem}.jpg", mask.convert("RGB"), quality=60)
    write(root, "Kvasir-SEG/kavsir_bboxes.json", "{}")
    write(root, "__MACOSX/Kvasir-SEG/images/._x.jpg", "litter")


def clinicdb_published(root):
    for number in range(1, 5):
        save(root, f"CVC-ClinicDB/Original/{number}.tif", picture(number))
        save(root, f"CVC-ClinicDB/Ground Truth/{number}.tif", outline(2, 3, 10 + number, 20))


def clinicdb_kaggle(root):
    rows = ["frame_id,sequence_id,png_image_path,tif_image_path,png_mask_path,tif_mask_path"]
    for number in range(1, 13):
        for kind, ending in (("PNG", "png"), ("TIF", "tif")):
            save(root, f"{kind}/Original/{number}.{ending}", picture(number))
            save(root, f"{kind}/Ground Truth/{number}.{ending}", outline(2, 3, 10 + number, 20))
        rows.append(f"{number},{(number - 1) // 3},PNG/Original/{number}.png,,,")
    write(root, "metadata.csv", "\n".join(rows) + "\n")


def polyps(root, folder, numbers):
    for number in numbers:
        save(root, f"{folder}/images/{number}.png", picture(number))
        save(root, f"{folder}/masks/{number}.png", outline(5, 5, 9 + number % 7, 12))


def colondb(root):
    polyps(root, "CVC-ColonDB", (1, 2, 10))


def cvc300(root):
    polyps(root, "CVC-300", (149, 150))


def etis(root):
    for number in (1, 2, 10):
        save(root, f"ETIS-LaribPolypDB/ETIS-LaribPolypDB/{number}.tif", picture(number))
        save(root, f"ETIS-LaribPolypDB/Ground Truth/p{number}.tif", outline(1, 1, 9, 9))


def pranet(root):
    for folder, numbers in {
        "CVC-300": (149, 150),
        "CVC-ClinicDB": (1, 7),
        "CVC-ColonDB": (1, 2),
        "ETIS-LaribPolypDB": (1, 196),
    }.items():
        polyps(root, f"TestDataset/{folder}", numbers)
    polyps(root, "TestDataset/Kvasir", ())
    for stem in KVASIR[:2]:
        save(root, f"TestDataset/Kvasir/images/{stem}.png", picture(9))
        save(root, f"TestDataset/Kvasir/masks/{stem}.png", outline(1, 1, 9, 9))
    for stem in ("2", "3", KVASIR[2]):
        save(root, f"TrainDataset/image/{stem}.png", picture(len(stem)))
        save(root, f"TrainDataset/mask/{stem}.png", outline(1, 1, 9, 9))


def bkai(root):
    """Images without masks to test on, and a submission that is no ground truth."""
    colours = [(255, 0, 0), (0, 255, 0), None]
    for number, colour in enumerate(colours):
        stem = f"{number:032x}"
        save(root, f"train/train/{stem}.jpeg", picture(number), quality=95)
        mask = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        if colour:
            mask[6:20, 8:28] = colour
        if number == 1:  # both kinds side by side, which JPEG blurs into yellow
            mask[6:20, 8:18] = (255, 0, 0)
        save(root, f"train_gt/train_gt/{stem}.jpeg", Image.fromarray(mask), quality=75)
    save(root, f"test/test/{9:032x}.jpeg", picture(9))
    write(root, "sample_submission.csv", f"Id,Expected\n{9:032x}_0,1 10\n")


def isic2016(root):
    for part, numbers in (("Training", range(12)), ("Test", (100, 101))):
        for number in numbers:
            stem = f"ISIC_{number:07d}"
            save(root, f"ISBI2016_ISIC_Part1_{part}_Data/{stem}.jpg", picture(number))
            mask = outline(3, 3, 30, 12 + number % 5)
            save(root, f"ISBI2016_ISIC_Part1_{part}_GroundTruth/{stem}_Segmentation.png", mask)


def isic2017(root):
    for part, number in (("Training", 0), ("Validation", 1), ("Test_v2", 2)):
        stem, folder = f"ISIC_{number:07d}", f"ISIC-2017_{part}_Data"
        save(root, f"{folder}/{stem}.jpg", picture(number))
        save(root, f"{folder}/{stem}_superpixels.png", picture(50 + number))
        mask = outline(3, 3, 30, 20)
        save(root, f"ISIC-2017_{part}_Part1_GroundTruth/{stem}_segmentation.png", mask)
        known = ("45", "female") if number else ("unknown", "unknown")
        table = f"image_id,age_approximate,sex\n{stem},{','.join(known)}\n"
        write(root, f"{folder}/ISIC-2017_{part}_Data_metadata.csv", table)
        diagnosis = f"image_id,melanoma,seborrheic_keratosis\n{stem},{number == 1:.1f},0.0\n"
        write(root, f"ISIC-2017_{part}_Part3_GroundTruth.csv", diagnosis)


def isic2018(root):
    for part, number in (("Training", 0), ("Validation", 1), ("Test", 2)):
        stem = f"ISIC_{number:07d}"
        save(root, f"ISIC2018_Task1-2_{part}_Input/{stem}.jpg", picture(number))
        mask = outline(3, 3, 30, 20)
        save(root, f"ISIC2018_Task1_{part}_GroundTruth/{stem}_segmentation.png", mask)
        write(root, f"ISIC2018_Task1-2_{part}_Input/LICENSE.txt", "CC")


def dfu(root):
    top = "DFUC2022_train_release"
    for number in range(100001, 100005):
        save(root, f"{top}/DFUC2022_train_images/{number}.jpg", picture(number))
        save(root, f"{top}/DFUC2022_train_masks/{number}.png", outline(3, 3, 9, 9))
    save(root, "DFUC2022_test_release/200001.jpg", picture(1))


def busi(root):
    """An image with three lesions, and a healthy breast."""
    top = "Dataset_BUSI_with_GT"
    for pathology, number in (("benign", 1), ("benign", 100), ("malignant", 1), ("normal", 1)):
        stem = f"{top}/{pathology}/{pathology} ({number})"
        save(root, f"{stem}.png", picture(number))
        mask = outline(0, 0, 0, 0) if pathology == "normal" else outline(2, 2, 9, 9)
        save(root, f"{stem}_mask.png", mask)
    for count, left in ((1, 15), (2, 25)):
        mask = outline(left, 2, left + 5, 9)
        save(root, f"{top}/benign/benign (100)_mask_{count}.png", mask)
