"""The picture of a run: data throughput and tunnels per second, beside their floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(median: Callable[[str], float], planes: Sequence[str], path: Path) -> None:
    """Bars in PNG and SVG: what arrives without and with ESP by each data plane, and tunnels set up per second."""
    figure, (data, rate) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(2, 1), layout="constrained")
    for number, plane in enumerate(planes):
        raw, esp = median(f"raw {plane}"), median(f"esp {plane}")
        bars = data.bar([3 * number, 3 * number + 1], [raw, esp], color=["#b0b8c0", "#1f6fb2"], width=0.9)
        data.bar_label(bars, [f"{raw:,.0f}", f"{esp:,.0f}\n({esp / raw:.2f} ×)"], padding=2)
    data.set_xticks([3 * number + 0.5 for number in range(len(planes))], [f"{plane} data plane" for plane in planes])
    data.margins(y=0.2)
    data.set_ylabel("Mbit/s, one TCP connection")
    data.set_title("grey: veth path without a tunnel; blue: through ESP", fontsize=10)
    bars = rate.bar(planes, [median(f"rate {plane}") for plane in planes], color="#1f6fb2", width=0.5)
    rate.bar_label(bars, fmt="%.0f", padding=2)
    rate.margins(x=0.6, y=0.15)
    rate.set_title("IKEv2 tunnels per second", fontsize=10)
    for axes in (data, rate):
        axes.spines[["top", "right"]].set_visible(False)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    plt.close(figure)
