// SPDX-License-Identifier: BSD-3-Clause
// Event files, read back byte by byte. tests/tensorboard/check has the real TensorBoard read one.
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include "../support/said.hpp"
#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>
#include <protozero/pbf_reader.hpp>
#include <zlib.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/tensorboard/training_log.hpp>
#include <heddle/training/fit.hpp>

using namespace heddle;
using support::said;
using tensorboard::summary_writer;
using tensorboard::writer_options;
namespace files = std::filesystem;

namespace {

std::vector<std::string> event_files(const std::string& directory) {
  std::vector<std::string> found;
  for (const auto& each : files::directory_iterator(directory)) {
    if (each.is_regular_file()) found.push_back(each.path().string());
  }
  return found;
}
std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// CRC-32C bit by bit.
std::uint32_t slow_crc(const std::string& bytes) {
  std::uint32_t c = 0xFFFFFFFFu;
  for (const char b : bytes) {
    c ^= static_cast<unsigned char>(b);
    for (int bit = 0; bit < 8; ++bit) c = c >> 1 ^ (c % 2 != 0 ? 0x82F63B78u : 0);
  }
  return ~c;
}
std::uint32_t masked(std::uint32_t c) { return (c >> 15 | c << 17) + 0xa282ead8u; }

std::uint64_t number(const std::string& bytes, std::size_t at, int size) {
  std::uint64_t value = 0;
  for (int k = size - 1; k >= 0; --k) {
    value = value << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(k)));
  }
  return value;
}

struct logged {
  double wall = 0;
  std::int64_t step = 0;
  std::string version, tag, text, plugin, png;
  int session = 0;
  double scalar = NAN;
  std::vector<double> histogram, limits, counts;
  std::vector<std::int64_t> image;
};

void read_value(protozero::pbf_reader value, logged& e) {
  while (value.next()) {
    switch (value.tag()) {
      case 1:
        e.tag = value.get_string();
        break;
      case 2:
        e.scalar = static_cast<double>(value.get_float());
        break;
      case 4: {
        protozero::pbf_reader image = value.get_message();
        while (image.next()) {
          if (image.tag() == 4) {
            e.png = image.get_string();
          } else {
            e.image.push_back(image.get_int32());
          }
        }
        break;
      }
      case 5: {
        protozero::pbf_reader h = value.get_message();
        while (h.next()) {
          if (h.tag() <= 5) {
            e.histogram.push_back(h.get_double());
          } else {
            std::vector<double>& to = h.tag() == 6 ? e.limits : e.counts;
            const auto all = h.get_packed_double();
            to.assign(all.begin(), all.end());
          }
        }
        break;
      }
      case 8: {
        protozero::pbf_reader tensor = value.get_message();
        while (tensor.next()) {
          if (tensor.tag() == 8) {
            e.text = tensor.get_string();
          } else {
            tensor.skip();
          }
        }
        break;
      }
      case 9: {
        protozero::pbf_reader metadata = value.get_message();
        while (metadata.next(1)) {
          protozero::pbf_reader plugin = metadata.get_message();
          while (plugin.next(1)) e.plugin = plugin.get_string();
        }
        break;
      }
      default:
        value.skip();
    }
  }
}

logged read_event(const std::string& payload) {
  logged e;
  protozero::pbf_reader r(payload);
  while (r.next()) {
    switch (r.tag()) {
      case 1:
        e.wall = r.get_double();
        break;
      case 2:
        e.step = r.get_int64();
        break;
      case 3:
        e.version = r.get_string();
        break;
      case 5: {
        protozero::pbf_reader summary = r.get_message();
        while (summary.next(1)) read_value(summary.get_message(), e);
        break;
      }
      case 7: {
        protozero::pbf_reader session = r.get_message();
        while (session.next(1)) e.session = session.get_enum();
        break;
      }
      default:
        r.skip();
    }
  }
  return e;
}

/// The events of the one file in a directory. Fails where a record is not whole.
std::vector<logged> read(const std::string& directory) {
  const std::vector<std::string> names = event_files(directory);
  REQUIRE(names.size() == 1);
  const std::string bytes = content(names[0]);
  std::vector<logged> events;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::uint64_t length = number(bytes, at, 8);
    REQUIRE(at + 16 + length <= bytes.size());
    CHECK(number(bytes, at + 8, 4) == masked(slow_crc(bytes.substr(at, 8))));
    const std::string payload = bytes.substr(at + 12, length);
    CHECK(number(bytes, at + 12 + length, 4) == masked(slow_crc(payload)));
    events.push_back(read_event(payload));
    at += 16 + length;
  }
  return events;
}

/// What the real TensorBoard reads, too.
void write_known_run(const std::string& directory) {
  summary_writer writer({.log_dir = directory});
  for (int step = 0; step < 50; ++step) {
    writer.add_scalar("loss", 2.5 / (1 + step), step);
    writer.add_scalars("accuracy", {{"training", 0.5 + step * 0.01}, {"test", 0.5 + step * 0.008}},
                       step);
  }
  writer.add_text("notes", "a **bold** word", 3);
  tensor<float, 1> weights = empty<float, 1>({1000});
  for (std::int64_t i = 0; i < 1000; ++i) weights(i) = static_cast<float>(i % 37 - 18) * 0.125f;
  writer.add_histogram("weights", weights, 7);
  tensor<std::uint8_t, 3> image = empty<std::uint8_t, 3>({3, 4, 5});
  for (std::int64_t i = 0; i < 60; ++i) image.data()[i] = static_cast<std::uint8_t>(i * 4);
  writer.add_image("picture", image, 9);
  writer.close();
}

}  // namespace

TEST_CASE("CRC-32C: the check value, and the same as bit by bit") {
  CHECK(tensorboard::detail::crc32c("123456789") == 0xE3069283u);
  static_assert(tensorboard::detail::crc32c("123456789") == 0xE3069283u);
  std::string text;
  for (int i = 0; i < 70; ++i) {
    CHECK(tensorboard::detail::crc32c(text) == slow_crc(text));
    text.push_back(static_cast<char>(i * 37 + 11));
  }
}

TEST_CASE("the known run") {
  const char* const given = std::getenv("HEDDLE_TEST_LOGDIR");
  const temporary_directory own;
  const std::string at = given != nullptr ? given : own.path();
  write_known_run(at);
  const std::vector<logged> events = read(at);
  REQUIRE(events.size() == 54);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].wall > 1.7e9);
  for (int step = 0; step < 50; ++step) {
    const logged& e = events[static_cast<std::size_t>(step) + 1];
    CHECK(e.tag == "loss");
    CHECK(e.step == step);
    CHECK(e.scalar == static_cast<double>(static_cast<float>(2.5 / (1 + step))));
    CHECK(e.wall >= events[0].wall);
  }
  CHECK(events[51].tag == "notes/text_summary");
  CHECK(events[51].text == "a **bold** word");
  CHECK(events[51].plugin == "text");
  const logged& h = events[52];
  REQUIRE(h.histogram.size() == 5);
  CHECK(h.histogram[0] == -2.25);
  CHECK(h.histogram[1] == 2.25);
  CHECK(h.histogram[2] == 1000);
  CHECK(h.limits.size() == h.counts.size());
  CHECK(h.counts.front() == 0);
  double all = 0, zeros = 0;
  for (std::size_t k = 0; k < h.counts.size(); ++k) {
    all += h.counts[k];
    if (k > 0 && h.limits[k - 1] <= 0 && 0 < h.limits[k]) zeros = h.counts[k];
  }
  CHECK(all == 1000);
  CHECK(zeros == 27);  // i % 37 == 18
  CHECK(events[53].image == std::vector<std::int64_t>{4, 5, 3});
  for (const char* name : {"/accuracy_training", "/accuracy_test"}) {
    const std::vector<logged> curve = read(at + name);
    REQUIRE(curve.size() == 51);
    CHECK(curve[50].tag == "accuracy");
    CHECK(curve[50].step == 49);
  }
}

TEST_CASE("images of every format and dtype become the same pixels") {
  const auto pixels = [](const any_tensor& x, std::string_view format) {
    return tensorboard::detail::pixels_of(x, format);
  };
  tensor<float, 3> chw = empty<float, 3>({3, 2, 4});
  tensor<float, 3> hwc = empty<float, 3>({2, 4, 3});
  std::string expected;
  for (std::int64_t y = 0; y < 2; ++y) {
    for (std::int64_t x = 0; x < 4; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        const float v = static_cast<float>(y * 12 + x * 3 + c) / 20;  // the last are above 1
        chw(c, y, x) = hwc(y, x, c) = v;
        expected.push_back(static_cast<char>(static_cast<unsigned char>(std::fmin(v, 1.0f) * 255)));
      }
    }
  }
  CHECK(pixels(chw, "CHW").bytes == expected);
  CHECK(pixels(hwc, "HWC").bytes == expected);
  CHECK(pixels(tensor<float, 2>{{NAN, -1.0f, 0.5f}}, "HW").bytes == std::string("\0\0\x7f", 3));
  CHECK(pixels(tensor<std::uint8_t, 2>{{1, 2}, {3, 4}}, "HW").bytes == "\1\2\3\4");
  // the PNG of it: a signature, and data that zlib gives back
  const std::string png = tensorboard::detail::png_of(pixels(chw, "CHW"));
  CHECK(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  const std::size_t data = png.find("IDAT");
  const auto length = static_cast<uLong>(static_cast<unsigned char>(png[data - 1]));
  std::string rows(64, '\0');
  uLongf size = rows.size();
  REQUIRE(uncompress(reinterpret_cast<Bytef*>(rows.data()), &size,
                     reinterpret_cast<const Bytef*>(png.data() + data + 4), length) == Z_OK);
  CHECK(rows.substr(0, size) == '\0' + expected.substr(0, 12) + '\0' + expected.substr(12));
}

TEST_CASE("a restart says from which step on the earlier run counts no more") {
  const temporary_directory own;
  summary_writer({.log_dir = own.path(), .purge_step = 40, .filename_suffix = ".again"}).close();
  const std::vector<logged> events = read(own.path());
  REQUIRE(events.size() == 2);
  CHECK(events[0].step == 40);
  CHECK(events[1].step == 40);
  CHECK(events[1].session == 1);
  const std::string name = files::path(event_files(own.path())[0]).filename().string();
  CHECK(name.find("events.out.tfevents.1") == 0);
  CHECK(name.find(".again") == name.size() - 6);
}

TEST_CASE("the writer's thread brings events to the file without a flush") {
  const temporary_directory own;
  summary_writer by_count({.log_dir = own.path() + "/count", .max_queue = 5, .flush_secs = 1000});
  summary_writer by_time({.log_dir = own.path() + "/time", .max_queue = 1000, .flush_secs = 0.05});
  const auto arrive = [](const std::string& directory, std::size_t wanted) {
    for (int i = 0; i < 2000; ++i) {
      if (content(event_files(directory)[0]).size() > wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  };
  for (int i = 0; i < 6; ++i) by_count.add_scalar("x", i, i);
  by_time.add_scalar("x", 1);
  CHECK(arrive(own.path() + "/count", 150));
  CHECK(arrive(own.path() + "/time", 60));
  const std::size_t before = content(event_files(own.path() + "/count")[0]).size();
  by_count.add_scalar("x", 7, 7);
  by_count.flush();
  CHECK(content(event_files(own.path() + "/count")[0]).size() > before);
}

TEST_CASE("several threads may add") {
  const temporary_directory own;
  summary_writer writer({.log_dir = own.path()});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) writer.add_scalar("of " + std::to_string(t), i, i);
    });
  }
  for (std::thread& t : threads) t.join();
  writer.close();
  std::map<std::string, std::int64_t> next;
  for (const logged& e : read(own.path())) {
    if (e.tag.empty()) continue;
    CHECK(e.step == next[e.tag]++);
  }
  CHECK(next.size() == 4);
  CHECK(next["of 3"] == 500);
}

TEST_CASE("bad input is refused in one sentence") {
  const temporary_directory own;
  summary_writer writer({.log_dir = own.path()});
  CHECK(said<value_error>([&] { writer.add_scalar("", 1); }) ==
        "heddle::add_scalar: the tag is empty; name the curve");
  CHECK(said<value_error>([&] {
          writer.add_histogram("h", zeros<float, 1>({0}));
        }).find("there are no elements to count") != std::string::npos);
  CHECK(said<value_error>([&] {
          writer.add_histogram("h", tensor<float, 1>{1.0f, NAN});
        }) ==
        "heddle::add_histogram: an element is not finite: nan at 1; log finite numbers, such as "
        "those of a masked copy");
  CHECK(said<value_error>([&] {
          writer.add_histogram("h", tensor<float, 1>{1.0f}, 0, {1.0, 1.0});
        }).find("the edges are not ascending") != std::string::npos);
  CHECK(said<value_error>([&] {
          writer.add_image("i", zeros<float, 3>({3, 2, 2}), 0, "CWH");
        }) == "heddle::add_image: there is no such format: \"CWH\"; CHW, HWC and HW are known");
  CHECK(said<shape_error>([&] {
          writer.add_image("i", zeros<float, 2>({2, 2}));
        }) == "heddle::add_image: the rank is not the format's: 2; CHW has 3 axes");
  CHECK(said<shape_error>([&] {
          writer.add_image("i", zeros<float, 3>({2, 2, 2}));
        }) == "heddle::add_image: an image cannot have 2 channels; 1, 3 and 4 are known");
  CHECK(said<shape_error>([&] {
          writer.add_image("i", zeros<float, 3>({3, 0, 2}));
        }).find("the image is empty or too large: 0 x 2") != std::string::npos);
  CHECK(said<type_error>([&] {
          writer.add_image("i", zeros<std::int64_t, 2>({2, 2}), 0, "HW");
        }).find("pixels cannot be i64") != std::string::npos);
  CHECK(said<value_error>([&] {
          summary_writer({.log_dir = own.path(), .max_queue = 0});
        }).find("max_queue and flush_secs are to be positive: 0, 120") != std::string::npos);
  CHECK(said<io_error>([&] {
          summary_writer("/proc/no/such");
        }).find("heddle::summary_writer: the directory cannot be made: /proc/no/such: ") == 0);
  writer.close();
  writer.close();
  CHECK(said<state_error>([&] { writer.add_scalar("x", 1); }).find("it is closed") !=
        std::string::npos);
  CHECK(read(own.path()).size() == 1);  // nothing of what was refused
}

TEST_CASE("a full disk is said, keeps whole records, and loses nothing") {
  const temporary_directory own;
  summary_writer writer({.log_dir = own.path(), .max_queue = 1000});
  for (int i = 0; i < 10; ++i) writer.add_scalar("x", i, i);
  writer.flush();
  const std::size_t before = content(event_files(own.path())[0]).size();
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit small{before + 60, limit.rlim_max};
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  for (int i = 10; i < 40; ++i) writer.add_scalar("x", i, i);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string text = said<io_error>([&] { writer.flush(); });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(text.find("heddle::summary_writer: the event file cannot be written: ") == 0);
  CHECK(text.find("; what is not in the file yet is kept for the next flush") != std::string::npos);
  CHECK(content(event_files(own.path())[0]).size() == before);
  writer.add_scalar("x", 40, 40);
  writer.close();
  const std::vector<logged> events = read(own.path());
  REQUIRE(events.size() == 42);
  for (int i = 0; i <= 40; ++i) CHECK(events[static_cast<std::size_t>(i) + 1].step == i);
}

TEST_CASE("fit tells its numbers to the log") {
  const temporary_directory own;
  summary_writer writer({.log_dir = own.path()});
  std::vector<int> batches{1, 2, 3};
  fit({.epochs = 2, .callbacks = {tensorboard::training_log(writer, "a/")}}, batches,
      [](int batch) { return static_cast<double>(batch); });
  std::map<std::string, std::vector<double>> curves;
  for (const logged& e : read(own.path())) curves[e.tag].push_back(e.scalar);
  CHECK(curves["a/step/loss"] == std::vector<double>{1, 2, 3, 1, 2, 3});
  CHECK(curves["a/epoch/loss"] == std::vector<double>{2, 2});
  CHECK(curves["a/epoch/samples per second"].size() == 2);
}
