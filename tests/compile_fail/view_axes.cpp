// SPDX-License-Identifier: BSD-3-Clause
// Views name axes that there are.
// expect: heddle::axis: the tensor has no such axis; axes are -rank to rank - 1
// expect: heddle::transpose: the tensor has fewer than two axes
// expect: heddle::permute: the axes are no permutation; name each axis of the tensor once
// expect: heddle::expand: the result has fewer axes than the tensor
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

void use(const tensor<float, 2>& x, const tensor<float, 1>& v) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(squeeze<-2>(x));
  static_cast<void>(x.transpose());
  static_cast<void>(permute<1, 0>(x));
  static_cast<void>(expand(v, extents<2>{2, 2}));
#else
  static_cast<void>(squeeze<-3>(x));
  static_cast<void>(v.transpose());
  static_cast<void>(permute<1, 1>(x));
  static_cast<void>(expand(x, extents<1>{2}));
#endif
}
