"""BYOL, SimSiam, SimCLR: losses against numbers worked out by hand, and where gradients stop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.methods import Sample, make_method, method_class
from paranasal_training.methods.byol import distance
from paranasal_training.methods.simclr import nt_xent
from paranasal_training.methods.simsiam import similarity_loss
from torch import nn

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig

MakeSample = Callable[..., Sample]
# cos((3, 4), (4, 3)) = 24 / 25; cos((1, 0), (0, 2)) = 0.
LEFT = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
RIGHT = torch.tensor([[4.0, 3.0], [0.0, 2.0]])


def build(name: str, config: EncoderConfig, **options: Any) -> Any:
    torch.manual_seed(0)
    return make_method(name, config, options)


def full_size(name: str) -> Any:
    """Of the paper's size, without memory for its weights."""
    with torch.device("meta"):
        return make_method(name, EncoderConfig(), {})


# ------------------------------------------------------------------------------------- BYOL


def test_distance_is_two_minus_two_cosines() -> None:
    assert distance(LEFT, RIGHT).item() == pytest.approx(((2 - 2 * 0.96) + 2) / 2)
    assert distance(LEFT, 7 * LEFT).item() == pytest.approx(0, abs=1e-6)
    assert distance(LEFT, -LEFT).item() == pytest.approx(4)


def test_distance_is_computed_in_float32() -> None:
    halves = (LEFT.bfloat16(), RIGHT.bfloat16())
    assert distance(*halves).dtype == torch.float32
    assert distance(*halves).item() == pytest.approx(1.04)


def test_byol_asks_each_view_for_the_other(
    tiny: EncoderConfig, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = build("byol", tiny)
    seen: dict[str, list[torch.Tensor]] = {"predict": [], "aim": []}
    for name, answer in (("predict", LEFT), ("aim", RIGHT)):
        monkeypatch.setattr(
            method, name, lambda crops, name=name, answer=answer: seen[name].append(crops) or answer
        )
    assert method.loss(make_sample()).item() == pytest.approx(2 * 1.04)
    # Of (0.8, 0.6) and (0, 1): deviations 0.4 and 0.2.
    assert method.figures["spread"].item() == pytest.approx(0.3 * math.sqrt(2))
    (one, two), (other_two, other_one) = seen["predict"], seen["aim"]
    assert torch.equal(one, other_one) and torch.equal(two, other_two)
    assert not torch.equal(one, two)


def test_byol_target_follows_and_is_never_trained(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build("byol", tiny)
    old = (
        copy.deepcopy(method.target_projector[0].weight),
        method.target_encoder.conv1.weight.clone(),
    )
    trained = [weight for weight in method.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    method.loss(make_sample()).backward()
    optimizer.step()
    targets = [*method.target_encoder.parameters(), *method.target_projector.parameters()]
    assert all(not weight.requires_grad and weight.grad is None for weight in targets)
    assert torch.equal(method.target_encoder.conv1.weight, old[1])
    method.after_step(0.0)
    online = method.projector[0].weight, method.encoder.conv1.weight
    new = method.target_projector[0].weight, method.target_encoder.conv1.weight
    for before, fast, after in zip(old, online, new, strict=True):
        assert not torch.equal(fast, before)
        assert torch.allclose(after, 0.99 * before + 0.01 * fast, atol=1e-6)


def test_byol_target_stands_still_at_the_end(tiny: EncoderConfig) -> None:
    method = build("byol", tiny)
    before = method.target_encoder.conv1.weight.clone()
    with torch.no_grad():
        method.encoder.conv1.weight.add_(1.0)
    method.after_step(1.0)
    assert torch.allclose(method.target_encoder.conv1.weight, before)
    method.after_step(0.5)  # half way: half of 0.01
    assert torch.allclose(method.target_encoder.conv1.weight, before + 0.005, atol=1e-6)


def test_byol_target_starts_as_a_copy_and_normalises_by_the_batch(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build("byol", tiny).train()
    crops = make_sample().crops
    assert torch.equal(method.target_encoder.conv1.weight, method.encoder.conv1.weight)
    method.aim(crops)
    assert method.target_encoder.bn1.num_batches_tracked == 1
    assert method.encoder.bn1.num_batches_tracked == 0
    assert not method.aim(crops).requires_grad


def test_byol_heads_have_the_papers_sizes() -> None:
    method = full_size("byol")
    for head in (method.projector, method.predictor):
        layers = [part for part in head if isinstance(part, nn.Linear)]
        assert [(x.in_features, x.out_features) for x in layers] == [(512, 4096), (4096, 512)]


# ---------------------------------------------------------------------------------- SimSiam


def test_similarity_loss_is_the_mean_negative_cosine() -> None:
    assert similarity_loss(LEFT, RIGHT).item() == pytest.approx(-0.48)


def test_no_gradient_reaches_the_projections() -> None:
    predictions, projections = LEFT.clone().requires_grad_(), RIGHT.clone().requires_grad_()
    similarity_loss(predictions, projections).backward()
    assert projections.grad is None
    # d(-cos)/dp = -(z/|z| - cos p/|p|) / |p|, halved by the mean: p = (1, 0), z = (0, 2).
    assert predictions.grad is not None
    assert torch.allclose(predictions.grad[1], torch.tensor([0.0, -0.5]))


def test_simsiam_predicts_each_view_from_the_other(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    """With the predictor left out, both halves are the same cosine."""
    method = build("simsiam", tiny)
    method.predictor = nn.Identity()
    projections = iter([LEFT, RIGHT])
    method.projector = Replay(projections)
    assert method.loss(make_sample()).item() == pytest.approx(-0.48)


def test_simsiam_tells_how_far_its_projections_spread(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build("simsiam", tiny)
    method.loss(make_sample())
    assert method.figures["spread"] > 0.5
    method.predictor = nn.Identity()
    method.projector = Replay(iter([LEFT[:1].expand(2, 2)] * 2))
    method.loss(make_sample())
    assert method.figures["spread"].item() == pytest.approx(0, abs=1e-6)


def test_simsiam_s_recipe_is_its_authors_and_its_predictor_s_rate_does_not_fall() -> None:
    task = method_class("simsiam")
    optimizer = task.recipe.optimizer
    assert (optimizer.name, optimizer.momentum) == ("sgd", 0.9)
    assert optimizer.lr == pytest.approx(0.05 * task.recipe.batch_size / 256)
    assert task.steady == ("predictor",)


class Replay(nn.Module):
    """Answers with given values, whatever it is asked."""

    def __init__(self, answers: Any) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return next(self.answers)


def test_simsiam_heads_have_the_originals_sizes() -> None:
    method = full_size("simsiam")
    layers = [part for part in method.projector.modules() if isinstance(part, nn.Linear)]
    assert [x.out_features for x in layers] == [2048, 2048, 2048]
    last = method.projector[-1]
    assert isinstance(last, nn.BatchNorm1d) and not last.affine
    layers = [part for part in method.predictor if isinstance(part, nn.Linear)]
    assert [(x.in_features, x.out_features) for x in layers] == [(2048, 512), (512, 2048)]


# ----------------------------------------------------------------------------------- SimCLR


def test_nt_xent_of_two_crops() -> None:
    """Views equal, crops at right angles, t = 0.5: -log(e^2 / (e^2 + 2)) for each of the four."""
    views = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 0.1]])
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert nt_xent(views, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_of_views_that_differ() -> None:
    """Angles 0, 90 | 60, 90 degrees, t = 1: cosines by hand for each of the four rows."""
    views = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, math.sqrt(0.75)], [0.0, 1.0]])
    a, b = 0.5, math.sqrt(0.75)  # cos 60, cos 30

    def row(partner: float, *others: float) -> float:
        return math.log(math.exp(partner) + sum(map(math.exp, others))) - partner

    expected = (row(a, 0, 0) + row(1, 0, b) + row(a, b, b) + row(1, 0, b)) / 4
    assert nt_xent(views, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_stays_finite_at_low_temperature_and_under_autocast() -> None:
    torch.manual_seed(0)
    views = torch.randn(512, 8, requires_grad=True)
    loss = nt_xent(views, 1e-3)
    loss.backward()
    assert loss.isfinite() and views.grad is not None and views.grad.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent(views, 0.07), nt_xent(views.detach().clone(), 0.07))
        inside = nt_xent(views, 0.07)
    assert torch.equal(inside, nt_xent(views, 0.07))


def test_simclr_projector_has_norms_after_both_layers_where_asked_for(tiny: EncoderConfig) -> None:
    projector = build("simclr", tiny, norm=True).projector
    kinds = [type(part).__name__ for part in projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert projector[0].bias is None and projector[3].bias is None
    with pytest.raises(BadConfig, match="of simclr: norm is true or false"):
        build("simclr", tiny, norm="yes")


def test_simclr_projector_has_the_papers_sizes() -> None:
    projector = full_size("simclr").projector
    assert [type(part).__name__ for part in projector] == ["Linear", "ReLU", "Linear"]
    assert projector[0].weight.shape == projector[2].weight.shape == (512, 512)
