// Learning rates over time: pure functions of the step.
#pragma once

#include <cstdint>
#include <string>

namespace tapescope {

struct Schedule {
  std::string name = "one-cycle";  // constant, step, cosine, one-cycle
  double peak = 0.05;              // the learning rate that was asked for
  std::int64_t steps = 1;          // of the whole training
  double warmup = 0.25;            // one-cycle: share of the steps that rise
  double factor = 0.1;  // step: what the rate falls to at 1/2 and again at 3/4 of the way

  // constant: peak. step: peak, times factor at half of the steps and again at three quarters.
  // cosine: peak * (1 + cos(pi t)) / 2 (Loshchilov and Hutter 2017). one-cycle: linear from
  // peak / 25 up to peak, then along a cosine to peak / 1e4 (Smith and Topin 2019).
  // `step` counts from 0; from `steps` on the rate stays what it is at the end.
  double at(std::int64_t step) const;
  // Throws a usage error on an unknown name, a rate that is not positive, a warm-up outside [0, 1)
  // or a factor outside (0, 1].
  void check() const;
};

}  // namespace tapescope
