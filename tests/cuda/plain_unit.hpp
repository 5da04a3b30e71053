// SPDX-License-Identifier: BSD-3-Clause
// Functions of a unit that the host's compiler compiled: it has no kernels.
#pragma once

#include <heddle/tensor/tensor.hpp>

/// Half the softmax of each row of x, (rows, columns).
heddle::tensor<float, 2> halved_softmax(const heddle::tensor<float, 2>& x);
/// The second derivative of the sum of x⁴: 12 x².
heddle::tensor<double, 1> curvature(const heddle::tensor<double, 1>& x);
