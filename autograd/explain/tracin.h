// Which training examples an answer was learnt from.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/program/program.h"
#include "autograd/tape.h"

namespace tapescope::explain {

// The gradient of one sample's loss with respect to parameters, all in one row.
class SampleGradients {
 public:
  // `record` runs one sample, given as inputs of the tape, and returns its loss, one value. The
  // parameters' values are read when a gradient is asked for.
  using Record = std::function<Var(Tape& tape)>;
  SampleGradients(const Record& record, std::span<const ParameterRef> parameters,
                  const Backend& backend);
  std::vector<float> of(std::span<const NamedTensor> inputs);

 private:
  std::unique_ptr<Program> program_;
};

// TracIn (Pruthi et al. 2020, arXiv 2002.08484, equation 2): sum over checkpoints t of
// rate_t * grad l(w_t, z) . grad l(w_t, z'). Above 0: a step on z lowers the loss of z', z is a
// proponent of it; below: an opponent. One checkpoint's share.
double tracin_share(double rate, std::span<const float> gradient, std::span<const float> other);

}  // namespace tapescope::explain
