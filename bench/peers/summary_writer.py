#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Times add_scalar of PyTorch's SummaryWriter: the median over batches, as the bench C16 prints it."""
import statistics
import tempfile
import time

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as missing:
    print(f"PyTorch's writer is left out: {missing}")
else:
    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        times = []
        for batch in range(50):
            begin = time.perf_counter()
            for step in range(200):
                writer.add_scalar("training/loss", 0.25, batch * 200 + step)
            times.append((time.perf_counter() - begin) / 200)
        writer.close()
        print(f"PyTorch's writer: {statistics.median(times) * 1e6:.1f} us")
