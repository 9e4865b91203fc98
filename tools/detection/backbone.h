// A classifier of the zoo as the first part of a detector.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tools/detection/box_net.h"

namespace tapescope::detection {

// How the weights that such a net is known for want their pictures; "": as a detector without one.
InputForm form_of_backbone(const std::string& name);

class Backbone {
 public:
  // Throws a usage error where there is no such model, or where it has no map of one of the
  // strides.
  explicit Backbone(const DetectorConfig& config);

  // Of strides 4, 8 and 16, each {N,H/s,W/s,C}: the last value of that size that the net computes.
  // What would come after them is not recorded.
  std::array<Var, 3> maps(Var image) const;
  // C of each.
  const std::array<std::int64_t, 3>& channels() const { return channels_; }
  // Of the part before the maps, called as the classifier calls them.
  const std::vector<ParameterRef>& parameters() const { return parameters_; }

 private:
  std::unique_ptr<Classifier> net_;
  std::array<std::int64_t, 3> channels_{};
  std::vector<ParameterRef> parameters_;
};

}  // namespace tapescope::detection
