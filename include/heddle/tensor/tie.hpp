// SPDX-License-Identifier: BSD-3-Clause
// `tie`: several destinations of one `assign`.
#pragma once

namespace heddle::inline v0 {

/// Destinations in order, each held by value: handles, which share what they name.
template <class... Destinations>
struct tied {
  static constexpr int size = 0;  ///< how many destinations there are
};

template <class First, class... Rest>
struct tied<First, Rest...> {
  static constexpr int size = 1 + static_cast<int>(sizeof...(Rest));

  First first;         ///< the destination in front
  tied<Rest...> rest;  ///< those behind it

  constexpr tied(const First& one, const Rest&... others) : first(one), rest(others...) {}
};

/// Holds what `assign(tie(m, v, p), e1, e2, e3)` writes in one launch: tensors, variables or views.
template <class... Destinations>
[[nodiscard]] constexpr tied<Destinations...> tie(const Destinations&... destinations) {
  return tied<Destinations...>(destinations...);
}

/// The destination at a position.
template <int Position, class First, class... Rest>
[[nodiscard]] constexpr const auto& get(const tied<First, Rest...>& destinations) noexcept {
  static_assert(Position >= 0 && Position <= static_cast<int>(sizeof...(Rest)),
                "heddle::get: there is no such position among the tied destinations");
  if constexpr (Position == 0) {
    return destinations.first;
  } else {
    return get<Position - 1>(destinations.rest);
  }
}

}  // namespace heddle::inline v0
