// A classifier that says where: the box of its answer's class map.
#pragma once

#include <string>
#include <vector>

#include "tools/detection/detector.h"
#include "tools/explanation/class_logits.h"

namespace tapescope::tasks {

class Localiser {
 public:
  // `share`: of the class map's largest value, what the box's region is above. `target`: a class to
  // look for whatever the answer is, or "predicted". Throws a usage error for a model without class
  // maps and for a class that it does not know.
  Localiser(ClassLogits net, const Backend& backend, double share, const std::string& target);

  struct Answer {
    int category = 0;  // the likeliest class, or the one looked for
    double probability = 0;
    detection::Box box;  // in the picture's pixels; without area where nothing speaks for the class
    double peak_x = 0, peak_y = 0;  // where most does: the middle of that pixel
  };
  Answer find(const Image& picture, const std::string& name,
              detection::DetectTimes* times = nullptr);

 private:
  ClassLogits net_;
  explain::Explainer explainer_;
  double share_;
  std::int64_t target_ = -1;  // none: the likeliest
};

}  // namespace tapescope::tasks
