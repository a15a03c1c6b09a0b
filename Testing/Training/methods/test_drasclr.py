"""DrasCLR: loss by hand, queues per location, moving average, and that its encoder is transferred."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from paranasal_training.methods import Sample, make_method
from paranasal_training.methods.drasclr import Task, info_nce, nearest
from torch import Tensor
from torch.nn import functional as F

from ParanasalSSLLib.errors import BadConfig
from ParanasalSSLLib.model.config import EncoderConfig
from ParanasalSSLLib.model.encoders import cut_patch, patch_locations
from ParanasalSSLLib.model.networks import Classifier, channels_last

MakeSample = Callable[..., Sample]


def build(config: EncoderConfig, **options: Any) -> Task:
    torch.manual_seed(0)
    method = make_method("drasclr", config, {"experts": 2, "queue": 16, **options})
    assert isinstance(method, Task)
    return channels_last(method)  # as runs do


def location_of(sample: Sample, count: int = 8) -> int:
    """Which one the step's generator draws first."""
    again = torch.Generator().manual_seed(sample.shared.initial_seed())
    return int(torch.randint(count, (1,), generator=again))


def test_info_nce_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    negatives = torch.tensor([[1.0, 0.0], [-0.6, 0.8], [0.0, -1.0]])
    first = [0.6, 1.0, -0.6, 0.0]
    second = [1.0, 0.0, 0.8, -1.0]
    expected = sum(
        -math.log(math.exp(row[0] / 0.2) / sum(math.exp(dot / 0.2) for dot in row)) / 2
        for row in (first, second)
    )
    assert info_nce(queries, keys, negatives, 0.2).item() == pytest.approx(expected, rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert info_nce(queries, keys, negatives, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_without_a_crop_s_own_old_keys_by_hand() -> None:
    """The second query's own old key is the middle one: three negatives for one, two for the other."""
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    negatives = torch.tensor([[1.0, 0.0], [-0.6, 0.8], [0.0, -1.0]])
    own = torch.tensor([[False, False, False], [False, True, False]])
    expected = sum(
        -math.log(math.exp(row[0] / 0.2) / sum(math.exp(dot / 0.2) for dot in row)) / 2
        for row in ([0.6, 1.0, -0.6, 0.0], [1.0, 0.0, -1.0])
    )
    assert info_nce(queries, keys, negatives, 0.2, own).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("grid", [2, 3])
def test_loss_is_of_the_patch_and_of_its_neighbours_summed_logits(
    grid: int, tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build(tiny, grid=grid, beta=0.5, neighbours=3).eval()
    sample = make_sample(training=False)
    here = location_of(sample, grid**3)
    loss = method.loss(sample)

    again = make_sample(training=False)
    view, other = again.view(), again.view()
    locations = patch_locations(grid)

    def embed(encoder: Any, projector: Any, crops: Tensor, n: int) -> Tensor:
        patch = cut_patch(crops, locations[n])
        vector = projector(encoder.features(patch, locations[n])[-1].mean(dim=(2, 3, 4)))
        return F.normalize(vector)

    distances = (locations - locations[here]).norm(dim=1)
    around = distances.argsort(stable=True)[1:4].tolist()
    query = method.encoder, method.projector
    key = embed(method.key_encoder, method.key_projector, other, here)
    wide = sum(embed(*query, view, n) for n in around)
    negatives = method.queues[here]
    expected = info_nce(embed(*query, view, here), key, negatives, 0.2)
    expected = expected + 0.5 * info_nce(wide, key, negatives, 0.2)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_neighbours_are_the_nearest_other_locations() -> None:
    locations = patch_locations(2)
    assert nearest(locations, 3)[0].tolist() == [1, 2, 4]
    assert nearest(locations, 3)[7].tolist() == [3, 5, 6]
    centre = nearest(patch_locations(3), 6)[13].tolist()
    assert sorted(centre) == [4, 10, 12, 14, 16, 22]


def test_queue_is_circular_and_each_location_has_its_own(tiny: EncoderConfig) -> None:
    method = build(tiny, queue=5)
    before = method.queues.clone()
    torch.testing.assert_close(before.norm(dim=-1), torch.ones(8, 5))
    keys = torch.arange(1.0, 11.0)[:, None].expand(10, 16)

    method.enqueue(keys[:3], torch.arange(3), 2)
    assert method.queues[2, :, 0].tolist()[:3] == [1, 2, 3]
    assert torch.equal(method.queues[2, 3:], before[2, 3:])
    method.enqueue(keys[3:6], torch.arange(3, 6), 2)
    assert method.queues[2, :, 0].tolist() == [6, 2, 3, 4, 5]
    method.enqueue(keys[6:7], torch.tensor([6]), 2)
    assert method.queues[2, :, 0].tolist() == [6, 7, 3, 4, 5]
    assert method.places.tolist() == [0, 0, 2, 0, 0, 0, 0, 0]
    assert method.owners[2].tolist() == [5, 6, 2, 3, 4] and (method.owners[3] == -1).all()

    others = [n for n in range(8) if n != 2]
    assert torch.equal(method.queues[others], before[others])


def test_batch_larger_than_the_queue_leaves_its_last_keys(tiny: EncoderConfig) -> None:
    method = build(tiny, queue=3)
    method.enqueue(torch.full((1, 16), 9.0), torch.tensor([9]), 0)
    method.enqueue(torch.arange(1.0, 9.0)[:, None].expand(8, 16), torch.arange(8), 0)
    assert method.queues[0, :, 0].tolist() == [6, 7, 8]
    method.enqueue(torch.full((1, 16), 10.0), torch.tensor([10]), 0)
    assert method.queues[0, :, 0].tolist() == [10, 7, 8]


def test_training_stores_the_keys_of_its_location(
    tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build(tiny)
    before, sample = method.queues.clone(), make_sample()
    here = location_of(sample)
    loss = method.loss(sample)
    changed = (method.queues != before).any(dim=2)
    assert changed[here].tolist() == [True] * 4 + [False] * 12
    assert int(changed.sum()) == 4 and method.places[here] == 4
    torch.testing.assert_close(method.queues.norm(dim=-1), torch.ones(8, 16))
    loss.backward()  # the negatives of this step have to be there still


def test_a_crop_s_own_old_key_is_no_negative(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    method = build(tiny, queue=5)
    here = location_of(make_sample())
    method.loss(make_sample())
    assert method.owners[here].tolist() == [0, 1, 2, 3, -1]
    without = method.loss(make_sample()).item()
    assert method.owners[here].tolist() == [1, 2, 3, 3, 0]
    method.owners.fill_(-1)
    assert method.loss(make_sample()).item() > without, "one more negative, as near as the key"


def test_queue_fits_the_cohort() -> None:
    tiny = EncoderConfig((4, 8, 8, 16), voxels=32, pool=False)
    for crops, length in ((2525, 1262), (20_000, 4096), (1, 1)):
        method = make_method("drasclr", tiny, {"experts": 2})
        method.fit_to(crops)
        assert method.queues.shape == (8, length, 16) and method.owners.shape == (8, length)
    given = build(tiny, queue=100)
    given.fit_to(100)
    assert given.queues.shape[1] == 100
    with pytest.raises(BadConfig, match="queue of 100 keys is longer than the 99 crops"):
        given.fit_to(99)


@pytest.mark.parametrize(("parts", "statistics"), [(1, 1), (2, 2), (4, 2)])
def test_keys_are_normalised_in_parts_of_a_shuffled_batch(
    parts: int, statistics: int, tiny: EncoderConfig, make_sample: MakeSample
) -> None:
    method = build(tiny, key_parts=parts)
    crops, seed = make_sample().crops, 5
    found = method.embed_keys(crops, 3, torch.Generator().manual_seed(seed))
    assert method.key_encoder.bn1.num_batches_tracked == statistics

    other = build(tiny, key_parts=parts)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    groups = [torch.arange(4)] if statistics == 1 else order.chunk(statistics)
    expected = torch.zeros_like(found)
    for group in groups:
        where = patch_locations(2)[3]
        features = other.key_encoder.pooled_patch(cut_patch(crops[group], where), where)
        expected[group] = F.normalize(other.key_projector(features)).detach()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("count", [5, 7, 10, 13])
def test_no_part_has_a_single_crop(count: int, tiny: EncoderConfig) -> None:
    method, sizes = build(tiny), []
    method.key_encoder.conv1.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    method.embed_keys(torch.rand(count, 1, 32, 32, 32), 0, torch.Generator().manual_seed(0))
    assert sum(sizes) == count and len(sizes) == min(4, count // 2)
    assert min(sizes) >= 2


def test_validation_leaves_the_queues_alone(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    method = build(tiny).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.loss(make_sample(training=False))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_every_location_gets_its_turn(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    method = build(tiny, queue=1000)
    for seed in range(30):
        sample = make_sample()
        sample.shared.manual_seed(seed)
        with torch.no_grad():
            method.loss(sample)
    assert (method.places > 0).all() and method.places.sum() == 30 * 4


def test_key_network_follows_by_a_tenth(tiny: EncoderConfig) -> None:
    method = build(tiny, momentum=0.9)
    pairs = [(method.encoder, method.key_encoder), (method.projector, method.key_projector)]
    with torch.no_grad():
        for query, _ in pairs:
            for weight in query.parameters():
                weight.add_(1.0)
    before = [[w.clone() for w in key.parameters()] for _, key in pairs]
    method.after_step(0.0)
    for (_, key), old in zip(pairs, before, strict=True):
        for weight, was in zip(key.parameters(), old, strict=True):
            torch.testing.assert_close(weight, was + 0.1)


def test_no_gradient_reaches_the_key_network(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    method = build(tiny)
    method.loss(make_sample()).backward()
    for name, weight in method.named_parameters():
        if name.startswith("key_"):
            assert not weight.requires_grad and weight.grad is None, name
        else:
            assert weight.grad is not None and weight.grad.isfinite().all(), name


@pytest.mark.parametrize("voxels", [32, 64])
def test_bf16_gives_nearly_the_same_loss(voxels: int, make_sample: MakeSample) -> None:
    method = build(EncoderConfig((4, 8, 8, 16), voxels=32, pool=voxels == 64)).eval()
    exact = method.loss(make_sample(training=False))
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(make_sample(training=False))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)


def test_encoder_is_transferred_into_the_classifier(tiny: EncoderConfig) -> None:
    method = build(tiny)
    assert method.config.experts == 2
    classifier = Classifier(method.config)
    weights = {
        name.removeprefix("encoder."): value
        for name, value in method.state_dict().items()
        if name.startswith("encoder.")
    }
    classifier.encoder.load_state_dict(weights)
    crops = torch.rand(2, 1, 32, 32, 32)
    expected = method.eval().encoder.pooled(crops)
    torch.testing.assert_close(classifier.eval().encoder.pooled(crops), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"experts": 0},
        {"momentum": 1.0},
        {"temperature": 0},
        {"queue": 0},
        {"queue": 2.5},
        {"key_parts": 0},
        {"neighbours": 0},
        {"neighbours": 8},
        {"beta": -1},
        {"grid": 1},
        {"grid": "2"},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], tiny: EncoderConfig) -> None:
    with pytest.raises(BadConfig, match=f"of drasclr: {next(iter(options))}"):
        make_method("drasclr", tiny, options)


def test_loss_falls_in_a_few_steps(tiny: EncoderConfig, make_sample: MakeSample) -> None:
    method = build(tiny, momentum=0.9).train()
    optimizer = torch.optim.Adam(
        [weight for weight in method.parameters() if weight.requires_grad], 3e-3
    )
    losses = []
    for _ in range(12):
        loss = method.loss(make_sample(training=False))  # always the same place and views
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
