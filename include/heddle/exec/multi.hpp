// SPDX-License-Identifier: BSD-3-Clause
// One launch over many tensors: the same program over each group of a list, as an optimizer's step
// over all parameters of one dtype and device, or the norm of all gradients.
#pragma once

#include <vector>

#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/multi_group.hpp>
#include <heddle/tensor/creation.hpp>

namespace heddle::inline v0::exec {

namespace cuda {

/// Queues a program over a list on a CUDA device: cuda/launch_multi.cuh.
template <class Program, class Configuration, int Operands>
void run_multi_program(const multi_group<Operands>* groups, std::size_t count,
                       const multi_shared& shared, device where);

}  // namespace cuda

namespace detail {

template <class X, int>
struct repeated {
  using type = X;
};

/// What an argument behind the groups is in the statement: a number, or one element of a device.
template <class X>
struct multi_argument {
  using type = scalar_expression<false>;
};
template <class U>
struct multi_argument<tensor<U, 0>> {
  using type = tensor<U, 0>;
};
template <class X>
inline constexpr bool is_shared_read =
    !std::is_same_v<typename multi_argument<X>::type, scalar_expression<false>>;

/// Of a list's program: shared reads, and outputs of each group and of all of them.
template <int Reads, int Assigned, int Results>
struct list_shape {
  static constexpr int reads = Reads;
  static constexpr int assigned = Assigned;
  static constexpr int results = Results;
};

/// The statement of F over flat tensors of T and what all groups share.
template <class F, class T, class Operands, class... X>
struct multi_statement;
template <class F, class T, int... Operands, class... X>
struct multi_statement<F, T, std::integer_sequence<int, Operands...>, X...> {
  static constexpr int reads = (0 + ... + (is_shared_read<X> ? 1 : 0));
  static constexpr auto signature =
      heddle::detail::make_signature<F, typename repeated<tensor<T, 1>, Operands>::type...,
                                     typename multi_argument<X>::type...>();
  static constexpr int outputs = static_cast<int>(sizeof(signature.ranks) / sizeof(int));
  /// Of the outputs, those of the groups; the others are of all of them.
  static constexpr int assigned = [] {
    int n = 0;
    while (n < outputs && signature.ranks[n] == 1) ++n;
    return n;
  }();
  static constexpr int results = outputs - assigned;
  static constexpr bool same_types = [] {
    for (int i = 0; i < assigned; ++i) {
      if (signature.types[i] != dtype_of<T>) return false;
    }
    return true;
  }();
  static constexpr bool in_order = [] {
    for (int i = assigned; i < outputs; ++i) {
      if (signature.ranks[i] != 0) return false;
    }
    return true;
  }();
  using single = let_expression<F, typename repeated<tensor<T, 1>, Operands>::type...,
                                typename multi_argument<X>::type...>;
  using several = let_bundle<F, typename repeated<tensor<T, 1>, Operands>::type...,
                             typename multi_argument<X>::type...>;
  using shape = list_shape<reads, assigned, results>;
  using expression = std::conditional_t<outputs == 1, single, several>;
  using type = statement<expression>;
};

/// Whether a program runs once through each group and, behind the last, finishes what it reduced.
template <class Program>
consteval bool is_multi_program() {
  const auto& p = plan_of<Program>;
  for (int k = 0; k < static_cast<int>(p.sizes.nests); ++k) {
    const nest_info& nest = p.nests[static_cast<std::size_t>(k)];
    if (k == 0 ? nest.pass_count != 1 || nest.row_pass : nest.domain != 0 || !nest.finish) {
      return false;
    }
  }
  return true;
}

/// A list of groups as launches of their program, one after the other, in memory of its own.
template <class Shape, int Operands>
class group_launches {
 public:
  group_launches(const multi_group<Operands>* groups, const multi_shared& shared)
      : groups_(groups) {
    for (operand& o : inputs_) o.strides[0] = 1;
    for (operand& o : outputs_) o.strides[0] = 1;
    for (int i = 0; i < Shape::reads; ++i) inputs_[Operands + i].data = shared.data[i];
    for (int i = 0; i < Shape::results; ++i) {
      outputs_[Shape::assigned + i].data = shared.data[Shape::reads + i];
    }
    for (std::int64_t& extent : launch_.extents) extent = 1;
    launch_.inputs = inputs_;
    launch_.outputs = outputs_;
    launch_.scalars = shared.scalars;
  }
  group_launches(const group_launches&) = delete;
  group_launches& operator=(const group_launches&) = delete;

  /// Has `current` be the launch of group k.
  void move_to(std::size_t k) {
    for (int i = 0; i < Operands; ++i) inputs_[i].data = groups_[k].data[i];
    for (int i = 0; i < Shape::assigned; ++i) outputs_[i].data = groups_[k].data[i];
    launch_.extents[0] = groups_[k].count;
  }
  [[nodiscard]] const launch& current() const { return launch_; }

 private:
  const multi_group<Operands>* groups_;
  operand inputs_[Operands + Shape::reads];
  operand outputs_[Shape::assigned + Shape::results];
  launch launch_;
};

template <class Shape, class Program, class Configuration, int Operands>
void run_groups(const multi_group<Operands>* groups, std::size_t count,
                const multi_shared& shared) {
  group_launches<Shape, Operands> launches(groups, shared);
  if constexpr (Shape::results == 0) {
    for (std::size_t k = 0; k < count; ++k) {
      if (groups[k].count == 0) continue;
      launches.move_to(k);
      host::run<Program, Configuration>(launches.current());
    }
  } else {
    host::run_list<Program, Configuration>(
        launches.current(),
        {static_cast<std::int64_t>(count), &launches, [](void* context, std::int64_t k) {
           static_cast<group_launches<Shape, Operands>*>(context)->move_to(
               static_cast<std::size_t>(k));
         }});
  }
}

/// Without kernels: on the host, over copies.
template <class Shape, class Program, class Configuration, int Operands>
void run_groups_staged(std::vector<multi_group<Operands>> groups, multi_shared shared) {
  constexpr int single = Shape::reads + Shape::results;
  host_copies copies;
  for (const auto& g : groups) {
    for (int i = 0; i < Operands; ++i) copies.add(g.owners[i], i < Shape::assigned);
  }
  for (int i = 0; i < single; ++i) copies.add(shared.owners[i], i >= Shape::reads);
  for (auto& g : groups) {
    for (int i = 0; i < Operands; ++i) g.data[i] = copies.place_of(g.owners[i], g.data[i]);
  }
  std::byte* here[single + 1];
  for (int i = 0; i < single; ++i) here[i] = copies.place_of(shared.owners[i], shared.data[i]);
  shared.data = here;
  run_groups<Shape, Program, Configuration>(groups.data(), groups.size(), shared);
  copies.write_back();
}

/// Where nothing is compiled: one launch over all elements, in copies side by side.
template <class T, class Statement, class Configuration, int Operands>
void interpret_groups(const std::vector<multi_group<Operands>>& groups, const multi_shared& shared,
                      int scalars, device where) {
  std::int64_t elements = 0;
  for (const auto& g : groups) elements += g.count;
  if (elements == 0 && Statement::results == 0) return;
  const auto for_each_part = [&](int of, const tensor<T, 1>& all, auto f) {
    std::int64_t at = 0;
    for (const auto& g : groups) {
      if (g.count == 0) continue;
      const tensor<T, 1> own(handle<storage>::share(g.owners[of]), reinterpret_cast<T*>(g.data[of]),
                             extents<1>{g.count}, strides<1>{1});
      f(own, all.template slice<0>(at, at + g.count));
      at += g.count;
    }
  };
  interpreted_launch l;
  l.of = traced_of<Configuration, typename Statement::expression>().result;
  l.inputs = Operands + Statement::reads;
  const auto add = [&l](std::byte* data, const handle<storage>& owner) {
    operand& o = l.operands.emplace_back();
    o.data = data;
    o.strides[0] = 1;
    l.owners.push_back(owner);
  };
  tensor<T, 1> copies[Operands];
  for (int i = 0; i < Operands; ++i) {
    copies[i] = empty<T, 1>({elements}, where);
    for_each_part(i, copies[i], [](const tensor<T, 1>& own, const tensor<T, 1>& part) {
      any_tensor(part).copy_(own);
    });
    add(reinterpret_cast<std::byte*>(copies[i].data()), copies[i].storage());
  }
  const auto add_shared = [&](int i) {
    add(shared.data[i], handle<storage>::share(shared.owners[i]));
  };
  for (int i = 0; i < Statement::reads; ++i) add_shared(i);
  for (int i = 0; i < Statement::assigned; ++i) {
    add(reinterpret_cast<std::byte*>(copies[i].data()), copies[i].storage());
  }
  for (int i = 0; i < Statement::results; ++i) add_shared(Statement::reads + i);
  l.scalars.assign(shared.scalars, shared.scalars + scalars);
  for (std::int64_t& extent : l.extents) extent = 1;
  l.extents[0] = elements;
  submit_interpreted<Configuration>(static_cast<interpreted_launch&&>(l), where);
  for (int i = 0; i < Statement::assigned; ++i) {
    for_each_part(i, copies[i], [](const tensor<T, 1>& own, const tensor<T, 1>& part) {
      any_tensor(own).copy_(part);
    });
  }
}

/// Runs the program over the groups on the current stream of their device: at once on cpu().
template <class T, class Shape, class Program, class Configuration, int Operands>
void submit_groups(const std::vector<multi_group<Operands>>& groups, const multi_shared& shared,
                   int scalars, device where) {
  constexpr int single = Shape::reads + Shape::results;
  std::int64_t elements = 0;
  for (const auto& g : groups) elements += g.count;
  heddle::detail::record_launch([&] {
    return launch_record{
        "multi",
        Program::words,
        static_cast<std::size_t>(Program::word_count),
        1,
        elements * (Operands + Shape::assigned) * static_cast<std::int64_t>(sizeof(T)),
        0,
        where,
        {}};
  });
  if (where.is_inline()) {
    run_groups<Shape, Program, Configuration>(groups.data(), groups.size(), shared);
    return;
  }
  if (where.is_cuda()) {
    if constexpr (Configuration::has(configuration_bits::cuda)) {
      cuda::run_multi_program<Program, Configuration>(groups.data(), groups.size(), shared, where);
    } else {
      run_groups_staged<Shape, Program, Configuration>(groups, shared);
    }
    return;
  }
  struct task {
    std::vector<multi_group<Operands>> groups;
    std::vector<handle<storage>> alive;
    std::vector<scalar_bits> scalars;
    std::byte* data[single + 1];
    void operator()() {
      run_groups<Shape, Program, Configuration>(
          groups.data(), groups.size(),
          {data, nullptr, Shape::reads, Shape::results, scalars.data()});
    }
  };
  task queued{groups, {}, {shared.scalars, shared.scalars + scalars}, {}};
  for (const auto& g : groups) {
    for (storage* owner : g.owners) queued.alive.push_back(handle<storage>::share(owner));
  }
  for (int i = 0; i < single; ++i) {
    queued.data[i] = shared.data[i];
    queued.alive.push_back(handle<storage>::share(shared.owners[i]));
  }
  current_stream(where).enqueue(static_cast<task&&>(queued));
}

}  // namespace detail

/// Runs F, a stateless function object of `Operands` symbols of rank 1 and one for each argument
/// x, over each group. An argument is a number, or a tensor of rank 0 on the device, which all
/// groups read. F's results of rank 1 come first: the first is written to operand 0 of the group,
/// the second to operand 1, and so on, computed from what was there before. Behind them those of
/// rank 0 are computed from reductions over all groups together and returned: nothing, one tensor
/// or a tuple of them. One launch on the device `where`: the tensors are of dtype T, contiguous and
/// there.
template <class T, int Operands, class F, class... X, class Configuration = configuration>
auto multi_assign(F, const std::vector<multi_group<Operands>>& groups, device where,
                  const X&... x) {
  using chosen = detail::multi_statement<F, T, std::make_integer_sequence<int, Operands>, X...>;
  static_assert(std::is_empty_v<F>, "heddle::multi_assign: the function captures something");
  static_assert(chosen::assigned <= Operands,
                "heddle::multi_assign: there are more results than operands");
  static_assert(
      chosen::same_types,
      "heddle::multi_assign: a result of rank 1 has another dtype than the operands: cast");
  static_assert(chosen::in_order,
                "heddle::multi_assign: a result of rank 1 comes behind one of rank 0");
  return [&]<int... R>(std::integer_sequence<int, R...>) {
    std::tuple results(
        empty<type_of<chosen::signature.types[chosen::assigned + R]>, 0>({}, where)...);
    constexpr int single = chosen::reads + chosen::results;
    constexpr int scalars = static_cast<int>(sizeof...(X)) - chosen::reads;
    scalar_bits bits[scalars + 1];
    std::byte* data[single + 1];
    storage* owners[single + 1];
    int numbers = 0, elements = 0;
    const auto add = [&](const auto& given) {
      using given_type = std::remove_cvref_t<decltype(given)>;
      if constexpr (!std::is_arithmetic_v<given_type>) {
        data[elements] = reinterpret_cast<std::byte*>(given.data());
        owners[elements++] = given.storage().get();
      } else {
        bits[numbers++].floating = static_cast<double>(given);
      }
    };
    (add(x), ...);
    (add(std::get<R>(results)), ...);
    const multi_shared shared{data, owners, chosen::reads, chosen::results, bits};
    for (const auto& g : groups) {
      for (int i = 0; i < chosen::assigned; ++i) g.owners[i]->bump_version();
    }
    if (!where.is_meta() && (chosen::results > 0 || !groups.empty())) {
      if constexpr (heddle::detail::is_unfused<Configuration>) {
        detail::interpret_groups<T, chosen, Configuration>(groups, shared, scalars, where);
      } else {
        using program = typename chosen::type::program;
        static_assert(
            detail::is_multi_program<program>(),
            "heddle::multi_assign: the function takes more than one pass over a group, or has "
            "a result of rank 0 and reduces nothing");
        detail::submit_groups<T, typename chosen::shape, program, Configuration>(groups, shared,
                                                                                 scalars, where);
      }
    }
    if constexpr (chosen::results == 1) {
      return std::get<0>(results);
    } else if constexpr (chosen::results > 1) {
      return results;
    }
  }
  (std::make_integer_sequence<int, chosen::results>{});
}

}  // namespace heddle::inline v0::exec

#if defined(__CUDACC__)
#include <heddle/exec/cuda/launch_multi.cuh>  // lists on CUDA devices
#endif
