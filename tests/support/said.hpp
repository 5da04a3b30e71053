// SPDX-License-Identifier: BSD-3-Clause
// What a call says when it throws.
#pragma once

#include <string>

namespace support {

/// The message of the Error that f throws; empty where it throws none.
template <class Error, class F>
std::string said(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace support
