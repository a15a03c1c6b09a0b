"""From crops to residuals and logits, whatever the networks look at: PyTorch's side of it.

A network takes the 64 mm cube as 64^3 voxels of 1 mm or as 32^3 of 2 mm, autoencoder and classifier
independently of each other; a classifier may look at the residual too. Training and exports come
here; `bundle.Bundle` does the same in the same order without PyTorch:

1. The crop is pooled to the autoencoder's voxels, rebuilt there, and `residual_map` compares the two
   there (its filter counts voxels of that size).
2. The classifier gets crop and residual, each brought from where it is to the classifier's voxels.
3. Everything that is shown or compared with thresholds is brought to 64^3 at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ParanasalSSLLib.model.config import ResidualConfig
from ParanasalSSLLib.model.networks import CAE, Classifier
from ParanasalSSLLib.model.residual import residual_maps
from ParanasalSSLLib.model.resolution import CROP_VOXELS, check_cube


def residuals_of(cae: CAE, crops: Tensor, config: ResidualConfig) -> tuple[Tensor, Tensor]:
    """Residuals and reconstructions with the voxels of the crops.

    Args:
        cae: the autoencoder of healthy sinuses, in evaluation mode.
        crops: float (N, 1, 64, 64, 64), 0..1, on the autoencoder's device.
        config: filter and scaling.

    Returns:
        residual (0..1) and reconstruction, float32 (N, 1, 64, 64, 64), on the CPU.
    """
    residual, rebuilt = native_residuals(cae, crops, config)
    return tensor_at_voxels(residual, CROP_VOXELS), tensor_at_voxels(rebuilt, CROP_VOXELS)


def native_residuals(cae: CAE, crops: Tensor, config: ResidualConfig) -> tuple[Tensor, Tensor]:
    """`residuals_of` with the autoencoder's own voxels: (N, 1, D, D, D), D = `cae.config.voxels`."""
    with torch.no_grad():
        given = tensor_at_voxels(crops, cae.config.voxels)
        rebuilt = cae(given).float().cpu()
    return torch.from_numpy(residual_maps(given.cpu().numpy(), rebuilt.numpy(), config)), rebuilt


def logits_of(classifier: Classifier, crops: Tensor, residual: Tensor | None = None) -> Tensor:
    """Logits (N, 2), normal and anomalous, float32.

    Args:
        classifier: in evaluation mode.
        crops: float (N, 1, 64, 64, 64), 0..1, on the classifier's device.
        residual: float (N, 1, D, D, D) from `native_residuals`, for classifiers of two channels.
    """
    voxels = classifier.config.voxels
    given = tensor_at_voxels(crops, voxels)
    if classifier.config.channels == 2:
        assert residual is not None
        given = torch.cat([given, tensor_at_voxels(residual, voxels).to(given)], dim=1)
    return classifier(given).float()


def tensor_at_voxels(maps: Tensor, voxels: int) -> Tensor:
    """`resolution.at_voxels` for tensors (N, C, E, E, E), on any device."""
    check_cube(tuple(maps.shape), voxels)
    edge = maps.shape[-1]
    if edge > voxels:
        return F.avg_pool3d(maps, edge // voxels)
    if edge < voxels:
        return F.interpolate(maps, size=(voxels,) * 3, mode="trilinear", align_corners=False)
    return maps


class AnomalyNetwork(nn.Module):
    """Any classifier as a network that takes crops alone: (N, 1, 64, 64, 64) at 1 mm -> logits (N, 2).

    Args:
        classifier: of any number of voxels and channels.
        cae, residual: where a second channel comes from; not kept for a classifier of one.

    Raises:
        ValueError: a classifier of two channels without them.
    """

    def __init__(
        self,
        classifier: Classifier,
        cae: CAE | None = None,
        residual: ResidualConfig | None = None,
    ) -> None:
        super().__init__()
        two = classifier.config.channels == 2
        if two and (cae is None or residual is None):
            raise ValueError("a classifier that looks at residuals needs an autoencoder")
        self.classifier = classifier
        self.cae = cae if two else None
        self.residual = residual

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 1, 64, 64, 64) -> logits (N, 2) of clear and anomaly; `ValueError` if not so."""
        # Other sizes would be taken for the same cube with other voxels.
        if tuple(crops.shape[1:]) != (1, *(CROP_VOXELS,) * 3):
            raise ValueError(f"crops are (N, 1, 64, 64, 64), not {tuple(crops.shape)}")
        residual = None
        if self.cae is not None and self.residual is not None:
            residual, _ = native_residuals(self.cae, crops, self.residual)
        return logits_of(self.classifier, crops, residual)
