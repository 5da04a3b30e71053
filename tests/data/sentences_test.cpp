// SPDX-License-Identifier: BSD-3-Clause
// What datasets say of indices.
#include <doctest/doctest.h>

#include <heddle/data/loader.hpp>
#include <heddle/tensor/creation.hpp>

using heddle::tensor;

TEST_CASE("samples that a dataset does not have are neither chosen nor loaded") {
  const heddle::tensor_dataset samples(heddle::zeros<float, 1>({2}));
  const tensor<std::int64_t, 1> chosen{0, 2};
  CHECK_THROWS_WITH_AS(heddle::subset(samples, chosen),
                       "heddle::subset: an index is outside of the dataset: 2 of 2 samples; "
                       "indices are 0 to 1",
                       heddle::index_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(samples.get_batch(chosen.data(), 2)),
                       "heddle::loader: a sample's index is outside of the dataset: 2 of 2 "
                       "samples; indices are 0 to 1",
                       heddle::index_error);
}
