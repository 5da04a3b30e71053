// SPDX-License-Identifier: BSD-3-Clause
// erf for float and double, branch-free.
#pragma once

#include <heddle/core/math_exponential.hpp>

namespace heddle::inline v0::math {
namespace detail {

// |x| < 1: erf(x) = x + x E(x^2). Else 1 - e^(g(|x|) - x^2), g = log(erfc(a)) + a^2. Chebyshev
// nodes.
HEDDLE_HD HEDDLE_INLINE float erf_host(float x) {
  const float z = x * x;
  const float near =
      x + x * horner(z, 0x1.06eba8p-3f, -0x1.812746p-2f, 0x1.ce2f08p-4f, -0x1.b829c8p-6f,
                     0x1.562a60p-8f, -0x1.bccf66p-11f, 0x1.d88750p-14f, -0x1.445f48p-17f);
  const float a = at_most(magnitude(x), format<float>::erf_highest());
  const float g =
      horner(a, 0x1.4fb068p-12f, -0x1.2156fap+0f, 0x1.790298p-2f, -0x1.c2e356p-4f, 0x1.b0e246p-6f,
             -0x1.37ecc6p-8f, 0x1.38e5e6p-11f, -0x1.825ce4p-15f, 0x1.b77830p-20f);
  const float far = with_sign(1.f - exp_of_negative(g - a * a), x);
  return magnitude(x) < 1.f ? near : far;
}
HEDDLE_HD HEDDLE_INLINE double erf_host(double x) {
  const double z = x * x;
  const double near =
      x + x * horner(z, 0x1.06eba8214db69p-3, -0x1.812746b0379e7p-2, 0x1.ce2f21a042bdep-4,
                     -0x1.b82ce312889bap-6, 0x1.565bcd0e6502dp-8, -0x1.c02db3feeb579p-11,
                     0x1.f9a326c233146p-14, -0x1.f4d2561aeafd4p-17, 0x1.b9e6509b9867dp-20,
                     -0x1.5f6d925a0bc7ap-23, 0x1.fc4356498c2d9p-27, -0x1.4e607b41a6416p-30,
                     0x1.7f072188e194dp-34, -0x1.29b9f1b3df556p-38);
  const double a = at_most(magnitude(x), format<double>::erf_highest());
  // In t the interval [1, 6] is [-1/5, 2/5], and the zeros of erfc are far.
  const double t = (a - 2.0) / (a + 4.0);
  const double g = horner(
      t, -0x1.5d6cca6c7d457p+0, -0x1.4125c27ea520ap+1, 0x1.e35683e36dbe6p-3, -0x1.26a6c07265a67p-1,
      -0x1.43548385f92cbp-2, -0x1.abc0aa16aa85ep-5, -0x1.e02f1e528be9cp-3, -0x1.6bf2ab15a035ap-3,
      -0x1.0575e0764a865p-4, -0x1.082eb56b3f3a3p-3, -0x1.023d0161b3268p-3, -0x1.0615ad93553eap-4,
      -0x1.5512d24eecfbap-4, -0x1.80bd1c8d40a3ap-4, -0x1.f7bf79db2751dp-5, -0x1.e90e5bdfabb33p-5,
      -0x1.32eb070a54f91p-4, -0x1.462428d858a43p-4, 0x1.0f36e481c91d8p-5, -0x1.70035a6460603p-5,
      -0x1.323f7c887ada2p-1, 0x1.128d71a8e8dfdp+0, -0x1.b3c0349ca335ap-1);
  const double far = with_sign(1.0 - exp_of_negative(g - a * a), x);
  return magnitude(x) < 1.0 ? near : far;
}

}  // namespace detail

/// The error function.
HEDDLE_MATH_1(erf, ::erff, ::erf)

}  // namespace heddle::inline v0::math
