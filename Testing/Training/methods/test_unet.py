"""The U-Net decoder: shapes, all weights in use, its upsampling the trilinear one."""

from __future__ import annotations

import pytest
import torch
from paranasal_training.methods.parts.unet import UNetDecoder, twice_as_large_map
from torch.nn import functional

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import ResNetEncoder, make_encoder

TINY = EncoderConfig((4, 8, 8, 16))


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def crops(count: int = 2, voxels: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, voxels, voxels, voxels)


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        EncoderConfig((16, 32, 64, 128)),
        EncoderConfig(TINY.widths, voxels=32),
        EncoderConfig(TINY.widths, voxels=32, pool=False),
        EncoderConfig(TINY.widths, voxels=32, experts=2),
    ],
    ids=["tiny", "small", "2 mm", "2 mm without pooling", "of patches"],
)
def test_unet_gives_logits_of_the_crop_s_shape(config: EncoderConfig) -> None:
    encoder, decoder = make_encoder(config).eval(), UNetDecoder(config).eval()
    with torch.no_grad():
        logits = decoder(encoder(crops(1, config.voxels)))
    assert logits.shape == (1, 1, *(config.voxels,) * 3)
    assert logits.min() < logits.max()


def test_upsampling_of_one_channel_is_the_trilinear_one() -> None:
    x = torch.randn(2, 1, 5, 5, 5)
    plain = functional.interpolate(x, scale_factor=2, mode="trilinear")
    torch.testing.assert_close(twice_as_large_map(x), plain)


def test_unet_uses_all_of_its_parameters() -> None:
    unet = torch.nn.Sequential(ResNetEncoder(TINY), UNetDecoder(TINY))
    unet(crops(2)).square().mean().backward()
    unused = [name for name, p in unet.named_parameters() if p.grad is None]
    assert unused == []
