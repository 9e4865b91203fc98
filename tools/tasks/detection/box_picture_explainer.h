// Explanations of a detector's boxes, and how good they are.
#pragma once

#include "tools/detection/detector_file.h"
#include "tools/tasks/detection/box_judge.h"

namespace tapescope::tasks {

// [x, y, width, height]
nlohmann::ordered_json box_json(const detection::Box& box);

class BoxPictureExplainer final : public PictureExplainer {
 public:
  // `model` outlives it.
  BoxPictureExplainer(const detection::BoxNet& model, const ExplainOptions& options,
                      bool allow_outside);

  void look_at(const std::string& path, Choose choose) override;
  quality::Mask read_mask(const std::string& path) const override;
  void use_mask(const quality::Mask& mask) override;
  std::vector<std::string> remarks() const override;
  std::vector<std::string> methods() const override { return box_methods(options_.request); }
  std::vector<explain::Attribution> explain(const std::string& method,
                                            const explain::ExplainOptions& settings) override;
  std::string not_finite(std::size_t target, const explain::Attribution& map) override;
  nlohmann::ordered_json facts(std::size_t target, const explain::Attribution& map) const override;
  std::string remark(const nlohmann::ordered_json& facts) const override;
  void mark(Image& image, std::size_t target) const override;
  std::span<const quality::MetricInfo> metrics() const override { return detection::box_metrics(); }
  std::vector<std::optional<quality::Panel>> score(
      const std::string& method, std::span<const explain::Attribution> maps,
      const explain::ExplainOptions& settings) override;
  std::vector<quality::PanelRow> score_controls(std::size_t target) override;

  // The same of a picture at hand, with boxes that were chosen.
  void look_at(DetectorPicture picture, std::vector<ChosenBox> boxes);
  detection::CellReader& cells() { return judge_.cells(); }

 private:
  ExplainOptions options_;
  const detection::DetectorConfig& config_;
  detection::Grid grid_;
  Preprocess preprocess_;
  Annotations annotations_;
  BoxJudge judge_;
  DetectorPicture seen_;
  std::vector<ChosenBox> boxes_;
  std::vector<detection::BoxSubject> subjects_;
};

}  // namespace tapescope::tasks
