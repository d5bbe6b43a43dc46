"""The page about the service under load tells ratios, and whose CPU time the rest is."""

import pytest

from benchmarks.service_report import Kill, Load, Measured, Work, report


def page(served_s):
    return "\n".join(
        report(
            Measured(
                samples=1000,
                usual=[Work(seconds=12.5, cpu_s=21.0)],
                alone=[Work(seconds=s, cpu_s=1.6 * s) for s in (9.0, 10.0, 30.0)],
                served=[Work(seconds=s, cpu_s=18.0, client_cpu_s=2.0) for s in (served_s, 50.0, 1.0)],
                clients=32,
                loads={32: Load(latencies_s=[0.1] * 99 + [0.3], bytes_per_s=5e8)},
                kill=Kill(samples=64, seen=64, different=64, longest_wait_s=1.25),
                memory=[400_000_000, 460_000_000, 461_000_000, 462_000_000],
                plain=1000,
            ),
            "cpu",
        )
    )


@pytest.mark.parametrize(("served_s", "percent", "reached"), [(11.5, 87, "yes"), (12.0, 83, "no")])
def test_the_ratio_is_that_of_the_rounds_of_median_length(served_s, percent, reached):
    text = page(served_s)
    assert "| 80.0 | 80 % | 21.00 |  |" in text and "| 100.0 | 100 % | 16.00 |  |" in text
    assert f"| {1000 / served_s:.1f} | {percent} % | 18.00 | 2.00 |" in text
    assert f"Aimed at: 85 %. Reached: {reached}." in text


def test_cpu_time_is_told_for_service_and_clients_apart(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    text = page(12.5)
    assert "kept 80 % of the 2 cores busy (rendering alone 80 %)" in text
    assert "over that of the service: 89 %; over that of service and clients: 80 %." in text
    assert "| 32 | 100 | 100.0 |" in text and "| 500 |" in text
    assert "461 MB" not in text.split("## Memory")[0] and "460 MB in the second quarter" in text
