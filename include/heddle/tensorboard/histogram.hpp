// SPDX-License-Identifier: BSD-3-Clause
// Elements in buckets: those of TensorFlow, or the user's own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <heddle/tensorboard/elements.hpp>
#include <heddle/tensorboard/event.hpp>

namespace heddle::inline v0::tensorboard::detail {

/// The edges that TensorFlow's writers have: ±1e-12 · 1.1^k below 1e20, and 0.
inline const std::vector<double>& usual_edges() {
  static const std::vector<double> edges = [] {
    std::vector<double> positive;
    for (double v = 1e-12; v < 1e20; v *= 1.1) positive.push_back(v);
    std::vector<double> all;
    for (auto v = positive.rbegin(); v != positive.rend(); ++v) all.push_back(-*v);
    all.push_back(0);
    all.insert(all.end(), positive.begin(), positive.end());
    return all;
  }();
  return edges;
}

/// The histogram of elements over ascending edges: a bucket is [edge, next), the last one has its
/// upper edge, too. Buckets before the first and behind the last that hold something are left out,
/// but for one empty one in front. Throws value_error for no elements, NaN and infinities.
inline histogram count_elements(const any_tensor& given, const std::vector<double>& edges) {
  const any_tensor x = given.to(cpu()).contiguous();
  if (x.size() == 0) {
    raise<value_error>("heddle::add_histogram: there are no elements to count; give one at least");
  }
  histogram h;
  std::vector<double> counts(edges.size() - 1);
  with_elements(x, [&](const auto* values) {
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const auto v = static_cast<double>(values[i]);
      if (!std::isfinite(v)) {
        raise<value_error>("heddle::add_histogram: an element is not finite: ", v, " at ", i,
                           "; log finite numbers, such as those of a masked copy");
      }
      h.min = std::min(h.min, v);
      h.max = std::max(h.max, v);
      h.count += 1;
      h.sum += v;
      h.sum_of_squares += v * v;
      if (v < edges.front() || v > edges.back()) continue;
      const auto above = std::upper_bound(edges.begin(), edges.end(), v);
      const auto bucket = static_cast<std::size_t>(above - edges.begin()) - 1;
      counts[std::min(bucket, counts.size() - 1)] += 1;
    }
  });
  std::size_t first = 0, end = counts.size();
  while (first < end && counts[first] == 0) ++first;
  while (end > first && counts[end - 1] == 0) --end;
  h.limits = {edges[first]};
  h.counts = {0};
  for (std::size_t k = first; k < end; ++k) {
    h.limits.push_back(edges[k + 1]);
    h.counts.push_back(counts[k]);
  }
  return h;
}

}  // namespace heddle::inline v0::tensorboard::detail
