"""A model whose side maps learn along with its answer."""

from torch import Tensor, nn

from palpate.models import PixelModel
from palpate.training.settings import TrainingSettings


def learner(model: PixelModel, settings: TrainingSettings) -> nn.Module:
    """What the loop trains: the model itself unless it makes side maps or learns at several scales.

    Raises:
        ValueError: If it cannot learn at several scales.
    """
    if not model.sides and settings.scales == (1.0,):
        return model
    if model.wants_boxes:  # such networks have inputs of one size
        scales = ", ".join(f"{scale:g}" for scale in settings.scales)
        raise ValueError(f"{model.name} cannot be trained at several scales, got {scales}.")
    return Supervised(model)


class Supervised(nn.Module):
    """Gives all maps of a model in training mode and its answer in evaluation mode."""

    def __init__(self, model: PixelModel) -> None:
        super().__init__()
        self.model, self.tower = model, model.tower

    def forward(self, images: Tensor, prompts: tuple[str, ...], *, scale: float = 1.0) -> Tensor:
        found: Tensor
        if self.training:
            found = self.model.side_maps(images, prompts, scale=scale)
        else:
            found = self.model(images, prompts)
        return found
