#include "tools/explanation/picture_settings.h"

#include <charconv>
#include <cmath>

#include "tools/explanation/baselines.h"
#include "tools/explanation/pixel_domain.h"

namespace tapescope {
namespace {

explain::Segments segments_of(const ExplanationRequest& options, const Picture& picture) {
  const std::int64_t height = picture.input.shape()[1], width = picture.input.shape()[2];
  if (options.segments == "grid") return {};
  if (options.segments == "slic") {
    return explain::Segments::slic(picture.input, options.settings.grid * options.settings.grid);
  }
  const Image groups = read_image(options.segments, 1);
  if (groups.height != height || groups.width != width) {
    throw usage_error("--segments '{}' is {}x{}, this model's input {}x{}; they must be equal",
                      options.segments, groups.height, groups.width, height, width);
  }
  return explain::Segments::from_ids(height, width, {groups.pixels.begin(), groups.pixels.end()});
}

double number(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw usage_error("{} '{}' is neither a number (0 is black, 1 is white) nor picture", option,
                      text);
  }
  return value;
}

}  // namespace

PictureSettings::PictureSettings(const ExplanationRequest& request, const Preprocess& preprocess,
                                 const Picture& picture)
    : options_(request),
      preprocess_(preprocess),
      picture_(picture),
      segments_(segments_of(request, picture)) {}

explain::ExplainOptions PictureSettings::of(std::string_view method) {
  explain::ExplainOptions result = options_.settings;
  result.rule = options_.quadrature == "trapezoid"        ? explain::PathRule::trapezoid
                : options_.quadrature == "gauss-legendre" ? explain::PathRule::gauss_legendre
                                                          : explain::PathRule::midpoint;
  std::string names = options_.baseline_names(method);
  if (names.empty()) names = "zero";
  const auto [made, fresh] = made_.try_emplace(names);
  if (fresh) made->second = baselines(names, picture_, preprocess_, result.seed);
  result.baselines = made->second;
  result.segments = segments_;
  result.lrp.low = bound("--low", options_.low);
  result.lrp.high = bound("--high", options_.high);
  return result;
}

// Nothing where it is each picture's own.
explain::Bound PictureSettings::bound(const std::string& option, const std::string& text) const {
  if (text == "picture") return {};
  const double value = number(option, text);
  if (options_.low != "picture" && options_.high != "picture" &&
      !(number("--low", options_.low) < number("--high", options_.high))) {
    throw usage_error("--low {} is not below --high {}", options_.low, options_.high);
  }
  return pixel_value(value, preprocess_);
}

}  // namespace tapescope
