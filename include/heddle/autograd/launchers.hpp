// SPDX-License-Identifier: BSD-3-Clause
// Explicit instantiation of launchers: several units use a statement, and one of them compiles its
// loops.
//
// The header of the pair says HEDDLE_EXTERN_LAUNCHER for an expression's type, its source
// HEDDLE_INSTANTIATE_LAUNCHER; where variables are among the operands, the two macros for the
// gradient as well. Both are compiled as the units that use them are: same macros, same instruction
// set.
#pragma once

#include <heddle/autograd/record.hpp>

namespace heddle::inline v0::exec {

namespace detail {

template <class E>
consteval auto find_program_of() {
  if constexpr (heddle::detail::holds_variable<E>) {
    return typename heddle::detail::recorded_statement<statement<E>>::program{};
  } else {
    return typename statement<E>::program{};
  }
}
}  // namespace detail

/// The program of an expression, by the expression's type: what evaluating it runs.
template <class E>
using program_of = decltype(detail::find_program_of<E>());
/// The program of its gradient with respect to the variables among its operands.
template <class E>
using gradient_program_of = typename heddle::detail::derivative_of<statement<E>>::program;

}  // namespace heddle::inline v0::exec

// nvcc 13 cannot name the program of a lambda's type in an explicit instantiation: its units
// compile their launchers themselves.
#if defined(__CUDACC__)
#define HEDDLE_LAUNCHER_OF(linkage, ...) static_assert(true, "")
#else
#define HEDDLE_LAUNCHER_OF(linkage, ...)                                             \
  linkage template void heddle::exec::host::run<__VA_ARGS__, heddle::configuration>( \
      const heddle::exec::launch&)
#endif

/// In a header: the loops of statements that evaluate an expression of this type are compiled
/// elsewhere. `HEDDLE_EXTERN_LAUNCHER(decltype(swish(std::declval<heddle::tensor<float, 2>>())));`
#define HEDDLE_EXTERN_LAUNCHER(...) \
  HEDDLE_LAUNCHER_OF(extern, heddle::exec::program_of<__VA_ARGS__>)
/// The same for the loops of its gradient.
#define HEDDLE_EXTERN_GRADIENT_LAUNCHER(...) \
  HEDDLE_LAUNCHER_OF(extern, heddle::exec::gradient_program_of<__VA_ARGS__>)
/// In one source: compiles them here. Expressions that make the same program need it once.
#define HEDDLE_INSTANTIATE_LAUNCHER(...) HEDDLE_LAUNCHER_OF(, heddle::exec::program_of<__VA_ARGS__>)
/// The same for the loops of its gradient.
#define HEDDLE_INSTANTIATE_GRADIENT_LAUNCHER(...) \
  HEDDLE_LAUNCHER_OF(, heddle::exec::gradient_program_of<__VA_ARGS__>)
