# SPDX-License-Identifier: BSD-3-Clause
"""Races between worker processes: programs of bench/ and peers' scripts, which answer one protocol.

A request is a line of words between tabs; its reply is lines that end with one of a single dot, the
first of them "error<tab>sentence" where the request failed.

  works                  goal <name> <title>; build <name>; peer <required peer>;
                         work <name> <unit> [threads <count> | <demand>]…
  enter <work>           contender <peer> <variant> <threads>; absent <peer> <why>
  values <contender>     numbers of its result, one a line
  measure <contender> <seconds of a turn>
                         seconds of one repetition, or what else is counted
"""
import dataclasses
import statistics
import subprocess
import sys
import time


class Failure(Exception):
    """A sentence for the user."""


@dataclasses.dataclass
class Work:
    name: str
    unit: str = "s"
    threads: list = dataclasses.field(default_factory=list)
    demands: list = dataclasses.field(default_factory=list)


class Worker:
    """A process that answers. It sleeps on its pipe between the turns."""

    def __init__(self, command):
        self.command = command
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with  # close() ends it
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self.goal, self.title, self.build, self.peers, self.works = None, "", None, [], []
        for kind, *fields in self.ask("works"):
            if kind == "goal":
                self.goal, self.title = fields
            elif kind == "build":
                (self.build,) = fields
            elif kind == "peer":
                self.peers += fields
            else:
                name, unit, *rest = [*fields, "s"][:2] + fields[2:]
                self.works.append(Work(
                    name, unit, [int(each.split()[1]) for each in rest if each.startswith("threads ")],
                    [each for each in rest if not each.startswith("threads ")]))

    def ask(self, *words):
        """The fields of each line of the reply."""
        lines = []
        try:
            self.process.stdin.write("\t".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()) != ".\n":
                if not line:
                    raise BrokenPipeError
                lines.append(line.rstrip("\n").split("\t"))
        except BrokenPipeError:
            raise Failure(f"bench/run: {self.command[0]} ended while it was asked '{' '.join(map(str, words))}'"
                          f", with status {self.process.wait()}") from None
        if lines and lines[0][0] == "error":
            raise Failure(f"bench/run: {self.command[0]}: {lines[0][1]}")
        return lines

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclasses.dataclass
class Contender:
    worker: Worker
    index: int
    peer: str
    variant: str
    threads: int
    turns: list = dataclasses.field(default_factory=list)

    @property
    def build(self):
        return self.worker.build if self.peer == "heddle" else None

    def name(self):
        words = [self.peer, self.variant, f"{self.build} build" if self.build else "",
                 f"{self.threads} thread{'s' if self.threads > 1 else ''}"]
        return ", ".join(word for word in words if word)

    def values(self):
        return [float(value) for (value,) in self.worker.ask("values", self.index)]

    def measure(self, turn):
        ((value,),) = self.worker.ask("measure", self.index, turn)
        return float(value)

    def median(self):
        return statistics.median(self.turns)


@dataclasses.dataclass
class Raced:
    """What came of one work."""
    work: Work
    contenders: list

    def figure(self, peer, threads, build=None):
        """heddle's first way with exactly that many threads, a peer's best with at most that many, the
        highest of the limits."""
        found = [c for c in self.contenders if c.peer == peer and c.build == build]
        if peer == "heddle":
            return next((c.median() for c in found if c.threads == threads), None)
        if peer == "limit":
            return max((c.median() for c in found if c.threads == threads), default=None)
        return min((c.median() for c in found if c.threads <= threads), default=None)

    def cases(self):
        """One case for each thread count and build, in the form of the JSON, with its demands."""
        peers = list(dict.fromkeys(c.peer for c in self.contenders if c.peer not in ("heddle", "limit")))
        builds = list(dict.fromkeys(c.build for c in self.contenders if c.build))
        for threads in self.work.threads:
            for build in builds:
                yield {
                    "name": f"{self.work.name}, {threads} thread{'s' if threads > 1 else ''}, {build} build",
                    "unit": self.work.unit,
                    "heddle": self.figure("heddle", threads, build),
                    "peers": {peer: figure for peer in peers
                              if (figure := self.figure(peer, threads)) is not None},
                    "limit": self.figure("limit", threads),
                }, self.work.demands


def agree(first, second):
    """Whether two results are one but for rounding, as program.hpp has it."""
    return len(first) == len(second) and all(
        abs(a - b) <= 1e-5 + 1e-4 * abs(a) for a, b in zip(first, second))


def enter(work, workers):
    """The contenders of a work, and {peer: why} of those that a worker could not enter."""
    contenders, absent = [], {}
    for worker in workers:
        if work.name not in [each.name for each in worker.works]:
            continue
        index = 0
        for kind, peer, *fields in worker.ask("enter", work.name):
            if kind == "absent":
                absent.setdefault(peer, fields[0])
                continue
            contender = Contender(worker, index, peer, fields[0], int(fields[1]))
            index += 1
            if peer != "limit" or worker is workers[0]:  # once is enough
                contenders.append(contender)
    present = {c.peer for c in contenders}
    return contenders, {peer: why for peer, why in absent.items() if peer not in present}


def check(work, contenders):
    """Drops contenders whose result is not heddle's; returns a sentence on each."""
    sentences, expected = [], None
    for contender in list(contenders):
        try:
            values = contender.values()
        except Failure as failure:
            contenders.remove(contender)
            sentences.append(str(failure))
            continue
        if expected is None:
            expected = values
        # a bare product, or a limit, is a part of the work and has no result to compare
        if values and contender.peer != "limit" and not agree(expected, values):
            contenders.remove(contender)
            sentences.append(f"bench/run: {work.name}: the result of {contender.name()} is not heddle's: "
                             f"{values[:4]}; expected {expected[:4]}")
    return sentences


def race(contenders, rounds, turn, pause=0.02):
    """Rounds in which all take their turn, after a round of warm-up; every other round runs backwards.
    In the pause the threads of the last one stop spinning."""
    for number in range(rounds + 1):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            value = contender.measure(turn)
            if number > 0:
                contender.turns.append(value)
            time.sleep(pause)


@dataclasses.dataclass
class Result:
    """What came of a goal. `cases`: (case, demands)."""
    goal: str
    title: str
    cases: list
    raced: list = dataclasses.field(default_factory=list)
    problems: list = dataclasses.field(default_factory=list)

    def json(self):
        return {"goal": self.goal, "cases": [case for case, _ in self.cases]}


def measure_goal(commands, rounds, turn, allow_missing):
    """Starts the workers, the goal's own first, and races them on each of its works."""
    workers = []
    try:
        for command in commands:
            workers.append(Worker(command))
        head = workers[0]
        result = Result(head.goal, head.title, [])
        missing = {}
        for work in head.works:
            contenders, absent = enter(work, workers)
            result.problems += check(work, contenders)
            present = {c.peer for c in contenders}
            missing.update({peer: absent.get(peer) for peer in head.peers if peer not in present})
            if missing and not allow_missing:
                result.raced.clear()
                break
            print(f"bench/run: {head.goal}, {work.name}: {len(contenders)} contenders", file=sys.stderr)
            race(contenders, rounds, turn)
            result.raced.append(Raced(work, contenders))
        for raced in result.raced:
            result.cases += raced.cases()
        if missing:
            result.problems.append(missing_sentence(head.goal, missing))
        return result, bool(missing)
    finally:
        for worker in workers:
            worker.close()


def missing_sentence(goal, missing):
    whys = "; ".join(why for why in missing.values() if why)
    return (f"bench/run: {goal} lacks {', '.join(missing)}{f' ({whys})' if whys else ''}: bench/README.md "
            "says where peers come from, and --allow-missing measures without them")
