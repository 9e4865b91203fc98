#include "tools/tasks/detection/box_judge.h"

#include <algorithm>

#include "tools/explanation/baselines.h"
#include "tools/explanation/drawing.h"
#include "tools/quality/controls.h"

namespace tapescope::tasks {

using namespace detection;

std::vector<explain::Attribution> BoxJudge::Net::explain(const std::string& method,
                                                         const Tensor& input,
                                                         std::span<const ChosenBox> boxes,
                                                         const explain::ExplainOptions& settings) {
  std::vector<explain::Attribution> maps;
  if (method == "d-rise") {
    std::vector<CellNumber> targets;
    for (const ChosenBox& box : boxes) {
      if (box.what.side >= 0 || box.against) {
        throw usage_error(
            "d-rise asks how much of a box is left, its place and its classes at once: it has no "
            "--side and no --against");
      }
      targets.push_back(box.what);
    }
    DRiseOptions options;
    options.masks = std::max(2, static_cast<int>(settings.budget) - 1);
    options.seed = settings.seed;
    options.chunk = settings.chunk;
    return d_rise(cells, input, settings.baselines.at(0), targets, options);
  }
  for (const ChosenBox& box : boxes) {
    maps.push_back(explainer.explain(method, input, box.what, settings, box.against));
  }
  return maps;
}

BoxJudge::BoxJudge(const BoxNet& model, const Backend& backend, bool score, std::uint64_t seed)
    : trained_(model, backend), seed_(seed) {
  if (!score) return;
  for (DetectorPart part : kDetectorParts) {
    random_models_.push_back(model.randomised(part, seed));
    random_.push_back(std::make_unique<Net>(*random_models_.back(), backend));
  }
}

std::vector<explain::Attribution> BoxJudge::explain(const std::string& method, const Tensor& input,
                                                    std::span<const ChosenBox> boxes,
                                                    const explain::ExplainOptions& settings) {
  return trained_.explain(method, input, boxes, settings);
}

std::vector<quality::Panel> BoxJudge::score(const std::string& method,
                                            std::span<const explain::Attribution> maps,
                                            std::span<const BoxSubject> subjects,
                                            std::span<const ChosenBox> boxes,
                                            const explain::ExplainOptions& settings) {
  std::vector<quality::Panel> panels;
  if (maps.empty()) return panels;
  const Tensor& x = subjects[0].x;
  const int height = static_cast<int>(x.shape()[1]), width = static_cast<int>(x.shape()[2]);
  const auto judged = [&](const explain::Attribution& a) {
    return upsample(drawable(a).map, height, width);
  };
  std::vector<std::vector<Map>> randomised(maps.size());
  for (const auto& net : random_) {
    const std::vector<explain::Attribution> theirs = net->explain(method, x, boxes, settings);
    for (std::size_t i = 0; i < maps.size(); ++i) randomised[i].push_back(judged(theirs[i]));
  }
  for (std::size_t i = 0; i < maps.size(); ++i) {
    panels.push_back(box_panel(trained_.cells, subjects[i], judged(maps[i]), randomised[i]));
  }
  return panels;
}

std::vector<quality::PanelRow> BoxJudge::score_controls(const BoxSubject& subject) {
  std::vector<quality::PanelRow> rows;
  for (const quality::Control& control : quality::controls(subject.x, seed_)) {
    // Whatever the parameters are.
    const std::vector<Map> same(std::size(kDetectorParts), control.map);
    rows.push_back({control.name, box_panel(trained_.cells, subject, control.map, same)});
  }
  return rows;
}

std::vector<std::string> box_methods(const ExplanationRequest& explanation) {
  std::vector<std::string> methods = explanation.chosen_methods();
  if (explanation.methods == "all") {
    for (const explain::Method& method : explain::particular_methods()) {
      if (method.has(explain::kOfBoxes)) methods.emplace_back(method.name);
    }
  }
  return methods;
}

BoxSubject subject_of(const DetectorPicture& picture, const ChosenBox& box,
                      const Preprocess& preprocess, std::uint64_t seed) {
  BoxSubject subject;
  subject.x = picture.picture.input;
  subject.baseline = baselines("zero", picture.picture, preprocess, seed)[0];
  subject.blurred = baselines("blur", picture.picture, preprocess, seed)[0];
  subject.box = box.box;
  subject.category = box.what.category;
  for (const Object& object : picture.objects) subject.objects.push_back(object.box);
  return subject;
}

}  // namespace tapescope::tasks
