// How a model's activation functions and batch norms are, in a few numbers each: cheap enough to be
// taken while it trains. Sums are recorded behind the model and made on the device: what is read of
// the values are a few numbers per unit, so that no step has to be watched and copied.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/inspection/structure.h"

namespace tapescope::inspection {

struct PulseRow {
  std::string path, op;
  int units = 0;
  // relu: units that are 0 everywhere; sigmoid and tanh: units whose slope is below 5 % of the
  // steepest everywhere.
  int dead = 0;
  double zero_fraction = 0;
  double saturated_fraction = 0;  // sigmoid and tanh
  double input_std = 0, output_std = 0;
};

// How far a batch norm's running statistics are from what the pictures bring: per channel, in
// running standard deviations, the root of the mean square.
struct NormDrift {
  std::string path;
  double mean_shift = 0;     // of (mean - running mean) / running std
  double log_std_ratio = 0;  // of ln(std / running std)
};

struct Pulse {
  std::vector<PulseRow> activations;
  std::vector<NormDrift> norms;
};

class PulseProbe {
 public:
  // The model outlives it; its parameters may change between measurements.
  PulseProbe(const Record& record, const Shape& image, const Backend& backend);
  ~PulseProbe();
  Pulse measure(const Tensor& images);  // f32 {N,H,W,C}, one batch

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapescope::inspection
