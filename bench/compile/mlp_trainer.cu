// SPDX-License-Identifier: BSD-3-Clause
// The same program by nvcc, so that it runs on CUDA devices too.
#include "mlp_trainer.cpp"
