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
  std::string baseline, quadrature = "midpoint";
  explain::ExplainOptions settings;

  void add_to(CLI::App& app);
  std::vector<std::string> chosen_methods() const;
  // What paths and references of a method start from, by name.
  std::string baseline_names(std::string_view method) const;
};

// Baselines of one picture, made when first asked for.
class PictureBaselines {
 public:
  PictureBaselines(const ExplanationOptions& options, const ModelInfo& info)
      : options_(options), info_(info) {}
  // The settings of a method with the baselines for this picture. A new picture forgets the old.
  explain::ExplainOptions settings(std::string_view method, const Picture& picture);

 private:
  const ExplanationOptions& options_;
  const ModelInfo& info_;
  const Picture* of_ = nullptr;
  std::map<std::string, std::vector<Tensor>> made_;
};

// The class named by --target, or the one with the highest of `logits` {1,classes}.
std::int64_t target_class(const std::string& target, const ModelInfo& info, const Tensor& logits);

// Answers of a loaded model's own tape.
explain::Explainer explainer_of(const LoadedModel& loaded, const Backend& backend);

}  // namespace tapescope::cli
