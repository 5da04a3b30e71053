// SPDX-License-Identifier: BSD-3-Clause
// A graph frozen into a pack of integers: the name of its kernel. Equal graphs are one type.
#pragma once

#include <utility>

#include <heddle/graph/passes/differentiate.hpp>

namespace heddle::inline v0 {

/// A graph as a type. Word 0 is the header: version, number of nodes; then one word a node, two
/// where graph::has_wide_extra says so.
template <std::uint64_t... Code>
struct program {
  static constexpr int word_count = sizeof...(Code);                  ///< the header's included
  static constexpr std::uint64_t words[sizeof...(Code)] = {Code...};  ///< what graph::decode reads
  /// Of the graph: a node has one word or two.
  static constexpr int node_count = static_cast<int>(words[0] & 0xFFFFu);
};

namespace graph {

/// Appends the words of a graph.
constexpr list<std::uint64_t> encode(const graph& g) {
  list<std::uint64_t> words;
  words.reserve(2 * g.size() + 1);
  words.push_back(encoding_version << 56 | g.size());
  for (const node& n : g.nodes) {
    words.push_back(encode_word(n));
    if (has_wide_extra(n.code)) words.push_back(n.extra);
  }
  return words;
}

/// The graph of a program's words. Throws (a compile error where constant) on another version.
constexpr graph decode(const std::uint64_t* words, std::size_t count,
                       const list<const op_info*>& user_ops = {}) {
  if (count == 0 || words[0] >> 56 != encoding_version) {
    throw "heddle: the program's words have another encoding version";
  }
  graph g;
  g.user_ops = user_ops;
  g.nodes.reserve(words[0] & 0xFFFFu);
  for (std::size_t i = 1; i < count; ++i) {
    node n = decode_word(words[i]);
    if (has_wide_extra(n.code)) n.extra = words[++i];
    n.varies = varies_of(g.nodes, n);
    g.nodes.push_back(n);
  }
  return g;
}

namespace detail {

/// The distinct codes of user ops in a program (a constant's second word is not a node).
struct user_codes {
  static constexpr int limit = 32;
  op codes[limit] = {};
  int count = 0;
};

constexpr user_codes find_user_codes(const std::uint64_t* words, std::size_t count) {
  user_codes found;
  for (std::size_t i = 1; i < count; ++i) {
    const op code = decode_word(words[i]).code;
    if (has_wide_extra(code)) ++i;
    if (code < op::user) continue;
    bool known = false;
    for (int k = 0; k < found.count; ++k) known = known || found.codes[k] == code;
    if (known) continue;
    if (found.count == user_codes::limit) throw "heddle: over 32 user ops in one statement";
    found.codes[found.count++] = code;
  }
  return found;
}

template <class Program>
inline constexpr user_codes user_codes_of =
    find_user_codes(Program::words, static_cast<std::size_t>(Program::word_count));

template <class Program, int... I>
constexpr list<const op_info*> user_ops_of(std::integer_sequence<int, I...>) {
  list<const op_info*> ops;
  (ops.push_back(&op_information<user_codes_of<Program>.codes[I]>), ...);
  return ops;
}

template <int Capacity>
struct word_buffer {
  std::uint64_t words[Capacity] = {};
  int size = 0;  ///< the number needed, which may exceed the capacity
};

template <int Capacity, class Make>
consteval word_buffer<Capacity> fill_words() {
  const list<std::uint64_t> words = encode(Make::make());
  word_buffer<Capacity> buffer;
  buffer.size = static_cast<int>(words.size());
  for (int i = 0; i < buffer.size && i < Capacity; ++i) {
    buffer.words[i] = words[static_cast<std::size_t>(i)];
  }
  return buffer;
}

template <class Make, int Capacity>
struct frozen_words {
  static constexpr word_buffer<Capacity> buffer = fill_words<Capacity, Make>();
  template <std::size_t... I>
  static program<buffer.words[I]...> name(std::index_sequence<I...>);
};

template <class Make>
consteval auto freeze() {
  // Most statements fit the small buffer; the large ones are traced a second time.
  using small = frozen_words<Make, 48>;
  if constexpr (small::buffer.size <= 48) {
    return decltype(small::name(std::make_index_sequence<small::buffer.size>{})){};
  } else {
    using exact = frozen_words<Make, small::buffer.size>;
    return decltype(exact::name(std::make_index_sequence<small::buffer.size>{})){};
  }
}

}  // namespace detail

/// The graph of a program type.
template <std::uint64_t... Code>
constexpr graph thaw(program<Code...>) {
  using frozen_program = program<Code...>;
  using indices = std::make_integer_sequence<int, detail::user_codes_of<frozen_program>.count>;
  return decode(frozen_program::words, sizeof...(Code),
                detail::user_ops_of<frozen_program>(indices{}));
}

/// The program of the graph that `Make::make()`, a static constexpr function, returns.
template <class Make>
using frozen = decltype(detail::freeze<Make>());

}  // namespace graph
}  // namespace heddle::inline v0
