// SPDX-License-Identifier: BSD-3-Clause
// Matrix products by oneDNN, through its C interface: the C++ one costs 0.6 s of compile time a
// unit. The only header that includes oneDNN's. Versions 2.6 and 3.x.
#pragma once

#if defined(HEDDLE_WITH_ONEDNN)

#include <oneapi/dnnl/dnnl.h>
#if defined(HEDDLE_OPENMP)
#include <omp.h>
#endif

#include <heddle/core/dtype.hpp>
#include <heddle/core/thread_pool.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0::linalg::onednn {

namespace detail {

using linalg::detail::operations_per_thread;

inline void check(dnnl_status_t status, const char* call) {
  if (status == dnnl_success) return;
  if (status == dnnl_out_of_memory) {
    raise<out_of_memory>("heddle::matmul: oneDNN found no memory in ", call);
  }
  raise<state_error>("heddle::matmul: oneDNN's ", call, " failed with status ",
                     static_cast<int>(status),
                     "; its environment variable DNNL_VERBOSE=2 says why");
}

/// Gives oneDNN's OpenMP as many threads as the caller's device has, and the caller's work is
/// worth.
template <class Configuration>
class thread_limit {
 public:
  explicit thread_limit([[maybe_unused]] std::int64_t operations) noexcept {
#if defined(HEDDLE_OPENMP)
    before_ = omp_get_max_threads();
    int wanted = num_threads(
        device{device_kind::host, static_cast<std::int16_t>(heddle::detail::this_thread_device)});
    const std::int64_t useful = operations / operations_per_thread + 1;
    if (useful < wanted) wanted = static_cast<int>(useful);
    changed_ = wanted != before_;
    if (changed_) omp_set_num_threads(wanted);
#endif
  }
  ~thread_limit() {
#if defined(HEDDLE_OPENMP)
    if (changed_) omp_set_num_threads(before_);
#endif
  }
  thread_limit(const thread_limit&) = delete;
  thread_limit& operator=(const thread_limit&) = delete;

 private:
#if defined(HEDDLE_OPENMP)
  int before_ = 0;
  bool changed_ = false;
#endif
};

/// Runs `one(index)` for each product of a batch: side by side where there are threads for it,
/// otherwise one after the other with the library's own threads.
template <class Configuration, class Function>
void for_each_product(const product& p, Function one) {
  const std::int64_t count = p.batches();
#if defined(HEDDLE_OPENMP)
  // Within another parallel region OpenMP gives the library one thread.
  const std::int64_t each = p.operations() / count + 1;
  if (count > 1) {
    parallel_for(0, count, (operations_per_thread + each - 1) / each,
                 [&](std::int64_t first, std::int64_t last) {
                   const thread_limit<Configuration> limit(each);
                   for (std::int64_t i = first; i < last; ++i) one(i);
                 });
    return;
  }
#endif
  const thread_limit<Configuration> limit(p.operations());
  for (std::int64_t i = 0; i < count; ++i) one(i);
}

/// What a primitive is made for.
struct primitive_key {
  std::int64_t m, n, k;
  blas_layout a, b;

  bool operator==(const primitive_key& other) const noexcept {
    return m == other.m && n == other.n && k == other.k && same(a, other.a) && same(b, other.b);
  }

 private:
  static bool same(const blas_layout& x, const blas_layout& y) noexcept {
    return x.transposed == y.transposed && x.leading == y.leading;
  }
};

/// A product of bf16 matrices as oneDNN's primitive, with its three memory objects. Without a
/// primitive (`ready` is false) oneDNN has none for this processor.
class bf16_primitive {
 public:
  bf16_primitive() = default;
  bf16_primitive(const bf16_primitive&) = delete;
  bf16_primitive& operator=(const bf16_primitive&) = delete;
  ~bf16_primitive() { clear(); }

  bool ready() const noexcept { return primitive_ != nullptr; }

  void make(dnnl_engine_t engine, const primitive_key& key) {
    clear();
    const dnnl_dims_t shapes[3] = {{key.m, key.k}, {key.k, key.n}, {key.m, key.n}};
    const dnnl_dims_t strides[3] = {{row_stride(key.a), column_stride(key.a)},
                                    {row_stride(key.b), column_stride(key.b)},
                                    {key.n, 1}};
    dnnl_memory_desc_t described[3];
    dnnl_primitive_desc_t description = nullptr;
#if DNNL_VERSION_MAJOR >= 3
    for (int i = 0; i < 3; ++i) {
      check(
          dnnl_memory_desc_create_with_strides(&described[i], 2, shapes[i], dnnl_bf16, strides[i]),
          "memory_desc_create");
    }
    const dnnl_status_t status = dnnl_matmul_primitive_desc_create(
        &description, engine, described[0], described[1], nullptr, described[2], nullptr);
    if (status == dnnl_success) {
      for (int i = 0; i < 3; ++i) {
        check(dnnl_memory_create(&memory_[i], described[i], engine, DNNL_MEMORY_NONE),
              "memory_create");
      }
    }
    for (dnnl_memory_desc_t each : described) dnnl_memory_desc_destroy(each);
#else
    for (int i = 0; i < 3; ++i) {
      check(dnnl_memory_desc_init_by_strides(&described[i], 2, shapes[i], dnnl_bf16, strides[i]),
            "memory_desc_init");
    }
    dnnl_matmul_desc_t operation;
    check(dnnl_matmul_desc_init(&operation, &described[0], &described[1], nullptr, &described[2]),
          "matmul_desc_init");
    const dnnl_status_t status =
        dnnl_primitive_desc_create(&description, &operation, nullptr, engine, nullptr);
    if (status == dnnl_success) {
      for (int i = 0; i < 3; ++i) {
        check(dnnl_memory_create(&memory_[i], &described[i], engine, DNNL_MEMORY_NONE),
              "memory_create");
      }
    }
#endif
    if (status == dnnl_unimplemented) return;
    check(status, "primitive_desc_create");
    const dnnl_status_t made = dnnl_primitive_create(&primitive_, description);
    dnnl_primitive_desc_destroy(description);
    check(made, "primitive_create");
  }

  void run(dnnl_stream_t stream, const void* a, const void* b, void* c) const {
    check(dnnl_memory_set_data_handle(memory_[0], const_cast<void*>(a)), "memory_set_data_handle");
    check(dnnl_memory_set_data_handle(memory_[1], const_cast<void*>(b)), "memory_set_data_handle");
    check(dnnl_memory_set_data_handle(memory_[2], c), "memory_set_data_handle");
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, memory_[0]}, {DNNL_ARG_WEIGHTS, memory_[1]}, {DNNL_ARG_DST, memory_[2]}};
    check(dnnl_primitive_execute(primitive_, stream, 3, arguments), "primitive_execute");
    check(dnnl_stream_wait(stream), "stream_wait");
  }

 private:
  static std::int64_t row_stride(const blas_layout& x) noexcept {
    return x.transposed == 'N' ? x.leading : 1;
  }
  static std::int64_t column_stride(const blas_layout& x) noexcept {
    return x.transposed == 'N' ? 1 : x.leading;
  }
  void clear() noexcept {
    if (primitive_ != nullptr) dnnl_primitive_destroy(primitive_);
    primitive_ = nullptr;
    for (dnnl_memory_t& each : memory_) {
      if (each != nullptr) dnnl_memory_destroy(each);
      each = nullptr;
    }
  }

  dnnl_primitive_t primitive_ = nullptr;
  dnnl_memory_t memory_[3] = {};
};

/// One thread's engine, stream and most recent primitives.
class thread_library {
 public:
  thread_library() {
    check(dnnl_engine_create(&engine_, dnnl_cpu, 0), "engine_create");
    check(dnnl_stream_create(&stream_, engine_, dnnl_stream_default_flags), "stream_create");
  }
  thread_library(const thread_library&) = delete;
  thread_library& operator=(const thread_library&) = delete;
  ~thread_library() {
    dnnl_stream_destroy(stream_);
    dnnl_engine_destroy(engine_);
  }

  dnnl_stream_t stream() const noexcept { return stream_; }

  const bf16_primitive& find(const primitive_key& key) {
    int oldest = 0;
    for (int i = 0; i < capacity; ++i) {
      if (entries_[i].used != 0 && entries_[i].key == key) {
        entries_[i].used = ++clock_;
        return entries_[i].primitive;
      }
      if (entries_[i].used < entries_[oldest].used) oldest = i;
    }
    entry& found = entries_[oldest];
    found.used = 0;  // stays so if oneDNN refuses
    found.primitive.make(engine_, key);
    found.key = key;
    found.used = ++clock_;
    return found.primitive;
  }

 private:
  struct entry {
    std::uint64_t used = 0;
    primitive_key key{};
    bf16_primitive primitive;
  };
  static constexpr int capacity = 32;

  dnnl_engine_t engine_ = nullptr;
  dnnl_stream_t stream_ = nullptr;
  std::uint64_t clock_ = 0;
  entry entries_[capacity];
};
inline thread_library& this_thread_library() {
  static thread_local thread_library library;
  return library;
}

}  // namespace detail

/// f32. The layouts of both operands are direct.
template <class Configuration>
void multiply(const product& p, const float* a, const float* b, float* c) {
  const blas_layout left = layout_of(p.a, p.m, p.k);
  const blas_layout right = layout_of(p.b, p.k, p.n);
  detail::for_each_product<Configuration>(p, [&](std::int64_t index) {
    const batch_offsets at = offsets_of(p, index);
    detail::check(
        dnnl_sgemm(left.transposed, right.transposed, p.m, p.n, p.k, 1.0f, a + at.a, left.leading,
                   b + at.b, right.leading, 0.0f, c + index * p.m * p.n, p.n),
        "sgemm");
  });
}

/// bf16, summed in f32. The layouts of both operands are direct. False, having done nothing, where
/// oneDNN has no such product for this processor.
template <class Configuration>
bool multiply(const product& p, const bfloat16* a, const bfloat16* b, bfloat16* c) {
  const detail::primitive_key key{p.m, p.n, p.k, layout_of(p.a, p.m, p.k),
                                  layout_of(p.b, p.k, p.n)};
  if (!detail::this_thread_library().find(key).ready()) return false;
  detail::for_each_product<Configuration>(p, [&](std::int64_t index) {
    const batch_offsets at = offsets_of(p, index);
    detail::thread_library& library = detail::this_thread_library();
    library.find(key).run(library.stream(), a + at.a, b + at.b, c + index * p.m * p.n);
  });
  return true;
}

}  // namespace heddle::inline v0::linalg::onednn

#endif
