// SPDX-License-Identifier: BSD-3-Clause
// Clipping of gradients by their joint norm.
#pragma once

#include <heddle/optim/gradients.hpp>
#include <heddle/tensor/creation.hpp>

namespace heddle::inline v0::optim {

namespace detail {

/// The norm of a list, in T.
template <class T>
struct norm_function {
  constexpr symbol operator()(const symbol& g) const {
    const symbol wide = cast<T>(g);
    return sqrt(sum(wide * wide));
  }
};
/// The norm of two lists together.
struct joint_norm_function {
  constexpr symbol operator()(const symbol& a, const symbol& b) const {
    return sqrt(a * a + b * b);
  }
};
template <class V>
struct clip_function {
  constexpr symbol operator()(const symbol& g, const symbol& norm, const symbol& max_norm) const {
    return cast<V>(g * minimum(max_norm / (norm + 1e-6), 1));
  }
};

}  // namespace detail

/// Scales all gradients so that their joint 2-norm is at most max_norm, as PyTorch's function of
/// this name. Returns the norm before, on the device of the first gradient: of float, or of double
/// where a T is. Two launches for each dtype and device, and nothing waits but for gradients on
/// other devices than the first one's, so that it may be part of a `cuda_graph`. A gradient that is
/// not a number makes all of them so; of an infinite norm finite gradients become 0.
/// Throws type_error for parameters of other dtypes than T…, float where none is named.
template <class... T,
          class Types = std::conditional_t<sizeof...(T) == 0, std::tuple<float>, std::tuple<T...>>>
auto clip_grad_norm_(const parameter_list& parameters, double max_norm) {
  return [&]<class... U>(std::type_identity<std::tuple<U...>>) {
    using norm_type = std::conditional_t<(std::is_same_v<U, double> || ...), double, float>;
    const detail::gradient_lists<U...> gradients("clip_grad_norm_", parameters);
    if (gradients.all().empty()) return zeros<norm_type, 0>({});
    tensor<norm_type, 0> norm;
    gradients.for_each([&]<class V>(std::type_identity<V>, const detail::gradient_list& list) {
      const tensor<norm_type, 0> own =
          exec::multi_assign<V, 1>(detail::norm_function<norm_type>{}, list.groups, list.where);
      const bool first = &list == gradients.all().data();
      norm = first ? own
                   : tensor<norm_type, 0>(
                         let(detail::joint_norm_function{}, norm, own.to(norm.device())));
    });
    // on the host the norm is known: gradients that are short enough are left alone
    if (norm.device().is_inline() && max_norm / (norm.item() + 1e-6) >= 1) return norm;
    gradients.for_each([&]<class V>(std::type_identity<V>, const detail::gradient_list& list) {
      exec::multi_assign<V, 1>(detail::clip_function<V>{}, list.groups, list.where,
                               norm.to(list.where), max_norm);
    });
    return norm;
  }(std::type_identity<Types>{});
}

}  // namespace heddle::inline v0::optim
