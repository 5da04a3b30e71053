# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run prints of a measured goal: a table, a verdict on each case, and a plot."""

AT_THE_LIMIT = 0.95  # of the limit's speed, from where heddle counts as being there


def number_text(number, unit):
    if number is None:
        return "—"
    if unit != "s":
        return f"{number:.0f} {unit}" if number >= 100 or number == int(number) else f"{number:.1f} {unit}"
    for scale, name in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if number * scale < 999.5:
            return f"{number * scale:.3g} {name}"
    return f"{number:.3g} s"


def ratio_text(number, of):
    return f"{number / of:.2f}" if number is not None and of else "—"


def verdict(case, demands):
    """One sentence on each demand, and whether all are met; None without demands."""
    own, limit, unit = case["heddle"], case["limit"], case["unit"]
    sentences, met = [], True
    for demand in demands:
        kind, *words = demand.split()
        number = float(words[-1])
        if kind == "most":
            fine = own <= number
            text = f"{number_text(own, unit)}, ≤ {number_text(number, unit)}"
        elif kind == "limit":
            fine = limit is not None and limit / own >= number
            text = f"{100 * (limit or 0) / own:.0f} % of the limit, ≥ {100 * number:.0f} %"
        elif kind == "peer":
            peer = case["peers"].get(words[0])
            if peer is None:
                met = False
                sentences.append(f"{words[0]} is missing")
                continue
            fine = peer >= number * own
            text = f"{peer / own:.2f} × {words[0]}, ≥ {number:g}"
            # or at the limit, where the peer is within k of it
            if not fine and limit and peer <= number * limit and limit / own >= AT_THE_LIMIT:
                fine, text = True, f"{text} or at the limit"
        else:
            raise ValueError(f"there is no demand '{demand}'")
        met = met and fine
        sentences.append(f"{text}: {'met' if fine else 'missed'}")
    return ("; ".join(sentences), met) if demands else None


def rows(result):
    """(work, contender, number, unit, heddle's, limit) of all that was measured."""
    for raced in result.raced:
        for threads in raced.work.threads:
            own = next((c.median() for c in raced.contenders
                        if c.peer == "heddle" and c.threads == threads), None)
            limit = raced.figure("limit", threads)
            for contender in raced.contenders:
                if contender.threads == threads:
                    yield (raced.work.name, contender.name(), contender.median(), raced.work.unit, own,
                           limit)
    if not result.raced:
        for case, _ in result.cases:
            for name, number in {"heddle": case["heddle"], **case["peers"]}.items():
                yield case["name"], name, number, case["unit"], case["heddle"], case["limit"]


def table(result):
    lines = [f"\n{result.goal}: {result.title}\n", "| work | contender | time | × heddle | of the limit |",
             "|---|---|---|---|---|"]
    for work, name, number, unit, own, limit in rows(result):
        lines.append(f"| {work} | {name} | {number_text(number, unit)} | {ratio_text(number, own)} | "
                     f"{ratio_text(limit, number)} |")
    lines.append("")
    for case, demands in result.cases:
        judged = verdict(case, demands)
        if judged:
            sentence, met = judged
            lines.append(f"* **{'met' if met else 'missed'}**, {case['name']}: {sentence}")
    return "\n".join(lines)


def plot(result, folder):
    """Bars of each case's contenders over its limit, <folder>/<goal>.svg. Needs matplotlib."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = result.goal  # the same figures are the same file
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    cases = [case for case, _ in result.cases if case["heddle"] is not None]
    figure, panels = pyplot.subplots(
        len(cases), 1, squeeze=False, layout="constrained",
        figsize=(8, sum(0.3 * len(case["peers"]) + 1 for case in cases)),
        height_ratios=[0.3 * len(case["peers"]) + 1 for case in cases])
    for case, panel in zip(cases, panels[:, 0]):
        bars = {"heddle": case["heddle"], **case["peers"]}
        drawn = panel.barh(list(bars), list(bars.values()),
                           color=["tab:orange"] + ["tab:blue"] * len(case["peers"]))
        panel.bar_label(drawn, [number_text(value, case["unit"]) for value in bars.values()], padding=3)
        if case["limit"]:
            panel.axvline(case["limit"], color="black", linestyle=":", label="limit")
            panel.legend(loc="lower right")
        panel.invert_yaxis()
        panel.margins(x=0.18)
        panel.set_xticks([])
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.set_title(case["name"], loc="left", fontsize="medium")
    figure.suptitle(f"{result.goal}: less is better")
    path = folder / f"{result.goal.lower()}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def page_table(goals):
    """What the JSON of a run says, as a table for a page: the default build, all peers."""
    cases = [(goal["goal"], case) for goal in goals for case in goal["cases"] if "native build" not in case["name"]]
    peers = list(dict.fromkeys(peer for _, case in cases for peer in case["peers"]))
    lines = ["| goal | work | heddle | " + " | ".join(peer.replace("_", " ") for peer in peers) + " | limit |",
             "|---|---|---|" + "---|" * (len(peers) + 1)]
    for goal, case in cases:
        texts = [goal, case["name"].replace(", default build", ""), number_text(case["heddle"], case["unit"])]
        texts += [number_text(case["peers"].get(peer), case["unit"]) for peer in peers]
        texts.append(number_text(case["limit"], case["unit"]))
        lines.append("| " + " | ".join(text.replace("—", "") for text in texts) + " |")
    return "\n".join(lines)


def write_page(path, goals):
    """Puts the table between the page's `bench` marks."""
    begin, end = "<!-- bench: begin -->\n", "<!-- bench: end -->"
    text = path.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"bench/run: {path} has no lines '{begin.strip()}' and '{end}'")
    path.write_text(text[:text.index(begin) + len(begin)] + page_table(goals) + "\n" + text[text.index(end):])
