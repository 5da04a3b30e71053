// SPDX-License-Identifier: BSD-3-Clause
// The interpreter: executes a graph at run time, node by node, each value held in memory.
//
// It computes what the compiled nests compute: 16-bit floats in f32, rounded where a cast node or a
// store says so and nowhere else; integers wrapping; comparisons with a NaN false; extrema keeping
// a NaN. All values stand before the first store is made, so an output may share an operand's
// memory.
#pragma once

#include <initializer_list>

#include <heddle/core/memory.hpp>
#include <heddle/exec/add_elements.hpp>
#include <heddle/exec/interpret/loops.hpp>
#include <heddle/exec/interpret/walk.hpp>
#include <heddle/exec/launch.hpp>
#include <heddle/exec/random.hpp>

namespace heddle::inline v0::exec {

namespace detail {

template <class Configuration>
class interpreter {
 public:
  interpreter(const graph::graph& g, const launch& l)
      : g_(g), l_(l), values_(g.size()), memory_(g.size()), last_use_(g.size(), 0) {}

  void run() {
    find_last_uses();
    const std::size_t count = g_.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (last_use_[i] == 0 || graph_root(i)) continue;
      evaluate(i);
      for (int k = 0; k < graph::operands_of(g_[i]); ++k) {
        const std::uint16_t x = graph::operand(g_[i], k);
        if (last_use_[x] == i) memory_[x] = handle<storage>();
      }
    }
    // what accumulates adds to what the others have written
    for (const bool accumulates : {false, true}) {
      for (std::size_t i = 0; i < count; ++i) {
        if (!graph_root(i)) continue;
        const bool stores = g_[i].code == op::store;
        if (l_.outputs[stores ? g_[i].b : g_[i].c].accumulates != accumulates) continue;
        stores ? store(g_[i]) : scatter_add(g_[i]);
      }
    }
  }

 private:
  using node = graph::node;
  using kernels = loops<Configuration>;
  static constexpr std::int64_t block = 256;

  bool graph_root(std::size_t id) const { return is_root(g_[id].code); }
  static constexpr bool in_row(const std::int64_t stride) { return stride != 0; }
  value_class class_at(std::uint16_t id) const { return class_of(g_[id].type); }
  const std::byte* value(std::uint16_t id) const { return values_[id]; }
  axis_strides strides_at(std::uint16_t id) const { return row_major(g_[id].varies, l_.extents); }

  /// 0: never used. What roots use lives to the end.
  void find_last_uses() {
    const std::size_t end = g_.size();
    for (std::size_t i = end; i-- > 0;) {
      const bool root = graph_root(i);
      if (!root && last_use_[i] == 0) continue;
      for (int k = 0; k < graph::operands_of(g_[i]); ++k) {
        std::size_t& use = last_use_[graph::operand(g_[i], k)];
        if (root) {
          use = end;
        } else if (use < i) {
          use = i;
        }
      }
    }
  }

  std::byte* allocate(std::size_t id, value_class c, std::int64_t count) {
    memory_[id] = storage::allocate(static_cast<std::size_t>(count * size_of(c)));
    std::byte* data = static_cast<std::byte*>(memory_[id]->data());
    values_[id] = data;
    return data;
  }

  void evaluate(std::size_t id) {
    const node& n = g_[id];
    if (n.code == op::input && reads_in_place(id)) return;
    const std::int64_t count = elements_along(n.varies, l_.extents);
    std::byte* out = allocate(id, class_of(n.type), count);
    switch (n.code) {
      case op::input:
        return input(n, out);
      case op::argument: {
        const scalar_bits bits = l_.scalars[n.a];
        return n.extra == 1 ? scalar(out, n.type, bits.integral)
                            : scalar(out, n.type, bits.floating);
      }
      case op::constant:
        if (is_floating(n.type)) {
          // not rounded to 16 bits: a value is rounded where it is stored
          const dtype wide = compute_dtype(n.type);
          return scalar(out, wide, std::bit_cast<double>(n.extra));
        }
        return scalar(out, n.type, static_cast<std::int64_t>(n.extra));
      case op::count:
        return scalar(out, compute_dtype(n.type),
                      elements_along(static_cast<graph::axis_mask>(n.extra), l_.extents));
      case op::iota:
        for (std::int64_t i = 0; i < count; ++i) {
          kernels::find_convert(value_class::i64, compute_dtype(n.type))(
              out + i * size_of(class_of(n.type)), &i, 1);
        }
        return;
      case op::random_uniform:
      case op::random_normal:
        return n.type == dtype::f64 ? random<double>(n, out) : random<float>(n, out);
      case op::gather:
        return gather(n, out);
      case op::cast:
        return kernels::find_convert(class_at(n.a), n.type)(out, value(n.a), count);
      case op::sum:
      case op::amax:
      case op::amin:
        switch (class_of(n.type)) {
          case value_class::f64:
            return reduce<double>(n, out, count);
          case value_class::f32:
            return reduce<float>(n, out, count);
          default:
            return reduce<std::int64_t>(n, out, count);
        }
      default:
        return elementwise(n, out, count);
    }
  }

  template <class T>
  void scalar(std::byte* out, dtype type, T x) {
    constexpr value_class from = std::is_same_v<T, double> ? value_class::f64 : value_class::i64;
    kernels::find_convert(from, compute_dtype(type))(out, &x, 1);
  }

  /// An operand that already lies in memory as its value would is not copied, unless a store takes
  /// it as it is: another output might overwrite it first.
  bool reads_in_place(std::size_t id) {
    const node& n = g_[id];
    if (last_use_[id] == g_.size()) return false;
    if (n.type != dtype::f64 && n.type != dtype::f32 && n.type != dtype::i64) return false;
    const operand& o = l_.inputs[n.a];
    const axis_strides wanted = row_major(n.varies, l_.extents);
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((n.varies >> axis & 1) == 0 || l_.extents[axis] == 1) continue;
      const auto map = static_cast<graph::axis_map>(n.extra);
      if (stride_along(o, map, axis) != wanted.along[axis]) return false;
    }
    values_[id] = o.data;
    return true;
  }

  static axis_strides operand_strides(const operand& o, graph::axis_map map) {
    axis_strides strides;
    for (int i = 0; i < graph::max_axes; ++i) {
      if (const unsigned axis = graph::map_axis(map, i); axis < graph::max_axes) {
        strides.along[axis] = o.strides[i];
      }
    }
    return strides;
  }

  void input(const node& n, std::byte* out) {
    const operand& o = l_.inputs[n.a];
    const axis_strides strides[] = {row_major(n.varies, l_.extents),
                                    operand_strides(o, static_cast<graph::axis_map>(n.extra))};
    const walk rows(n.varies, l_.extents, strides, 2);
    const load_loop load = kernels::find_load(n.type);
    const auto size = static_cast<std::int64_t>(heddle::size_of(n.type));
    const std::int64_t width = size_of(class_of(n.type));
    rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
      load(out + at[0] * width, o.data + at[1] * size, rows.row_strides[1], count);
    });
  }

  std::int64_t integer_at(std::uint16_t id, std::int64_t offset) const {
    return reinterpret_cast<const std::int64_t*>(value(id))[offset];
  }

  /// The index that gather and scatter_add read, checked.
  std::int64_t index_at(std::uint16_t id, std::int64_t offset, const operand& o,
                        const char* function) const {
    const std::int64_t index = integer_at(id, offset);
    if (index < 0 || index >= o.indexed_extent) {
      raise<index_error>("heddle::", function, ": an index is out of range: it is ", index,
                         "; the indexed axis has extent ", o.indexed_extent);
    }
    return index;
  }

  void gather(const node& n, std::byte* out) {
    const auto map = static_cast<graph::axis_map>(n.extra);
    const operand& o = l_.inputs[n.b];
    const axis_strides strides[] = {row_major(n.varies, l_.extents), operand_strides(o, map),
                                    strides_at(n.a)};
    const walk rows(n.varies, l_.extents, strides, 3);
    const load_loop load = kernels::find_load(n.type);
    const auto size = static_cast<std::int64_t>(heddle::size_of(n.type));
    const std::int64_t width = size_of(class_of(n.type));
    const std::int64_t step = indexed_stride(o, map);
    rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
      const bool one_index = rows.row_strides[2] == 0;
      const std::int64_t length = one_index ? count : 1;
      for (std::int64_t i = 0; i < count; i += length) {
        const std::int64_t index = index_at(n.a, at[2] + i * rows.row_strides[2], o, "take");
        load(out + (at[0] + i) * width,
             o.data + (at[1] + i * rows.row_strides[1] + index * step) * size, rows.row_strides[1],
             length);
      }
    });
  }

  template <class T>
  void random(const node& n, std::byte* out) {
    const auto map = static_cast<graph::axis_map>(n.extra);
    const auto seed = static_cast<std::uint64_t>(integer_at(n.a, 0));
    const auto offset = static_cast<std::uint64_t>(integer_at(n.b, 0));
    axis_strides elements;
    axis_strides samples;
    std::int64_t step = 1;
    for (int i = graph::max_axes - 1; i > 0; --i) {
      const unsigned axis = graph::map_axis(map, i);
      if (axis >= graph::max_axes) continue;
      elements.along[axis] = step;
      step *= l_.extents[axis];
    }
    if (const unsigned first = graph::map_axis(map, 0); first < graph::max_axes) {
      samples.along[first] = 1;
    }
    const axis_strides strides[] = {row_major(n.varies, l_.extents), elements, samples};
    const walk rows(n.varies, l_.extents, strides, 3);
    const bool normal = n.code == op::random_normal;
    rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
      T* y = reinterpret_cast<T*>(out) + at[0];
      for (std::int64_t i = 0; i < count; ++i) {
        const auto element = static_cast<std::uint64_t>(at[1] + i * rows.row_strides[1]);
        const std::uint64_t sample =
            static_cast<std::uint64_t>(at[2] + i * rows.row_strides[2]) + offset;
        y[i] = normal ? random_normal<T>(seed, element, sample)
                      : random_uniform<T>(seed, element, sample);
      }
    });
  }

  /// Sums of floats are gathered in double.
  template <class T>
  void reduce(const node& n, std::byte* out, std::int64_t count) {
    using sum_type = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
    const auto removed = static_cast<graph::axis_mask>(n.extra);
    const graph::axis_mask along = g_[n.a].varies;
    const T* x = reinterpret_cast<const T*>(value(n.a));
    T* y = reinterpret_cast<T*>(out);
    const axis_strides strides[] = {row_major(n.varies, l_.extents), strides_at(n.a)};
    const walk rows(along, l_.extents, strides, 2);
    if (n.code == op::sum) {
      const std::int64_t repeats =
          elements_along(static_cast<graph::axis_mask>(removed & ~along), l_.extents);
      const handle<storage> memory =
          storage::allocate(static_cast<std::size_t>(count) * sizeof(sum_type));
      auto* sums = reinterpret_cast<sum_type*>(memory->data());
      // a sum over no axes is its operand, of the same sign where it is zero
      const sum_type start = static_cast<sum_type>(removed == 0 ? -0.0 : 0.0);
      for (std::int64_t i = 0; i < count; ++i) sums[i] = start;
      rows.for_each_row([&](const std::int64_t* at, std::int64_t length) {
        const T* from = x + at[1];
        sum_type* to = sums + at[0];
        if (in_row(rows.row_strides[0])) {
          for (std::int64_t i = 0; i < length; ++i) {
            to[i * rows.row_strides[0]] += static_cast<sum_type>(from[i]);
          }
        } else {
          sum_type total = *to;
          for (std::int64_t i = 0; i < length; ++i) total += static_cast<sum_type>(from[i]);
          *to = total;
        }
      });
      for (std::int64_t i = 0; i < count; ++i) {
        y[i] = static_cast<T>(repeats == 0 ? 0 : sums[i] * static_cast<sum_type>(repeats));
      }
      if constexpr (std::is_integral_v<T>) wrap(n.type, out, count);
      return;
    }
    const bool largest = n.code == op::amax;
    const T identity = extremum_identity<T>(n.type, largest);
    for (std::int64_t i = 0; i < count; ++i) y[i] = identity;
    rows.for_each_row([&](const std::int64_t* at, std::int64_t length) {
      const T* from = x + at[1];
      T* to = y + at[0];
      for (std::int64_t i = 0; i < length; ++i) {
        T& best = to[i * rows.row_strides[0]];
        const T v = from[i];
        best = (largest ? v > best : v < best) || v != v ? v : best;
      }
    });
  }

  template <class T>
  static T extremum_identity(dtype type, bool largest) {
    if (type == dtype::i64) return static_cast<T>(largest ? INT64_MIN : INT64_MAX);
    if (!is_floating(type)) return static_cast<T>(largest ? lowest_of(type) : max_of(type));
    return static_cast<T>(largest ? -infinity_of(type) : infinity_of(type));
  }

  void wrap(dtype type, std::byte* out, std::int64_t count) {
    if (type != dtype::i32 && type != dtype::u8) return;
    kernels::find_convert(value_class::i64, type)(out, out, count);
  }

  void elementwise(const node& n, std::byte* out, std::int64_t count) {
    const graph::op_info& info = graph::find_info(n.code, g_.user_ops);
    axis_strides strides[4];
    strides[0] = row_major(n.varies, l_.extents);
    for (int k = 0; k < info.arity; ++k) strides[k + 1] = strides_at(graph::operand(n, k));
    const walk rows(n.varies, l_.extents, strides, info.arity + 1);
    const element_loop loop =
        n.code >= op::user
            ? nullptr
            : kernels::find_element(n.code, info.rule == graph::result_rule::selection
                                                ? class_of(n.type)
                                                : class_at(n.a));
    if (loop == nullptr && n.code < op::user) {
      raise<type_error>("heddle::interpret: ", info.name, " has operands of dtype ", g_[n.a].type,
                        "; it takes ",
                        info.rule == graph::result_rule::floating ? "floating ones" : "bool");
    }
    const std::int64_t width = size_of(class_of(n.type));
    // an operand that is constant along the row is repeated over a block
    alignas(64) std::byte repeated[3][block * 8];
    rows.for_each_row([&](const std::int64_t* at, std::int64_t length) {
      const void* from[3] = {};
      std::int64_t steps[3] = {};
      for (int k = 0; k < info.arity; ++k) {
        const std::uint16_t x = graph::operand(n, k);
        const std::int64_t size = size_of(class_at(x));
        from[k] = value(x) + at[k + 1] * size;
        steps[k] = size;
        if (length > 1 && rows.row_strides[k + 1] == 0) {
          repeat(repeated[k], from[k], size, length < block ? length : block);
          from[k] = repeated[k];
          steps[k] = 0;
        }
      }
      for (std::int64_t i = 0; i < length; i += block) {
        const std::int64_t size = length - i < block ? length - i : block;
        const void* here[3] = {};
        for (int k = 0; k < info.arity; ++k) {
          here[k] = static_cast<const std::byte*>(from[k]) + i * steps[k];
        }
        std::byte* to = out + (at[0] + i) * width;
        if (loop != nullptr) {
          loop(to, here, size);
        } else {
          user_op(info, n, to, here, size);
        }
      }
    });
    wrap(n.type, out, count);
  }

  static void repeat(std::byte* to, const void* from, std::int64_t size, std::int64_t count) {
    if (size == 4) {
      const float x = *static_cast<const float*>(from);
      for (std::int64_t i = 0; i < count; ++i) reinterpret_cast<float*>(to)[i] = x;
    } else {
      const double x = *static_cast<const double*>(from);
      for (std::int64_t i = 0; i < count; ++i) reinterpret_cast<double*>(to)[i] = x;
    }
  }

  void user_op(const graph::op_info& info, const node& n, std::byte* to, const void* const* from,
               std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      double x[3] = {};
      for (int k = 0; k < info.arity; ++k) {
        const value_class c = class_at(graph::operand(n, k));
        const auto* at = static_cast<const std::byte*>(from[k]) + i * size_of(c);
        kernels::find_convert(c, dtype::f64)(&x[k], at, 1);
      }
      const double y = info.value(x);
      kernels::find_convert(value_class::f64, compute_dtype(n.type))(
          to + i * size_of(class_of(n.type)), &y, 1);
    }
  }

  void store(const node& n) {
    const auto map = static_cast<graph::axis_map>(n.extra);
    const operand& o = l_.outputs[n.b];
    const axis_strides strides[] = {operand_strides(o, map), strides_at(n.a)};
    const walk rows(n.varies, l_.extents, strides, 2);
    const value_class from = class_at(n.a);
    const store_loop write = kernels::find_store(from, n.type);
    const auto size = static_cast<std::int64_t>(heddle::size_of(n.type));
    rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
      put(o, n.type, write, o.data + at[0] * size, rows.row_strides[0],
          value(n.a) + at[1] * size_of(from), rows.row_strides[1], count, size_of(from));
    });
  }

  /// Writes a row of an output, or adds it to what is there. from_size is in bytes.
  static void put(const operand& o, dtype type, store_loop write, std::byte* to,
                  std::int64_t to_stride, const std::byte* from, std::int64_t from_stride,
                  std::int64_t count, std::int64_t from_size) {
    if (!o.accumulates) return write(to, to_stride, from, from_stride, count);
    const auto size = static_cast<std::int64_t>(heddle::size_of(type));
    alignas(64) std::byte staged[block * 8];
    for (std::int64_t i = 0; i < count; i += block) {
      const std::int64_t now = count - i < block ? count - i : block;
      write(staged, 1, from + i * from_stride * from_size, from_stride, now);
      add_elements(to + i * to_stride * size, to_stride, staged, now, type);
    }
  }

  /// The output is the sum over the domain, gathered in double or int64 and converted once.
  void scatter_add(const node& n) {
    switch (class_at(n.a)) {
      case value_class::f64:
        return scatter_values<double, double>(n);
      case value_class::f32:
        return scatter_values<float, double>(n);
      default:
        return scatter_values<std::int64_t, std::int64_t>(n);
    }
  }

  template <class T, class Sum>
  void scatter_values(const node& n) {
    const auto map = static_cast<graph::axis_map>(n.extra);
    const operand& o = l_.outputs[n.c];
    // the output's own elements, row-major; the indexed axis is the slowest
    const graph::axis_mask kept = graph::mask_of(map);
    const std::int64_t slice = elements_along(kept, l_.extents);
    const std::int64_t total = slice * o.indexed_extent;
    const handle<storage> memory = storage::allocate(static_cast<std::size_t>(total) * sizeof(Sum));
    Sum* sums = reinterpret_cast<Sum*>(memory->data());
    for (std::int64_t i = 0; i < total; ++i) sums[i] = 0;
    const auto domain = static_cast<graph::axis_mask>(kept | g_[n.a].varies | g_[n.b].varies);
    const axis_strides strides[] = {row_major(kept, l_.extents), strides_at(n.a), strides_at(n.b)};
    const walk rows(domain, l_.extents, strides, 3);
    const T* x = reinterpret_cast<const T*>(value(n.a));
    rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t index = index_at(n.b, at[2] + i * rows.row_strides[2], o, "scatter_add");
        Sum& sum = sums[index * slice + at[0] + i * rows.row_strides[0]];
        sum = add(sum, static_cast<Sum>(x[at[1] + i * rows.row_strides[1]]));
      }
    });
    const axis_strides out_strides[] = {operand_strides(o, map), row_major(kept, l_.extents)};
    const walk out_rows(kept, l_.extents, out_strides, 2);
    const store_loop write =
        kernels::find_store(std::is_integral_v<Sum> ? value_class::i64 : value_class::f64, n.type);
    const auto size = static_cast<std::int64_t>(heddle::size_of(n.type));
    const std::int64_t step = indexed_stride(o, map);
    for (std::int64_t index = 0; index < o.indexed_extent; ++index) {
      out_rows.for_each_row([&](const std::int64_t* at, std::int64_t count) {
        put(o, n.type, write, o.data + (at[0] + index * step) * size, out_rows.row_strides[0],
            reinterpret_cast<const std::byte*>(sums + index * slice + at[1]),
            out_rows.row_strides[1], count, sizeof(Sum));
      });
    }
  }

  static double add(double a, double b) { return a + b; }
  static std::int64_t add(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  }

  const graph::graph& g_;
  const launch& l_;
  graph::list<const std::byte*> values_;
  graph::list<handle<storage>> memory_;
  graph::list<std::size_t> last_use_;
};

}  // namespace detail

/// Executes g at run time: any dtypes, ops and strides; operands and outputs as `launch` says.
/// Throws index_error where a gather's index lies outside of its axis (negative ones too),
/// type_error where an op has operands that promotion would have converted, out_of_memory.
template <class Configuration = configuration>
void interpret(const graph::graph& g, const launch& l) {
  detail::interpreter<Configuration>(g, l).run();
}

}  // namespace heddle::inline v0::exec
