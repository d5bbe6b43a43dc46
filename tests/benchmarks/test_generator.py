"""The benchmark of the generator: times, memory and steps are measured; peers render comparable images."""

import inspect
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import generator, generator_page, label_maps, renderers, timing
from benchmarks.timing import Times
from synthspine.gen import draw, render
from synthspine.gen.core.anatomy import VALID_CODES

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
GRIDS = [(40, 36), (20, 40, 36)]


@pytest.mark.parametrize("grid", [(256, 256), (64, 48), (24, 32, 28)])
def test_label_maps_show_the_same_fourteen_labels_on_every_grid(grid):
    maps = label_maps.label_maps(grid)
    assert maps.dtype == torch.uint8 and maps.shape == (4, *grid)
    assert set(maps.unique().tolist()) <= set(VALID_CODES)
    assert [len(codes.unique()) for codes in maps] == [14] * 4


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["spine", "cornucopia", "TorchIO"])
def test_every_generator_renders_batches_of_differing_images(name, grid):
    if name in renderers.PEERS:
        pytest.importorskip(renderers.PEERS[name], reason=f"{name} is in the extra bench")
    images = renderers.make_renderer(name, grid, CPU).run(3)
    assert images.shape == (3, 1, *grid)
    assert images.isfinite().all()
    # On so small a grid a sample may move out of view altogether.
    assert len(images[0].unique()) > 9 or len(images[1].unique()) > 9
    assert len({image.numpy().tobytes() for image in images}) > 1


def test_ours_goes_on_with_new_samples():
    renderer = renderers.make_renderer("spine", GRIDS[0], CPU)
    assert not torch.equal(renderer.run(1), renderer.run(1))


def test_an_unknown_generator_is_refused_by_name():
    with pytest.raises(ValueError, match="nobody"):
        renderers.make_renderer("nobody", GRIDS[0], CPU)


def test_a_generator_that_loops_renders_smaller_batches():
    calls = {"ours": [], "peer": []}

    def fake(name, loops):
        def run(count):
            calls[name].append(count)
            return torch.zeros(count, 1, 2, 2)

        return renderers.Renderer(name=name, run=run, loops=loops)

    found = generator.time_renderers(
        [fake("ours", False), fake("peer", True)], 1000, repeats=2, budget_s=9, device=CPU
    )
    assert set(calls["ours"]) == {1000} and set(calls["peer"]) == {generator_page.LOOPED_SAMPLES}
    assert list(found) == ["ours", "peer"]
    assert all(len(times.wall_s) >= 2 for times in found.values())


def test_times_are_per_sample(monkeypatch):
    measured = Times(name="ours", first_s=1.0, wall_s=[6.0], cpu_s=[12.0])
    monkeypatch.setattr(generator, "time_in_turns", lambda *_, **__: [measured])
    renderer = renderers.Renderer(name="ours", run=lambda count: torch.zeros(count))
    found = generator.time_renderers([renderer], 3, repeats=1, budget_s=9, device=CPU)
    assert found["ours"].wall_s == [2.0] and found["ours"].cpu_s == [4.0]


def test_sums_of_the_tables_follow_their_formulas():
    assert generator_page.floor_s(1000, 6e3) == pytest.approx(1)
    assert renderers.bytes_per_voxel({2: 700, 6: 1500}, voxels=10) == pytest.approx(20)
    assert renderers.bytes_per_voxel({2: 700}, voxels=10) is None
    assert generator.copy_bytes_per_s(CPU) > 1e8


def test_time_by_step_adds_up_and_leaves_the_generator_as_it_was():
    modules = [inspect.getmodule(inspect.unwrap(whole)) for whole in (draw, render)]
    before = [dict(vars(module)) for module in modules]
    tables = timing.step_milliseconds("spine", GRIDS[0], 2, 2, CPU)
    assert [vars(module) for module in modules] == before
    for whole in ("draw", "render"):
        assert len(tables[whole]) > 3 and timing.REST in tables[whole]
        assert all(math.isfinite(value) and value >= 0 for value in tables[whole].values())
    assert sum(tables["render"].values()) > tables["render"][timing.REST] > 0


def test_the_page_shows_times_ratios_and_steps(tmp_path):
    def times(**seconds):
        return {
            name.replace("_", " "): Times(
                name=name, first_s=1.0, wall_s=[value, value, 9.0], cpu_s=[2 * value, 2 * value, 9.0]
            )
            for name, value in seconds.items()
        }

    results = generator_page.Measured(
        device=CPU,
        presets=("spine",),
        peers=("TorchIO",),
        timings={
            ((8, 8), 1): times(spine=0.004, TorchIO=0.05),
            ((8, 8), 16): times(spine=0.002, spine_compiled=0.001, TorchIO=0.05),
        },
        kept={((8, 8), 16): times(spine=0.001, TorchIO=0.04)},
        peaks={"spine": {(8, 8): {16: 164_000, 64: 656_000}}, "TorchIO": {(8, 8): {1: 9000}}},
        steps={"spine": {"draw": {"draw_x": 0.25, "rest": 0.0}, "render": {"paint": 0.75}}},
        copy_bytes_per_s=1e10,
    )
    samples = {name: torch.rand(6, 1, 8, 8) for name in ("spine", "TorchIO")}
    page = generator_page.write(results, samples, tmp_path)
    assert page == (tmp_path / "generator_cpu.md").read_text()
    assert "| 2D 8 x 8, batch 1 | 4.00 |  | 50.0 |" in page
    assert "| 2D 8 x 8, batch 16 | 25.0x | 50.0x |" in page
    assert "| 2D 8 x 8, batch 16 | 4.00 | 2.00 | 100 |" in page
    kept = page.split("keeps freed memory (")[1]
    assert "| 2D 8 x 8, batch 16 | 1.00 | 40.0 |" in kept and "| 2D 8 x 8, batch 16 | 40.0x |" in kept
    assert "| render: paint | 0.750 | 75% |" in page
    assert (tmp_path / "generator_cpu_samples.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path):
    command = [
        "benchmarks/generator.py",
        "--quick",
        "--kinds",
        "eager",
        "--repeats",
        "1",
        "--presets",
        "spine",
    ]
    done = subprocess.run(
        [sys.executable, *command, "--device", "cpu", "--output-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "generator_cpu.md").read_text()
    memory_table = page.split("## Peak memory")[1].split("\n## ")[0]
    peaks = [float(line.split(" | ")[2]) for line in memory_table.splitlines() if "| 2D 32 x 32" in line]
    assert len(peaks) >= 2 and 0 < peaks[0] <= peaks[1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_memory_on_cuda_is_what_the_allocator_counted():
    peaks = renderers.peak_bytes("spine", (64, 64), (2, 8), torch.device("cuda"))
    assert 0 < peaks[2] < peaks[8]
