#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the machine code of the kernels of G1 to G4 costs on an H100, without one: a table in Markdown.

usage: bench/gpu/device_code.py [--work FOLDER] [--again]

goals.cu is compiled for sm_90 and linked with recorder.cpp in place of the CUDA run-time, which says what
is launched for each case on operands of its full size. nvdisasm says what the kernels do: the path that
whole vectors take through the work of one thread, a unit at a time. --work keeps what is built; --again
reads what a run before has left there. Exit status 77: there is no nvcc.
"""
import argparse
import dataclasses
import json
import math
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "device"))
import machine_code  # noqa: E402  # pylint: disable=wrong-import-position

# H100 SXM: CUDA Programming Guide, compute capability 9.0; NVIDIA H100 datasheet.
MULTIPROCESSORS = 132
WARPS, BLOCKS, REGISTERS, SHARED = 64, 32, 65536, 228 << 10
SHARED_OF_SYSTEM = 1 << 10  # of each block
ISSUED = MULTIPROCESSORS * 4 * 1.755e9  # instructions of a warp a second
COPY = 3.0e12  # bytes a second that a copy within the device reaches
PEAK = 3.35e12  # of its memory
LATENCY = 700e-9  # of a memory under load: an assumption
# Bytes in flight a multiprocessor: Little's law, and what CUB's transform asks for on an H100
# (cub/device/dispatch/tuning/tuning_transform.cuh, arch_to_min_bytes_in_flight)
WANTED = PEAK * LATENCY / MULTIPROCESSORS
CUB_WANTS = 32 << 10
FLAGS = ["-std=c++20", "-O0", "-DNDEBUG", "-arch=sm_90", "-Xptxas", "-v", "-DHEDDLE_PORTABLE_GEMM",
         "-DHEDDLE_SINGLE_ISA"]


def build(work):
    """Leaves the disassembly, what ptxas says, and the launches in a folder."""
    nvcc = machine_code.find_tool("nvcc")
    if nvcc is None:
        print("bench/gpu/device_code.py: there is no nvcc", file=sys.stderr)
        sys.exit(77)
    said = machine_code.run([nvcc, *FLAGS, "-I", ROOT / "include", "-include", HERE / "launches.cuh", "-keep",
                             "-keep-dir", work, "-c", HERE / "goals.cu", "-o", work / "goals.o"])
    (work / "ptxas.log").write_text(said)
    machine_code.run([nvcc, "-std=c++20", "-c", HERE / "recorder.cpp", "-o", work / "recorder.o"])
    machine_code.run([nvcc, "-cudart", "none", "-o", work / "goals", work / "goals.o", work / "recorder.o"])
    (work / "launches.jsonl").write_text(machine_code.run([work / "goals", "G1 G2 G3 G4"]))
    (work / "goals.sass").write_text(machine_code.run(
        [machine_code.find_disassembler(), "-c", "-hex", work / "goals.sm_90.cubin"]))


def cases(lines):
    """(case, {kernel: its launch}, launches of one call) in the order of goals.cu."""
    launched, count = {}, 0
    for line in map(json.loads, lines):
        if "kernel" in line:
            launched[line["kernel"]] = line
            count += 1
        elif line["goal"] != "copy":
            yield line, launched, count
            launched, count = {}, 0


@dataclasses.dataclass
class Cost:
    """Of a launch: what one thread does for the elements of one unit, and what fits a multiprocessor."""
    launch: dict
    registers: int
    static: int
    instructions: float  # of these, an element
    requested: float     # bytes of global memory, an element
    wide: tuple          # loads and stores of 128 bits, an iteration of all main loops
    narrow: int          # others
    divisions: int       # of integers, on any way through the work on a unit
    hints: set
    flying: int          # bytes of loads under way

    @property
    def shared(self):
        return self.static + self.launch["dynamic"]

    @property
    def blocks(self):
        """That a multiprocessor holds."""
        warps = math.ceil(self.launch["threads"] / 32)
        by_registers = REGISTERS // (math.ceil(self.registers * 32 / 256) * 256 * warps)
        by_shared = SHARED // (self.shared + SHARED_OF_SYSTEM)
        by_grid = math.ceil(self.launch["blocks"] / MULTIPROCESSORS)
        return min(BLOCKS, WARPS // warps, by_registers, by_shared, by_grid)

    @property
    def threads(self):
        return self.blocks * self.launch["threads"]

    @property
    def issue(self):
        """Seconds."""
        return self.instructions * self.launch["elements"] / 32 / ISSUED


def cost_of(kernel, launch, used):
    held = bool(launch["held"])
    main = kernel.main_loops
    around = kernel.around(main)
    # one row of several, or all that a unit needs
    whole = around[0 if launch["rows_of_unit"] > 1 else -1] if around else main[0]
    of_thread = launch["lanes"] / launch["width"]
    paths = [kernel.path(head, held) for head in main]
    once = kernel.path(whole, held)
    counted = [(once, 1)]
    if whole not in main:
        if len(paths) != len(launch["unroll"]):
            sys.exit(f"bench/gpu/device_code.py: {len(paths)} loops for {len(launch['unroll'])} passes of a kernel")
        counted += [(path, max(1, of_thread / (launch["vector"] * unroll)) - 1)
                    for path, unroll in zip(paths, launch["unroll"])]

    def an_element(value):
        return sum(times * value(path) for path, times in counted) / of_thread
    globals_ = [i for path in paths for i in path if path.moves(i)]
    return Cost(launch, *used, an_element(len), an_element(lambda path: sum(i.bytes for i in path if path.moves(i))),
                tuple(sum(i.wide and i.kind == kind for i in globals_) for kind in ("LDG", "STG")),
                sum(not i.wide for i in globals_),
                sum(i.divides for b in kernel.loops[whole] for i in kernel.blocks[b].code),
                {part for i in globals_ for part in i.parts[1:]} & {"EF", "EL", "LU", "NA", "CONSTANT"},
                max(path.bytes_in_flight() for path in paths))


def table(work):
    kernels = machine_code.kernels_of((work / "goals.sass").read_text())
    used = machine_code.resources_of((work / "ptxas.log").read_text())
    code = ["| goal | case | body | bytes an element: least | requested | 128-bit loads + stores | narrower | "
            "instructions an element | divisions | hints | bandwidth bound | issue bound |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    room = ["| goal | case | threads a block | registers | shared memory | blocks | warps | bytes in flight: a "
            "thread | a multiprocessor |", "|---|---|---|---|---|---|---|---|---|"]
    for case, launched, _ in cases((work / "launches.jsonl").read_text().splitlines()):
        for name, launch in launched.items():
            if "body" not in launch:  # fills of a few bytes a column
                continue
            cost = cost_of(kernels[name], launch, used[name])
            least = case["bytes"] / launch["elements"]
            bandwidth = case["bytes"] / COPY
            body = f"{launch['body']}{', row held' if launch['held'] else ''}"
            nearer = cost.issue > bandwidth
            times = [f"{1e6 * time:.0f} µs" for time in (bandwidth, cost.issue)]
            times[nearer] = f"**{times[nearer]}**"
            first = f"| {case['goal']} | {case['name'].replace('*', chr(92) + '*')} |"
            code.append(f"{first} {body} | {least:.0f} | {cost.requested:.1f} | {cost.wide[0]} + {cost.wide[1]} | "
                        f"{cost.narrow} | {cost.instructions:.1f} | {cost.divisions} | "
                        f"{', '.join(sorted(cost.hints)) or 'none'} | {times[0]} | {times[1]} |")
            flying = cost.threads * cost.flying
            few = "" if flying >= CUB_WANTS else " (few)" if flying >= WANTED else " (too few)"
            room.append(f"{first} {launch['threads']} | {cost.registers} | {cost.shared / 1024:.1f} KiB | {cost.blocks}"
                        f" | {cost.threads // 32} | {cost.flying} | {flying / 1024:.0f} KiB{few} |")
    return "\n".join([*code, "", *room])


def main():
    parser = argparse.ArgumentParser(prog="bench/gpu/device_code.py", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--work", type=pathlib.Path, metavar="FOLDER", help="keep what is built there")
    parser.add_argument("--again", action="store_true", help="build nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or pathlib.Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if not options.again:
            build(work)
        print(table(work))
    print(f"\nBytes in flight: too few below {WANTED / 1024:.0f} KiB (Little's law), few below {CUB_WANTS >> 10} KiB.")


if __name__ == "__main__":
    main()
