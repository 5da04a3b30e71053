#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A Markdown table of what goals.cu and peers.py measured.

usage: bench/gpu/table.py <goals.jsonl> <peers.jsonl>
"""
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as text:
        return [json.loads(line) for line in text if line.startswith("{")]


def time(seconds):
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.3f} ms"


goals = lines(sys.argv[1])
peers = {(line["goal"], line["name"]): line for line in lines(sys.argv[2])}
print()
for line in goals:
    if line["goal"] == "copy":
        print(f"{line['name']}: {line['bytes'] / 1e9:.0f} GB/s, read and written.")
print()
print("| goal | case | heddle | of the limit | torch | torch.compile |")
print("|---|---|---|---|---|---|")
for line in goals:
    if line["goal"] == "copy":
        continue
    peer = peers.get((line["goal"], line["name"]), {})
    share = f"{100 * line['limit'] / line['heddle']:.0f} %" if line["limit"] else "-"
    print(f"| {line['goal']} | {line['name']} | {time(line['heddle'])} | {share} | "
          f"{time(peer.get('torch'))} | {time(peer.get('torch_compile'))} |")
