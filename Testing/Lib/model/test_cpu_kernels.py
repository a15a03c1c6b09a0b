"""What is computed in another way on the CPU has torch's own numbers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ParanasalSSLLib.model.cpu_kernels import FirstConvolution, LastConvolution, convolve


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(8, 8, 8), (16, 4, 12), (6, 10, 8), (7, 9, 11)])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_last_convolution_is_the_plain_one(channels: int, size: tuple[int, ...]) -> None:
    layer = LastConvolution(channels).double()
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 1, *size, dtype=torch.float64)
    inputs = (x, layer.weight, layer.bias)
    expected = functional.conv3d(x, layer.weight, layer.bias, padding=2)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad((out * weights).sum(), inputs)  # type: ignore[arg-type]
        for out in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_last_convolution_stores_a_plain_convolution_s_weights() -> None:
    plain = torch.nn.Conv3d(8, 1, 5, padding=2)
    layer = LastConvolution(8)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 16, 16, 16)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edge", [1, 2, 4, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_over_few_voxels_is_the_plain_one(edge: int, stride: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, *(edge,) * 3), torch.randn(16, 8, 3, 3, 3)
    plain = torch.nn.functional.conv3d(x, weight, stride=stride, padding=1)
    torch.testing.assert_close(convolve(x, weight, stride), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("edge", "stride"), [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_gradients_over_few_voxels_are_the_plain_ones(edge: int, stride: int) -> None:
    """Also after the same shape was scored first, without gradients."""
    with torch.inference_mode():
        convolve(torch.randn(1, 8, *(edge,) * 3), torch.randn(4, 8, 3, 3, 3), stride)
    x = torch.randn(3, 8, *(edge,) * 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 8, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    found = convolve(x, weight, stride)
    plain = functional.conv3d(x, weight, stride=stride, padding=1)
    weights = torch.randn_like(plain)
    gradients = [torch.autograd.grad((out * weights).sum(), (x, weight)) for out in (found, plain)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(16, 16, 16), (10, 8, 12), (8, 8, 7)])
@pytest.mark.parametrize("channels", [1, 2])
def test_first_convolution_in_bf16_is_the_plain_one(channels: int, size: tuple[int, ...]) -> None:
    layer = FirstConvolution(channels, 16)
    x = torch.rand(2, channels, *size)
    plain = functional.conv3d(x, layer.weight, stride=2, padding=3)
    torch.testing.assert_close(layer(x), plain)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(x)
    assert rough.dtype == torch.bfloat16 and rough.shape == plain.shape
    assert (rough - plain).norm() < 0.01 * plain.norm()
    weights = torch.randn_like(plain)
    exact, other = (
        torch.autograd.grad((out.float() * weights).sum(), layer.weight)[0]
        for out in (plain, rough)
    )
    assert (other - exact).norm() < 0.01 * exact.norm()


def test_first_convolution_stores_a_plain_convolution_s_weights() -> None:
    plain = torch.nn.Conv3d(1, 16, 7, stride=2, padding=3, bias=False)
    layer = FirstConvolution(1, 16)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize(("edge", "stride"), [(1, 1), (2, 1), (2, 2), (4, 2), (4, 1)])
def test_gradients_in_bf16_are_those_of_float32(edge: int, stride: int) -> None:
    """Torch 2.13 has uninitialised memory in bf16 gradients of convolutions over 2^3 voxels."""
    torch.manual_seed(0)
    x = torch.randn(4, 16, *(edge,) * 3)
    found = []
    for enabled in (False, True):
        weight = torch.ones(32, 16, 3, 3, 3, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            convolve(x, weight, stride).float().square().mean().backward()
        found.append(weight.grad)
    exact, rough = found
    assert exact is not None and rough is not None
    assert (rough - exact).norm() < 0.05 * exact.norm()
