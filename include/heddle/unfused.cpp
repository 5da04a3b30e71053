// SPDX-License-Identifier: BSD-3-Clause
// What the units of a build with HEDDLE_UNFUSED and HEDDLE_EXTERN_INTERPRETER share: compile this
// once into the program, with their flags.
#include <heddle/autograd/record.hpp>

#if !defined(HEDDLE_UNFUSED) || !defined(HEDDLE_EXTERN_INTERPRETER)
#error heddle: unfused.cpp is for programs compiled with HEDDLE_UNFUSED and HEDDLE_EXTERN_INTERPRETER
#endif

namespace heddle::inline v0 {

template exec::traced_statement exec::detail::make_traced<configuration>(
    void (*)(heddle::detail::tracer&, symbol*), int);
template void exec::detail::finish_binding<configuration>(exec::traced_bound&);
template exec::interpreted_launch exec::detail::begin_launch<configuration>(
    const exec::traced_bound&);
template void exec::detail::submit_traced<configuration>(const exec::traced_bound&,
                                                         const exec::operand*, storage* const*,
                                                         int);
template void exec::submit_interpreted<configuration>(exec::interpreted_launch&&, device);
template handle<detail::tape_node> detail::record_interpreted<configuration>(
    const exec::traced_bound&, std::vector<detail::edge>&&);

}  // namespace heddle::inline v0
