// SPDX-License-Identifier: BSD-3-Clause
// The tensor: a shared handle to strided elements on one device.
#pragma once

#include <initializer_list>
#include <type_traits>
#include <utility>

#include <heddle/core/device.hpp>
#include <heddle/core/dtype.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/core/site.hpp>
#include <heddle/tensor/concept.hpp>
#include <heddle/tensor/copy.hpp>
#include <heddle/tensor/indexing.hpp>
#include <heddle/tensor/iterator.hpp>

namespace heddle::inline v0 {

template <class T, int Rank>
class indexed_view;

namespace detail {

template <class Value, int Rank>
struct nested_list {
  using type = std::initializer_list<typename nested_list<Value, Rank - 1>::type>;
};
template <class Value>
struct nested_list<Value, 0> {
  using type = Value;
};

// Values of nested lists in row-major order. Throws shape_error where rows differ in length.
template <class T, int Rank, class List>
void read_extents(const List& list, std::int64_t* extents) {
  if constexpr (Rank > 0) {
    *extents = static_cast<std::int64_t>(list.size());
    if (list.size() > 0) read_extents<T, Rank - 1>(*list.begin(), extents + 1);
  }
}
template <class T, int Rank, class List>
void read_values(const List& list, const std::int64_t* extents, T*& place) {
  if constexpr (Rank == 0) {
    if (place != nullptr) *place++ = static_cast<T>(list);
  } else {
    if (static_cast<std::int64_t>(list.size()) != *extents) {
      raise<shape_error>("heddle::tensor: the lists of one axis differ in length: ", list.size(),
                         " values where the first has ", *extents, "; give all the same");
    }
    for (const auto& each : list) read_values<T, Rank - 1>(each, extents + 1, place);
  }
}

// Expressions that are evaluated where a tensor of type Tensor is made of them.
template <class E, class Tensor>
concept expression_other_than = !std::is_base_of_v<Tensor, E> && expression<E>;

template <class Range>
concept sized_range = !expression<Range> && requires(const Range& range) {
  typename Range::value_type;
  range.begin();
  range.size();
};

}  // namespace detail

/// A shared handle to elements of type T, laid out by extents and strides in a storage on one
/// device. Copies share the elements, as do views; `clone` copies them. A tensor made by default is
/// undefined.
///
/// As with any handle, const says that the handle stays the same, not the elements. Access to
/// single elements is for the host: it waits for the queue of `cpu(i)`, and writing that way leaves
/// the version counter alone (`fill_`, `+=` and `assign` count).
template <class T, int Rank>
class tensor {
  static_assert(element<T>,
                "heddle::tensor: no dtype holds this type; the element types are double, float, "
                "bfloat16, float16, std::int64_t, std::int32_t, std::uint8_t and bool");
  static_assert(Rank >= 0 && Rank <= max_rank,
                "heddle::tensor: the rank is outside of 0 to 8, the largest that heddle supports");

 public:
  using expression_tag = void;
  using value_type = T;
  /// What lists of values hold: T, and float for the 16-bit types.
  using list_value = compute_type<T>;
  using iterator = element_iterator<T, Rank>;
  static constexpr int rank = Rank;
  static constexpr dtype type = dtype_of<T>;

  /// An undefined tensor: no storage, extents of 0.
  tensor() = default;

  /// A view of `storage` that begins at `data`, which lies in it. Nothing is checked.
  tensor(handle<heddle::storage> storage, T* data, const heddle::extents<Rank>& extents,
         const heddle::strides<Rank>& strides) noexcept
      : storage_(std::move(storage)), data_(data), extents_(extents), strides_(strides) {}

  /// Contiguous elements that are not initialised; see `empty`.
  /// Throws shape_error for negative extents, out_of_memory.
  static tensor allocate(const heddle::extents<Rank>& extents, heddle::device where) {
    const std::int64_t bytes =
        checked_multiply(checked_element_count(extents), static_cast<std::int64_t>(sizeof(T)));
    handle<heddle::storage> made =
        heddle::storage::allocate(static_cast<std::size_t>(bytes), where);
    T* const data = reinterpret_cast<T*>(made->data());
    return tensor(std::move(made), data, extents, contiguous_strides(extents));
  }

  /// Nested lists of values: `tensor<float, 2> x{{1, 2}, {3, 4}}`; of rank 0, the value.
  /// Throws shape_error where rows differ in length.
  explicit(Rank == 0) tensor(typename detail::nested_list<list_value, Rank>::type values,
                             heddle::device where = cpu()) {
    heddle::extents<Rank> extents;
    detail::read_extents<T, Rank>(values, extents.data());
    *this = allocate(extents, where);
    T* place = data_;
    detail::read_values<T, Rank>(values, extents_.data(), place);
  }

  /// The elements of a std::vector, std::array or span, copied.
  template <detail::sized_range Range>
  explicit tensor(const Range& values, heddle::device where = cpu())
      : tensor(values, {static_cast<std::int64_t>(values.size())}, where) {
    static_assert(Rank == 1, "heddle::tensor: a range makes a tensor of rank 1; give extents");
  }

  /// The elements of a range in row-major order, copied.
  /// Throws shape_error where their number is not that of the extents.
  template <detail::sized_range Range>
  tensor(const Range& values, const heddle::extents<Rank>& extents, heddle::device where = cpu()) {
    using value = typename Range::value_type;
    static_assert(std::is_same_v<value, T> || std::is_same_v<value, list_value>,
                  "heddle::tensor: the values of the range are of another type than the tensor's; "
                  "make a tensor of theirs, then cast");
    *this = allocate(extents, where);
    if (static_cast<std::int64_t>(values.size()) != size()) {
      raise<shape_error>("heddle::tensor: the number of values does not fit the extents: ",
                         values.size(), " for ", extents, "; ", size(), " are expected");
    }
    if (T* place = data_) {
      for (const auto& each : values) *place++ = static_cast<T>(each);
    }
  }

  /// Evaluates an expression of the same rank and dtype. Errors name the file and line.
  template <class E, class Configuration = configuration>
  requires detail::expression_other_than<E, tensor> tensor(const E& e,
                                                           const char* file = __builtin_FILE(),
                                                           int line = __builtin_LINE()) {
    static_assert(E::rank == Rank,
                  "heddle::tensor: the expression's rank is not the tensor's; "
                  "write tensor<T, rank of the expression>");
    static_assert(E::type == type,
                  "heddle::tensor: the expression's dtype is not the tensor's; write cast<T>(x)");
    if constexpr (E::rank == Rank && E::type == type) {
      const detail::statement_scope here(file, line);
      *this = detail::evaluate_expression<Configuration>(e);
    }
  }

  /// Whether there is a storage; false of a tensor made by default or moved from.
  [[nodiscard]] bool defined() const noexcept { return static_cast<bool>(storage_); }
  /// One per axis; 0 where undefined.
  [[nodiscard]] const heddle::extents<Rank>& extents() const noexcept { return extents_; }
  /// In elements.
  [[nodiscard]] const heddle::strides<Rank>& strides() const noexcept { return strides_; }
  /// The extent of one axis; negative ones count from the end. Throws index_error.
  [[nodiscard]] std::int64_t extent(int axis) const {
    const int found = axis < 0 ? axis + Rank : axis;
    if (found < 0 || found >= Rank) {
      raise<index_error>("heddle::extent: the tensor has no such axis: ", axis, " of rank ", Rank,
                         "; axes are -rank to rank - 1");
    }
    return extents_[found];
  }
  /// The number of elements.
  [[nodiscard]] std::int64_t size() const noexcept {
    return Rank > 0 || defined() ? element_count(extents_) : 0;
  }
  /// The first element; null on `meta()`. Memory of the tensor's device; does not wait for its
  /// queue.
  [[nodiscard]] T* data() const noexcept { return data_; }
  /// Throws state_error for an undefined tensor.
  [[nodiscard]] heddle::device device() const {
    if (!storage_) [[unlikely]] {
      raise<state_error>(
          "heddle::device: the tensor is undefined; assign one that has elements first");
    }
    return storage_->device();
  }
  /// What holds the elements, shared with all views of them; null where undefined.
  [[nodiscard]] const handle<heddle::storage>& storage() const noexcept { return storage_; }
  /// Whether the elements lie in row-major order without gaps; axes of extent 1 do not count.
  [[nodiscard]] bool is_contiguous() const noexcept {
    return heddle::is_contiguous(extents_, strides_);
  }
  /// How often the storage was written in place; 0 for an undefined tensor.
  [[nodiscard]] std::uint32_t version() const noexcept {
    return storage_ ? storage_->version() : 0;
  }

  /// With Rank integers: the element, on the host. Negative indices count from the end.
  /// With slices, `all`, or fewer indices than axes: a view, `x(slice(1, 3), all, 0)`, that may be
  /// assigned to, `x(0) = e`. Throws index_error; element access also device_error.
  template <class... Indices>
  decltype(auto) operator()(Indices... indices) const {
    static_assert(((detail::is_position<Indices> || detail::is_range<Indices>)&&...),
                  "heddle::tensor: an index is not an integer, a slice or all");
    static_assert(sizeof...(Indices) <= Rank, "heddle::tensor: there are more indices than axes");
    if constexpr (sizeof...(Indices) == Rank && (detail::is_position<Indices> && ...)) {
      detail::make_readable(storage_.get(), "tensor");
      [[maybe_unused]] int axis = 0;
      std::int64_t offset = 0;
      ((offset += detail::checked_index("tensor", static_cast<std::int64_t>(indices), axis,
                                        extents_.data(), Rank) *
                  strides_[axis],
        ++axis),
       ...);
      return static_cast<T&>(data_[offset]);
    } else {
      return view_of(indices...);
    }
  }

  /// The only element, from any device that has elements. Throws shape_error where there are more
  /// or none, device_error on meta().
  [[nodiscard]] T item() const {
    if (storage_ && storage_->device().is_cuda()) return to(cpu()).item();
    detail::make_readable(storage_.get(), "item");
    if (size() != 1) {
      raise<shape_error>("heddle::item: the tensor does not hold one element: ", extents_,
                         "; select one, or reduce it first");
    }
    return *data_;
  }

  /// All elements in row-major order, on the host. Throws device_error off it.
  [[nodiscard]] iterator begin() const {
    detail::make_readable(storage_.get(), "begin");
    return iterator(data_, extents_, strides_, 0);
  }
  [[nodiscard]] iterator end() const noexcept {
    return iterator(nullptr, extents_, strides_, size());
  }

  /// A contiguous copy of the elements.
  [[nodiscard]] tensor clone() const { return copied_to(device()); }
  /// This tensor where it is contiguous, otherwise a copy that is.
  [[nodiscard]] tensor contiguous() const { return is_contiguous() ? *this : clone(); }
  /// This tensor where it is on that device, otherwise a contiguous copy there. The copy is queued
  /// on this device's stream, and the other's waits for it. To `meta()`: the extents.
  [[nodiscard]] tensor to(heddle::device where) const {
    const heddle::device from = device();
    if (where == from) return *this;
    if (from.is_meta()) {
      raise<device_error>("heddle::to: a tensor on meta has no elements to copy to ", where,
                          "; make it there");
    }
    return copied_to(where);
  }
  /// An expression: the elements converted to U.
  template <class U>
  [[nodiscard]] auto to() const {
    return cast<U>(*this);
  }

  /// The last two axes exchanged; a view.
  [[nodiscard]] tensor transpose() const {
    static_assert(Rank >= 2, "heddle::transpose: the tensor has fewer than two axes");
    tensor result = *this;
    std::swap(result.extents_[Rank - 2], result.extents_[Rank - 1]);
    std::swap(result.strides_[Rank - 2], result.strides_[Rank - 1]);
    return result;
  }
  /// The indices begin, begin + step, … below end of one axis; a view. As Python's slices, negative
  /// indices count from the end and both are cut to the extent. Throws index_error for a step
  /// below 1.
  template <int Axis>
  [[nodiscard]] tensor slice(std::int64_t begin, std::int64_t end, std::int64_t step = 1) const {
    constexpr int axis = detail::checked_axis<Axis, Rank>();
    const detail::resolved_slice found =
        detail::resolve(heddle::slice(begin, end, step), extents_[axis]);
    tensor result = *this;
    result.extents_[axis] = found.count;
    if (found.count > 0) result.advance(found.begin * strides_[axis]);
    if (found.count > 1) result.strides_[axis] *= step;
    return result;
  }

  /// Writes one value to all elements, in place.
  tensor& fill_(list_value value) {
    require_writable("fill_");
    const T element = static_cast<T>(value);
    storage_->bump_version();
    detail::fill_elements({storage_, data_, strides_.data()}, &element, extents_.data(), Rank,
                          sizeof(T));
    return *this;
  }
  /// `fill_(0)`.
  tensor& zero_() { return fill_(list_value(0)); }

  /// In place, into the storage that views share: `x += e` is `assign(x, x + e)`.
  template <class E, class Configuration = configuration>
  tensor& operator+=(const E& e) {
    detail::assign_expression<Configuration>(*this, *this + e);
    return *this;
  }
  template <class E, class Configuration = configuration>
  tensor& operator-=(const E& e) {
    detail::assign_expression<Configuration>(*this, *this - e);
    return *this;
  }
  template <class E, class Configuration = configuration>
  tensor& operator*=(const E& e) {
    detail::assign_expression<Configuration>(*this, *this * e);
    return *this;
  }
  template <class E, class Configuration = configuration>
  tensor& operator/=(const E& e) {
    detail::assign_expression<Configuration>(*this, *this / e);
    return *this;
  }

 private:
  void advance(std::int64_t elements) noexcept {
    if (data_ != nullptr) data_ += elements;
  }

  void require_writable(const char* function) const {
    static_cast<void>(device());
    if (detail::repeats_elements(extents_.data(), strides_.data(), Rank)) {
      raise<shape_error>("heddle::", function, ": several indices name one element: strides ",
                         strides_, " of ", extents_, "; write into a clone");
    }
  }

  tensor copied_to(heddle::device where) const {
    tensor result = allocate(extents_, where);
    detail::copy_elements({result.storage_, result.data_, result.strides_.data()},
                          {storage_, data_, strides_.data()}, extents_.data(), Rank, sizeof(T));
    return result;
  }

  template <class... Indices>
  auto view_of(Indices... indices) const {
    constexpr int kept = Rank - (0 + ... + static_cast<int>(detail::is_position<Indices>));
    index_array<kept> kept_extents, kept_strides;
    detail::view_builder view{extents_.data(), strides_.data(), Rank, kept_extents.data(),
                              kept_strides.data()};
    (view.apply(indices), ...);
    while (view.axis < Rank) view.apply(all_indices{});
    T* const data = data_ == nullptr ? nullptr : data_ + view.offset;
    return indexed_view<T, kept>(tensor<T, kept>(storage_, data, kept_extents, kept_strides));
  }

  handle<heddle::storage> storage_;
  T* data_ = nullptr;
  heddle::extents<Rank> extents_;
  heddle::strides<Rank> strides_;
};

/// What indexing yields: a tensor that shares the elements, and writes them when it is assigned to
/// at once: `x(slice(0, 2), all) = e`, `x(0) = 1.f`. Kept in a variable it is a tensor like any
/// other that cannot be assigned to: write `assign(view, e)`.
template <class T, int Rank>
class indexed_view : public tensor<T, Rank> {
 public:
  explicit indexed_view(tensor<T, Rank> viewed) noexcept : tensor<T, Rank>(std::move(viewed)) {}
  indexed_view(const indexed_view&) = default;

  /// Evaluates an expression, broadcast to the view's extents, into its elements; or fills them
  /// with one value.
  template <class E, class Configuration = configuration>
  const indexed_view& operator=(const E& e) && {
    if constexpr (expression<E>) {
      const tensor<T, Rank>& destination = *this;
      detail::assign_expression<Configuration>(destination, e);
    } else {
      static_assert(std::is_convertible_v<const E&, compute_type<T>>,
                    "heddle::tensor: what is assigned to a view is no expression and no value");
      this->fill_(static_cast<compute_type<T>>(e));
    }
    return *this;
  }
  const indexed_view& operator=(const indexed_view& other) && {
    const tensor<T, Rank>& source = other;
    return std::move(*this) = source;
  }
  template <class E>
  void operator=(const E& e) & = delete;  // write assign(view, e)
  void operator=(const indexed_view& other) & = delete;
};

/// `tensor h = matmul(a, b);` names neither dtype nor rank.
template <class E>
requires expression<E> tensor(const E&)
->tensor<type_of<E::type>, E::rank>;

}  // namespace heddle::inline v0
