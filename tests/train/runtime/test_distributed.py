from pathlib import Path

import pytest
import torch

from synthspine.gen.core.device import pick_device
from synthspine.train.losses import LOSSES, LossContext, count_pixels, find_loss
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks, SharedGradients, join_ranks

PROGRAM = Path(__file__).with_name("ranks_program.py")


def run(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    return output


def results(folder, rank):
    return torch.load(folder / f"rank{rank}.pt", weights_only=True)


def assert_close(first, second):
    for state in ("network", "average"):
        for name, value in first[state].items():
            torch.testing.assert_close(second[state][name], value, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folders of the same training on one rank and on two."""
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture
def trained(finished, python):
    if not (finished / "done").exists():
        processes = [
            python(PROGRAM, finished / "two", 7, ranks=2),
            python(PROGRAM, finished / "one", 7),
        ]
        for process in processes:
            run(process)
        (finished / "done").touch()
    return finished


def test_two_ranks_end_with_equal_weights(trained):
    first, second = (results(trained / "two", rank) for rank in (0, 1))
    for state in ("network", "average"):
        assert all(torch.equal(first[state][name], second[state][name]) for name in first[state])


def test_two_ranks_end_where_one_rank_ends(trained):
    alone, shared = results(trained / "one", 0), results(trained / "two", 0)
    assert_close(alone, shared)
    assert shared["dice"] == pytest.approx(alone["dice"], abs=1e-9)


def test_two_ranks_log_what_one_rank_logs(trained):
    alone, shared = (
        [line.split(",") for line in (trained / name / "run_log.csv").read_text().splitlines()]
        for name in ("one", "two")
    )
    loss = alone[0].index("loss")
    assert [row[0] for row in shared] == [row[0] for row in alone] == ["step", "3", "6", "7"]
    for mine, theirs in zip(alone[1:], shared[1:], strict=True):
        assert float(mine[loss]) == pytest.approx(float(theirs[loss]), abs=1e-9)


def test_a_batch_in_parts_ends_where_the_whole_batch_ends(trained, python, tmp_path):
    run(python(PROGRAM, tmp_path, 7, "--accumulate", 4))
    assert_close(results(trained / "one", 0), results(tmp_path, 0))


@pytest.mark.slow
def test_two_ranks_with_a_batch_in_parts_end_where_one_rank_ends(trained, python, tmp_path):
    run(python(PROGRAM, tmp_path, 7, "--accumulate", 2, ranks=2))
    assert_close(results(trained / "one", 0), results(tmp_path, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, None), (None, 2), (2, 2)])
def test_a_run_goes_on_with_another_number_of_ranks(trained, python, tmp_path, before, after):
    told = run(python(PROGRAM, tmp_path, 7, "--stop-after", 4, ranks=before))
    assert "stopped after step 4 of 7" in told
    assert all(results(tmp_path, rank)["step"] == 4 for rank in range(before or 1))
    run(python(PROGRAM, tmp_path, 7, ranks=after))
    reference = results(trained / ("two" if before == after else "one"), 0)
    resumed = results(tmp_path, 0)
    assert resumed["step"] == 7
    assert_close(reference, resumed)
    if before == after:
        assert all(
            torch.equal(value, resumed["network"][name]) for name, value in reference["network"].items()
        )


@pytest.mark.slow
def test_a_nan_of_one_rank_makes_all_ranks_skip_the_step(trained, python, tmp_path):
    told = run(python(PROGRAM, tmp_path / "two", 7, "--spoilt-step", 4, ranks=2))
    run(python(PROGRAM, tmp_path / "one", 7, "--spoilt-step", 4))
    assert "skipped 1 step(s) up to step 5" in told
    first, second, alone = (
        results(tmp_path / "two", 0),
        results(tmp_path / "two", 1),
        results(tmp_path / "one", 0),
    )
    assert first["skipped"] == second["skipped"] == alone["skipped"] == 1
    assert all(torch.equal(first["network"][name], second["network"][name]) for name in first["network"])
    assert_close(alone, first)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_two_shares_add_up_to_those_of_the_batch(name):
    torch.manual_seed(0)
    network = UNet(num_classes=4, base_features=4)
    network.to(memory_format=torch.channels_last)
    gradients = SharedGradients(network)
    images, target = torch.rand(4, 1, 32, 32), torch.randint(0, 4, (4, 32, 32), dtype=torch.uint8)
    target[0, :20] = 255

    context = LossContext(class_pixels=count_pixels(target, network.num_classes), samples=4)

    def gradient(part):
        gradients.clear()
        find_loss(name)(network(images[part]), target[part], context).backward()
        return gradients.buffer.clone()

    shares = gradient(slice(0, None, 2)) + gradient(slice(1, None, 2))
    torch.testing.assert_close(shares, gradient(slice(None)), rtol=1e-3, atol=1e-5)


def test_shared_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    network = UNet(num_classes=4, base_features=4)
    network.to(memory_format=torch.channels_last)
    image = torch.rand(1, 1, 32, 32)
    wanted = torch.autograd.grad(network(image).square().mean(), list(network.parameters()))
    gradients = SharedGradients(network)
    network(image).square().mean().backward()
    for parameter, gradient in zip(network.parameters(), wanted, strict=True):
        assert parameter.grad.untyped_storage().data_ptr() == gradients.buffer.untyped_storage().data_ptr()
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize(("length", "kept"), [(0.1, 1.0), (50.0, 0.1)])
def test_long_gradients_are_cut_to_the_largest_norm(length, kept):
    network = UNet(num_classes=2, base_features=4)
    gradients = SharedGradients(network)
    gradients.buffer.fill_(length / gradients.buffer.numel() ** 0.5)
    assert gradients.clip_(5.0).item() == pytest.approx(length, rel=1e-4)
    assert gradients.buffer.norm().item() == pytest.approx(length * kept, rel=1e-4)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_share_a_batch_without_gap_or_overlap(world):
    shares = [
        Ranks(rank=rank, world_size=world, device=torch.device("cpu")).positions(5, 4)
        for rank in range(world)
    ]
    assert sorted(position for share in shares for position in share) == [20, 21, 22, 23]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(ValueError, match="device"):
        pick_device(name)


def test_a_process_without_torchrun_is_alone():
    with join_ranks("cpu") as ranks:
        assert (ranks.rank, ranks.world_size, ranks.is_main) == (0, 1, True)
        assert ranks.sum_(torch.tensor(3)).item() == 3
        assert (ranks.from_main(lambda: b"x"), ranks.gather(1)) == (b"x", [1])
