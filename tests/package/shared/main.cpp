// SPDX-License-Identifier: BSD-3-Clause
// Tensors, gradients and exceptions go from one library to the other and back.
#include <cstdio>

#include "side.hpp"

#include <heddle/autograd/record.hpp>

namespace {

int failures = 0;
void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("two shared libraries: %s\n", what);
  ++failures;
}

}  // namespace

int main() {
  values x{1, 2, 3};
  for (int i = 0; i < 100; ++i) x = i % 2 == 0 ? doubled_by_left(x) : doubled_by_right(x) / 4;
  expect(x(2) == 3, "a tensor does not survive going back and forth");
  const heddle::variable<float, 1> v(values{2, 3});
  const heddle::variable<float, 1> y = squared_by_right(squared_by_left(v));
  heddle::variable(heddle::sum(y)).backward();
  expect(v.grad()(0) == 32 && v.grad()(1) == 108, "a gradient does not pass both");
  for (void (*const refuse)() : {&refuse_by_left, &refuse_by_right}) {
    try {
      refuse();
      expect(false, "nothing was thrown");
    } catch (const heddle::shape_error&) {
    } catch (...) {
      expect(false, "the exception of the other library is not the same type");
    }
  }
  return failures;
}
