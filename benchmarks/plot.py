"""Draws the figures."""

import statistics
from collections.abc import Mapping, Sequence

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
