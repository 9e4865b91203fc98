// What evaluation normalises with: averages over training's batches of each batch's mean and
// variance, as PyTorch's BatchNorm2d keeps them. With n values a channel, m the momentum:
//
//   running_mean'     = (1 - m) running_mean + m mean
//   running_variance' = (1 - m) running_variance + m variance n / max(n - 1, 1)
//   batches'          = batches + 1
//
// `variance` is the biased one; of a single value the unbiased one is taken to be 0.
#pragma once

#include <span>

#include "kernels/common/variant.h"

namespace tapescope {

// The vectors of one batch normalisation.
struct RunningNorm {
  std::int64_t C = 0;
  double n = 0;            // values a channel
  bool n_is_read = false;  // n is an operand instead
};
struct RunningStatisticsShape {
  DType dtype = DType::f32;  // of all but `batches`
  double momentum = 0.1;
  // Several on a GPU, one on the CPU: norm k's pointers lie `pitch` behind those of norm k - 1.
  std::span<const RunningNorm> norms;  // read by prepare only
  std::int64_t pitch = 0;
  // On a GPU: norm 0 has an operand behind n, halted {} i64. Where it is not 0 nothing is written.
  bool can_halt = false;
};
// in: running_mean {C}, running_variance {C}, batches {} i64, mean {C}, variance {C}, and n {}
// where it is read (else anything)    out: the new running_mean, running_variance, batches; may be
// the old
Variants<RunningStatisticsShape> running_statistics_variants();

}  // namespace tapescope
