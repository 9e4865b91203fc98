#include "tools/monitoring/watch.h"

#include <algorithm>

#include "tools/explanation/drawing.h"
#include "tools/explanation/pixel_domain.h"
#include "tools/report/png.h"

namespace tapescope::monitoring {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostPictures = 16;

}  // namespace

Watch::Watch(const fs::path& folder, std::vector<std::string> methods, ClassLogits net,
             const Backend& backend, fs::path run)
    : methods_(std::move(methods)),
      net_(std::move(net)),
      explainer_(net_.record, net_.preprocess.image, backend),
      run_(std::move(run)) {
  for (const std::string& method : methods_) {
    if (explain::find_method(method) == nullptr) {
      throw usage_error(
          "--watch-methods: there is no method '{}'; `tapescope explain --list` has "
          "them all",
          method);
    }
  }
  if (!fs::is_directory(folder)) {
    throw usage_error("--watch-images: '{}' is no folder", folder.string());
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && has_image_extension(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    throw usage_error("--watch-images: '{}' holds no pictures", folder.string());
  }
  if (files.size() > kMostPictures) {
    throw usage_error("--watch-images: '{}' holds {} pictures; watch at most {}", folder.string(),
                      files.size(), kMostPictures);
  }
  for (const fs::path& file : files) {
    Watched watched{read_picture(file.string(), net_.preprocess)};
    const std::string parent = file.parent_path().filename().string();
    const auto it = std::find(net_.classes.begin(), net_.classes.end(), parent);
    if (it != net_.classes.end()) {
      watched.label = it - net_.classes.begin();
      watched.picture.stem = parent + "-" + watched.picture.stem;
    }
    watched_.push_back(std::move(watched));
  }
  std::error_code error;
  fs::create_directories(run_ / "watch", error);
}

std::vector<WatchPoint> Watch::look(std::int64_t epoch) {
  std::vector<WatchPoint> points;
  for (const Watched& watched : watched_) {
    const std::vector<double> p = net_.probabilities(explainer_.logits(watched.picture.input));
    const auto predicted = std::max_element(p.begin(), p.end()) - p.begin();
    const std::int64_t target = watched.label >= 0 ? watched.label : predicted;
    const Tensor classes = Tensor::from<std::int64_t>({1}, {target});
    for (const std::string& method : methods_) {
      explain::ExplainOptions options;
      options.budget = 64;  // an epoch must not wait for its pictures
      options.lrp.low = pixel_value(0, net_.preprocess);
      options.lrp.high = pixel_value(1, net_.preprocess);
      const DrawableMap drawn =
          drawable(explainer_.explain(method, watched.picture.input, classes, options));
      WatchPoint point;
      point.epoch = epoch;
      point.image = watched.picture.stem;
      point.method = method;
      point.target = net_.classes[static_cast<std::size_t>(target)];
      point.probability = p[static_cast<std::size_t>(target)];
      point.predicted = net_.classes[static_cast<std::size_t>(predicted)];
      point.png = fmt::format("watch/{}.{}.epoch-{:03}.png", point.image, method, epoch);
      write_png(run_ / point.png, overlay(watched.picture.image, drawn.map, drawn.colors));
      points.push_back(std::move(point));
    }
  }
  return points;
}

Image Watch::picture_of(const WatchPoint& point) const {
  return read_image((run_ / point.png).string());
}

}  // namespace tapescope::monitoring
