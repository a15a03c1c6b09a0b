"""The encoder whose kernels depend on location: kernels, patches, whole crops, gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import (
    LocatedConvolution,
    LocatedEncoder,
    ResNetEncoder,
    cut_patch,
    make_encoder,
    patch_locations,
)
from ParanasalSSLLib.model.networks import Classifier, channels_last

TINY = EncoderConfig((4, 8, 8, 16), "B", voxels=32, pool=False, experts=3)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def located(config: EncoderConfig = TINY) -> LocatedEncoder:
    encoder = make_encoder(config)
    assert isinstance(encoder, LocatedEncoder)
    return encoder.eval()


def crops(count: int = 2, config: EncoderConfig = TINY) -> Tensor:
    return torch.rand(count, config.channels, *[config.voxels] * 3)


def test_experts_decide_which_encoder_is_made() -> None:
    assert type(make_encoder(replace(TINY, experts=0))) is ResNetEncoder
    kinds = {type(m) for m in located().modules()}
    assert LocatedConvolution in kinds and nn.Conv3d not in kinds


def test_kernel_is_mixed_by_sigmoid_weights_of_the_location() -> None:
    layer = LocatedConvolution(nn.Conv3d(2, 4, 3, stride=2, padding=1), experts=3)
    layer.locations = torch.tensor([[-1.0, 0.0, 1.0]])
    x = torch.randn(2, 2, 8, 8, 8)
    kernel = torch.zeros(4, 2, 3, 3, 3)
    for expert in range(3):
        a, _, c = layer.routing.weight[expert].tolist()
        logit = -a + c + layer.routing.bias[expert].item()
        kernel += layer.weight[..., expert] / (1 + math.exp(-logit))
    expected = F.conv3d(x, kernel, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected)


def test_equal_routing_weights_make_a_plain_encoder() -> None:
    encoder, plain = located(), ResNetEncoder(replace(TINY, experts=0)).eval()
    for module in encoder.modules():
        if isinstance(module, LocatedConvolution):
            nn.init.zeros_(module.routing.weight)
            nn.init.zeros_(module.routing.bias)
    mixed = {
        name: weight.sum(dim=-1) / 2 if weight.ndim == 6 else weight
        for name, weight in encoder.state_dict().items()
        if "routing" not in name
    }
    plain.load_state_dict(mixed)
    patch = crops()[..., :16, :16, :16]
    for location in (torch.zeros(3), torch.tensor([1.0, -1.0, 0.5])):
        for found, expected in zip(encoder.features(patch, location), plain(patch), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_same_patch_looks_different_elsewhere() -> None:
    encoder, patch = located(), crops()[..., :16, :16, :16]
    vectors = [encoder.pooled_patch(patch, at) for at in patch_locations()]
    assert all(not torch.allclose(vectors[0], other, rtol=1e-3) for other in vectors[1:])
    assert torch.equal(vectors[0], encoder.pooled_patch(patch, patch_locations()[0]))


def test_training_and_evaluation_see_the_same_statistics() -> None:
    """One batch norm for all patches: location by location, its running statistics fit none."""
    encoder, x = located().train(), crops(8)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        trained = [encoder.pooled(x) for _ in range(3)][-1]
        torch.testing.assert_close(encoder.eval().pooled(x), trained, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("experts", [1, 4, 8, 32])
def test_mixed_kernels_vary_at_first_as_plain_ones_do(experts: int) -> None:
    plain = nn.init.kaiming_normal_(torch.empty(64, 32, 3, 3, 3), mode="fan_out")
    convolution = nn.Conv3d(32, 64, 3)
    mixes = []
    for _ in range(20):
        layer = LocatedConvolution(convolution, experts)
        layer.locations = torch.randint(0, 2, (1, 3)) * 2.0 - 1
        mixes.append(layer.kernels().std().item() ** 2)
    assert sum(mixes) / 20 == pytest.approx(plain.std().item() ** 2, rel=0.25)


def test_locations_are_the_patches_places_in_the_crop() -> None:
    assert patch_locations()[:3].tolist() == [[-1, -1, -1], [-1, -1, 1], [-1, 1, -1]]
    assert patch_locations(3).shape == (27, 3) and patch_locations(3)[13].tolist() == [0, 0, 0]
    volume = torch.arange(32**3).view(1, 1, 32, 32, 32)
    patch = cut_patch(volume, torch.tensor([-1.0, 0.0, 1.0]))
    assert torch.equal(patch, volume[:, :, 0:16, 8:24, 16:32])


def test_eight_patches_fill_the_crop() -> None:
    volume = torch.arange(32**3).view(1, 1, 32, 32, 32)
    seen = torch.cat([cut_patch(volume, at).flatten() for at in patch_locations()])
    assert torch.equal(seen.sort().values, volume.flatten())


@pytest.mark.parametrize("voxels", [32, 64])
def test_pooled_is_the_mean_over_the_patches(voxels: int) -> None:
    config = replace(TINY, voxels=voxels, pool=voxels == 64)
    encoder, x, half = located(config), crops(2, config), voxels // 2
    total = torch.zeros(2, 16)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                patch = x[:, :, i * half :, j * half :, k * half :][..., :half, :half, :half]
                location = torch.tensor([i, j, k]) * 2.0 - 1
                total += encoder.features(patch, location)[-1].mean(dim=(2, 3, 4))
    torch.testing.assert_close(encoder.pooled(x), total / 8)


@pytest.mark.parametrize(("voxels", "pool"), [(32, False), (64, True)])
def test_whole_crops_have_the_maps_of_a_plain_encoder(voxels: int, pool: bool) -> None:
    config = replace(TINY, voxels=voxels, pool=pool)
    encoder, x = located(config), crops(1, config)
    plain = ResNetEncoder(replace(config, experts=0)).eval()
    maps = encoder(x)
    assert [m.shape for m in maps] == [m.shape for m in plain(x)]
    location = torch.tensor([1.0, -1.0, 1.0])
    patch = encoder.features(cut_patch(x, location), location)
    for whole, part in zip(maps, patch, strict=True):
        n = part.shape[-1]
        torch.testing.assert_close(whole[:, :, n:, :n, n:], part)
    torch.testing.assert_close(maps[-1].mean(dim=(2, 3, 4)), encoder.pooled(x))


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("voxels", "pool"), [(32, False), (32, True), (64, True)])
def test_classifier_learns_through_it(voxels: int, pool: bool, bf16: bool) -> None:
    config = replace(TINY, voxels=voxels, pool=pool, channels=2)
    network = channels_last(Classifier(config)).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(crops(3, config))
    assert logits.shape == (3, 2)
    logits.float().square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.any() or "bias" in name, name


def test_bf16_is_close_to_float32() -> None:
    encoder, x = located(), crops()
    expected = encoder.pooled(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.pooled(x).float()
    assert (found - expected).norm() < 0.05 * expected.norm()
