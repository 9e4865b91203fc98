// The settings of each method for one picture.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/explanation/request.h"

namespace tapescope {

// Its baselines, made when first asked for, segments and the domain of its pixels. What it is made
// of must outlive it.
class PictureSettings {
 public:
  PictureSettings(const ExplanationRequest& request, const Preprocess& preprocess,
                  const Picture& picture);
  explain::ExplainOptions of(std::string_view method);

 private:
  explain::Bound bound(const std::string& option, const std::string& text) const;

  const ExplanationRequest& options_;
  const Preprocess& preprocess_;
  const Picture& picture_;
  std::map<std::string, std::vector<Tensor>> made_;
  explain::Segments segments_;  // none: a grid
};

}  // namespace tapescope
