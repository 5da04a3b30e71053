// SPDX-License-Identifier: BSD-3-Clause
// What an expression is: the concept that tensors, variables and expression nodes model, and the
// seam to exec/, where expressions are evaluated.
#pragma once

#include <heddle/core/dtype.hpp>

namespace heddle::inline v0 {

/// Models have `expression_tag`, a static `rank` and a static `type` (the dtype of the elements).
/// Tensors and variables are leaves; the others hold their operands by value and compute nothing.
template <class E>
concept expression = requires {
  typename E::expression_tag;
  E::rank;
  E::type;
};

template <class T, int Rank>
class tensor;

namespace detail {

/// Evaluates e into a new tensor on the device of its operands. Defined in exec/evaluate.hpp.
template <class Configuration, class E>
tensor<type_of<E::type>, E::rank> evaluate_expression(const E& e);

/// Evaluates e into the elements of an existing tensor (broadcast to its extents), through a
/// temporary where the two overlap. Defined in exec/evaluate.hpp.
template <class Configuration, class T, int Rank, class E>
void assign_expression(const tensor<T, Rank>& destination, const E& e);

}  // namespace detail
}  // namespace heddle::inline v0
