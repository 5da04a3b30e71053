// SPDX-License-Identifier: BSD-3-Clause
// matmul on the tape. With c = a b, da = g bᵀ and db = aᵀ g, summed over the batch axes along which
// the operand was broadcast. Such sums of products are closed under differentiation: one node
// serves every order.
#pragma once

#include <heddle/autograd/record.hpp>
#include <heddle/linalg/matmul.hpp>

namespace heddle::inline v0 {

namespace detail {

/// A batch of matrices in memory, of run-time rank 2 or more, with its place on the tape.
struct recorded_matrix {
  handle<storage> memory;
  std::byte* data = nullptr;
  int rank = 2;
  std::int64_t extents[max_rank] = {};
  std::int64_t strides[max_rank] = {};
  edge place;

  /// Exchanges the last two axes.
  recorded_matrix oriented(bool transposed) const {
    recorded_matrix result = *this;
    if (transposed) {
      std::swap(result.extents[rank - 2], result.extents[rank - 1]);
      std::swap(result.strides[rank - 2], result.strides[rank - 1]);
    }
    return result;
  }
  std::int64_t count() const noexcept {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extents[i];
    return n;
  }
  /// Of batch axis `axis`, counted from the matrix outwards.
  std::int64_t batch_extent(int axis) const noexcept {
    return axis < rank - 2 ? extents[rank - 3 - axis] : 1;
  }
  std::int64_t batch_stride(int axis) const noexcept {
    return axis < rank - 2 && extents[rank - 3 - axis] != 1 ? strides[rank - 3 - axis] : 0;
  }
  void lie_contiguous() noexcept {
    std::int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      strides[i] = stride;
      stride *= extents[i];
    }
  }
};

/// A part of a node's work that a product could do beside multiplying.
struct epilogue_offer {
  linalg::product_epilogue epilogue;
  std::int64_t rows = 0;  ///< of the matrix that the product has to be for it
  std::int64_t columns = 0;
  device where;

  /// Computes the product with the epilogue; false where that cannot be, and nothing has been done.
  template <class T>
  bool take(linalg::product& p, const linalg::detail::elements<const T>& a,
            const linalg::detail::elements<const T>& b, const linalg::detail::elements<T>& c,
            device on) {
    if (!on.is_cuda() || on != where || p.batch_rank != 0 || p.m != rows || p.n != columns ||
        p.k == 0) {
      return false;
    }
    constexpr auto size = static_cast<std::int64_t>(sizeof(T));
    std::int64_t bytes = (p.m * p.k + p.k * p.n + p.m * p.n) * size;
    if (epilogue.aux.memory != nullptr) {
      bytes += linalg::aux_bytes(epilogue.function, p.m, p.n, size);
    }
    linalg::product direct = p;
    return linalg::detail::launch_on_cuda<T>(direct, a, b, c, epilogue, bytes, on);
  }
};

/// The sum of products a b in `shape`, of which data and strides are not read: along a batch axis
/// where it has extent 1 products are summed, and repeated where only it is longer.
template <class T, class Configuration>
gradient sum_of_products(const recorded_matrix& a, const recorded_matrix& b,
                         const recorded_matrix& shape, device where,
                         epilogue_offer* offer = nullptr) {
  linalg::product p;
  p.m = a.extents[a.rank - 2];
  p.k = a.extents[a.rank - 1];
  p.n = b.extents[b.rank - 1];
  p.a.row = a.strides[a.rank - 2];
  p.a.column = a.strides[a.rank - 1];
  p.b.row = b.strides[b.rank - 2];
  p.b.column = b.strides[b.rank - 1];
  for (const int rank : {a.rank, b.rank, shape.rank}) {
    if (rank - 2 > p.batch_rank) p.batch_rank = rank - 2;
  }
  unsigned summed = 0;
  for (int i = 0; i < p.batch_rank; ++i) {
    const int axis = p.batch_rank - 1 - i;
    std::int64_t extent = 1;
    for (const recorded_matrix* each : {&a, &b, &shape}) {
      if (each->batch_extent(axis) != 1) extent = each->batch_extent(axis);
    }
    p.batch_extents[i] = extent;
    p.a.batch[i] = a.batch_stride(axis);
    p.b.batch[i] = b.batch_stride(axis);
    if (shape.batch_extent(axis) != extent) summed |= 1u << i;
  }
  linalg::detail::fold_summed(p, summed);
  if (summed == 0) linalg::detail::fold_batches(p);
  extents<max_rank> made = extents<max_rank>::filled(1);
  const int first = max_rank - 2 - p.batch_rank;
  for (int i = 0; i < p.batch_rank; ++i) made[first + i] = p.batch_extents[i];
  made[max_rank - 2] = p.m;
  made[max_rank - 1] = p.n;
  const tensor<T, max_rank> c = tensor<T, max_rank>::allocate(made, where);
  const std::int64_t count = a.count() + b.count() + c.size();
  if (offer != nullptr && summed == 0 &&
      offer->take<T>(p, {a.memory, reinterpret_cast<const T*>(a.data)},
                     {b.memory, reinterpret_cast<const T*>(b.data)}, {c.storage(), c.data()},
                     where)) {
    return {c.storage(), reinterpret_cast<std::byte*>(c.data()), {}, true};
  }
  linalg::detail::launch_product<T, Configuration>(
      p, {a.memory, reinterpret_cast<const T*>(a.data)},
      {b.memory, reinterpret_cast<const T*>(b.data)}, {c.storage(), c.data()},
      count * static_cast<std::int64_t>(sizeof(T)), where);
  gradient result{c.storage(), reinterpret_cast<std::byte*>(c.data()), {}};
  if (summed != 0) {
    result = exec::host::sum_to<T>(result, made, summed << first, where);
  }
  return result;
}

template <class T, class Configuration>
handle<tape_node> record_product(const recorded_matrix& a, bool a_transposed,
                                 const recorded_matrix& b, bool b_transposed,
                                 const recorded_matrix& result, device where);

/// The node of a product. Operands are kept as they lie, with whether they are read transposed, so
/// that gradients are written as their operands lie.
template <class T, class Configuration>
class product_node final : public tape_node {
  using task = linalg::product_epilogue::task;

 public:
  product_node(const recorded_matrix& a, bool a_transposed, const recorded_matrix& b,
               bool b_transposed, const recorded_matrix& result, device where)
      : operands_{a, b}, result_(result), where_(where), transposed_{a_transposed, b_transposed} {
    result_.memory.reset();
    result_.place = {};
    input_count = 2;
    output_count = 1;
    inputs = edges_;
    incoming = &incoming_;
    for (int i = 0; i < 2; ++i) {
      edges_[i] = static_cast<edge&&>(operands_[i].place);
      operands_[i].place = {};
      versions_[i] = operands_[i].memory->version();
    }
    // An operand is needed for the other one's gradient.
    if (!edges_[0].node) operands_[1].memory.reset();
    if (!edges_[1].node) operands_[0].memory.reset();
    find_order();
  }

  void run(backward_pass_state& pass) override { send(pass, false); }

  void run_recorded(backward_pass_state& pass) override { send(pass, true); }

  [[nodiscard]] bool wants_right() const noexcept { return static_cast<bool>(edges_[1].node); }
  /// Sends the right operand's gradient on before this node runs, from the result's gradient g, and
  /// lets the library sum g over all but its last axis meanwhile; false where it cannot. This
  /// node's own g is to be marked as applied.
  bool send_right_with_sums(backward_pass_state& pass, const gradient& g,
                            const linalg::product_operand& sums) {
    if (freed_) raise_freed();
    const recorded_matrix& right = operands_[1];
    epilogue_offer offer;
    offer.epilogue.what = transposed_[1] ? task::sum_of_a : task::sum_of_b;
    offer.epilogue.bias = sums;
    offer.rows = right.extents[right.rank - 2];
    offer.columns = right.extents[right.rank - 1];
    offer.where = where_;
    gradient made = gradient_of_right(given(g), false, &offer);
    const bool summed = made.applied;
    made.applied = false;
    deliver(pass, 1, static_cast<gradient&&>(made));
    return summed;
  }
  void free_saved() noexcept override {
    for (edge& each : edges_) each.node.reset();
    for (recorded_matrix& each : operands_) each.memory.reset();
    freed_ = true;
  }

 private:
  recorded_matrix saved(int i) const {
    recorded_matrix operand = operands_[i];
    if (operand.memory->version() != versions_[i]) raise_stale();
    operand.place = edges_[i];
    return operand;
  }

  void send(backward_pass_state& pass, bool record) {
    if (freed_) raise_freed();
    const recorded_matrix g = given(incoming_);
    if (edges_[0].node) {
      deliver(pass, 0, gradient_of_left(g, record, offer_of(pass, 0)));
    }
    if (edges_[1].node && !incoming_.applied) {
      deliver(pass, 1, gradient_of_right(g, record, offer_of(pass, 1)));
    }
  }

  recorded_matrix given(const gradient& g) const {
    recorded_matrix result = result_;
    result.memory = g.memory;
    result.data = g.data;
    result.place = g.source;
    return result;
  }
  /// What the gradient of operand `to` could be computed with.
  epilogue_offer* offer_of(backward_pass_state& pass, int to) const {
    return pass.may_merge(edges_[to]) ? edges_[to].node->offer(pass) : nullptr;
  }
  gradient gradient_of_left(const recorded_matrix& g, bool record, epilogue_offer* offer) const {
    const recorded_matrix b = saved(1);
    const bool tb = transposed_[1];
    return transposed_[0] ? make(b, tb, g, true, 0, record, offer)
                          : make(g, false, b, !tb, 0, record, offer);
  }
  gradient gradient_of_right(const recorded_matrix& g, bool record, epilogue_offer* offer) const {
    const recorded_matrix a = saved(0);
    const bool ta = transposed_[0];
    return transposed_[1] ? make(g, true, a, ta, 1, record, offer)
                          : make(a, !ta, g, false, 1, record, offer);
  }

  /// The gradient of operand `to` as a product.
  gradient make(const recorded_matrix& x, bool x_transposed, const recorded_matrix& y,
                bool y_transposed, int to, bool record, epilogue_offer* offer) const {
    recorded_matrix shape = operands_[to];
    gradient made = sum_of_products<T, Configuration>(
        x.oriented(x_transposed), y.oriented(y_transposed), shape, where_, offer);
    if (record && (x.place.node || y.place.node)) {
      shape.lie_contiguous();
      made.source = {
          record_product<T, Configuration>(x, x_transposed, y, y_transposed, shape, where_), 0};
    }
    return made;
  }
  void deliver(backward_pass_state& pass, int to, gradient&& made) const {
    pass.deliver<T>(edges_[to], static_cast<gradient&&>(made), operands_[to].count(), where_);
  }

  recorded_matrix operands_[2];
  recorded_matrix result_;
  edge edges_[2];
  gradient incoming_;
  device where_;
  std::uint32_t versions_[2];
  bool transposed_[2];
  bool freed_ = false;
};

template <class T, class Configuration>
handle<tape_node> record_product(const recorded_matrix& a, bool a_transposed,
                                 const recorded_matrix& b, bool b_transposed,
                                 const recorded_matrix& result, device where) {
  return make_handle<product_node<T, Configuration>>(a, a_transposed, b, b_transposed, result,
                                                     where);
}
#if defined(HEDDLE_WITH_ONEDNN) || defined(HEDDLE_PORTABLE_GEMM)
HEDDLE_ONCE(handle<tape_node> record_product<float, configuration>(const recorded_matrix&, bool,
                                                                   const recorded_matrix&, bool,
                                                                   const recorded_matrix&, device));
#endif

/// A leaf of matmul as matrices: a vector becomes a row or a column.
template <class T, int Rank>
recorded_matrix matrix_of(const tensor<T, Rank>& t, const edge& place, bool column) {
  recorded_matrix result;
  result.memory = t.storage();
  result.data = reinterpret_cast<std::byte*>(t.data());
  result.place = place;
  if constexpr (Rank == 1) {
    result.extents[column ? 0 : 1] = t.extents()[0];
    result.strides[column ? 0 : 1] = t.strides()[0];
    result.extents[column ? 1 : 0] = 1;
    result.strides[column ? 1 : 0] = 1;
  } else {
    result.rank = Rank;
    for (int i = 0; i < Rank; ++i) {
      result.extents[i] = t.extents()[i];
      result.strides[i] = t.strides()[i];
    }
  }
  return result;
}

template <class T, int Rank>
const tensor<T, Rank>& value_of(const tensor<T, Rank>& t) {
  return t;
}
template <class T, int Rank>
const tensor<T, Rank>& value_of(const variable<T, Rank>& v) {
  return v.value();
}
template <class T, int Rank>
edge place_of(const tensor<T, Rank>&) {
  return {};
}
template <class T, int Rank>
edge place_of(const variable<T, Rank>& v) {
  return v.place();
}

/// The place of a product on the tape; none where nothing records it.
template <class Configuration, bool TransposedA, bool TransposedB, class A, class B>
edge product_place(const A& a, const B& b) {
  using T = typename A::value_type;
  const edge a_place = place_of(a);
  const edge b_place = place_of(b);
  if (!recording || !(a_place.node || b_place.node)) return {};
  const recorded_matrix left = matrix_of(value_of(a), a_place, false);
  const recorded_matrix right = matrix_of(value_of(b), b_place, true);
  // The result with the axes that vectors lack: broadcast batch axes, rows, columns.
  recorded_matrix result;
  result.rank = left.rank > right.rank ? left.rank : right.rank;
  for (int axis = 0; axis < result.rank - 2; ++axis) {
    const std::int64_t extent = left.batch_extent(axis);
    result.extents[result.rank - 3 - axis] = extent != 1 ? extent : right.batch_extent(axis);
  }
  result.extents[result.rank - 2] = left.extents[left.rank - (TransposedA ? 1 : 2)];
  result.extents[result.rank - 1] = right.extents[right.rank - (TransposedB ? 2 : 1)];
  result.lie_contiguous();
  return {record_product<T, Configuration>(left, TransposedA, right, TransposedB, result,
                                           value_of(a).device()),
          0};
}

template <class Configuration, bool TransposedA, bool TransposedB, class A, class B>
auto recorded_matmul(const A& a, const B& b) {
  using T = typename A::value_type;
  constexpr int rank = linalg::detail::result_rank(A::rank, B::rank);
  return variable<T, rank>(linalg::detail::multiply_tensors<Configuration>(
                               linalg::detail::oriented<TransposedA>(value_of(a)),
                               linalg::detail::oriented<TransposedB>(value_of(b))),
                           product_place<Configuration, TransposedA, TransposedB>(a, b));
}

}  // namespace detail
}  // namespace heddle::inline v0

#include <heddle/autograd/epilogue.hpp>  // statements that hold a product
