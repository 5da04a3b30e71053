// SPDX-License-Identifier: BSD-3-Clause
// Kernels with names, whose machine code tests/device/check reads. Nothing here runs.
#include <heddle/exec/cuda/kernel.cuh>
#include <heddle/graph/passes/differentiate.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/optim/adamw.hpp>
#include <heddle/optim/clip_grad.hpp>

namespace {

using namespace heddle;
using exec::cuda::access;

/// The program of what F makes of tensors.
template <class F, class... T>
struct statement_of {
  template <class... E>
  static exec::statement<E...> deduce(const E&...);
  template <class... E>
  static exec::statement<E...> deduce(const std::tuple<E...>&);
  using type = decltype(deduce(F{}(T{}...)));
  using program = typename type::program;
};
using matrix = tensor<float, 2>;
using vector = tensor<float, 1>;
using matrix_bf16 = tensor<bfloat16, 2>;
using classes = tensor<std::int64_t, 1>;

struct stream_function {
  auto operator()(const auto& a, const auto& b, const auto& c) const {
    return relu(a * b + c) * 2.0;
  }
};
struct transcendental {
  auto operator()(const auto& a, const auto& b, const auto& c) const {
    return tanh(a * b + exp(a - c));
  }
};
struct bias_relu {
  auto operator()(const auto& x, const auto& b) const { return relu(x + b); }
};
struct softmax_rows {
  auto operator()(const auto& x) const { return softmax<-1>(x); }
};
struct layer_norm_rows {
  auto operator()(const auto& x, const auto& g, const auto& b) const { return layer_norm(x, g, b); }
};
struct layer_norm_gradient {
  auto operator()(const auto& x, const auto& gamma, const auto& g) const {
    return let(
        [](auto v, auto scale, auto seed) {
          const auto centred = v - mean<-1>(v, keepdim);
          const auto inverse = rsqrt(mean<-1>(square(centred), keepdim) + 1e-5);
          const auto normal = centred * inverse;
          const auto h = seed * scale;
          return outputs(
              inverse * (h - mean<-1>(h, keepdim) - normal * mean<-1>(h * normal, keepdim)),
              sum<0>(seed * normal), sum<0>(seed));
        },
        x, gamma, g);
  }
};
struct cross_entropy_mean {
  auto operator()(const auto& x, const auto& t) const { return cross_entropy(x, t); }
};
struct column_sums {
  auto operator()(const auto& x) const { return sum<0>(x); }
};
struct total {
  auto operator()(const auto& x, const auto& y) const { return sum(x * y); }
};
struct running_statistics {
  auto operator()(const auto& average, const auto& batch, const auto& losses) const {
    return std::tuple{average * 0.9 + mean<0>(batch) * 0.1, mean(losses)};
  }
};

/// The gradient of `2 * take(table, index)` with respect to the table.
struct take_gradient {};
struct taken_twice {
  auto operator()(const auto& table, const auto& index) const {
    return let([](auto t, auto i) { return 2 * take(t, i); }, table, index);
  }
};
struct take_derivative {
  static constexpr graph::graph make() {
    graph::derivative_request request;
    request.wanted.push_back(true);
    request.wanted.push_back(false);
    request.seed_slot = 2;
    request.saved_slot = 3;
    return graph::differentiate(graph::thaw(statement_of<taken_twice, matrix, classes>::program{}),
                                request);
  }
};
template <>
struct statement_of<take_gradient, matrix, classes> {
  using program = graph::frozen<take_derivative>;
};

}  // namespace

#define DEVICE_PROGRAM(name, how, function, ...)                                            \
  extern "C" __global__ void __launch_bounds__(exec::cuda::block_limit(access::how),        \
                                               exec::cuda::blocks_at_a_time(access::how))   \
      name##_##how(                                                                         \
          const __grid_constant__                                                           \
              exec::cuda::group_arguments<statement_of<function, __VA_ARGS__>::program, 0>  \
                  arguments) {                                                              \
    exec::cuda::run_in_block<statement_of<function, __VA_ARGS__>::program, 0, access::how>( \
        arguments);                                                                         \
  }

// Over lists of tensors, with the operands of a group and what all groups share.
#define LIST_PROGRAM(name, how, function, operands, ...)                                           \
  using name##_program =                                                                           \
      typename exec::detail::multi_statement<function, float,                                      \
                                             std::make_integer_sequence<int, operands> __VA_OPT__( \
                                                 , ) __VA_ARGS__>::type::program;                  \
  extern "C" __global__ void __launch_bounds__(exec::cuda::block_limit(access::how),               \
                                               exec::cuda::blocks_at_a_time(access::how))          \
      name##_##how(                                                                                \
          const __grid_constant__ exec::cuda::multi_arguments<name##_program, 64> arguments) {     \
    exec::cuda::run_list_in_block<name##_program, access::how>(arguments);                         \
  }

// Rows that are held are launched with the bounds of the program's own, which holds values, too.
#define HELD_PROGRAM(name, function, ...)                                                          \
  using name##_held_program =                                                                      \
      exec::cuda::detail::program_of_rows<statement_of<function, __VA_ARGS__>::program>;           \
  extern "C" __global__ void __launch_bounds__(                                                    \
      exec::cuda::block_limit(access::held),                                                       \
      exec::cuda::blocks_at_a_time<name##_held_program>(access::held))                             \
      name##_held(                                                                                 \
          const __grid_constant__ exec::cuda::group_arguments<name##_held_program, 0> arguments) { \
    exec::cuda::run_in_block<name##_held_program, 0, access::held>(arguments);                     \
  }

#define SIDE_BY_SIDE_PROGRAM(name, function, ...)                                                 \
  using name##_program = statement_of<function, __VA_ARGS__>::program;                            \
  extern "C" __global__ void __launch_bounds__(                                                   \
      exec::cuda::block_limit(access::strided),                                                   \
      exec::cuda::blocks_at_a_time<name##_program>(access::strided))                              \
      name##_side_by_side(                                                                        \
          const __grid_constant__ exec::cuda::side_by_side_arguments<name##_program> arguments) { \
    exec::cuda::run_parts_in_block(arguments);                                                    \
  }

DEVICE_PROGRAM(stream_f32, wide, stream_function, matrix, matrix, matrix)
DEVICE_PROGRAM(stream_f32, strided, stream_function, matrix, matrix, matrix)
DEVICE_PROGRAM(stream_bf16, wide, stream_function, matrix_bf16, matrix_bf16, matrix_bf16)
DEVICE_PROGRAM(transcendental_f32, wide, transcendental, matrix, matrix, matrix)
DEVICE_PROGRAM(bias_relu_f32, wide, bias_relu, matrix, vector)
DEVICE_PROGRAM(softmax_f32, resident, softmax_rows, matrix)
DEVICE_PROGRAM(softmax_f32, wide, softmax_rows, matrix)
DEVICE_PROGRAM(softmax_f32, strided, softmax_rows, matrix)
DEVICE_PROGRAM(softmax_bf16, resident, softmax_rows, matrix_bf16)
DEVICE_PROGRAM(softmax_bf16, wide, softmax_rows, matrix_bf16)
DEVICE_PROGRAM(layer_norm_f32, resident, layer_norm_rows, matrix, vector, vector)
DEVICE_PROGRAM(layer_norm_f32, wide, layer_norm_rows, matrix, vector, vector)
DEVICE_PROGRAM(layer_norm_gradient_f32, resident, layer_norm_gradient, matrix, vector, matrix)
DEVICE_PROGRAM(layer_norm_gradient_f32, wide, layer_norm_gradient, matrix, vector, matrix)
DEVICE_PROGRAM(cross_entropy_f32, resident, cross_entropy_mean, matrix, classes)
DEVICE_PROGRAM(cross_entropy_f32, wide, cross_entropy_mean, matrix, classes)
HELD_PROGRAM(softmax_f32, softmax_rows, matrix)
HELD_PROGRAM(softmax_bf16, softmax_rows, matrix_bf16)
HELD_PROGRAM(layer_norm_f32, layer_norm_rows, matrix, vector, vector)
HELD_PROGRAM(layer_norm_gradient_f32, layer_norm_gradient, matrix, vector, matrix)
HELD_PROGRAM(cross_entropy_f32, cross_entropy_mean, matrix, classes)
DEVICE_PROGRAM(column_sums_f32, wide, column_sums, matrix)
DEVICE_PROGRAM(total_f32, wide, total, matrix, matrix)
DEVICE_PROGRAM(take_gradient_f32, wide, take_gradient, matrix, classes)
LIST_PROGRAM(adamw_f32_list, wide, optim::detail::adamw_function, 4, double, double, double, double,
             double, double, double, double)
LIST_PROGRAM(norm_f32_list, wide, optim::detail::norm_function<float>, 1)
LIST_PROGRAM(clip_f32_list, wide, optim::detail::clip_function<float>, 1, tensor<float, 0>, double)
SIDE_BY_SIDE_PROGRAM(running_statistics_f32, running_statistics, vector, matrix, vector)
