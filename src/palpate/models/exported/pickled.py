"""Whole networks in a pickle file, written by ``torch.save(net)``: reading one runs its code."""

from collections.abc import Mapping

import torch
from torch import nn

from palpate.models.exported.network import Exported, FromFile, as_model
from palpate.models.exported.probe import Input, probed
from palpate.models.request import Request
from palpate.models.wrap.advice import told
from palpate.models.wrap.wrap import Wrapped

PICKLED = "pickled"  # in place of the name of a family: no file is recognised as one by itself


def load_pickled(request: Request) -> Wrapped:
    """Unpickle a whole network; the request must trust it, because this runs code of the file.

    Raises:
        ValueError: If the request does not trust the file, it cannot be read or has no network.
    """
    path = request.folder
    if not request.trust_code:
        raise ValueError(f"{path} is a pickled network, which reading it would run.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle may raise anything
        raise ValueError(f"{path} cannot be unpickled: {told(error)}.") from error
    for key in ("model", "net", "network", "state_dict"):
        if isinstance(found, Mapping) and isinstance(found.get(key), nn.Module):
            found = found[key]
    if not isinstance(found, nn.Module):
        raise ValueError(f"Expected a pickled network in {path}, got a {type(found).__name__}.")
    net = Exported(getattr(found, "module", found).eval().float(), path)
    return as_model(request, FromFile(net, probed(net, Input()), f"pickled network {path.name}"))
