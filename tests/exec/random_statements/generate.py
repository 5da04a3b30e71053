#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes random statements, to be compiled and compared with the interpreter.

usage: generate.py output.cpp [unit]

The seed is HEDDLE_TEST_SEED, else one of the day, plus the unit's number. It is printed, here and by the test;
as HEDDLE_TEST_SEED it repeats the statements in unit 0.
"""
import os
import random
import sys
import time

COUNT = 20
WITH_GRADIENT = 9
WITH_BODIES = 4

UNARY = ["tanh({})", "sigmoid({})", "exp(-square({}))", "log1p(square({}))", "sqrt(abs({}) + 0.5)",
         "-{}", "erf({})", "rsqrt(square({}) + 1)", "abs({})", "expm1({} * 0.25)", "sin({})",
         "cos({})"]
BINARY = ["({} + {})", "({} - {})", "({} * {})", "({} / (abs({}) + 1))", "maximum({}, {})",
          "minimum({}, {})", "where({} > {}, a, b)"]
REDUCTIONS = ["sum", "mean", "amax", "amin"]
AXES = ["-1", "0", "0, 1"]


class Statement:
    """Lines of a lambda over a (rows, columns), b (columns) and c (rows, 1)."""

    def __init__(self, source):
        self.random = source
        self.lines = []
        self.names = ["a", "b", "unsqueeze<1>(c)"]
        for _ in range(source.randint(3, 9)):
            self.add()

    def pick(self):
        return self.random.choice(self.names[-5:] + self.names[:3])

    def add(self):
        kind = self.random.random()
        if kind < 0.4:
            text = self.random.choice(UNARY).format(self.pick())
        elif kind < 0.75:
            text = self.random.choice(BINARY).format(self.pick(), self.pick())
        else:
            # divided by the row's own mean square first, so that values stay small
            reduction = self.random.choice(REDUCTIONS)
            operand = f"(a * 0.125 + tanh({self.pick()}))"
            text = f"{reduction}<{self.random.choice(AXES)}>({operand}, keepdim)"
        name = f"v{len(self.lines)}"
        self.lines.append(f"[[maybe_unused]] const auto {name} = {text};")
        self.names.append(name)

    def result(self):
        last = self.names[-1]
        other = self.pick()
        choice = self.random.random()
        if choice < 0.5:
            return f"{last} * a + {other}"
        if choice < 0.7:
            return f"sum<-1>({last} * a + {other})"
        if choice < 0.85:
            return f"sum<0>({last} + a * {other})"
        return f"mean({last} * a + {other})"

    def text(self):
        body = "\n        ".join(self.lines + [f"return {self.result()};"])
        parameters = ", ".join(f"[[maybe_unused]] auto {name}" for name in "abc")
        return f"[]({parameters}) {{\n        {body}\n      }}"


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    seed = int(os.environ.get("HEDDLE_TEST_SEED", 0)) or int(time.time() // 86400) * 100
    seed += int(sys.argv[2]) if len(sys.argv) > 2 else 0
    source = random.Random(seed)
    print(f"HEDDLE_TEST_SEED={seed}: {COUNT} random statements")
    cases = []
    for i in range(COUNT):
        scalar = "double" if i < WITH_GRADIENT or source.random() < 0.5 else "float"
        check = "gradients" if i < WITH_GRADIENT else "values"
        bodies = ", true" if check == "values" and i >= COUNT - WITH_BODIES else ""
        cases.append(f"  check_{check}<{scalar}{bodies}>({i}, {Statement(source).text()});")
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write('#include "compare.hpp"\n\n'
                  f'TEST_CASE("random statements of HEDDLE_TEST_SEED={seed} compute what the '
                  'interpreter computes") {\n'
                  f"  seed = {seed}u;\n" + "\n".join(cases) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
