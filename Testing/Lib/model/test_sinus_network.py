"""The sinus network: shapes, the order of its blocks, and the opacification inside the cavity."""

from __future__ import annotations

import pytest
import torch

from ParanasalSSLLib.model.config import EncoderConfig, SinusNetworkConfig
from ParanasalSSLLib.model.encoders import ResNetEncoder
from ParanasalSSLLib.model.sinus_network import (
    SinusNetwork,
    from_blocks,
    probabilities,
    to_blocks,
)


def test_two_crops_give_two_maps_of_their_size() -> None:
    network = SinusNetwork().eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, 2, 64, 64, 64))
    assert logits.shape == (2, 2, 64, 64, 64)
    cavity, opacity = probabilities(logits)
    assert bool((opacity <= cavity).all())


def test_blocks_come_back_in_place() -> None:
    crops = torch.rand(2, 3, 8, 8, 8)
    blocks = to_blocks(crops)
    assert blocks.shape == (2, 24, 4, 4, 4)
    assert torch.equal(blocks[1, 8:16, 2, 1, 3], crops[1, 1, 4:6, 2:4, 6:8].flatten())
    assert torch.equal(from_blocks(blocks), crops)


def test_an_encoder_of_single_crops_sees_the_same_in_it() -> None:
    trained = ResNetEncoder(EncoderConfig(widths=SinusNetworkConfig().widths)).eval()
    network = SinusNetwork().eval()
    network.load_encoder(trained.state_dict())
    crops = torch.rand(1, 2, 64, 64, 64)
    with torch.inference_mode():
        for one, two in zip(trained(crops[:, :1]), network.encoder(crops), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_decoder_of_other_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="four widths"):
        SinusNetworkConfig(decoder=(8, 8))
