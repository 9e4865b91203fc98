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

// Baselines and segments of one picture, made when first asked for.
class PictureSettings {
 public:
  PictureSettings(const ExplanationOptions& options, const ModelInfo& info)
      : options_(options), info_(info) {}
  // The settings of a method with what belongs to this picture. A new picture forgets the old.
  explain::ExplainOptions settings(std::string_view method, const Picture& picture);

 private:
  const ExplanationOptions& options_;
  const ModelInfo& info_;
  const Picture* of_ = nullptr;
  std::map<std::string, std::vector<Tensor>> made_;
  explain::Segments segments_;  // none: a grid
};

// The class named by --target, or the one with the highest of `logits` {1,classes}.
std::int64_t target_class(const std::string& target, const ModelInfo& info, const Tensor& logits);

// Answers of a loaded model's own tape.
explain::Explainer explainer_of(const LoadedModel& loaded, const Backend& backend);

}  // namespace tapescope::cli
