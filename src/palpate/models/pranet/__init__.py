"""PraNet (Fan et al., 2020, https://arxiv.org/abs/2006.11392): a polyp segmentation network."""

from palpate.models.pranet.loading import is_pranet, load_pranet
from palpate.models.pranet.network import PraNet, PraNetSize

__all__ = ["PraNet", "PraNetSize", "is_pranet", "load_pranet"]
