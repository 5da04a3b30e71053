// SPDX-License-Identifier: BSD-3-Clause
// The parameters of a struct that does not list its members.
// expect: heddle: this type is no module: it lists no members; write HEDDLE_MODULE(type, its members) in it
#include <heddle/nn/layer_norm.hpp>
#include <heddle/nn/state.hpp>

struct block {
  heddle::nn::layer_norm norm{4};
#ifdef HEDDLE_CONTROL
  HEDDLE_MODULE(block, norm)
#endif
};

void use(const block& b) { static_cast<void>(heddle::parameters(b)); }
