// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/reference/core.md.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/dtype.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/core/philox.hpp>
#include <heddle/core/stream.hpp>
#include <heddle/core/thread_pool.hpp>

namespace {

//! [device_kinds]
std::string describe(heddle::device where) {
  if (where.is_inline()) return "in this thread";
  switch (where.kind) {
    case heddle::device_kind::host:
      return "in queue " + std::to_string(where.index);
    case heddle::device_kind::cuda:
      return "on GPU " + std::to_string(where.index);
    case heddle::device_kind::meta:
      return "nowhere: extents only";
  }
  return "";
}
//! [device_kinds]

//! [limits]
// What an attention mask adds, and what a check of results allows, both of a tensor's dtype.
struct tolerances {
  double masked, relative;
};
tolerances tolerances_of(heddle::dtype type) {
  return {heddle::lowest_of(type), 4 * heddle::epsilon_of(type)};
}
//! [limits]

//! [compute_type]
// The mean of any elements, summed in the type that heddle computes in: float for bfloat16.
template <heddle::element T>
heddle::compute_type<T> mean_of(const std::vector<T>& values) {
  heddle::compute_type<T> total = 0;
  for (const T each : values) total += each;
  return total / static_cast<heddle::compute_type<T>>(values.size());
}
//! [compute_type]

//! [raise]
// A function of one's own speaks as heddle does: who, what is wrong, what was met, what is
// expected.
void check_crop(const heddle::extents<2>& image, heddle::dtype type, heddle::device where,
                std::int64_t row, double scale, bool is_open) {
  using heddle::raise;
  if (!is_open) raise<heddle::state_error>("app::crop: the reader is closed; open it first");
  if (image[0] < 8 || image[1] < 8) {
    raise<heddle::shape_error>("app::crop: the image is too small: ", image,
                               "; it is 8 x 8 or more");
  }
  if (!is_floating(type)) {
    raise<heddle::type_error>("app::crop: the dtype has no fractions: ", type, "; use f32");
  }
  if (where.is_meta()) {
    raise<heddle::device_error>("app::crop: no pixels are there: ", where, "; use cpu()");
  }
  if (row < 0 || row >= image[0]) {
    raise<heddle::index_error>("app::crop: the row is outside: ", row, "; rows are 0 to ",
                               image[0] - 1);
  }
  if (!(scale > 0)) {
    raise<heddle::value_error>("app::crop: the scale is not positive: ", scale, "; use 1");
  }
}
//! [raise]

//! [errors]
// What to do when a run stops. The type says which kind of failure it is; what() is for people.
template <class Run>
std::string advice(Run run) {
  try {
    run();
  } catch (const heddle::out_of_memory&) {
    return "use a smaller batch";
  } catch (const heddle::io_error&) {
    return "write to another disk";
  } catch (const heddle::communication_error&) {
    return "restart all ranks from the last checkpoint";
  } catch (const heddle::cuda_error&) {
    return "leave the machine out";
  } catch (const heddle::error& mistake) {  // everything else that heddle throws
    return std::string("mend the program: ") + mistake.what();
  }
  return "go on";
}
//! [errors]

//! [index_array]
// Extents and strides are both arrays of `Rank` indices; one template takes either.
template <int Rank>
std::int64_t largest(const heddle::index_array<Rank>& indices) {
  return *std::max_element(indices.begin(), indices.end());
}
//! [index_array]

//! [adopt_stream]
// heddle's work for GPU 0 goes to a stream that another library made, a cudaStream_t.
template <class Work>
void run_in(void* theirs, Work work) {
  const heddle::stream shared = heddle::stream::adopt(heddle::cuda(0), theirs);
  const heddle::stream_scope here(shared);
  work();  // on the device: behind what they enqueued
}
//! [adopt_stream]

//! [counted]
// A class of one's own, counted as storages are: it derives from `counted`.
struct vocabulary : heddle::counted {
  explicit vocabulary(std::vector<std::string> all) : words(std::move(all)) {}
  std::vector<std::string> words;
};
//! [counted]

}  // namespace

TEST_CASE("devices") {
  //! [devices]
  const bool has_gpu = heddle::cuda_device_count() > 0;
  const heddle::device where = has_gpu ? heddle::cuda(0) : heddle::cpu();
  const heddle::device queue = heddle::cpu(3);  // a virtual device: a queue and memory of its own
  const heddle::device named = heddle::parse_device("cpu:3");  // as to_string(queue) writes it
  const bool readable = where.is_host();                       // here, through pointers
  const std::size_t pinned = where.is_cuda() ? 1 << 20 : 0;    // bytes for copies
  const bool somewhere = !heddle::meta().is_meta();            // meta() has extents and no elements
  //! [devices]
  CHECK(readable == (pinned == 0));
  CHECK((queue == named && to_string(queue) == "cpu:3" && !somewhere));
  CHECK(describe(heddle::cpu()) == "in this thread");
  CHECK(describe(queue) == "in queue 3");
  CHECK(describe(heddle::cuda()) == "on GPU 0");
  CHECK(describe(heddle::meta()) == "nowhere: extents only");
}

TEST_CASE("limits of counts") {
  //! [maximums]
  static_assert(heddle::max_rank == 8);           // axes of a tensor
  static_assert(heddle::max_host_devices == 64);  // cpu(0) to cpu(63)
  static_assert(heddle::max_cuda_devices == 64);  // cuda(0) to cuda(63)
  static_assert(heddle::max_threads == 256);      // of one host device
  //! [maximums]
  CHECK_THROWS_AS((void)heddle::cpu(64), heddle::device_error);
}

TEST_CASE("dtypes") {
  //! [dtypes]
  // types and dtypes name each other
  static_assert(heddle::element<float> && !heddle::element<short>);
  static_assert(heddle::dtype_of<float> == heddle::dtype::f32);
  static_assert(std::is_same_v<heddle::type_of<heddle::dtype::bf16>, heddle::bfloat16>);

  // what a dtype is
  const heddle::dtype type = heddle::dtype::bf16;
  const std::size_t row_bytes = 768 * size_of(type);  // 1536
  const std::string text(name_of(type));              // "bf16"
  static_assert(is_floating(heddle::dtype::f16) && is_integral(heddle::dtype::u8));
  static_assert(!is_floating(heddle::dtype::boolean) && !is_integral(heddle::dtype::boolean));

  // what an operation makes of two
  static_assert(promote(heddle::dtype::i64, heddle::dtype::f16) == heddle::dtype::f16);
  static_assert(promote(heddle::dtype::bf16, heddle::dtype::f16) == heddle::dtype::f32);
  static_assert(compute_dtype(heddle::dtype::bf16) == heddle::dtype::f32);
  //! [dtypes]
  CHECK((row_bytes == 1536 && text == "bf16"));
}

TEST_CASE("a dtype that was read") {
  //! [valid_dtypes]
  const auto read = static_cast<heddle::dtype>(9);  // a byte of a file
  const bool understood = is_valid(read);
  std::string known;
  for (int i = 0; i < heddle::dtype_count; ++i) {
    known += to_string(static_cast<heddle::dtype>(i)) + ' ';
  }
  //! [valid_dtypes]
  CHECK(!understood);
  CHECK(known == "f64 f32 bf16 f16 i64 i32 u8 bool ");
}

TEST_CASE("what dtypes hold") {
  CHECK(tolerances_of(heddle::dtype::f16).masked == -65504);
  CHECK(tolerances_of(heddle::dtype::bf16).relative == 0.03125);
  //! [extremes]
  double smallest = heddle::infinity_of(heddle::dtype::i32);  // 2147483647: integers have none
  for (const double each : {7.0, 3.0, 5.0}) smallest = std::min(smallest, each);
  const double clipped = std::min(1e6, heddle::max_of(heddle::dtype::f16));  // 65504
  //! [extremes]
  CHECK((smallest == 3 && clipped == 65504));
}

TEST_CASE("16-bit elements") {
  //! [sixteen_bits]
  const heddle::bfloat16 a(1.005f);     // rounds to nearest even: 1.0078125
  const heddle::float16 b(1.005f);      // more digits, less range: 1.0048828125
  const float sum = a + b;              // arithmetic is in float
  const heddle::float16 narrow(sum);    // going back is explicit
  const std::uint16_t stored = a.bits;  // 0x3f81, as in a file
  const auto same = heddle::bfloat16::from_bits(stored);
  const auto one = heddle::float16::from_bits(0x3c00);
  //! [sixteen_bits]
  CHECK((a == 1.0078125f && b == 1.0048828125f && narrow == 2.01171875f));
  CHECK((stored == 0x3f81 && same == a && one == 1 && b.bits == 0x3c05));
  CHECK(mean_of(std::vector<heddle::bfloat16>{a, a}) == 1.0078125f);
}

TEST_CASE("errors") {
  const heddle::extents<2> image{16, 16};
  const auto said = [&](heddle::dtype type, heddle::device where, std::int64_t row, double scale,
                        bool is_open) {
    return advice([&] { check_crop(image, type, where, row, scale, is_open); });
  };
  CHECK(said(heddle::dtype::f32, heddle::cpu(), 15, 1, true) == "go on");
  CHECK(said(heddle::dtype::u8, heddle::cpu(), 15, 1, true) ==
        "mend the program: app::crop: the dtype has no fractions: u8; use f32");
  CHECK(said(heddle::dtype::f32, heddle::meta(), 15, 1, true) ==
        "mend the program: app::crop: no pixels are there: meta; use cpu()");
  CHECK(said(heddle::dtype::f32, heddle::cpu(), 16, 1, true) ==
        "mend the program: app::crop: the row is outside: 16; rows are 0 to 15");
  CHECK(said(heddle::dtype::f32, heddle::cpu(), 0, -0.5, true) ==
        "mend the program: app::crop: the scale is not positive: -0.5; use 1");
  CHECK_THROWS_AS(check_crop(image, heddle::dtype::f32, heddle::cpu(), 0, 1, false),
                  heddle::state_error);
  CHECK_THROWS_WITH_AS(check_crop({4, 9}, heddle::dtype::f32, heddle::cpu(), 0, 1, true),
                       "app::crop: the image is too small: (4, 9); it is 8 x 8 or more",
                       heddle::shape_error);
  CHECK(advice([] { throw heddle::out_of_memory(""); }) == "use a smaller batch");
  CHECK(advice([] { throw heddle::io_error(""); }) == "write to another disk");
  CHECK(advice([] { throw heddle::cuda_error(""); }) == "leave the machine out");
  CHECK(advice([] { throw heddle::communication_error(""); }) ==
        "restart all ranks from the last checkpoint");
}

TEST_CASE("extents and strides") {
  //! [extents]
  const heddle::extents<3> shape{2, 3, 4};
  const std::int64_t elements = element_count(shape);          // 24
  const heddle::strides<3> steps = contiguous_strides(shape);  // (12, 4, 1)
  const heddle::strides<3> broadcast{0, 4, 1};                 // one block, read twice
  const bool dense = is_contiguous(shape, steps);              // true
  const bool gaps = !is_contiguous(shape, broadcast);          // true
  const auto twos = heddle::extents<3>::filled(2);             // (2, 2, 2)
  const std::vector<std::int64_t> axes(shape.data(), shape.data() + shape.size());
  const std::string text = to_string(shape);  // "(2, 3, 4)"
  //! [extents]
  CHECK((elements == 24 && dense && gaps && element_count(twos) == 8));
  CHECK((axes == std::vector<std::int64_t>{2, 3, 4} && text == "(2, 3, 4)"));
  CHECK((largest(shape) == 4 && largest(steps) == 12));
}

TEST_CASE("streams") {
  //! [streams]
  const heddle::device where = heddle::cpu(5);
  const heddle::stream usual = heddle::default_stream(where);
  const heddle::stream side(where);  // another queue of the same device

  std::vector<int> order;
  usual.enqueue([&] { order.push_back(1); });
  heddle::event first;
  first.record(usual);  // the point behind the task
  first.wait(side);     // what side gets from now on starts behind it
  side.enqueue([&] { order.push_back(2); });
  side.synchronize();
  const bool passed = first.query();  // true, for side has waited for it

  const heddle::stream here = heddle::default_stream(heddle::cpu());
  here.enqueue([&] { order.push_back(3); });  // is_inline(): done when enqueue returns
  //! [streams]
  CHECK((order == std::vector<int>{1, 2, 3} && passed));
  CHECK((here.is_inline() && !side.is_inline() && side.device() == where));
}

TEST_CASE("streams of others") {
  //! [native]
  const heddle::stream stream = heddle::current_stream(heddle::cpu());
  void* const theirs = stream.native();  // of cuda(i) the cudaStream_t, for kernels of one's own
  //! [native]
  CHECK(theirs == nullptr);
  if (heddle::cuda_device_count() == 0) {
    CHECK_THROWS_AS(run_in(theirs, [] {}), heddle::device_error);
  }
}

TEST_CASE("storages") {
  //! [storage]
  const heddle::handle<heddle::storage> memory = heddle::storage::allocate(1024, heddle::cpu());
  std::memset(memory->data(), 0, memory->bytes());  // aligned to 64 bytes, uninitialised before
  memory->bump_version();  // whoever writes past heddle says so, and backward() notices
  const std::uint32_t seen = memory->version();

  // memory that is there already, and what to do when nobody uses it any more
  static std::vector<float> table(100);
  const auto clear = [](void* context) { static_cast<std::vector<float>*>(context)->clear(); };
  auto wrapped = heddle::storage::wrap(table.data(), 400, heddle::cpu(), clear, &table);
  wrapped.reset();  // the last handle: clear(&table)
  //! [storage]
  CHECK((seen == 1 && memory->device() == heddle::cpu() && table.empty()));
}

TEST_CASE("memory") {
  const heddle::device where = heddle::cpu(61);
  //! [memory]
  heddle::reset_peak_memory(where);
  heddle::storage::allocate(1 << 20, where).reset();
  const heddle::memory_statistics now = heddle::memory_stats(where);  // in bytes
  const bool kept = now.live == 0 && now.cached >= 1 << 20;  // freed, and kept for the next
  const std::int64_t most = now.peak;                        // 1048576
  heddle::empty_cache();                                     // back to the system
  const std::string text = heddle::memory_report(where);
  //! [memory]
  CHECK((kept && most == 1 << 20));
  CHECK(text == "cpu:61: 0 bytes live, 0 cached, 1048576 at most");
}

TEST_CASE("handles") {
  //! [handles]
  auto words = heddle::make_handle<vocabulary>(std::vector<std::string>{"warp", "weft"});
  heddle::handle<vocabulary> also = words;  // the same object, counted twice
  words.reset();                            // also still has it
  const std::size_t count = also->words.size();

  // through an interface of plain pointers, and back
  vocabulary* plain = also.detach();                          // also is null
  auto back = heddle::handle<vocabulary>::adopt(plain);       // takes that reference over
  auto more = heddle::handle<vocabulary>::share(back.get());  // a reference of its own
  more.swap(also);

  // What another thread dropped last is destroyed when its owner looks, here at the latest.
  std::thread([last = std::move(back)]() mutable { last.reset(); }).join();
  heddle::collect_references();
  //! [handles]
  CHECK((count == 2 && !words && !more && also.get() == plain));
}

TEST_CASE("generators") {
  const heddle::random_state before = heddle::default_generator().state();
  //! [generator]
  heddle::generator shuffle(42);
  const heddle::random_state use = shuffle.next();     // one use of random numbers
  const std::uint32_t third = use(2)[0];               // a number of its element 2
  const heddle::random_state saved = shuffle.state();  // for a checkpoint
  const heddle::random_state next = shuffle.next();
  const heddle::random_state key = next.as_key();  // where the words of an offset are wanted
  shuffle.restore(saved);                          // its next use will be that one again
  const bool repeated = shuffle.next() == next;

  shuffle.manual_seed(heddle::generator::default_seed);  // as when made without a seed
  heddle::manual_seed(7);  // of default_generator(), which functions use where none is named
  const std::uint64_t seed = heddle::default_generator().state().seed;
  //! [generator]
  CHECK((repeated && seed == 7 && use.seed == 42 && use.offset == 0 && next.offset == 1 &&
         key.offset == 0));
  CHECK(third == heddle::philox(42, 2, 0)[0]);
  CHECK(heddle::generator().state().seed == heddle::generator::default_seed);
  heddle::default_generator().restore(before);
}

TEST_CASE("random numbers of one's own") {
  //! [philox]
  // A function of the arguments alone: the numbers of element i in any thread, at any time.
  const heddle::random_state use{.seed = 1, .offset = 0};
  float least = 1;
  double sum = 0, squares = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const auto words = heddle::philox(use.seed, i, use.offset);  // 4 x 32 bits, as use(i)
    least = std::min(least, heddle::uniform_float(words[0]));    // [0, 1)
    sum += heddle::normal_float(words[2], words[3]);
    squares += heddle::normal_double(words) * heddle::normal_double(words);
  }
  const double fine = heddle::uniform_double(use(0)[0], use(0)[1]);  // 53 bits
  //! [philox]
  CHECK((least >= 0 && least < 0.01f && fine >= 0 && fine < 1));
  CHECK((sum / 1000 < 0.1 && sum / 1000 > -0.1 && squares / 1000 > 0.8 && squares / 1000 < 1.2));
}

TEST_CASE("threads") {
  //! [threads]
  const int most = heddle::num_threads();  // of cpu(); at first all that the process may run on
  heddle::set_num_threads(std::min(most, 2));
  std::vector<double> squares(100000);
  // Parts of 10000 iterations or more, in at most two threads; the caller is one of them.
  heddle::parallel_for(0, 100000, 10000, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      squares[static_cast<std::size_t>(i)] = static_cast<double>(i) * static_cast<double>(i);
    }
  });
  //! [threads]
  CHECK((heddle::num_threads() <= 2 && squares[99999] == 99999.0 * 99999.0));
  heddle::set_num_threads(most);
}
