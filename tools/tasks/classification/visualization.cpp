// --feature-visualization.
#include <nlohmann/json.hpp>

#include "autograd/explain/feature_visualization.h"
#include "autograd/ops/ops.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/other_explanations.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Raises number `index` of what the explainer's model answers.
std::string climb(const OtherCommand& command, const ClassificationRun& run,
                  explain::Explainer& explainer, std::int64_t index, const std::string& name) {
  const PixelScale scale = pixel_scale(run.preprocess());
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
  const Shape shape = run.preprocess().image.with_leading(1);
  const explain::Visualization found = explain::visualize(objective, shape, options);
  const double reached = value_at(found.picture).value.item();
  const double grey = value_at(Tensor::full({DType::f32, shape}, 0.5)).value.item();
  ordered_json of_pictures = ordered_json::array();
  double best = 0, sum = 0;
  for (const std::string& path : command.images) {
    const Picture picture = read_picture(path, run.preprocess());
    const double v = explainer.explain("saliency", picture.input, classes).value.item();
    best = of_pictures.empty() ? v : std::max(best, v);
    sum += v;
    of_pictures.push_back({{"image", path}, {"value", v}});
  }
  const Image image = image_of(found.picture);
  std::vector<SheetCell> cells = {{image, name}};
  SheetOptions layout;
  layout.cell_size = static_cast<int>(std::max<std::int64_t>(256, shape[1]));
  const std::string png = (fs::path(command.out) / "feature-visualization.png").string();
  write_png(png, image);
  write_png(fs::path(command.out) / "sheet.png", contact_sheet(cells, layout));
  const ordered_json result = {{"run", run.asked().run},
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
  std::string line = fmt::format("{}: {:.4g}, from {:.4g} of plain grey", name, reached, grey);
  if (!command.images.empty()) {
    line += fmt::format("; the pictures given reach {:.4g}, {:.4g} in the mean", best,
                        sum / static_cast<double>(command.images.size()));
  }
  command.say(line + ": " + png);
  return json_text(result, 2);
}

}  // namespace

std::string visualize_feature(const OtherCommand& command, const ClassificationRun& run) {
  const Backend backend = command.backend;
  const Shape& shape = run.preprocess().image;
  if (!command.other.channel.empty()) {
    const NodeIndex channel = parsed_node("--channel", command.other.channel);
    explain::Explainer explainer(
        [model = &run.model(), channel](Tape& tape, Var image) {
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
        shape, backend);
    return climb(command, run, explainer, channel.index, command.other.channel);
  }
  if (command.explanation.unit.empty() && command.explanation.target == "predicted") {
    throw usage_error(
        "--feature-visualization needs what it should raise: --target CLASS, --unit NODE[INDEX] or "
        "--channel NODE[INDEX]");
  }
  explain::Explainer explainer = explainer_of(run.class_logits(), backend, command.explanation);
  const Tensor zero = Tensor::zeros({DType::f32, shape.with_leading(1)});
  const ClassTarget target = target_of(command.explanation, run.classes(), explainer.logits(zero));
  return climb(command, run, explainer, target.index, target.name);
}

}  // namespace tapescope::tasks
