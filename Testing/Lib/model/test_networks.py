"""Shapes, widths and names of the networks, and their kinship with MONAI's and with each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ParanasalSSLLib.model.config import FULL_WIDTHS, CAEConfig, EncoderConfig
from ParanasalSSLLib.model.cpu_kernels import LastConvolution
from ParanasalSSLLib.model.encoders import ResNetEncoder
from ParanasalSSLLib.model.networks import CAE, Classifier, channels_last

TINY = EncoderConfig((4, 8, 8, 16))
SMALL_CAE = CAEConfig(latent=16, channels=(4, 4, 8))


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def crops(count: int = 2, voxels: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, voxels, voxels, voxels)


# ------------------------------------------------------------------------------- autoencoder


@pytest.mark.parametrize("last_stage", ["convolution", "paper_code"])
@pytest.mark.parametrize("channels", [(4, 4, 8), (4, 8), (2, 2, 4, 4)])
def test_cae_gives_crops_back_in_their_shape(last_stage: Any, channels: tuple[int, ...]) -> None:
    cae = CAE(CAEConfig(latent=16, channels=channels, last_stage=last_stage)).eval()
    with torch.no_grad():
        x = crops()
        latents = cae.encode(x)
        assert latents.shape == (2, 16)
        assert cae.decode(latents).shape == x.shape
        torch.testing.assert_close(cae(x), cae.decode(cae.encode(x)))


def test_cae_of_the_paper_has_its_latent_space_and_size() -> None:
    cae = CAE()
    assert cae.config == CAEConfig(512, 64, (16, 32, 64), 4, "convolution")
    assert (cae.to_latent.in_features, cae.to_latent.out_features) == (4 * 8**3, 512)
    kernels = [m.kernel_size for m in cae.modules() if isinstance(m, torch.nn.Conv3d)]
    assert set(kernels) == {(5, 5, 5), (1, 1, 1)}


def test_cae_output_is_not_bounded_by_its_last_layer() -> None:
    with torch.no_grad():
        output = CAE(SMALL_CAE).eval()(crops(1))
    assert output.min() != output.max()
    last = list(CAE(SMALL_CAE).decoder.children())[-1]
    assert isinstance(last, LastConvolution)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CAEConfig, {"latent": 0}),
        (CAEConfig, {"channels": (4, -1)}),
        (CAEConfig, {"channels": (1, 1, 1, 1, 1, 1)}),
        (CAEConfig, {"channels": (1.5, 2, 3)}),
        (CAEConfig, {"last_stage": "other"}),
        (EncoderConfig, {"widths": (1, 2, 3)}),
        (EncoderConfig, {"widths": (1, 2, 3, 0)}),
        (EncoderConfig, {"shortcut": "C"}),
    ],
)
def test_impossible_configs_are_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        kind(**options)


def test_memory_layout_changes_no_number() -> None:
    cae, x = CAE(SMALL_CAE).eval(), crops(1)
    with torch.no_grad():
        expected = cae(x)
        moved = channels_last(cae)
        assert moved.encoder[0][0].weight.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(moved(x), expected, rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------- encoder


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_encoder_gives_five_maps_of_its_widths(shortcut: Any) -> None:
    encoder = ResNetEncoder(EncoderConfig((4, 8, 8, 16), shortcut)).eval()
    with torch.no_grad():
        shapes = [tuple(feature.shape[1:]) for feature in encoder(crops())]
    assert shapes == [(4, 32, 32, 32), (4, 16, 16, 16), (8, 8, 8, 8), (8, 4, 4, 4), (16, 2, 2, 2)]


def test_encoder_is_monai_s_resnet18() -> None:
    """Names and shapes agree and so do the features, so that published weights can be loaded."""
    nets = pytest.importorskip("monai.networks.nets.resnet")
    theirs = nets.ResNetFeatures("resnet18", pretrained=False, spatial_dims=3, in_channels=1)
    ours = ResNetEncoder(EncoderConfig(FULL_WIDTHS, "A"))
    shapes = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    assert shapes == {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    x = crops(1)
    with torch.no_grad():
        for one, other in zip(ours.eval()(x), theirs.eval()(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_full_width_is_resnet18_s() -> None:
    encoder = ResNetEncoder()
    assert encoder.config.widths == FULL_WIDTHS == (64, 128, 256, 512)
    assert 32e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 34e6


# -------------------------------------------------------------------------------- classifier


@pytest.mark.parametrize("voxels", [32, 64])
def test_cae_gradients_in_bf16_are_those_of_float32(voxels: int) -> None:
    """Torch 2.13 has uninitialised memory in bf16 gradients of convolutions over few voxels."""
    cae = channels_last(CAE(CAEConfig(voxels=voxels, last_stage="subpixel")))
    x = crops(8, voxels)
    found = []
    for enabled in (False, True):
        cae.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = (cae(x).float() - x).abs().mean()
        loss.backward()
        found.append({n: p.grad.clone() for n, p in cae.named_parameters() if p.ndim == 5})
    for name, exact in found[0].items():
        assert (found[1][name] - exact).norm() < 0.3 * exact.norm(), name


def test_classifier_gives_two_logits_from_pooled_features() -> None:
    classifier = Classifier(TINY).eval()
    x = crops()
    with torch.no_grad():
        pooled = classifier.encoder(x)[-1].mean(dim=(2, 3, 4))
        torch.testing.assert_close(classifier(x), classifier.mlp(pooled))
    assert classifier(x).shape == (2, 2)


@pytest.mark.parametrize("widths", [FULL_WIDTHS, TINY.widths])
def test_hidden_layer_is_half_as_wide_as_the_features(widths: tuple[int, ...]) -> None:
    linear = [m for m in Classifier(EncoderConfig(widths)).mlp if isinstance(m, torch.nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in linear]
    assert sizes == [(widths[-1], widths[-1] // 2), (widths[-1] // 2, 2)]


@pytest.mark.parametrize("network", [lambda: CAE(SMALL_CAE), lambda: Classifier(TINY)])
def test_scores_do_not_depend_on_the_batch(network: Any) -> None:
    model, x = network().eval(), crops(3)
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(x[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
