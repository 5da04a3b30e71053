// SPDX-License-Identifier: BSD-3-Clause
// The version of heddle, in one place; the build system reads it from here.
#pragma once

#define HEDDLE_VERSION_MAJOR 0
#define HEDDLE_VERSION_MINOR 1
#define HEDDLE_VERSION_PATCH 0
