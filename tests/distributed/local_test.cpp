// SPDX-License-Identifier: BSD-3-Clause
// Ranks that are threads of one process: collectives and their failures.
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/stream.hpp>
#include <heddle/distributed/local.hpp>
#include <heddle/tensor/creation.hpp>

using heddle::cpu;
using heddle::local_communicator;
using heddle::local_world;
using heddle::reduce_op;
using heddle::run_ranks;
using heddle::tensor;

namespace {

template <class T, int Rank>
std::vector<double> values(const tensor<T, Rank>& x) {
  std::vector<double> result;
  for (const auto& each : x) result.push_back(static_cast<double>(each));
  return result;
}

// The message that every rank's communication_error has; empty where a rank had none.
template <class Body>
std::vector<std::string> messages(int size, Body body, double deadline = 60) {
  std::vector<std::string> found(static_cast<std::size_t>(size));
  run_ranks(size,
            [&](local_communicator& c) {
              try {
                body(c);
              } catch (const heddle::communication_error& e) {
                found[static_cast<std::size_t>(c.rank())] = e.what();
              }
            },
            {.deadline = deadline});
  return found;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE_TEMPLATE("all_reduce combines all ranks' elements on every rank", T, double, float,
                   heddle::bfloat16, heddle::float16, std::int64_t, std::int32_t, std::uint8_t) {
  for (const int size : {1, 2, 3, 5}) {
    for (const std::int64_t count : {0, 1, 2, 7, 64}) {
      std::vector<std::vector<double>> sums(static_cast<std::size_t>(size));
      auto largest = sums, smallest = sums;
      run_ranks(size, [&](local_communicator& c) {
        const auto make = [&] {
          tensor<T, 1> x = tensor<T, 1>::allocate({count}, cpu());
          for (std::int64_t i = 0; i < count; ++i) {
            x(i) = static_cast<T>(static_cast<float>((i + 3 * c.rank()) % 7));
          }
          return x;
        };
        const auto me = static_cast<std::size_t>(c.rank());
        const tensor<T, 1> sum = make(), most = make(), least = make();
        const auto version = sum.version();
        c.all_reduce(sum);
        c.all_reduce(most, reduce_op::max);
        c.all_reduce(least, reduce_op::min);
        sums[me] = values(sum);
        largest[me] = values(most);
        smallest[me] = values(least);
        if (sum.version() == version) throw std::logic_error("the write was not counted");
      });
      std::vector<double> sum, most, least;
      for (std::int64_t i = 0; i < count; ++i) {
        double total = 0, high = -1, low = 100;
        for (int k = 0; k < size; ++k) {
          const auto value = static_cast<double>((i + 3 * k) % 7);
          total += value;
          high = value > high ? value : high;
          low = value < low ? value : low;
        }
        sum.push_back(total);
        most.push_back(high);
        least.push_back(low);
      }
      for (std::size_t k = 0; k < sums.size(); ++k) {
        CHECK(sums[k] == sum);
        CHECK(largest[k] == most);
        CHECK(smallest[k] == least);
      }
    }
  }
}

TEST_CASE("sums are formed in the order of ranks, so they have the same bits in every run") {
  const float terms[] = {1e8f, 3.f, -1e8f, 1.f};
  const float expected = ((1e8f + 3.f) - 1e8f) + 1.f;
  for (int run = 0; run < 50; ++run) {
    std::vector<float> got(4);
    run_ranks(4, [&](local_communicator& c) {
      const tensor<float, 1> x{terms[c.rank()]};
      c.all_reduce(x);
      got[static_cast<std::size_t>(c.rank())] = x(0);
    });
    for (const float each : got) CHECK(each == expected);
  }
}

TEST_CASE("16-bit floats are combined in f32 and rounded once") {
  // in bf16 each single addition of 1 to 256 would be rounded away
  std::vector<float> got(3);
  run_ranks(3, [&](local_communicator& c) {
    const tensor<heddle::bfloat16, 1> x{c.rank() == 0 ? 256.f : 1.f};
    c.all_reduce(x);
    got[static_cast<std::size_t>(c.rank())] = x(0);
  });
  for (const float each : got) CHECK(each == 258.f);
}

TEST_CASE("max of bool is or, and its sum is refused") {
  std::atomic<int> refused{0}, right{0};
  run_ranks(2, [&](local_communicator& c) {
    const tensor<bool, 1> x{false, c.rank() == 1, true};
    c.all_reduce(x, reduce_op::max);
    right += !x(0) && x(1) && x(2);
    try {
      c.all_reduce(x);
    } catch (const heddle::type_error&) {
      ++refused;
    }
  });
  CHECK(right == 2);
  CHECK(refused == 2);
}

TEST_CASE("broadcast, all_gather and reduce_scatter move the parts they name") {
  std::vector<std::vector<double>> sent(3), gathered(3), scattered(3);
  run_ranks(3, [&](local_communicator& c) {
    const auto me = static_cast<std::size_t>(c.rank());
    const float r = static_cast<float>(c.rank());
    const tensor<float, 2> x{{r, r + 1}, {r + 2, r + 3}};
    c.broadcast(x, 2);
    sent[me] = values(x);
    const tensor<std::int32_t, 1> part{c.rank(), 10 + c.rank()};
    const tensor<std::int32_t, 2> all = heddle::zeros<std::int32_t, 2>({3, 2});
    c.all_gather(part, all);
    gathered[me] = values(all);
    const tensor<double, 1> mine = heddle::zeros<double, 1>({2});
    c.reduce_scatter(tensor<double, 1>{1, 2, 3, 4, 5, 6.0 * (c.rank() + 1)}, mine);
    scattered[me] = values(mine);
  });
  for (const auto& each : sent) CHECK(each == std::vector<double>{2, 3, 4, 5});
  for (const auto& each : gathered) CHECK(each == std::vector<double>{0, 10, 1, 11, 2, 12});
  CHECK(scattered[0] == std::vector<double>{3, 6});
  CHECK(scattered[1] == std::vector<double>{9, 12});
  CHECK(scattered[2] == std::vector<double>{15, 36});
}

TEST_CASE("what one rank sends another receives, in order") {
  std::vector<double> received;
  run_ranks(2, [&](local_communicator& c) {
    for (int i = 0; i < 100; ++i) {
      if (c.rank() == 0) {
        c.send(tensor<double, 1>{double(i), 1}, 1);
      } else {
        const tensor<double, 1> x{0, 0};
        c.recv(x, 0);
        received.push_back(x(0) + x(1));
      }
    }
  });
  REQUIRE(received.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(received[static_cast<std::size_t>(i)] == i + 1);
}

TEST_CASE("buffers on cpu(i) are reduced after the work queued on them") {
  std::vector<double> got(2);
  run_ranks(2, [&](local_communicator& c) {
    const tensor<float, 1> x = heddle::zeros<float, 1>({1000}, cpu(c.rank()));
    for (int i = 0; i < 10; ++i) static_cast<void>(x.clone());  // keeps the queue busy
    heddle::tensor<float, 1>(x).fill_(static_cast<float>(c.rank() + 1));
    c.all_reduce(x);
    double sum = 0;
    for (const float each : x) sum += each;
    got[static_cast<std::size_t>(c.rank())] = sum;
  });
  CHECK(got == std::vector<double>{3000, 3000});
}

TEST_CASE("no rank leaves a barrier before the last has come") {
  std::atomic<int> come{0};
  std::atomic<bool> early{false};
  run_ranks(4, [&](local_communicator& c) {
    for (int round = 1; round <= 100; ++round) {
      ++come;
      c.barrier();
      if (come.load() < 4 * round) early = true;
      c.barrier();
    }
  });
  CHECK_FALSE(early);
}

TEST_CASE("ranks that call different collectives all get an error, and no buffer is written") {
  const auto refused = [](auto body) {
    std::vector<double> kept(2);
    const auto found = messages(2, [&](local_communicator& c) {
      const tensor<float, 1> x{5, 5};
      struct at_exit {
        const tensor<float, 1>& x;
        double& to;
        ~at_exit() { to = x(0) + x(1); }
      } keep{x, kept[static_cast<std::size_t>(c.rank())]};
      body(c, x);
    });
    CHECK(kept == std::vector<double>{10, 10});
    CHECK(found[0].find("the group of ranks has failed") != std::string::npos);
    CHECK(found[1].find("the group of ranks has failed") != std::string::npos);
    return found[0];
  };
  std::string text = refused([](local_communicator& c, const tensor<float, 1>& x) {
    if (c.rank() == 0) return c.all_reduce(x);
    c.all_reduce(tensor<float, 1>{5, 5, 5});
  });
  CHECK(contains(text, "rank 0 calls all_reduce (sum) of f32 (2) as collective 0"));
  CHECK(contains(text, "rank 1 calls all_reduce (sum) of f32 (3) as collective 0"));
  text = refused([](local_communicator& c, const tensor<float, 1>& x) {
    if (c.rank() == 0) return c.all_reduce(x);
    c.all_reduce(tensor<double, 1>{5, 5});
  });
  CHECK(contains(text, "f64 (2)"));
  text = refused([](local_communicator& c, const tensor<float, 1>& x) {
    if (c.rank() == 0) return c.all_reduce(x);
    c.broadcast(x, 1);
  });
  CHECK(contains(text, "rank 1 calls broadcast from rank 1"));
  text = refused([](local_communicator& c, const tensor<float, 1>& x) {
    c.barrier();
    c.all_reduce(x, c.rank() == 0 ? reduce_op::max : reduce_op::sum);
  });
  CHECK(contains(text, "all_reduce (max)"));
  CHECK(contains(text, "as collective 1"));
  refused([](local_communicator& c, const tensor<float, 1>& x) { c.broadcast(x, c.rank()); });
  refused([](local_communicator& c, const tensor<float, 1>& x) {
    const tensor<float, 2> square{{1, 2}, {3, 4}};
    if (c.rank() == 0) return c.send(square, 1);
    c.recv(x, 0);
  });
}

TEST_CASE("a rank that is missing at the deadline is named to those who wait") {
  std::atomic<bool> over{false};
  const auto found = messages(
      3,
      [&](local_communicator& c) {
        if (c.rank() == 1) {
          while (!over) sched_yield();
          return;
        }
        struct at_exit {
          std::atomic<bool>& over;
          ~at_exit() { over = true; }
        } end{over};
        c.all_reduce(tensor<float, 1>{1});
      },
      0.2);
  CHECK(contains(found[0], "rank 1 did not come within 0.2 s to all_reduce (sum) of f32 (1)"));
  CHECK(found[2] == found[0]);
}

TEST_CASE("a rank that ends while others wait for it is named at once") {
  const auto found = messages(2, [](local_communicator& c) {
    if (c.rank() == 0) c.barrier();
  });
  CHECK(contains(found[0], "rank 1 has ended while others wait for it in barrier"));
  CHECK(found[1].empty());
  const auto waiting = messages(2, [](local_communicator& c) {
    if (c.rank() == 0) c.recv(tensor<float, 1>{1}, 1);
  });
  CHECK(contains(waiting[0], "rank 1 has ended"));
}

TEST_CASE("a rank's exception ends the others' waiting and is thrown on") {
  std::string other;
  CHECK_THROWS_WITH_AS(run_ranks(2,
                                 [&](local_communicator& c) {
                                   if (c.rank() == 1) throw std::logic_error("the reason");
                                   try {
                                     c.barrier();
                                   } catch (const heddle::communication_error& e) {
                                     other = e.what();
                                     throw;
                                   }
                                 }),
                       "the reason", std::logic_error);
  CHECK(contains(other, "rank 1 ended with an error: the reason"));
}

TEST_CASE("abort from another thread ends who waits and who calls later") {
  local_world world(2);
  const auto found = [&] {
    std::string text;
    local_communicator waiting = world.communicator(0);
    world.abort("the user asked for it");
    try {
      waiting.barrier();
    } catch (const heddle::communication_error& e) {
      text = e.what();
    }
    return text;
  }();
  CHECK(found ==
        "heddle::barrier: the group of ranks has failed: the user asked for it; make a new one");
}

TEST_CASE("a group serves again after its ranks have ended") {
  local_world world(2);
  for (int run = 0; run < 3; ++run) {
    std::atomic<int> total{0};
    run_ranks(world, [&](local_communicator& c) {
      const tensor<std::int32_t, 1> x{c.rank() + 1};
      c.all_reduce(x);
      total += x(0);
    });
    CHECK(total == 6);
  }
}

TEST_CASE("wrong arguments of one rank are sentences") {
  local_world world(2);
  local_communicator c = world.communicator(0);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(world.communicator(2)),
      "heddle::local_world::communicator: there is no such rank: 2; ranks are 0 to 1",
      heddle::value_error);
  CHECK_THROWS_AS(local_world(0), heddle::value_error);
  CHECK_THROWS_AS(c.broadcast(tensor<float, 1>{1}, -1), heddle::value_error);
  CHECK_THROWS_AS(c.send(tensor<float, 1>{1}, 0), heddle::value_error);
  CHECK_THROWS_AS(c.all_reduce(tensor<float, 2>{{1, 2}, {3, 4}}.transpose()), heddle::value_error);
  CHECK_THROWS_AS(c.all_gather(tensor<float, 1>{1, 2}, tensor<float, 1>{1, 2, 3}),
                  heddle::shape_error);
  CHECK_THROWS_AS(c.all_reduce(heddle::any_tensor{}), heddle::state_error);
  CHECK_THROWS_AS(c.all_reduce(heddle::zeros<float, 1>({2}, heddle::meta())), heddle::device_error);
}
