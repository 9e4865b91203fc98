// What the subcommands that explain pictures have in common.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "autograd/explain/explainer.h"
#include "tools/cli/cli.h"
#include "tools/cli/pictures.h"

namespace tapescope::cli {

struct ExplanationOptions {
  std::string methods = "all", target = "predicted";
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

// The class named by --target, or the one with the highest of `logits` {1,classes}.
std::int64_t target_class(const std::string& target, const ModelInfo& info, const Tensor& logits);

// Answers of a loaded model's own tape.
explain::Explainer explainer_of(const LoadedModel& loaded, const Backend& backend);

}  // namespace tapescope::cli
