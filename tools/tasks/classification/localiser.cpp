#include "tools/tasks/classification/localiser.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "tools/detection/localise.h"
#include "tools/explanation/drawing.h"
#include "tools/explanation/request.h"

namespace tapescope::tasks {

Localiser::Localiser(ClassLogits net, const Backend& backend, double share,
                     const std::string& target)
    : net_(std::move(net)),
      explainer_(explainer_of(net_, backend, ExplanationRequest{})),
      share_(share) {
  const std::vector<std::string>& classes = net_.classes;
  if (target == "predicted") return;
  const auto found = std::find(classes.begin(), classes.end(), target);
  if (found == classes.end()) {
    throw usage_error("--target '{}' is no class of this model; they are {}", target,
                      fmt::join(classes, ", "));
  }
  target_ = found - classes.begin();
}

Localiser::Answer Localiser::find(const Image& image, const std::string& name,
                                  detection::DetectTimes* times) {
  auto last = std::chrono::steady_clock::now();
  const auto lap = [&last] {
    const auto before = last;
    last = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(last - before).count();
  };
  const Picture picture = make_picture(image, name, net_.preprocess);
  const double resize = lap();
  const std::vector<double> p = net_.probabilities(explainer_.logits(picture.input));
  const std::int64_t best =
      target_ >= 0 ? target_ : std::max_element(p.begin(), p.end()) - p.begin();
  const explain::Attribution cam =
      explainer_.explain("cam", picture.input, Tensor::from<std::int64_t>({1}, {best}));
  const double forward = lap();
  const Map map = upsample(drawable(cam).map, image.height, image.width);
  const auto peak = std::max_element(map.values.begin(), map.values.end()) - map.values.begin();
  Answer answer{.category = static_cast<int>(best),
                .probability = p[static_cast<std::size_t>(best)],
                .box = detection::localise(map, share_),
                .peak_x = static_cast<double>(peak % map.width) + 0.5,
                .peak_y = static_cast<double>(peak / map.width) + 0.5};
  if (times != nullptr) *times = {resize, forward, lap()};
  return answer;
}

}  // namespace tapescope::tasks
