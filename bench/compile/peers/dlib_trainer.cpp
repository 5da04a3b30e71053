// SPDX-License-Identifier: BSD-3-Clause
// ../mlp_trainer.cpp in dlib, whose Adam decays weights with the gradient.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <dlib/dnn.h>

using mlp = dlib::loss_multiclass_log<
    dlib::fc<10, dlib::relu<dlib::fc<512, dlib::input<dlib::matrix<float>>>>>>;

int main(int count, char** arguments) {
  if (count < 2) {
    std::puts("usage: dlib_trainer <steps>");
    return 0;
  }
  mlp model;
  dlib::dnn_trainer<mlp, dlib::adam> trainer(model, dlib::adam(0.01f, 0.9f, 0.999f));
  trainer.set_learning_rate(1e-3);
  dlib::rand random;
  std::vector<dlib::matrix<float>> x(64);
  std::vector<unsigned long> y(64);
  for (std::size_t i = 0; i < 64; ++i) {
    x[i] = dlib::matrix_cast<float>(dlib::randm(784, 1, random));
    y[i] = random.get_integer(10);
  }
  for (int step = std::atoi(arguments[1]); step > 0; --step) {
    trainer.train_one_step(x, y);
    std::printf("loss %.4f\n", trainer.get_average_loss());
  }
}
