// SPDX-License-Identifier: BSD-3-Clause
// For .clangd alone: clang's CUDA wrapper asks for this file, which CUDA 13 no longer has.
#pragma once
