"""Draws the figures."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

_DRAWN = (
    ("S1 deliveries/s of server CPU, one at a time", "one message at a time"),
    ("S2 deliveries/s of server CPU, pipelined", "10 senders pipelining"),
)


def plot(figures: Mapping[str, Mapping[str, Sequence[float]]], path: str) -> None:
    """Draw a bar for each median, and a line from the lowest figure to the highest.

    @raise ImportError: if matplotlib, from the extra C{bench}, is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(_DRAWN), figsize=(10, 3.2), layout="constrained")
    for axis, (measure, title) in zip(axes, _DRAWN, strict=True):
        servers = figures[measure]
        names = list(servers)[::-1]
        middles = [statistics.median(servers[name]) for name in names]
        spread = [
            [middle - min(servers[name]) for name, middle in zip(names, middles, strict=True)],
            [max(servers[name]) - middle for name, middle in zip(names, middles, strict=True)],
        ]
        colours = ["#1b6ca8" if name == "twisted-chat" else "#b8c4cc" for name in names]
        axis.barh(names, middles, xerr=spread, color=colours, ecolor="#444444")
        axis.set_title(f"Fan-out to 1,000: {title}", fontsize=10)
        axis.set_xlabel("deliveries for a second of server CPU")
        if max(middles) > 20 * min(middles):
            axis.set_xscale("log")
    figure.savefig(path, dpi=110)


_RATES = (
    ("N3 lines/s piped by one client, committed and delivered", "at one node, heard there"),
    (
        "N2 lines/s piped at every node, committed and delivered on every node",
        "at every node, heard on every node",
    ),
)
_WAITS = (
    ("N1 ms to the receipt at 1,000 messages/s", "receipt", "#1b6ca8"),
    ("N1 ms to a reader at another node", "reader at another node", "#c8553d"),
)


def plot_nodes(figures: Mapping[str, Mapping[str, Sequence[float]]], path: str) -> None:
    """Draw the messages a second and the latencies over the number of nodes: the medians, and lines
    from the lowest figure to the highest.

    @raise ImportError: if matplotlib, from the extra C{bench}, is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (rates, waits) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    setups = list(figures[_RATES[0][0]])

    def line(axis: Any, measure: str, label: str, **style: Any) -> None:
        by_setup = figures.get(measure, {})
        names = [name for name in setups if name in by_setup]
        values = [by_setup[name] for name in names]
        middles = [statistics.median(each) for each in values]
        spread = [
            [middle - min(each) for middle, each in zip(middles, values, strict=True)],
            [max(each) - middle for middle, each in zip(middles, values, strict=True)],
        ]
        places = [setups.index(name) for name in names]
        axis.errorbar(places, middles, yerr=spread, label=label, marker="o", capsize=3, **style)

    for (measure, label), colour in zip(_RATES, ("#1b6ca8", "#c8553d"), strict=True):
        line(rates, measure, label, color=colour)
    for measure, label, colour in _WAITS:
        line(waits, f"{measure}, p50", f"{label}, p50", color=colour)
        line(waits, f"{measure}, p99", f"{label}, p99", color=colour, linestyle=":")
    rates.set_title("messages a second, as fast as it goes", fontsize=10)
    waits.set_title("milliseconds at 1,000 messages a second", fontsize=10)
    for axis in rates, waits:
        axis.set_xticks(range(len(setups)), setups)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color="#dddddd")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
