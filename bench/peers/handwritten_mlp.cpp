// SPDX-License-Identifier: BSD-3-Clause
// Compiled with -O3 -march=native -ffast-math: what a person would choose for code of their own.
#include "handwritten_mlp.hpp"

#include <cmath>

#include <oneapi/dnnl/dnnl.h>

namespace bench {

namespace {

constexpr int inputs = 784, hidden = 32, classes = 10;

// y = act(x wᵀ + b)
void forward(const float* x, const float* w, const float* b, float* y, int batch, int in, int out,
             bool relu) {
  if (batch == 1) {
    // four rows at a time: x is read once for them
    int j = 0;
    for (; j + 4 <= out; j += 4) {
      float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      const float *r0 = w + static_cast<std::int64_t>(j) * in, *r1 = r0 + in, *r2 = r1 + in,
                  *r3 = r2 + in;
      for (int i = 0; i < in; ++i) {
        s0 += x[i] * r0[i];
        s1 += x[i] * r1[i];
        s2 += x[i] * r2[i];
        s3 += x[i] * r3[i];
      }
      y[j] = s0 + b[j];
      y[j + 1] = s1 + b[j + 1];
      y[j + 2] = s2 + b[j + 2];
      y[j + 3] = s3 + b[j + 3];
    }
    for (; j < out; ++j) {
      float s = 0;
      const float* r = w + static_cast<std::int64_t>(j) * in;
      for (int i = 0; i < in; ++i) s += x[i] * r[i];
      y[j] = s + b[j];
    }
  } else {
    for (int n = 0; n < batch; ++n) {
      for (int j = 0; j < out; ++j) y[n * out + j] = b[j];
    }
    dnnl_sgemm('N', 'T', batch, out, in, 1, x, in, w, in, 1, y, out);
  }
  if (relu) {
    for (int i = 0; i < batch * out; ++i) y[i] = y[i] > 0 ? y[i] : 0;
  }
}

// dx = (d w) where the layer below was active
void backward(const float* d, const float* w, const float* below, float* dx, int batch, int in,
              int out) {
  if (batch == 1) {
    for (int i = 0; i < in; ++i) dx[i] = 0;
    for (int j = 0; j < out; ++j) {
      for (int i = 0; i < in; ++i) dx[i] += d[j] * w[j * in + i];
    }
  } else {
    dnnl_sgemm('N', 'N', batch, in, out, 1, d, out, w, in, 0, dx, in);
  }
  for (int i = 0; i < batch * in; ++i) dx[i] = below[i] > 0 ? dx[i] : 0;
}

// w -= lr dᵀ x, b -= lr Σ d
void update(const float* d, const float* x, float* w, float* b, int batch, int in, int out,
            float lr) {
  if (batch == 1) {
    for (int j = 0; j < out; ++j) {
      const float s = lr * d[j];
      for (int i = 0; i < in; ++i) w[j * in + i] -= s * x[i];
    }
  } else {
    dnnl_sgemm('T', 'N', out, in, batch, -lr, d, out, x, in, 1, w, in);
  }
  for (int n = 0; n < batch; ++n) {
    for (int j = 0; j < out; ++j) b[j] -= lr * d[n * out + j];
  }
}

}  // namespace

handwritten_mlp::handwritten_mlp(int batch)
    : w1(hidden * inputs),
      b1(hidden),
      w2(hidden * hidden),
      b2(hidden),
      w3(classes * hidden),
      b3(classes),
      batch_(batch) {
  const auto rows = static_cast<std::size_t>(batch);
  h1_.resize(rows * hidden);
  h2_.resize(rows * hidden);
  z_.resize(rows * classes);
  d1_.resize(rows * hidden);
  d2_.resize(rows * hidden);
}

float handwritten_mlp::step(const float* x, const std::int64_t* target, float lr) {
  forward(x, w1.data(), b1.data(), h1_.data(), batch_, inputs, hidden, true);
  forward(h1_.data(), w2.data(), b2.data(), h2_.data(), batch_, hidden, hidden, true);
  forward(h2_.data(), w3.data(), b3.data(), z_.data(), batch_, hidden, classes, false);
  float loss = 0;
  const float scale = 1.0f / static_cast<float>(batch_);
  for (int n = 0; n < batch_; ++n) {
    float* z = z_.data() + n * classes;
    const auto t = static_cast<int>(target[n]);
    float most = z[0];
    for (int j = 1; j < classes; ++j) most = z[j] > most ? z[j] : most;
    const float shifted = z[t] - most;
    float sum = 0;
    for (int j = 0; j < classes; ++j) sum += z[j] = std::exp(z[j] - most);
    loss += std::log(sum) - shifted;
    for (int j = 0; j < classes; ++j) z[j] *= scale / sum;
    z[t] -= scale;
  }
  backward(z_.data(), w3.data(), h2_.data(), d2_.data(), batch_, hidden, classes);
  update(z_.data(), h2_.data(), w3.data(), b3.data(), batch_, hidden, classes, lr);
  backward(d2_.data(), w2.data(), h1_.data(), d1_.data(), batch_, hidden, hidden);
  update(d2_.data(), h1_.data(), w2.data(), b2.data(), batch_, hidden, hidden, lr);
  update(d1_.data(), x, w1.data(), b1.data(), batch_, inputs, hidden, lr);
  return loss * scale;
}

}  // namespace bench
