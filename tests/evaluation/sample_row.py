"""A row like any other."""

from palpate.evaluation.results.rows import Row

SCORES = {
    "dsc": 0.5, "iou": 1 / 3, "miou": 0.4, "hd95": 2.0, "nsd": 0.5, "dsc_clean": 0.9,
    "iou_clean": 0.8,
}  # fmt: skip
ROW = Row(
    dataset="kvasir", split="test", key="a", image_name="a.jpg", structure="polyp", group="a",
    prompt_level="p1", prompt="polyp", height=4, width=5, attack="pgd", norm="linf",
    epsilon=8 / 255, seed=0, protocol="sound", scores=SCORES, mask_area=0.1, clean_area=0.1,
    area=0.2, success=True, failure="hallucinated", linf=8 / 255, l2=0.1, psnr=30.0, ssim=0.9,
    loss_clean=0.1, loss=0.7, forwards=41.0, backwards=40.0, seconds=0.5,
)  # fmt: skip
