"""Images with a blob, and a model that finds bright or dark blobs as its prompt says."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from palpate.data.sample import Case, Sample

BRIGHT, DARK = "a bright blob", "a dark blob"


def blob(index: int, height: int = 20, width: int = 20) -> Sample:
    """Odd indices hold a dark blob, so that a mixed-up prompt shows in the score."""
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(index))
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, 4 + index % 3 : 13, 5:15] = True
    is_dark = index % 2 == 1
    image = 0.4 + 0.2 * noise + torch.where(mask ^ is_dark, 0.15, -0.15)
    case = Case(
        key=f"k{index}",
        dataset="blobs",
        split="test",
        image_name=f"{index}.png",
        structure="blob",
        group=f"patient {index // 2}",
        prompt=DARK if is_dark else BRIGHT,
        prompt_level="p1",
    )
    return Sample(case, image, mask)


def blobs(count: int) -> list[Sample]:
    return [blob(index) for index in range(count)]


class BlobFinder(nn.Module):
    """Brighter (or darker) than the middle in a neighbourhood; nothing hides the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
        with torch.no_grad():
            nn.init.normal_(self.smooth.weight, 0.1, 0.1, torch.Generator().manual_seed(0))
            self.smooth.weight /= self.smooth.weight.sum((1, 2, 3), keepdim=True)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        assert len(images) == len(prompts)
        sign = torch.tensor([1.0 if p == BRIGHT else -1.0 for p in prompts]).view(-1, 1, 1, 1)
        return 30 * sign * torch.tanh(self.smooth(images - 0.5)).mean(1, keepdim=True)
