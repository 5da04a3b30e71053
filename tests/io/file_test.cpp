// SPDX-License-Identifier: BSD-3-Clause
// Reading, mapping and replacing files.
#include <cstring>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <vector>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>
#include <signal.h>

#include <heddle/io/file.hpp>

using names = std::vector<std::string>;

TEST_CASE("what is written is read, and nothing else is left in the directory") {
  const temporary_directory place;
  const std::string path = place / "a";
  for (const std::string& content :
       {std::string(), std::string("one\0two", 7), std::string(100000, 'x')}) {
    heddle::write_file(path, content);
    CHECK(heddle::read_file(path) == content);
    CHECK(place.names() == names{"a"});
  }
}

TEST_CASE("a replacement that is not committed leaves the old file and no temporary") {
  const temporary_directory place;
  heddle::write_file(place / "a", "old");
  {
    heddle::atomic_file replacement(place / "a");
    replacement.write("new");
    CHECK(replacement.written() == 3);
    CHECK(place.names().size() == 2);
    CHECK(heddle::read_file(place / "a") == "old");
  }
  CHECK(place.names() == names{"a"});
  CHECK(heddle::read_file(place / "a") == "old");
}

TEST_CASE("two replacements of one file at a time do not meet") {
  const temporary_directory place;
  heddle::atomic_file first(place / "a");
  heddle::atomic_file second(place / "a");
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(heddle::read_file(place / "a") == "second");
  first.commit();
  CHECK(heddle::read_file(place / "a") == "first");
  CHECK(place.names() == names{"a"});
}

TEST_CASE("a write that fails names the byte, and leaves the old file and no temporary") {
  const temporary_directory place;
  heddle::write_file(place / "a", "old");
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit limited = before;
  limited.rlim_cur = 1000;
  const auto previous = signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limited) == 0);
  std::string message;
  try {
    heddle::write_file(place / "a", std::string(5000, 'x'));
  } catch (const heddle::io_error& failure) {
    message = failure.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, previous);
  CHECK(message.find("heddle::atomic_file: writing failed: ") == 0);
  CHECK(message.find("at byte 1000: File too large") != std::string::npos);
  CHECK(heddle::read_file(place / "a") == "old");
  CHECK(place.names() == names{"a"});
}

TEST_CASE("what cannot be opened, or is no plain file, is refused with its name") {
  const temporary_directory place;
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(place / "none")),
                       doctest::Contains("none: No such file or directory"), heddle::io_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::map_file(place / "")),
                       doctest::Contains("this is no plain file"), heddle::io_error);
  REQUIRE(mkfifo((place / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(place / "pipe")),
                       doctest::Contains("this is no plain file"), heddle::io_error);
  CHECK_THROWS_WITH_AS(heddle::write_file(place / "none/a", "x"),
                       doctest::Contains("the file cannot be created"), heddle::io_error);
}

TEST_CASE("a file beyond the byte budget is refused") {
  const temporary_directory place;
  heddle::write_file(place / "a", "12345");
  CHECK(heddle::read_file(place / "a", 5) == "12345");
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(place / "a", 4)),
                       doctest::Contains("has 5 bytes; the budget is 4"), heddle::io_error);
  CHECK_THROWS_AS(static_cast<void>(heddle::map_file(place / "a", 4)), heddle::io_error);
}

TEST_CASE(
    "a mapping holds the file's bytes, keeps them when it is replaced, and does not write to it") {
  const temporary_directory place;
  heddle::write_file(place / "a", "12345");
  const heddle::handle<heddle::storage> mapped = heddle::map_file(place / "a");
  REQUIRE(mapped->bytes() == 5);
  CHECK(std::memcmp(mapped->data(), "12345", 5) == 0);
  mapped->data()[0] = std::byte{'9'};
  CHECK(heddle::read_file(place / "a") == "12345");
  heddle::write_file(place / "a", "other");
  CHECK(std::memcmp(mapped->data(), "92345", 5) == 0);
  heddle::write_file(place / "a", "");
  CHECK(heddle::map_file(place / "a")->bytes() == 0);
}
