// What the subcommands that explain pictures have in common.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "autograd/explain/explainer.h"
#include "tools/cli/cli.h"
#include "tools/training/picture.h"

namespace tapescope::cli {

struct ExplanationOptions {
  std::string methods = "all", target = "predicted", against, unit;
  bool log_probability = false;
  std::string baseline, quadrature = "midpoint", segments = "grid";
  explain::ExplainOptions settings;

  void add_to(CLI::App& app);
  std::vector<std::string> chosen_methods() const;
  // What paths and references of a method start from, by name.
  std::string baseline_names(std::string_view method) const;
};

// The settings of each method for one picture: its baselines, made when first asked for, and
// segments. `options`, `info` and `picture` must outlive it.
class PictureSettings {
 public:
  PictureSettings(const ExplanationOptions& options, const ModelInfo& info, const Picture& picture);
  explain::ExplainOptions of(std::string_view method);

 private:
  const ExplanationOptions& options_;
  const ModelInfo& info_;
  const Picture& picture_;
  std::map<std::string, std::vector<Tensor>> made_;
  explain::Segments segments_;  // none: a grid
};

// What is explained: the class named by --target, or the one with the highest of `logits`
// {1,classes}, or the unit of --unit.
struct Target {
  std::int64_t index = 0;
  std::string name;  // for people
};
Target target_of(const ExplanationOptions& options, const ModelInfo& info, const Tensor& logits);

// Records a loaded model's answers: its logits, or what --log-probability, --against and --unit put
// in their place. The index that target_of() gives picks among them.
explain::Explainer::Record recorder_of(const LoadedModel& loaded,
                                       const ExplanationOptions& options);
explain::Explainer explainer_of(const LoadedModel& loaded, const Backend& backend,
                                const ExplanationOptions& options);

}  // namespace tapescope::cli
