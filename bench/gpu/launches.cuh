// SPDX-License-Identifier: BSD-3-Clause
// Tells the recorder how the work of heddle's launches is divided. For nvcc's -include, before
// goals.cu.
#pragma once

#include "recorder.hpp"

#include <heddle/exec/cuda/kernel.cuh>
#include <heddle/exec/cuda/multi.hpp>

namespace recorder {

namespace cuda = heddle::exec::cuda;

inline std::string member(const char* name, std::int64_t value) {
  return ", \"" + std::string(name) + "\": " + std::to_string(value);
}

/// Vectors that a thread has under way in each pass over lanes.
template <class Program, int Nest, cuda::access Access, int... Pass>
std::string unrolls(std::integer_sequence<int, Pass...>) {
  constexpr int first = cuda::detail::nest_layout<Program, Nest>::first_pass;
  std::string list;
  const auto add = [&list](int inner, int unroll) {
    if (inner >= 0) list += (list.empty() ? "" : ", ") + std::to_string(unroll);
  };
  (add(heddle::exec::plan_of<Program>.passes[first + Pass].inner,
       cuda::detail::unroll_of<Program, Nest, Access, first + Pass>),
   ...);
  return ", \"unroll\": [" + list + "]";
}

/// What a body is called, lanes of one vector, and vectors under way.
template <class Program, int Nest, cuda::access Access>
std::string body() {
  const char* const names[] = {"strided", "wide", "resident"};
  return ", \"body\": \"" + std::string(names[static_cast<int>(Access)]) + "\"" +
         member("vector", cuda::detail::vector_width<Program, Nest, Access>) +
         unrolls<Program, Nest, Access>(
             std::make_integer_sequence<int,
                                        cuda::detail::nest_layout<Program, Nest>::pass_count>{});
}

template <class Program, int First, cuda::access Access>
std::string of_group(const void* with) {
  using arguments = cuda::group_arguments<Program, First>;
  const cuda::nest_shape& s = static_cast<const arguments*>(with)->template nest<First>().shape;
  return body<Program, First, Access>() +
         member("elements", s.rows * s.row_steps * s.inner_extent) +
         member("units", s.segments * s.chunks) +
         member("rows_of_unit", s.segments > 0 ? (s.rows + s.segments - 1) / s.segments : 0) +
         member("lanes", s.chunk < s.inner_extent ? s.chunk : s.inner_extent) +
         member("width", s.width) + member("groups", s.groups) + member("held", s.held ? 1 : 0);
}

template <class Program, cuda::access Access, int Groups>
std::string of_list(const void* with) {
  using arguments = cuda::multi_arguments<Program, Groups>;
  const arguments& a = *static_cast<const arguments*>(with);
  std::int64_t elements = 0;
  for (int g = 0; g < a.groups; ++g) elements += a.count[g];
  return body<Program, 0, Access>() + member("elements", elements) +
         member("units", a.first_chunk[a.groups]) + member("rows_of_unit", 1) +
         member("lanes", a.chunk) + member("width", a.nest.shape.width) + member("groups", 1) +
         member("held", 0);
}

}  // namespace recorder

namespace heddle::inline v0::detail {

template <class Program, int First, exec::cuda::access Access>
struct kernel_observer<exec::cuda::kernel_id<Program, First, Access>> {
  static void before_launch() {
    recorder::tell(reinterpret_cast<const void*>(&exec::cuda::kernel<Program, First, Access>),
                   &recorder::of_group<Program, First, Access>);
  }
};
template <class Program, exec::cuda::access Access, int Groups>
struct kernel_observer<exec::cuda::multi_kernel_id<Program, Access, Groups>> {
  static void before_launch() {
    recorder::tell(
        reinterpret_cast<const void*>(&exec::cuda::multi_kernel<Program, Access, Groups>),
        &recorder::of_list<Program, Access, Groups>);
  }
};

}  // namespace heddle::inline v0::detail
