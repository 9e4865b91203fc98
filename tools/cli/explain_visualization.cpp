// --feature-visualization.
#include <nlohmann/json.hpp>

#include "autograd/explain/feature_visualization.h"
#include "autograd/ops/ops.h"
#include "tools/cli/other_explanations.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Raises number `index` of what the explainer's model answers.
int climb(const OtherCommand& command, const LoadedModel& loaded, explain::Explainer& explainer,
          std::int64_t index, const std::string& name) {
  const ModelConfig& config = loaded.info.config;
  const PixelScale scale = pixel_scale(loaded.info);
  const Tensor classes = Tensor::from<std::int64_t>({1}, {index});
  const auto value_at = [&](const Tensor& pixels) {
    return explainer.explain("saliency", scale.into_input(pixels), classes);
  };
  const explain::Objective objective = [&](const Tensor& pixels) {
    const explain::Attribution a = value_at(pixels);
    return explain::Climb{a.value.item(), scale.gradient(a.map)};
  };
  explain::VisualizationOptions options;
  options.seed = command.explanation.settings.seed;
  options.steps = static_cast<int>(std::max(1.0, command.explanation.settings.budget / 2));
  const Shape shape{1, config.image_size, config.image_size, config.channels};
  const explain::Visualization found = explain::visualize(objective, shape, options);
  const double reached = value_at(found.picture).value.item();
  const double grey = value_at(Tensor::full({DType::f32, shape}, 0.5)).value.item();
  ordered_json of_pictures = ordered_json::array();
  double best = 0, sum = 0;
  for (const std::string& path : command.images) {
    const Picture picture = read_picture(path, loaded.info);
    const double v = explainer.explain("saliency", picture.input, classes).value.item();
    best = of_pictures.empty() ? v : std::max(best, v);
    sum += v;
    of_pictures.push_back({{"image", path}, {"value", v}});
  }
  const Image image = image_of(found.picture);
  std::vector<SheetCell> cells = {{image, name}};
  SheetOptions layout;
  layout.cell_size = static_cast<int>(std::max<std::int64_t>(256, config.image_size));
  const std::string png = (fs::path(command.out) / "feature-visualization.png").string();
  write_png(png, image);
  write_png(fs::path(command.out) / "sheet.png", contact_sheet(cells, layout));
  const ordered_json result = {{"run", command.run.run},
                               {"method", "feature-visualization"},
                               {"target", name},
                               {"steps", options.steps},
                               {"value", reached},
                               {"value_of_grey", grey},
                               {"images", of_pictures},
                               {"values", found.values},
                               {"png", png}};
  write_atomically(fs::path(command.out) / "feature-visualization.json",
                   json_text(result, 2) + "\n");
  if (command.json) {
    fmt::print("{}\n", json_text(result, 2));
    return 0;
  }
  fmt::print("{}: {:.4g}, from {:.4g} of plain grey", name, reached, grey);
  if (!command.images.empty()) {
    fmt::print("; the pictures given reach {:.4g}, {:.4g} in the mean", best,
               sum / static_cast<double>(command.images.size()));
  }
  fmt::print(": {}\n", png);
  return 0;
}

}  // namespace

int visualize_feature(const OtherCommand& command, const LoadedModel& loaded) {
  const Backend backend = command.run.backend();
  const ModelConfig& config = loaded.info.config;
  const Shape shape{config.image_size, config.image_size, config.channels};
  if (!command.other.channel.empty()) {
    const NodeIndex channel = parsed_node("--channel", command.other.channel);
    explain::Explainer explainer(
        [model = loaded.model.get(), channel](Tape& tape, Var image) {
          (*model)({{"image", image}});
          const Var node = tape.find(channel.node);
          if (node.shape().rank() != 4 || channel.index >= node.shape()[3]) {
            throw usage_error(
                "--channel: node '{}' has shape {}; a feature map {{N,h,w,K}} has "
                "channels 0 to K - 1",
                node.path(), to_string(node.shape()));
          }
          return global_avg_pool2d(node);
        },
        shape, backend.device, backend.choices);
    return climb(command, loaded, explainer, channel.index, command.other.channel);
  }
  if (command.explanation.unit.empty() && command.explanation.target == "predicted") {
    throw usage_error(
        "--feature-visualization needs what it should raise: --target CLASS, --unit NODE[INDEX] or "
        "--channel NODE[INDEX]");
  }
  explain::Explainer explainer = explainer_of(loaded, backend, command.explanation);
  const Tensor zero = Tensor::zeros({DType::f32, shape.with_leading(1)});
  const Target target = target_of(command.explanation, loaded.info, explainer.logits(zero));
  return climb(command, loaded, explainer, target.index, target.name);
}

}  // namespace tapescope::cli
