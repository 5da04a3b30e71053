# SPDX-License-Identifier: BSD-3-Clause
"""What nvdisasm -c -hex prints, as blocks, loops, and the path that whole vectors take through a loop."""
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CALL = 100  # instructions that a call of a division's subroutine counts as
NO_BARRIER = 7


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def find_tool(name):
    found = shutil.which(name)
    if found is None and os.access(f"/usr/local/cuda/bin/{name}", os.X_OK):
        found = f"/usr/local/cuda/bin/{name}"
    return found


def find_disassembler():
    """nvdisasm: of the toolkit, or the one on PyPI."""
    found = find_tool("nvdisasm")
    if found:
        return found
    home = ROOT / "build" / "nvdisasm"
    if not list(home.glob("nvidia/*/bin/nvdisasm")):
        run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "-d", home, "nvidia-cuda-nvdisasm>=13,<14"])
        for wheel in home.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(home)
    tool = list(home.glob("nvidia/*/bin/nvdisasm"))[0]
    tool.chmod(0o755)
    return str(tool)


@dataclasses.dataclass
class Instruction:
    predicate: str
    opcode: str
    text: str
    sets: int = NO_BARRIER  # the barrier that says that its result is there
    waits: int = 0          # a bit for each barrier that it waits for

    @functools.cached_property
    def parts(self):
        return self.opcode.split(".")

    @property
    def kind(self):
        return self.parts[0]

    @functools.cached_property
    def bytes(self):
        """That a thread moves."""
        if "128" in self.parts:
            return 16
        if "64" in self.parts:
            return 8
        return 1 if {"U8", "S8"} & set(self.parts) else 2 if {"U16", "S16"} & set(self.parts) else 4

    @property
    def wide(self):
        return "128" in self.parts

    @property
    def is_global(self):
        return self.kind in ("LDG", "STG")

    @property
    def address(self):
        found = re.search(r"\[R[^\]]*\]", self.text)
        return found.group(0) if found else None

    @property
    def result(self):
        return self.text.split(",")[0]

    @property
    def divides(self):
        """Whether it is one of an integer division: the conversion before a reciprocal, or a subroutine."""
        return (self.kind == "I2F" and "RP" in self.parts) or (
            self.kind == "CALL" and re.search("_sm20_(div|rem)_[su]", self.text) is not None)


@dataclasses.dataclass
class Block:
    code: list = dataclasses.field(default_factory=list)
    targets: list = dataclasses.field(default_factory=list)  # labels
    falls_through: bool = True

    def add(self, instruction):
        """Takes an instruction; whether it ends the block."""
        self.code.append(instruction)
        if instruction.kind in ("BRA", "BRX", "JMP"):
            self.targets += re.findall(r"`\((\.L\w+)\)", instruction.text)
            self.falls_through = (bool(instruction.predicate) or instruction.opcode == "BRA.DIV"
                                  or bool(re.match(r"!?U?P\d", instruction.text)))
            return True
        if instruction.kind in ("EXIT", "RET"):
            self.falls_through = bool(instruction.predicate)
            return True
        return False


LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+\{?\s*(@!?U?P[T\d]+)?\s*([A-Z][\w.]*)\s*(.*?)\s*;\s*(?:\}\s*)?"
                  r"(?:/\* 0x[0-9a-f]{16} \*/)?\s*$")
HIGH = re.compile(r"\s*/\* 0x([0-9a-f]{16}) \*/\s*$")


def opposite(predicate):
    return predicate.replace("@", "@!") if "!" not in predicate else predicate.replace("!", "")


class Path(list):
    """Instructions that a thread goes through over and over."""

    def __init__(self, code, held, added_to):
        super().__init__(code)
        self.held = held
        self.added_to = added_to
        # a load from shared memory, or else, into the same register, from global memory
        self.instead = {(i.result, opposite(i.predicate)) for i in code if i.kind == "LDS" and i.predicate}

    def moves(self, instruction):
        """Whether it is an access to global memory that takes place: not one for rows that are in shared
        memory, nor of what a result is added to, if at all."""
        if not instruction.is_global:
            return False
        if instruction.kind == "STG" or not instruction.predicate:
            return True
        if (instruction.result, instruction.predicate) in self.instead:
            return not self.held
        return instruction.address not in self.added_to

    def bytes_in_flight(self):
        """The most bytes of global loads under way, before it waits for any of them."""
        most, flying = 0, {}
        for instruction in self * 2:
            for barrier in list(flying):
                if instruction.waits >> barrier & 1:
                    del flying[barrier]
            if instruction.kind == "LDG" and self.moves(instruction):
                flying[instruction.sets] = flying.get(instruction.sets, 0) + instruction.bytes
                most = max(most, sum(flying.values()))
        return most


class Kernel:
    """The blocks of a kernel, the loops among them."""

    def __init__(self, name=""):
        self.blocks = [Block()]
        self.labels = {}
        # a wide body loads its operands on each way through a main loop; a resident one asks whether they are there
        self.wide = name.endswith("_wide") or "accessE1" in name

    @functools.cached_property
    def follows(self):
        return [[self.labels[t] for t in b.targets if t in self.labels] +
                ([i + 1] if b.falls_through and i + 1 < len(self.blocks) else [])
                for i, b in enumerate(self.blocks)]

    @functools.cached_property
    def order(self):
        """Blocks that can be reached, each before those that follow it but over a back edge."""
        seen, made, stack = {0}, [], [(0, iter(self.follows[0]))]
        while stack:
            at, rest = stack[-1]
            for next_ in rest:
                if next_ not in seen:
                    seen.add(next_)
                    stack.append((next_, iter(self.follows[next_])))
                    break
            else:
                made.append(at)
                stack.pop()
        return made[::-1]

    @functools.cached_property
    def before(self):
        made = {i: [] for i in self.order}
        for i in self.order:
            for next_ in self.follows[i]:
                made[next_].append(i)
        return made

    @functools.cached_property
    def dominators(self):
        """By block: the one that every way to it passes last (Cooper, Harvey, Kennedy 2001)."""
        place = {block: k for k, block in enumerate(self.order)}
        above = {0: 0}
        changed = True
        while changed:
            changed = False
            for block in self.order[1:]:
                new = None
                for other in self.before[block]:
                    if other not in above:
                        continue
                    if new is None:
                        new = other
                        continue
                    a, b = other, new
                    while a != b:
                        while place[a] > place[b]:
                            a = above[a]
                        while place[b] > place[a]:
                            b = above[b]
                    new = a
                if above.get(block) != new:
                    above[block] = new
                    changed = True
        return above

    def dominates(self, a, b):
        while b != a and b != 0:
            b = self.dominators[b]
        return a == b

    @functools.cached_property
    def loops(self):
        """{head: blocks}: the natural loops."""
        made = {}
        for i in self.order:
            for head in self.follows[i]:
                if not self.dominates(head, i):
                    continue
                body = made.setdefault(head, {head})
                stack = [i]
                while stack:
                    block = stack.pop()
                    if block not in body:
                        body.add(block)
                        stack += self.before[block]
        return made

    def has_narrow(self, body):
        return any(i.is_global and not i.wide for b in body for i in self.blocks[b].code)

    def has_vectors(self, body):
        return any(i.wide and i.kind in ("LDG", "STG", "LDS", "STS") for b in body for i in self.blocks[b].code)

    @functools.cached_property
    def main_loops(self):
        """Heads of the innermost loops that move vectors of 128 bits; where some move nothing else, those:
        the others are for what is left of a row, which they ask of each vector."""
        whole = [head for head in self.vector_loops if not self.has_narrow(self.loops[head])]
        return whole or self.vector_loops

    @functools.cached_property
    def vector_loops(self):
        vectors = {head: body for head, body in self.loops.items() if self.has_vectors(body)}
        return sorted(head for head, body in vectors.items()
                      if not any(other != head and other in body for other in vectors))

    def around(self, heads):
        """Heads of the loops around all of these, the innermost first."""
        return sorted((head for head, body in self.loops.items()
                       if head not in heads and all(other in body for other in heads)),
                      key=lambda head: len(self.loops[head]))

    def path(self, head, held=False):
        """Instructions on the way from a loop's head back to it that moves most vectors of 128 bits, of
        those the one with fewest other accesses, then fewest instructions. Loops within are gone through
        once. held: rows are held in shared memory; otherwise the way through it is not taken."""
        body = self.loops[head]
        costs = self.costs(held)
        best = {}
        for block in (b for b in self.order if b in body):
            ways = [best[b] for b in self.before[block] if b in best and block != head]
            if block != head and not ways:
                continue
            cost, way = max(ways, key=lambda w: w[0]) if ways else ((0, 0, 0), None)
            best[block] = (tuple(map(sum, zip(cost, costs[block]))), (block, way))
        ends = [best[b] for b in self.before[head] if b in best and b in body]
        _, way = max(ends, key=lambda w: w[0])
        blocks = []
        while way is not None:
            blocks.append(way[0])
            way = way[1]
        return Path([i for b in reversed(blocks) for i in self.blocks[b].code], held, self.added_to)

    @functools.cached_property
    def added_to(self):
        """Addresses that are written. A vector is loaded from there only to add to it, if at all."""
        return {i.address for b in self.blocks for i in b.code if i.kind == "STG" and i.wide and self.wide}

    @functools.cached_property
    def on_some_ways(self):
        """Blocks of a wide body's main loops that are not on each way through."""
        ends = {head: [b for b in self.before[head] if b in self.loops[head]] for head in self.main_loops}
        return {b for head in self.main_loops if self.wide for b in self.loops[head]
                if not all(self.dominates(b, end) for end in ends[head])}

    def costs(self, held):
        """By block: what path() counts, from most important on."""
        can_hold = any(i.kind == "LDS" and i.wide for b in self.blocks for i in b.code)
        left = set().union(*(self.loops[head] for head in self.vector_loops if head not in self.main_loops))

        def vectors(i, block):
            if not i.wide or block in left:
                return 0
            if i.kind in ("LDS", "STS"):
                return 2 if held else 0
            if i.kind == "STG":
                return 1
            # what a result may be added to; where rows may be held, other loads are not on each way either
            maybe = block in self.on_some_ways and (held or not can_hold or i.address in self.added_to)
            return 1 if i.kind == "LDG" and not maybe else 0
        return [(sum(vectors(i, at) for i in b.code), -sum(not i.wide for i in b.code if i.is_global),
                 -sum(CALL if i.kind == "CALL" else 1 for i in b.code)) for at, b in enumerate(self.blocks)]


def kernels_of(text, plain=lambda name: name):
    """{name: Kernel} of a disassembly."""
    made = {}
    kernel = None
    for line in text.splitlines():
        if found := re.match(r"\.text\.(\S+):", line):
            name = plain(found.group(1))
            kernel = made[name] = Kernel(name)
        elif kernel is None:
            continue
        elif found := re.match(r"([.$]\S+):", line):
            if found.group(1).startswith("$"):
                kernel = None  # subroutines follow
                continue
            kernel.blocks.append(Block())
            kernel.labels[found.group(1)] = len(kernel.blocks) - 1
        elif found := LINE.search(line):
            instruction = Instruction(found.group(1) or "", found.group(2), found.group(3))
            last = instruction
            if kernel.blocks[-1].add(instruction):
                kernel.blocks.append(Block())
        elif found := HIGH.match(line):
            control = int(found.group(1), 16) >> 41
            last.sets = control >> 5 & 7
            last.waits = control >> 11 & 63
    return made


def resources_of(log, plain=lambda name: name):
    """{kernel: (registers, bytes of static shared memory)}, from the assembler's account."""
    used, name = {}, None
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)'", line):
            name = plain(found.group(1))
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            used[name] = (int(found.group(1)), int(shared.group(1)) if shared else 0)
    return used
