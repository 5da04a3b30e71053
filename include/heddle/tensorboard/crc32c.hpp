// SPDX-License-Identifier: BSD-3-Clause
// CRC-32C (Castagnoli), as RFC 3720 has it, and its masked form of TensorFlow's record files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace heddle::inline v0::tensorboard::detail {

/// table[k][b]: what byte b does to the checksum, with k bytes behind it.
struct crc_tables {
  std::uint32_t of[8][256];

  constexpr crc_tables() : of{} {
    constexpr std::uint32_t polynomial = 0x82F63B78u;  // reflected
    for (std::uint32_t b = 0; b < 256; ++b) {
      std::uint32_t c = b;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1u) != 0 ? c >> 1 ^ polynomial : c >> 1;
      of[0][b] = c;
    }
    for (int k = 1; k < 8; ++k) {
      for (int b = 0; b < 256; ++b) of[k][b] = of[k - 1][b] >> 8 ^ of[0][of[k - 1][b] & 0xffu];
    }
  }
};
inline constexpr crc_tables crc_table;

constexpr std::uint32_t crc32c(std::string_view bytes) noexcept {
  std::uint32_t c = ~std::uint32_t{0};
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    // eight bytes at a time: their tables do not wait for one another
    const std::uint32_t low =
        c ^ (byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24);
    c = crc_table.of[7][low & 0xffu] ^ crc_table.of[6][low >> 8 & 0xffu] ^
        crc_table.of[5][low >> 16 & 0xffu] ^ crc_table.of[4][low >> 24] ^
        crc_table.of[3][byte(i + 4)] ^ crc_table.of[2][byte(i + 5)] ^ crc_table.of[1][byte(i + 6)] ^
        crc_table.of[0][byte(i + 7)];
  }
  for (; i < bytes.size(); ++i) c = c >> 8 ^ crc_table.of[0][(c ^ byte(i)) & 0xffu];
  return ~c;
}

/// So that a checksum of data that holds checksums is no fixed point.
constexpr std::uint32_t masked_crc32c(std::string_view bytes) noexcept {
  const std::uint32_t c = crc32c(bytes);
  return (c >> 15 | c << 17) + 0xa282ead8u;
}

/// Appends a record: length, its checksum, the payload, its checksum; little-endian.
inline void append_record(std::string& to, std::string_view payload) {
  const auto append = [&to](std::uint64_t value, int bytes) {
    for (int k = 0; k < bytes; ++k) to.push_back(static_cast<char>(value >> (8 * k) & 0xffu));
  };
  const std::size_t begin = to.size();
  append(payload.size(), 8);
  append(masked_crc32c(std::string_view(to).substr(begin, 8)), 4);
  to.append(payload);
  append(masked_crc32c(payload), 4);
}

}  // namespace heddle::inline v0::tensorboard::detail
