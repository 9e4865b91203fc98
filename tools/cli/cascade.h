// Maps of a model whose layers become random one after the other: `benchmark-explanations
// --cascade`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/cli/explanation_options.h"
#include "tools/quality/randomisation.h"

namespace tapescope::cli {

class Cascade {
 public:
  // A map of the model's own, and what it was made with.
  void add(const explain::Attribution& attribution, const Tensor& picture, const Tensor& classes,
           const explain::ExplainOptions& settings);
  // Makes them all again at every step. Prints which to stderr.
  void run(const LoadedModel& loaded, const Backend& backend, const ExplanationOptions& options);

  // Steps (each `layer`, and `methods`: mean similarity over the pictures by name).
  nlohmann::ordered_json json() const;
  std::string text() const;

 private:
  struct Item {
    std::string method;
    Tensor picture, classes;
    explain::ExplainOptions settings;
  };
  std::vector<double> means(const quality::CascadeStep& step) const;  // one a method
  std::vector<Item> items_;
  std::vector<Map> own_;              // one an item
  std::vector<std::string> methods_;  // in the order in which they came
  std::vector<quality::CascadeStep> steps_;
};

}  // namespace tapescope::cli
