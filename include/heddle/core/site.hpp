// SPDX-License-Identifier: BSD-3-Clause
// Where a statement stands in the user's source: errors and the profiler name it.
#pragma once

#include <heddle/core/config.hpp>

namespace heddle::inline v0 {

/// A line of a source file; line 0: not known.
struct source_place {
  const char* file = "";  ///< as `__FILE__` has it, for as long as the program runs
  int line = 0;           ///< from 1 on
};

namespace detail {

inline constinit thread_local source_place current_place;

/// The statement that this thread evaluates, for a scope. Within another one that stays the outer:
/// it is the user's.
class statement_scope {
 public:
  statement_scope(const char* file, int line) noexcept : outermost_(current_place.line == 0) {
    if (outermost_) current_place = {file, line};
  }
  ~statement_scope() {
    if (outermost_) current_place = {};
  }
  statement_scope(const statement_scope&) = delete;
  statement_scope& operator=(const statement_scope&) = delete;

 private:
  bool outermost_;
};

}  // namespace detail

/// The statement that this thread is evaluating.
[[nodiscard]] inline source_place current_statement() noexcept { return detail::current_place; }

}  // namespace heddle::inline v0
