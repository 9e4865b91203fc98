#include "tools/cli/judge.h"

#include "tools/cli/baselines.h"
#include "tools/quality/controls.h"
#include "tools/quality/randomisation.h"

namespace tapescope::cli {
namespace {

LoadedModel random_copy(const LoadedModel& loaded, std::uint64_t seed) {
  return {quality::randomised(*loaded.model, seed), loaded.info, loaded.path};
}

// f32 {M}: softmax of the rows of logits {M,classes}, at one class.
Tensor probabilities(const Tensor& logits, std::int64_t index) {
  const std::int64_t rows = logits.shape()[0];
  Tensor result(Type{DType::f32, {rows}});
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::vector<double> p = probabilities_of(logits.rows(r, r + 1));
    result.values<float>()[static_cast<std::size_t>(r)] =
        static_cast<float>(p[static_cast<std::size_t>(index)]);
  }
  return result;
}

}  // namespace

Judge::Judge(explain::Explainer& explainer, const LoadedModel& loaded, const Backend& backend,
             const ExplanationOptions& options)
    : explainer_(explainer),
      random_(random_copy(loaded, options.settings.seed)),
      random_explainer_(explainer_of(random_, backend, options)),
      info_(loaded.info) {
  if (!options.unit.empty()) {
    throw usage_error("scores are of a class's probability, which --unit '{}' has not",
                      options.unit);
  }
  options_.seed = options.settings.seed;
  options_.chunk = options.settings.chunk;
}

void Judge::look_at(const Picture& picture, std::int64_t index, std::optional<quality::Mask> mask) {
  classes_ = Tensor::from<std::int64_t>({1}, {index});
  subject_.x = picture.input;
  subject_.probability = [this, index](const Tensor& pictures) {
    return probabilities(explainer_.logits(pictures), index);
  };
  subject_.baseline = baselines("black", picture, info_, options_.seed)[0];
  subject_.blurred = baselines("blur", picture, info_, options_.seed)[0];
  subject_.mask = std::move(mask);
}

std::optional<quality::PanelRow> Judge::score(const explain::Attribution& attribution,
                                              const explain::ExplainOptions& settings) {
  if (attribution.map.shape().rank() != 4) return std::nullopt;
  const std::string& method = attribution.method;
  const auto judged_map = [&](const Tensor& map) { return scored_map(method, map, subject_.x); };
  quality::Judged judged;
  judged.map = judged_map(attribution.map);
  judged.map_of = [&](const Tensor& x) {
    return judged_map(explainer_.explain(method, x, classes_, settings).map);
  };
  judged.of_random_model =
      judged_map(random_explainer_.explain(method, subject_.x, classes_, settings).map);
  return quality::PanelRow{method, quality::score(subject_, judged, options_)};
}

std::vector<quality::PanelRow> Judge::score_controls() {
  std::vector<quality::PanelRow> rows;
  const std::vector<quality::Control> all = quality::controls(subject_.x, options_.seed);
  for (std::size_t i = 0; i < all.size(); ++i) {
    quality::Judged judged;
    judged.map = all[i].map;
    judged.map_of = [&](const Tensor& x) { return quality::controls(x, options_.seed)[i].map; };
    judged.of_random_model = all[i].map;  // whatever the parameters are
    rows.push_back({all[i].name, quality::score(subject_, judged, options_)});
  }
  return rows;
}

Map scored_map(std::string_view method, const Tensor& map, const Tensor& picture) {
  const quality::Signs signs =
      explain::find_method(method)->is_sensitivity ? quality::Signs::dropped : quality::Signs::kept;
  return quality::at_picture_size(map, static_cast<int>(picture.shape()[1]),
                                  static_cast<int>(picture.shape()[2]), signs);
}

quality::Mask read_mask(const std::string& path, const Picture& picture, const ModelInfo& info) {
  const Image mask = read_image(path, picture.image.channels);
  if (mask.height != picture.image.height || mask.width != picture.image.width) {
    throw usage_error(
        "mask '{}' is {}x{}, its picture '{}' {}x{}; masks must have the picture's size", path,
        mask.height, mask.width, picture.path, picture.image.height, picture.image.width);
  }
  // Without the colours' normalisation the pipeline gives 0..1.
  std::vector<Transform> geometry;
  for (const Transform& t : info.pipeline.transforms()) {
    if (!std::holds_alternative<Normalize>(t)) geometry.push_back(t);
  }
  Tensor values(picture.input.type());
  Pipeline(geometry).apply(view_of(mask), {}, values.values<float>().data());
  const Shape& s = values.shape();
  constexpr double kCause = 0.75;
  quality::Mask result{static_cast<int>(s[1]), static_cast<int>(s[2]), {}};
  for (std::int64_t p = 0; p < s[1] * s[2]; ++p) {
    result.cause.push_back(values.item(p * s[3]) > kCause);
  }
  if (result.share() == 0) {
    throw usage_error("mask '{}' has no pixel above three quarters of white where the model looks",
                      path);
  }
  return result;
}

}  // namespace tapescope::cli
