// SPDX-License-Identifier: BSD-3-Clause
// What a summary_writer says when something is wrong. compress2 stands before zlib's, so that it
// can fail.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "../support/temporary_directory.hpp"
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <zlib.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/tensorboard/summary_writer.hpp>

using heddle::tensorboard::summary_writer;
namespace files = std::filesystem;

namespace {

bool no_memory = false;

}  // namespace

extern "C" int compress2(Bytef* to, uLongf* length, const Bytef* from, uLong given, int level) {
  static const auto library = reinterpret_cast<decltype(&compress2)>(dlsym(RTLD_NEXT, "compress2"));
  return no_memory ? Z_MEM_ERROR : library(to, length, from, given, level);
}

TEST_CASE("an event file that cannot be created is named") {
  const temporary_directory here;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(summary_writer({.log_dir = here.path(), .filename_suffix = "/none"})),
      doctest::Contains(
          "/none: No such file or directory; name a directory that can be written to"),
      heddle::io_error);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(summary_writer({.log_dir = here.path(), .filename_suffix = "/none"})),
      doctest::Contains("heddle::summary_writer: the event file cannot be created: "),
      heddle::io_error);
}

TEST_CASE("an image is pixels of 8 bits or floats, and needs memory to compress it") {
  const temporary_directory here;
  summary_writer writer({.log_dir = here.path()});
  CHECK_THROWS_WITH_AS(writer.add_image("x", heddle::zeros<std::int64_t, 2>({2, 3}), 0, "HW"),
                       "heddle::add_image: pixels cannot be i64; u8 from 0 to 255 and floats from "
                       "0 to 1 are expected",
                       heddle::type_error);
  const heddle::any_tensor image(heddle::zeros<std::uint8_t, 2>({2, 3}));
  no_memory = true;
  CHECK_THROWS_WITH_AS(writer.add_image("x", image, 0, "HW"),
                       "heddle::add_image: zlib has no memory to compress 8 bytes",
                       heddle::out_of_memory);
  no_memory = false;
  writer.add_image("x", image, 0, "HW");
}

TEST_CASE("nothing is added to a writer that is closed") {
  const temporary_directory here;
  summary_writer writer({.log_dir = here.path()});
  writer.close();
  CHECK_THROWS_WITH_AS(writer.add_scalar("x", 1),
                       doctest::Contains("heddle::summary_writer: it is closed: "),
                       heddle::state_error);
  CHECK_THROWS_WITH_AS(writer.add_scalar("x", 1),
                       doctest::Contains("; make another one to write on"), heddle::state_error);
}
