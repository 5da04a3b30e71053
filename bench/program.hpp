// SPDX-License-Identifier: BSD-3-Clause
// The program of one goal: its works, who must be present, and what is demanded. Alone it races its
// contenders and prints a table; with --serve it answers bench/run, which lets them take turns with
// those of other programs.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "race.hpp"

namespace bench {

/// What a goal asks of one work, in the words of the line protocol.
inline std::string of_limit(double share) { return "limit " + std::to_string(share); }
inline std::string at_most(double number) {
  std::ostringstream text;
  text << "most " << number;
  return text.str();
}
inline std::string times_as_fast_as(const std::string& peer, double times) {
  return "peer " + peer + " " + std::to_string(times);
}

/// One work of a goal, measured with each of some thread counts.
struct work {
  std::string name;
  std::string unit;          ///< s, or what is counted
  std::vector<int> threads;  ///< each makes a case
  std::vector<std::string> demands;
  std::function<std::vector<contender>()> enter;  ///< makes the inputs; heddle's contenders first
};

struct goal {
  std::string name, title;
  std::vector<std::string> peers;  ///< without them the goal is not measured
  std::vector<work> works;
};

inline std::string time_text(double seconds) {
  char text[32];
  if (seconds <= 0) return "—";
  if (seconds < 1e-6) {
    std::snprintf(text, sizeof text, "%.3g ns", seconds * 1e9);
  } else if (seconds < 1e-3) {
    std::snprintf(text, sizeof text, "%.2f µs", seconds * 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.2f ms", seconds * 1e3);
  }
  return text;
}

inline std::string number_text(double number, const std::string& unit) {
  if (unit == "s") return time_text(number);
  char text[64];
  std::snprintf(text, sizeof text, "%.0f %s", number, unit.c_str());
  return text;
}

inline std::string ratio_text(double ratio) {
  if (!std::isfinite(ratio) || ratio <= 0) return "—";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", ratio);
  return text;
}

inline std::string title_of(const contender& c) {
  return c.peer + (c.variant.empty() ? "" : ", " + c.variant) + ", " + std::to_string(c.threads) +
         (c.threads == 1 ? " thread" : " threads");
}

namespace detail {

// Whether the two results agree, but for rounding.
inline bool agree(const std::vector<double>& first, const std::vector<double>& second) {
  if (first.size() != second.size()) return false;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!(std::abs(first[i] - second[i]) <= 1e-5 + 1e-4 * std::abs(first[i]))) return false;
  }
  return true;
}

inline void print_rows(const work& w, const std::vector<contender>& contenders,
                       const std::vector<double>& measured) {
  for (const int threads : w.threads) {
    double own = 0, limit = 0;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      if (contenders[i].threads != threads) continue;
      if (own <= 0 && contenders[i].peer == "heddle") own = measured[i];
      if (contenders[i].peer == "limit") limit = std::max(limit, measured[i]);
    }
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      if (contenders[i].threads != threads) continue;
      std::printf("| %s | %s | %s | %s | %s |\n", w.name.c_str(), title_of(contenders[i]).c_str(),
                  number_text(measured[i], w.unit).c_str(), ratio_text(measured[i] / own).c_str(),
                  ratio_text(limit / measured[i]).c_str());
    }
  }
  std::fflush(stdout);
}

inline int race_alone(const goal& g) {
  double load = 0;
  if (getloadavg(&load, 1) == 1 && load > 0.5) {
    std::printf("\nThe machine is not quiet: load %.1f.\n", load);
  }
  std::printf(
      "\n%s: %s\n\n| work | contender | time | × heddle | of the limit |\n|---|---|---|---|---|\n",
      g.name.c_str(), g.title.c_str());
  for (const work& w : g.works) {
    std::vector<contender> contenders = w.enter();
    std::vector<double> expected;
    for (const contender& c : contenders) {
      if (!c.values) continue;
      set_threads(c.threads);
      const std::vector<double> values = c.values();
      if (expected.empty()) expected = values;
      if (!agree(expected, values)) {
        std::fprintf(stderr, "bench: %s: the result of %s is not heddle's\n", w.name.c_str(),
                     title_of(c).c_str());
        return 1;
      }
    }
    print_rows(w, contenders, race(contenders, 9, 0.004));
  }
  return 0;
}

// Answers requests, lines of words between tabs, with lines that end with one of a single dot.
class server {
 public:
  explicit server(const goal& g) : goal_(g), replies_(fdopen(dup(STDOUT_FILENO), "w")) {
    dup2(STDERR_FILENO, STDOUT_FILENO);  // what a library prints is no reply
  }
  int serve() {
    for (std::string line; std::getline(std::cin, line);) {
      try {
        answer(line);
      } catch (const std::exception& problem) {
        std::fprintf(replies_, "error\t%s\n", problem.what());
      }
      std::fprintf(replies_, ".\n");
      std::fflush(replies_);
    }
    return 0;
  }

 private:
  const goal& goal_;
  std::FILE* replies_;
  std::vector<contender> contenders_;

  void answer(const std::string& line) {
    std::vector<std::string> words;
    std::istringstream stream(line);
    for (std::string word; std::getline(stream, word, '\t');) words.push_back(word);
    const std::string request = words.at(0);
    if (request == "works") {
      list();
    } else if (request == "enter") {
      contenders_.clear();
      for (const work& w : goal_.works) {
        if (w.name == words.at(1)) contenders_ = w.enter();
      }
      for (const contender& c : contenders_) {
        std::fprintf(replies_, "contender\t%s\t%s\t%d\n", c.peer.c_str(), c.variant.c_str(),
                     c.threads);
      }
    } else if (request == "values") {
      const contender& c = contenders_.at(std::stoul(words.at(1)));
      set_threads(c.threads);
      for (const double value : c.values ? c.values() : std::vector<double>{}) {
        std::fprintf(replies_, "%.17g\n", value);
      }
    } else if (request == "measure") {
      contender& c = contenders_.at(std::stoul(words.at(1)));
      std::fprintf(replies_, "%.17g\n", bench::measure(c, std::stod(words.at(2))));
    } else {
      throw std::invalid_argument("bench: there is no request '" + request + "'");
    }
  }

  void list() {
    std::fprintf(replies_, "goal\t%s\t%s\n", goal_.name.c_str(), goal_.title.c_str());
#if defined(HEDDLE_BENCH_NATIVE)
    std::fprintf(replies_, "build\tnative\n");
#else
    std::fprintf(replies_, "build\tdefault\n");
#endif
    for (const std::string& peer : goal_.peers) std::fprintf(replies_, "peer\t%s\n", peer.c_str());
    for (const work& w : goal_.works) {
      std::fprintf(replies_, "work\t%s\t%s", w.name.c_str(), w.unit.c_str());
      for (const int threads : w.threads) std::fprintf(replies_, "\tthreads %d", threads);
      for (const std::string& demand : w.demands) std::fprintf(replies_, "\t%s", demand.c_str());
      std::fprintf(replies_, "\n");
    }
  }
};

}  // namespace detail

/// What main does. usage: bench_<name> [--serve]
inline int run(int count, char** arguments, const goal& g) {
  tune(arguments);
  if (count > 1 && std::strcmp(arguments[1], "--serve") == 0) return detail::server(g).serve();
  return detail::race_alone(g);
}

}  // namespace bench
