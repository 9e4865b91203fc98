// Explanations of chosen boxes, and how good they are.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tools/detection/box_quality.h"
#include "tools/tasks/detection/box_choice.h"

namespace tapescope::tasks {

class BoxJudge {
 public:
  // `model` must outlive it. `score`: copies with random parts are made, which scores need.
  BoxJudge(const detection::BoxNet& model, const Backend& backend, bool score, std::uint64_t seed);

  detection::CellReader& cells() { return trained_.cells; }
  // One per box, in their order: one run of d-rise serves them all. Throws a usage error where the
  // method does not apply to what was chosen.
  std::vector<explain::Attribution> explain(const std::string& method, const Tensor& input,
                                            std::span<const ChosenBox> boxes,
                                            const explain::ExplainOptions& settings);
  // One panel of `method`'s maps per box.
  std::vector<quality::Panel> score(const std::string& method,
                                    std::span<const explain::Attribution> maps,
                                    std::span<const detection::BoxSubject> subjects,
                                    std::span<const ChosenBox> boxes,
                                    const explain::ExplainOptions& settings);
  // Maps that know nothing.
  std::vector<quality::PanelRow> score_controls(const detection::BoxSubject& subject);

 private:
  struct Net {
    Net(const detection::BoxNet& model, const Backend& backend)
        : explainer(model, backend), cells(model, backend) {}
    std::vector<explain::Attribution> explain(const std::string& method, const Tensor& input,
                                              std::span<const ChosenBox> boxes,
                                              const explain::ExplainOptions& settings);
    detection::BoxExplainer explainer;
    detection::CellReader cells;
  };

  Net trained_;
  std::vector<std::unique_ptr<detection::BoxNet>> random_models_;  // by part
  std::vector<std::unique_ptr<Net>> random_;
  std::uint64_t seed_;
};

// The names of --method; all of a detector's are those of every model, odam and d-rise.
std::vector<std::string> box_methods(const ExplanationRequest& explanation);

// What scores of a chosen box are taken of.
detection::BoxSubject subject_of(const DetectorPicture& picture, const ChosenBox& box,
                                 const Preprocess& preprocess, std::uint64_t seed);

}  // namespace tapescope::tasks
