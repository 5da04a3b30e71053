// SPDX-License-Identifier: BSD-3-Clause
// What the exported library offers, in terms of heddle.
#pragma once

#include <heddle/tensor/tensor.hpp>

/// The elements from 1 to n.
heddle::tensor<float, 1> counted(int n);
