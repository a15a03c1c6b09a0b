"""SparK's sparse encoder: masked patches change nothing, statistics are those of active voxels."""

from __future__ import annotations

import copy

import pytest
import torch
from paranasal_training.methods.parts.masks import (
    at_edge,
    draw_visible,
)
from paranasal_training.methods.parts.sparse import sparse_features, sparse_norm
from paranasal_training.methods.spark import Options
from spark_networks import all_configs, build, few_visible, noise, seeded
from torch import nn

from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import ResNetEncoder


def trained_encoder(config: EncoderConfig) -> ResNetEncoder:
    """Whose running statistics are those of some crops."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(config)
    for seed in range(3):
        encoder(noise(config, seed))
    return encoder.eval()


@all_configs
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_masked_voxels_change_nothing(config: EncoderConfig, training: bool, share: float) -> None:
    """Neither features nor the reconstruction nor what batch norms remember."""
    visible = draw_visible(2, Options(masked_fraction=share), seeded())
    hidden = ~at_edge(visible, config.voxels)
    one = noise(config)
    other = torch.where(hidden, 100 * noise(config, 1), one)
    assert not torch.equal(one, other)
    found = []
    for crops in (one, other):
        method = build(config).train(training)
        with torch.no_grad():
            features = sparse_features(method.encoder, crops, visible)
            rebuilt = method.reconstruct(crops, visible)
        found.append([*features, rebuilt, *method.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@all_configs
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_masked_positions_are_zero_at_every_level(config: EncoderConfig, training: bool) -> None:
    encoder = trained_encoder(config).train(training)
    features = sparse_features(encoder, noise(config), few_visible())
    for level in features[:-1]:
        masked = ~at_edge(few_visible(), level.shape[-1]).expand_as(level)
        assert masked.any() and not level[masked].any()
        assert level[~masked].any()


@all_configs
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_without_a_mask_it_is_the_dense_encoder(config: EncoderConfig, training: bool) -> None:
    encoder = trained_encoder(config).train(training)
    dense = copy.deepcopy(encoder)
    everything = torch.ones(2, 8, 8, 8, dtype=torch.bool)
    pairs = zip(
        sparse_features(encoder, noise(config), everything), dense(noise(config)), strict=True
    )
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, dense.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_visible_patch_is_seen(tiny: EncoderConfig) -> None:
    encoder = trained_encoder(tiny)
    one = noise(tiny)
    other = torch.where(at_edge(few_visible(), tiny.voxels), noise(tiny, 1), one)
    for a, b in zip(*(sparse_features(encoder, x, few_visible()) for x in (one, other)),
                    strict=True):  # fmt: skip
        assert not torch.equal(a, b)


def test_norm_counts_active_positions_only() -> None:
    norm = nn.BatchNorm3d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.0, 3.0]))
    x = 5 + 2 * torch.randn(2, 2, 8, 8, 8, generator=seeded())
    visible = few_visible()
    active = torch.stack([x[:, channel][visible] for channel in (0, 1)])
    assert active.shape[1] == 35
    mean, variance = active.mean(dim=1), active.var(dim=1, correction=0)

    found = sparse_norm(norm, x, visible)

    for channel in (0, 1):
        each = (x[:, channel] - mean[channel]) / (variance[channel] + norm.eps).sqrt()
        expected = torch.where(visible, each * (1, 2)[channel] + (0, 3)[channel], 0)
        torch.testing.assert_close(found[:, channel], expected)
    assert norm.running_mean is not None and norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * active.var(dim=1))
    assert norm.num_batches_tracked == 1

    norm.eval()
    found = sparse_norm(norm, x, visible)
    torch.testing.assert_close(found, norm(x) * visible[:, None])


def test_stem_s_statistics_are_those_of_active_positions(tiny: EncoderConfig) -> None:
    """By hand, through convolution and norm: the first map is what it says."""
    encoder = build(tiny).encoder
    crops, visible = noise(tiny), few_visible()
    finer = visible.repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        response = encoder.conv1(crops * at_edge(visible, 32))
        stem = sparse_features(encoder, crops, visible)[0]
    active = response.movedim(1, -1)[finer]
    expected = (active - active.mean(0)) / (active.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(stem.movedim(1, -1)[finer], expected.relu(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.bn1.running_mean, 0.1 * active.mean(0))


def test_mask_of_other_levels() -> None:
    visible = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    visible[0, 0, 1, 3] = True
    finer = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
    finer[..., 0:2, 2:4, 6:8] = True
    coarser = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    coarser[..., 0, 0, 1] = True
    assert torch.equal(at_edge(visible, 8), finer)
    assert torch.equal(at_edge(visible, 4), visible[None])
    assert torch.equal(at_edge(visible, 2), coarser)
    assert torch.equal(at_edge(visible, 1), torch.ones(1, 1, 1, 1, 1, dtype=torch.bool))
