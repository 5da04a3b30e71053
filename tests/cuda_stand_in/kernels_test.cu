// SPDX-License-Identifier: BSD-3-Clause
// heddle's kernels, compiled by nvcc and launched by `<<<…>>>`, on the stand-in: their results are
// the interpreter's, in every order; accesses out of range and shared workspaces are found.
#include <cmath>
#include <functional>
#include <map>
#include <vector>

#include "../support/cuda_stand_in/bodies.cuh"
#include <doctest/doctest.h>

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/exec/multi.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

namespace {

using namespace heddle;
namespace cuda = heddle::exec::cuda;

/// Device memory with the contents of host memory.
class device_copy {
 public:
  device_copy(const void* from, std::size_t bytes, cudaStream_t stream) : stream_(stream) {
    REQUIRE(cudaMallocAsync(&data_, bytes, stream) == cudaSuccess);
    if (from != nullptr) cudaMemcpyAsync(data_, from, bytes, cudaMemcpyHostToDevice, stream);
  }
  ~device_copy() { cudaFreeAsync(data_, stream_); }
  device_copy(const device_copy&) = delete;
  device_copy& operator=(const device_copy&) = delete;
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  cudaStream_t stream_;
  void* data_ = nullptr;
};

/// What a test changes about a run.
struct launch_plan {
  cudaStream_t stream = nullptr;
  unsigned* ticket = nullptr;  ///< own memory where there is none
  std::size_t missing = 0;     ///< bytes that the result's memory is too small,
  std::size_t missing_in = 0;  ///< and each operand's,
  bool no_workspace = false;   ///< and there is next to none
  /// The launch is also made here, for a result of its own, before anything is waited for;
  cudaStream_t beside = nullptr;
  unsigned* ticket_beside = nullptr;
  bool one_result = false;  ///< no, for the same one
  cuda::launch_limits limits = {.team = 64, .max_blocks = 5, .max_blocks_of_maps = 5};
};

template <class Program>
class device_run {
 public:
  device_run(const exec::launch& l, const launch_plan& how)
      : l_(l), how_(how), ready_(l, how.limits) {
    const auto bytes = static_cast<std::size_t>(ready_.workspace_bytes());
    const device_copy workspace(nullptr, how.no_workspace ? 64 : bytes + 1, how.stream);
    const device_copy counters(nullptr, 16, how.stream);
    cudaMemsetAsync(counters.data(), 0, 16, how.stream);
    auto* const ticket =
        how.ticket != nullptr ? how.ticket : reinterpret_cast<unsigned*>(counters.data());
    ready_.place(workspace.data(), ticket, reinterpret_cast<std::int64_t*>(counters.data() + 8));
    ready_.for_each_fill(l_, [&](const cuda::identity_fill& fill) {
      std::vector<std::byte> host(static_cast<std::size_t>(fill.count) * 8);
      exec::host::detail::fill_identity(host.data(), fill.count, fill.code, fill.type);
      cudaMemcpyAsync(fill.at, host.data(), host.size(), cudaMemcpyHostToDevice, how.stream);
    });
    run_from<0>();
  }

 private:
  template <int First>
  void run_from() {
    if constexpr (First < static_cast<int>(exec::plan_of<Program>.sizes.nests)) {
      const auto arguments = ready_.template group<First>(l_);
      const cuda::detail::nest_choice choice = ready_.choice(First);
      launch<First>(arguments, choice);
      run_from<decltype(arguments)::end>();
    }
  }
  template <int First>
  void launch(const cuda::group_arguments<Program, First>& arguments,
              const cuda::detail::nest_choice& choice) {
    constexpr bool rows = cuda::detail::nest_layout<Program, First>::inner_in_row;
    cudaError_t answer = cudaErrorUnknown;
    switch (choice.how) {
      case cuda::access::strided:
        answer = cuda::launch_kernel<Program, First, cuda::access::strided>(
            arguments, choice.blocks, choice.team, {choice.row_bytes, how_.limits.row_memory, 0},
            how_.stream);
        break;
      case cuda::access::wide:
        answer = cuda::launch_kernel<Program, First, cuda::access::wide>(
            arguments, choice.blocks, choice.team, {choice.row_bytes, how_.limits.row_memory, 0},
            how_.stream);
        break;
      default:
        if constexpr (rows) {
          answer = cuda::launch_kernel<Program, First, cuda::access::resident>(
              arguments, choice.blocks, choice.team, {choice.row_bytes, how_.limits.row_memory, 0},
              how_.stream);
        }
    }
    REQUIRE(answer == cudaSuccess);
  }

  exec::launch l_;
  launch_plan how_;
  cuda::prepared<Program> ready_;
};

/// Evaluates f(x…) by kernels on the stand-in and by the interpreter; the largest difference.
template <class T, int Rank, class F, class... X>
double difference(const launch_plan& how, const extents<Rank>& shape, const F& f, const X&... x) {
  const auto e = f(x...);
  using statement = exec::statement<std::decay_t<decltype(e)>>;
  using program = typename statement::program;
  const exec::bound<statement> b(e);
  exec::operand inputs[statement::operand_count + 1];
  b.bind_operands(inputs);
  tensor<T, Rank> want = empty<T, Rank>(shape);
  tensor<T, Rank> got = empty<T, Rank>(shape);
  exec::operand result = exec::detail::operand_of(want);
  exec::launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  l.inputs = inputs;
  l.outputs = &result;
  l.scalars = b.scalars;
  exec::interpret(graph::thaw(program{}), l);

  std::map<const std::byte*, std::unique_ptr<device_copy>> on_device;
  const auto bring = [&](const auto& t) {
    const auto* const at = reinterpret_cast<const std::byte*>(t.data());
    on_device[at] = std::make_unique<device_copy>(
        at, static_cast<std::size_t>(t.size()) * sizeof(*t.data()) - how.missing_in, how.stream);
  };
  (bring(x), ...);
  const std::size_t bytes = static_cast<std::size_t>(got.size()) * sizeof(T);
  const device_copy room(nullptr, bytes - how.missing, how.stream);
  cudaStreamSynchronize(how.stream);
  for (int i = 0; i < statement::operand_count; ++i) {
    inputs[i].data = on_device.at(inputs[i].data)->data();
  }
  result.data = room.data();
  device_run<program>(l, how);
  if (how.beside != nullptr) {
    launch_plan other = how;
    other.stream = how.beside;
    other.ticket = how.ticket_beside;
    const device_copy other_room(nullptr, bytes, other.stream);
    if (!how.one_result) result.data = other_room.data();
    device_run<program>(l, other);
    cudaStreamSynchronize(other.stream);
  }
  cudaMemcpyAsync(got.data(), room.data(), bytes - how.missing, cudaMemcpyDeviceToHost, how.stream);
  double worst = 0;
  auto g = got.begin();
  for (const T w : want) {
    const double off = std::fabs(static_cast<double>(w) - static_cast<double>(*g));
    worst = off <= worst ? worst : off;  // not-a-numbers are the worst
    ++g;
  }
  return worst;
}

constexpr auto map = [](const auto& x, const auto& b) { return tanh(x * b + 1.0); };
constexpr auto rows = [](const auto& x) { return softmax<-1>(x); };
constexpr auto columns = [](const auto& x) { return sum<0>(x); };
constexpr auto total = [](const auto& x) { return sum(x * x); };
constexpr auto lookup = [](const auto& t, const auto& i) {
  return let([](auto table, auto index) { return 2 * take(table, index); }, t, i);
};

generator numbers(5);
tensor<float, 2> matrix(std::int64_t m, std::int64_t n) { return randn<float, 2>({m, n}, numbers); }

/// p and m of a step with momentum; g is read.
struct momentum_step {
  constexpr auto operator()(const symbol& p, const symbol& m, const symbol& g,
                            const symbol& rate) const {
    const symbol next = 0.9 * m + g;
    return outputs(p - rate * next, next);
  }
};
using list_program =
    exec::detail::multi_statement<momentum_step, float, std::make_integer_sequence<int, 3>,
                                  double>::type::program;

/// What was found, as one text: empty for nothing.
std::string found() {
  std::string text;
  for (const std::string& f : stand_in::findings()) text += f + "\n";
  return text;
}

}  // namespace

TEST_CASE("kernels of nvcc's objects compute what the interpreter does, in every order") {
  const auto x = matrix(37, 36);
  const auto b = randn<float, 1>({36}, numbers);
  const tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 37, {11}, numbers);
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    if (seed == 0) stand_in::set_order(stand_in::order::eager);
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    launch_plan how;
    how.stream = stream;
    CHECK(difference<float, 2>(how, {37, 36}, map, x, b) < 1e-6);
    CHECK(difference<float, 2>(how, {37, 36}, rows, x) < 1e-6);
    CHECK(difference<float, 1>(how, {36}, columns, x) < 1e-4);
    CHECK(difference<float, 0>(how, {}, total, x) < 1e-2);
    CHECK(difference<float, 2>(how, {11, 36}, lookup, x, index) < 1e-6);
    CHECK(stand_in::launches() == 5);
    CHECK(found() == "");
    cudaStreamDestroy(stream);
    CHECK(stand_in::live_allocations().empty());
  }
}

TEST_CASE("a result's memory that is too small, and a bound overrun by one, are noticed") {
  const auto x = matrix(7, 33);
  const auto b = randn<float, 1>({33}, numbers);
  stand_in::reset();
  launch_plan how;
  how.missing = 4;
  difference<float, 2>(how, {7, 33}, map, x, b);
  const auto out_of_range = [&](std::size_t times) {
    const auto all = stand_in::findings();
    bool right = all.size() == times;
    for (const std::string& f : all) right = right && f.find("out of range: ") == 0;
    stand_in::reset();
    return right;
  };
  CHECK(out_of_range(1));
  how = {};
  how.missing_in = 4;
  difference<float, 2>(how, {7, 33}, map, x, b);
  CHECK(out_of_range(2));  // two operands
  const tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 7, {11}, numbers);
  difference<float, 2>(how, {11, 33}, lookup, x, index);
  CHECK(out_of_range(2));  // the table and the index
  how = {};
  how.no_workspace = true;
  difference<float, 1>(how, {33}, columns, x);
  CHECK(stand_in::findings().size() > 2);  // the total, its parts
  stand_in::reset();
  CHECK(difference<float, 2>({}, {7, 33}, map, x, b) < 1e-6);
  CHECK(found() == "");
  stand_in::set_team_fault(1);
  const bool wrong = !(difference<float, 2>({}, {7, 33}, map, x, b) < 1e-6);
  CHECK((wrong || !stand_in::findings().empty()));
  stand_in::reset();
  stand_in::set_team_fault(1);
  CHECK(!(difference<float, 2>({}, {7, 33}, rows, x) < 1e-6));
  stand_in::reset();
}

TEST_CASE("two streams that share a ticket, or a result, race") {
  const auto x = matrix(37, 36);
  stand_in::reset();
  cudaStream_t streams[2] = {};
  for (cudaStream_t& s : streams) cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
  void* ticket = nullptr;
  cudaMalloc(&ticket, 8);
  cudaMemset(ticket, 0, 8);
  cudaDeviceSynchronize();
  auto* const one = static_cast<unsigned*>(ticket);
  launch_plan how{.stream = streams[0], .ticket = one, .beside = streams[1]};
  how.ticket_beside = one + 1;  // of the same allocation
  CHECK(difference<float, 1>(how, {36}, columns, x) < 1e-4);
  CHECK(found() == "");
  how.ticket_beside = one;
  difference<float, 1>(how, {36}, columns, x);
  CHECK(found().find("race: ") == 0);
  CHECK(stand_in::findings().size() == 1);
  stand_in::recover();
  how = {.stream = streams[0], .beside = streams[1]};
  CHECK(difference<float, 2>(how, {37, 36}, rows, x) < 1e-6);
  CHECK(found() == "");
  how.one_result = true;
  difference<float, 2>(how, {37, 36}, rows, x);
  CHECK(found().find("race: ") == 0);
  CHECK(stand_in::findings().size() == 1);
  cudaDeviceSynchronize();
  cudaFree(ticket);
  stand_in::reset();
}

TEST_CASE("kernels over lists of tensors, and strided copies and fills") {
  stand_in::reset();
  std::vector<tensor<float, 1>> host;
  std::vector<std::unique_ptr<device_copy>> memory;
  exec::multi_group<3> groups[2];
  for (int i = 0; i < 6; ++i) {
    groups[i / 3].count = i < 3 ? 1000 : 77;
    host.push_back(randn<float, 1>({groups[i / 3].count}, numbers));
    const auto bytes = static_cast<std::size_t>(host.back().size()) * sizeof(float);
    memory.push_back(std::make_unique<device_copy>(host.back().data(), bytes, nullptr));
    groups[i / 3].data[i % 3] = memory.back()->data();
  }
  const exec::scalar_bits rate{.floating = 0.1};
  const auto step = [&] {
    cuda::multi_launches<list_program, 3, 4> launches(groups, 2, {.scalars = &rate}, 64, 3);
    launches.place(nullptr, nullptr);
    REQUIRE(launches.all().size() == 1);
    const auto& one = launches.all()[0];
    REQUIRE(one.how == cuda::access::wide);
    CHECK(cuda::launch_multi_kernel<list_program, cuda::access::wide>(one.with, one.blocks, 64,
                                                                      nullptr) == cudaSuccess);
  };
  step();
  for (std::size_t i = 0; i < 6; i += 3) {
    tensor<float, 1> got = empty<float, 1>({host[i].size()});
    cudaMemcpy(got.data(), memory[i]->data(), static_cast<std::size_t>(got.size()) * sizeof(float),
               cudaMemcpyDeviceToHost);
    for (std::int64_t e = 0; e < got.size(); ++e) {
      const float next = 0.9f * host[i + 1](e) + host[i + 2](e);
      REQUIRE(std::fabs(got(e) - (host[i](e) - 0.1f * next)) < 1e-6f);
    }
  }
  CHECK(found() == "");
  groups[1].count = 78;
  step();
  CHECK(found().find("out of range: ") == 0);
  CHECK(stand_in::findings().size() == 5);  // three are read, two are written
  stand_in::recover();

  // every other column of 11, from a transposed block of 6 by 5
  const std::int64_t shape[] = {5, 6};
  const std::int64_t to_strides[] = {11, 2};
  const std::int64_t from_strides[] = {1, 5};
  const device_copy from(host[0].data(), 30 * sizeof(float), nullptr);
  const device_copy to(host[1].data(), 55 * sizeof(float), nullptr);
  heddle::detail::copy_within({shape, 2, sizeof(float)}, {to.data(), to_strides},
                              {from.data(), from_strides}, 0, nullptr);
  heddle::detail::copy_within({shape, 1, sizeof(float)}, {to.data() + 4, to_strides},
                              {nullptr, nullptr}, 0x40000000, nullptr);
  tensor<float, 2> got = empty<float, 2>({5, 11});
  cudaMemcpy(got.data(), to.data(), 55 * sizeof(float), cudaMemcpyDeviceToHost);
  bool right = true;
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t k = 0; k < 11; ++k) {
      const float want = k == 1 ? 2.0f : k % 2 == 0 ? host[0](k / 2 * 5 + i) : host[1](i * 11 + k);
      right = right && got(i, k) == want;
    }
  }
  CHECK(right);
  CHECK(found() == "");
  heddle::detail::copy_within({shape, 2, sizeof(float)}, {to.data() + 4, to_strides},
                              {from.data(), from_strides}, 0, nullptr);
  CHECK(found().find("out of range: ") == 0);  // 4 bytes too far
  cudaDeviceSynchronize();
}
