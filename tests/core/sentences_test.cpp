// SPDX-License-Identifier: BSD-3-Clause
// What devices, streams and threads say when something is wrong.
#include <pthread.h>

#include <doctest/doctest.h>

#include <heddle/core/stream.hpp>
#include <heddle/core/thread_pool.hpp>

using namespace heddle;

TEST_CASE("devices that cannot be are refused with the range of those that can") {
  CHECK_THROWS_WITH_AS(static_cast<void>(cpu(max_host_devices)),
                       doctest::Contains("heddle::cpu: there is no such virtual host device: "),
                       device_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(cuda(-1)),
                       "heddle::cuda: there is no such device: -1; the index is 0 or more",
                       device_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(current_stream(cuda(max_cuda_devices))),
                       doctest::Contains("; heddle uses cuda:0 to cuda:"), device_error);
}

TEST_CASE("a CUDA device in a program without the backend says what is missing") {
  CHECK_THROWS_WITH_AS(
      static_cast<void>(stream(cuda(0))),
      "heddle::stream: this program is built without the device's backend: "
      "cuda:0; devices here are cpu(), cpu(i) and meta(); compile a unit with nvcc",
      device_error);
}

TEST_CASE("only a CUDA device's stream is adopted") {
  CHECK_THROWS_WITH_AS(static_cast<void>(stream::adopt(cpu(0), nullptr)),
                       "heddle::stream::adopt: the device has no streams of its own: cpu:0; adopt "
                       "takes those of cuda(i)",
                       device_error);
}

TEST_CASE("a number of threads is 1 at least") {
  CHECK_THROWS_WITH_AS(set_num_threads(0),
                       doctest::Contains("heddle::set_num_threads: the count is out of range: 0"),
                       value_error);
}

TEST_CASE("a thread that the system refuses is an error of the stream that asked for it") {
  pthread_attr_t usual, larger;
  REQUIRE(pthread_getattr_default_np(&usual) == 0);
  REQUIRE(pthread_attr_init(&larger) == 0);
  // a stack that no address space holds
  REQUIRE(pthread_attr_setstacksize(&larger, std::size_t{1} << 60) == 0);
  REQUIRE(pthread_setattr_default_np(&larger) == 0);
  stream s(cpu(0));
  CHECK_THROWS_WITH_AS(s.enqueue([] {}),
                       "heddle::start_thread: the system refused another thread; raise its limit",
                       state_error);
  CHECK(pthread_setattr_default_np(&usual) == 0);
  pthread_attr_destroy(&larger);
  pthread_attr_destroy(&usual);
  bool ran = false;
  s.enqueue([&] { ran = true; });
  s.synchronize();
  CHECK(ran);
}
