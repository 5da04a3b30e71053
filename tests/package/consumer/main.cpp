// SPDX-License-Identifier: BSD-3-Clause
// The smallest user of heddle, and of what each component it was given brings along.
#include <heddle/version.hpp>

#ifdef HEDDLE_WITH_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif
#ifdef HEDDLE_WITH_JSON
#include <nlohmann/json.hpp>
#endif

static_assert(__cplusplus >= 202002L, "heddle::heddle asks for C++20");
#if defined(CONSUMER_HAS_HOST) != defined(HEDDLE_WITH_ONEDNN) || \
    defined(CONSUMER_HAS_HOST) != defined(_OPENMP)
#error "heddle::host brings oneDNN and OpenMP, and nothing else does"
#endif
#if defined(CONSUMER_HAS_IO) != defined(HEDDLE_WITH_JSON)
#error "heddle::io brings JSON, and nothing else does"
#endif

int main() {
  int status = HEDDLE_VERSION_MAJOR >= 0 ? 0 : 1;
#ifdef HEDDLE_WITH_ONEDNN
  if (dnnl::engine::get_count(dnnl::engine::kind::cpu) != 1) status = 1;
#endif
#ifdef HEDDLE_WITH_JSON
  if (nlohmann::json::parse("[1, 2]").size() != 2) status = 1;
#endif
  return status;
}
