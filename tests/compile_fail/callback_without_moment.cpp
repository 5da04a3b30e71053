// SPDX-License-Identifier: BSD-3-Clause
// A callback that listens to nothing: a name is misspelt.
// expect: heddle::callback: the type has none of on_fit_begin, on_epoch_begin, on_batch_end, on_epoch_end, on_fit_end and on_failure, callable with a training_run&
#include <heddle/training/callback.hpp>

struct logger {
#ifdef HEDDLE_CONTROL
  void on_epoch_end(heddle::training_run&) {}
#else
  void on_epoch_ends(heddle::training_run&) {}
#endif
};

heddle::callback use() { return logger{}; }
