"""Every method behind the one interface: found by its file, finite loss, gradients, plain errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import paranasal_training.methods as methods
import pytest
import torch
from paranasal_training.methods import Method, Sample, make_method, method_class, method_names
from paranasal_training.methods.residual import Objective, Options, residual_loss

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig

MakeSample = Callable[..., Sample]
OURS = ("ae", "byol", "dae", "mae", "none", "residual", "simclr", "simsiam", "transfer", "weights")
LEARNING = [name for name in method_names() if method_class(name).learns]


def make_tiny(name: str, tiny: EncoderConfig) -> Method:
    """With fixed weights; DrasCLR's encoder is the only one with experts."""
    torch.manual_seed(0)
    return make_method(name, replace(tiny, experts=2) if name == "drasclr" else tiny, {})


def test_methods_are_the_files_without_underscore() -> None:
    files = {path.stem for path in Path(methods.__file__).parent.glob("[!_]*.py")}
    assert set(method_names()) == files >= set(OURS)
    assert method_names() == sorted(files)


def test_only_weights_that_are_there_already_do_not_learn() -> None:
    assert set(method_names()) - set(LEARNING) == {"none", "transfer", "weights"}


def test_unknown_method_is_refused_with_the_known_ones(tiny: EncoderConfig) -> None:
    with pytest.raises(BadConfig, match=r"no method 'moco'.*byol.*simclr"):
        make_method("moco", tiny, {})
    with pytest.raises(BadConfig, match="no method 'parts'"):
        make_method("parts", tiny, {})


@pytest.mark.parametrize("name", method_names())
def test_unknown_option_is_refused(name: str, tiny: EncoderConfig) -> None:
    with pytest.raises(BadConfig, match=rf"{name} has no option nonsense"):
        make_method(name, tiny, {"nonsense": 1})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("byol", {"momentum": 1.0}),
        ("byol", {"momentum": "0.99"}),
        ("dae", {"noise": 0}),
        ("dae", {"noise": float("inf")}),
        ("simclr", {"temperature": -0.1}),
        ("simclr", {"temperature": float("nan")}),
        ("simclr", {"temperature": True}),
        ("transfer", {"file": 18}),
        ("transfer", {"file": ""}),
        ("weights", {"file": ""}),
    ],
)
def test_bad_value_is_refused_by_name(
    name: str, options: dict[str, object], tiny: EncoderConfig
) -> None:
    (option,) = options
    with pytest.raises(BadConfig, match=f"of {name}: {option} is (a|the path)"):
        make_method(name, tiny, options)


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", LEARNING)
def test_loss_is_finite_and_teaches_the_encoder(
    name: str, bf16: bool, tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = make_tiny(name, tiny)
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        loss = method.loss(make_sample())
    assert loss.shape == () and loss.isfinite() and loss.dtype == torch.float32
    loss.backward()
    gradients = [weight.grad for weight in method.encoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert method.encoder.conv1.weight.grad is not None
    assert method.encoder.conv1.weight.grad.abs().sum() > 0
    method.after_step(0.0)


@pytest.mark.parametrize("name", LEARNING)
def test_validation_loss_is_the_same_every_time(
    name: str, tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = make_tiny(name, tiny).eval()
    with torch.no_grad():
        values = [float(method.loss(make_sample(training=False))) for _ in range(2)]
    assert values[0] == values[1]


@pytest.mark.parametrize("name", [*LEARNING, "none"])
def test_the_encoder_is_found_under_its_own_names(name: str, tiny: EncoderConfig) -> None:
    method = make_tiny(name, tiny)
    saved = {k.removeprefix("encoder."): v for k, v in method.state_dict().items()
             if k.startswith("encoder.")}  # fmt: skip
    assert saved.keys() == method.encoder.state_dict().keys()


def test_none_starts_anew_with_every_seed(tiny: EncoderConfig) -> None:
    first, again = (make_tiny("none", tiny).encoder.conv1.weight for _ in range(2))
    other = make_method("none", tiny, {}).encoder.conv1.weight
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", LEARNING)
def test_compile_reaches_what_the_loss_calls_or_says_that_it_does_not(
    name: str,
    tiny: EncoderConfig,
    make_sample: MakeSample,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stand-ins for compilation, which takes minutes, count how often what they made is called."""
    calls: list[object] = []

    def stand_in(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        def compiled(*args: Any, **kwargs: Any) -> Any:
            calls.append(getattr(function, "__self__", None))
            return function(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", stand_in)
    method = make_tiny(name, tiny)
    method.compile_parts()
    method.loss(make_sample())
    assert any(part is method.encoder for part in calls) != ("sparse encoder" in caplog.text)
    assert calls, "nothing was compiled"


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("bce", (-math.log(0.75) - 0.5 * math.log(0.25) - 0.5 * math.log(0.75)) / 2),
        ("l1", (0.25 + 0.25) / 2),
        ("l2", (0.25**2 + 0.25**2) / 2),
    ],
)
def test_residual_loss_by_hand(objective: Objective, expected: float) -> None:
    """Two voxels that are both said to be 0.75: one is 1, the other 0.5."""
    logits = torch.full((1, 1, 1, 1, 2), math.log(3))
    residuals = torch.tensor([1.0, 0.5]).view(1, 1, 1, 1, 2)
    loss = residual_loss(logits, residuals, Options(objective))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
