// Where the time of a training step goes, node by node: `train --profile N`.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "autograd/program/program.h"

namespace tapescope {

// What the device can do at most (estimate.h); 0 where that is not known, and no shares are told.
struct Ceilings {
  double flops_per_second = 0, bytes_per_second = 0;
};

// One node of the step over the steps that were looked at.
struct ProfiledNode {
  std::string path = {}, owner = {}, op = {}, variant = {};
  double seconds = 0;  // median of a step
  Cost cost;
  // The time that the ceilings allow as a share of what it took (Williams et al. 2009, "Roofline").
  // Above 1 where fewer multiplications are done than the equation says, as by Winograd's.
  double share_of_roof(const Ceilings& ceilings) const;
};

class StepProfile {
 public:
  // Looks at `steps` steps, after two that make everything ready.
  explicit StepProfile(std::int64_t steps) : wanted_(steps) {}

  // Runs the step, and looks at it while that is wanted: then each node runs by itself and is
  // waited for. The bits are the same.
  std::vector<Tensor> run(Program& step, std::span<const NamedTensor> inputs, std::int64_t rows);
  bool complete() const { return looked_at() == wanted_; }

  // Nodes in the order in which they run.
  std::vector<ProfiledNode> nodes() const;
  // By the node of the model that they were recorded for, those that take most first.
  std::string to_text(const Ceilings& ceilings) const;
  std::string to_json(const Ceilings& ceilings) const;
  // The steps in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.
  std::string to_trace() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Look {
    double begin = 0, end = 0;    // of the step, in seconds since the first
    std::vector<double> seconds;  // of each node
    std::vector<double> ends;     // when each was done
  };
  std::int64_t looked_at() const { return static_cast<std::int64_t>(looks_.size()); }
  double since_first() const {
    return std::chrono::duration<double>(Clock::now() - first_).count();
  }
  double step_seconds() const;    // median
  double kernel_seconds() const;  // all nodes together
  std::int64_t wanted_, seen_ = 0, rows_ = 0;
  std::vector<StepInfo> steps_;
  std::vector<Look> looks_;
  Clock::time_point first_;
};

}  // namespace tapescope
