// --fgsm and --pgd.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/explain/attacks.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/other_explanations.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct ClassAnswer {
  std::size_t index = 0;
  double probability = 0;
};

ClassAnswer answer_of(const Tensor& logits) {
  const std::vector<double> p = probabilities_of(logits);
  const auto best = std::max_element(p.begin(), p.end());
  return {static_cast<std::size_t>(best - p.begin()), *best};
}

ordered_json answer_json(const ClassAnswer& a, const std::vector<std::string>& names) {
  return {{"class", names[a.index]}, {"probability", a.probability}};
}

}  // namespace

std::string attack(const OtherCommand& command, const ClassificationRun& run) {
  const OtherOptions& other = command.other;
  const std::vector<std::string>& names = run.classes();
  const PixelScale scale = pixel_scale(run.preprocess());
  ExplanationRequest of_loss = command.explanation;
  of_loss.log_probability = true;  // the loss is its negative
  explain::Explainer explainer = explainer_of(run.class_logits(), command.backend, of_loss);
  const bool targeted = command.explanation.target != "predicted";
  const double radius = other.radius / 255;
  const std::string method = other.fgsm ? "fgsm" : "pgd";
  ordered_json answers = ordered_json::array();
  std::vector<SheetCell> cells;
  for (const std::string& path : command.images) {
    const Picture picture = read_picture(path, run.preprocess());
    const Tensor before_logits = explainer.logits(picture.input);
    const ClassTarget target = target_of(command.explanation, run.classes(), before_logits);
    const Tensor classes = Tensor::from<std::int64_t>({1}, {target.index});
    // In shares of black to white, whatever the model's normalisation.
    const explain::Gradients loss_gradient = [&](const Tensor& pixels) {
      const Tensor g = explainer.explain("saliency", scale.into_input(pixels), classes).map;
      Tensor result = scale.gradient(g);
      for (float& v : result.values<float>()) v = -v;
      return result;
    };
    const Tensor pixels = scale.into_pixels(picture.input);
    Tensor changed;
    if (other.fgsm) {
      changed = explain::fgsm(loss_gradient, pixels, radius, targeted, 0, 1);
    } else {
      explain::AttackOptions options;
      options.radius = radius;
      options.steps = other.attack_steps;
      // A quarter more than reaches the edge of the ball from its middle (Madry et al. 2018).
      options.step = 2.5 * radius / other.attack_steps;
      options.norm = other.norm == "l2" ? explain::Norm::l2 : explain::Norm::linf;
      options.targeted = targeted;
      options.random_start = command.explanation.settings.seed;
      options.low = 0;
      options.high = 1;
      changed = explain::pgd(loss_gradient, pixels, options);
    }
    const Image before = image_of(pixels), after = image_of(changed);
    // What a file of 8 bits a value keeps of it.
    Tensor rounded(pixels.type());
    double largest = 0, squares = 0;
    Image difference = after;
    for (std::size_t i = 0; i < after.pixels.size(); ++i) {
      rounded.values<float>()[i] = static_cast<float>(after.pixels[i]) / 255;
      const double d = changed.values<float>()[i] - pixels.values<float>()[i];
      largest = std::max(largest, std::fabs(d));
      squares += d * d;
      const double shown = radius > 0 ? 128 + 127 * d / radius : 128;
      difference.pixels[i] = static_cast<std::uint8_t>(std::clamp(shown, 0.0, 255.0));
    }
    const ClassAnswer was = answer_of(before_logits),
                      is = answer_of(explainer.logits(scale.into_input(changed))),
                      kept = answer_of(explainer.logits(scale.into_input(rounded)));
    const std::string png =
        (fs::path(command.out) / (picture.stem + "." + method + ".png")).string();
    write_png(png, after);
    cells.push_back({before, fmt::format("{} {:.0f} %", names[was.index], 100 * was.probability)});
    cells.push_back({after, fmt::format("{} {:.0f} %", names[is.index], 100 * is.probability)});
    cells.push_back({difference, "the change"});
    answers.push_back({{"image", path},
                       {"target", target.name},
                       {"before", answer_json(was, names)},
                       {"after", answer_json(is, names)},
                       {"after_8_bits", answer_json(kept, names)},
                       {"changed", is.index != was.index},
                       {"linf", 255 * largest},
                       {"l2", 255 * std::sqrt(squares)},
                       {"png", png}});
    command.say(fmt::format(
        "{}: {} {:.1f} % -> {} {:.1f} % (in 8 bits {} {:.1f} %), most change of a value "
        "{:.1f} of 255: {}",
        printable(path), names[was.index], 100 * was.probability, names[is.index],
        100 * is.probability, names[kept.index], 100 * kept.probability, 255 * largest,
        printable(png)));
  }
  const std::string sheet = (fs::path(command.out) / (method + ".png")).string();
  SheetOptions layout;
  layout.cell_size = 168;
  layout.columns = 3;
  write_png(sheet, contact_sheet(cells, layout));
  const ordered_json result = {{"run", run.asked().run},
                               {"method", method},
                               {"radius", other.radius},
                               {"norm", other.fgsm ? "linf" : other.norm},
                               {"steps", other.fgsm ? 1 : other.attack_steps},
                               {"targeted", targeted},
                               {"answers", answers},
                               {"sheet", sheet}};
  write_atomically(fs::path(command.out) / (method + ".json"), json_text(result, 2) + "\n");
  command.say(sheet);
  return json_text(result, 2);
}

}  // namespace tapescope::tasks
