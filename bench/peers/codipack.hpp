// SPDX-License-Identifier: BSD-3-Clause
// CoDiPack on the work of goal C11: a chain of multiplications of one number, recorded and
// differentiated.
#pragma once

#include <cstdint>

#include "../contender.hpp"

namespace bench {

/// A node of a chain that long: recorded and differentiated; recorded alone; its bytes.
contender codipack_chain(std::int64_t length);
contender codipack_recording(std::int64_t length);
contender codipack_memory(std::int64_t length);
/// Eight multiplications and their derivatives.
contender codipack_product();

}  // namespace bench
