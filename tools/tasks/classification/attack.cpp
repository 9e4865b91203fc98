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

// The picture's pixels, in shares of black to white, as the attack leaves them.
Tensor attacked(const OtherCommand& command, const explain::Gradients& loss_gradient,
                const Tensor& pixels) {
  const OtherOptions& other = command.other;
  const bool targeted = command.explanation.target != "predicted";
  const double radius = other.radius / 255;
  if (other.fgsm) return explain::fgsm(loss_gradient, pixels, radius, targeted, 0, 1);
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
  return explain::pgd(loss_gradient, pixels, options);
}

// What was changed.
struct Change {
  Image picture;            // changed
  Image difference;         // grey: none
  Tensor rounded;           // pixels as a file of 8 bits per value keeps them
  double linf = 0, l2 = 0;  // in shares of black to white
};

Change change_of(const Tensor& pixels, const Tensor& changed, double radius) {
  Change c{image_of(changed), {}, Tensor(pixels.type())};
  c.difference = c.picture;
  double squares = 0;
  for (std::size_t i = 0; i < c.picture.pixels.size(); ++i) {
    c.rounded.values<float>()[i] = static_cast<float>(c.picture.pixels[i]) / 255;
    const double d = changed.values<float>()[i] - pixels.values<float>()[i];
    c.linf = std::max(c.linf, std::fabs(d));
    squares += d * d;
    const double shown = radius > 0 ? 128 + 127 * d / radius : 128;
    c.difference.pixels[i] = static_cast<std::uint8_t>(std::clamp(shown, 0.0, 255.0));
  }
  c.l2 = std::sqrt(squares);
  return c;
}

// One call of `explain --fgsm` or `--pgd`.
class Attack {
 public:
  Attack(const OtherCommand& command, const ClassificationRun& run)
      : command_(command),
        run_(run),
        names_(run.classes()),
        method_(command.other.fgsm ? "fgsm" : "pgd"),
        scale_(pixel_scale(run.preprocess())),
        explainer_(explainer_of(run.class_logits(), command.backend, of_loss(command))) {}

  void look_at(const std::string& path) {
    const Picture picture = read_picture(path, run_.preprocess());
    const Tensor before_logits = explainer_.logits(picture.input);
    const ClassTarget target = target_of(command_.explanation, names_, before_logits);
    const Tensor classes = Tensor::from<std::int64_t>({1}, {target.index});
    // In shares of black to white, whatever the model's normalisation.
    const explain::Gradients loss_gradient = [&](const Tensor& pixels) {
      const Tensor g = explainer_.explain("saliency", scale_.into_input(pixels), classes).map;
      Tensor result = scale_.gradient(g);
      for (float& v : result.values<float>()) v = -v;
      return result;
    };
    const Tensor pixels = scale_.into_pixels(picture.input);
    const Tensor changed = attacked(command_, loss_gradient, pixels);
    const Change change = change_of(pixels, changed, command_.other.radius / 255);
    const ClassAnswer was = answer_of(before_logits),
                      is = answer_of(explainer_.logits(scale_.into_input(changed))),
                      kept = answer_of(explainer_.logits(scale_.into_input(change.rounded)));
    const std::string png = file(picture.stem + "." + method_ + ".png");
    write_png(png, change.picture);
    for (const auto& [image, a] : {std::pair{image_of(pixels), was}, {change.picture, is}}) {
      cells_.push_back({image, fmt::format("{} {:.0f} %", names_[a.index], 100 * a.probability)});
    }
    cells_.push_back({change.difference, "the change"});
    answers_.push_back({{"image", path},
                        {"target", target.name},
                        {"before", answer_json(was, names_)},
                        {"after", answer_json(is, names_)},
                        {"after_8_bits", answer_json(kept, names_)},
                        {"changed", is.index != was.index},
                        {"linf", 255 * change.linf},
                        {"l2", 255 * change.l2},
                        {"png", png}});
    command_.say(fmt::format(
        "{}: {} {:.1f} % -> {} {:.1f} % (in 8 bits {} {:.1f} %), most change of a value "
        "{:.1f} of 255: {}",
        printable(path), names_[was.index], 100 * was.probability, names_[is.index],
        100 * is.probability, names_[kept.index], 100 * kept.probability, 255 * change.linf,
        printable(png)));
  }

  std::string finish() {
    const OtherOptions& other = command_.other;
    const std::string sheet = file(method_ + ".png");
    SheetOptions layout;
    layout.cell_size = 168;
    layout.columns = 3;
    write_png(sheet, contact_sheet(cells_, layout));
    const ordered_json result = {{"run", run_.asked().run},
                                 {"method", method_},
                                 {"radius", other.radius},
                                 {"norm", other.fgsm ? "linf" : other.norm},
                                 {"steps", other.fgsm ? 1 : other.attack_steps},
                                 {"targeted", command_.explanation.target != "predicted"},
                                 {"answers", answers_},
                                 {"sheet", sheet}};
    write_atomically(file(method_ + ".json"), json_text(result, 2) + "\n");
    command_.say(sheet);
    return json_text(result, 2);
  }

 private:
  static ExplanationRequest of_loss(const OtherCommand& command) {
    ExplanationRequest request = command.explanation;
    request.log_probability = true;  // the loss is its negative
    return request;
  }
  std::string file(const std::string& name) const {
    return (fs::path(command_.out) / name).string();
  }

  const OtherCommand& command_;
  const ClassificationRun& run_;
  const std::vector<std::string>& names_;
  std::string method_;
  PixelScale scale_;
  explain::Explainer explainer_;
  ordered_json answers_ = ordered_json::array();
  std::vector<SheetCell> cells_;
};

}  // namespace

std::string attack(const OtherCommand& command, const ClassificationRun& run) {
  Attack attack(command, run);
  for (const std::string& path : command.images) attack.look_at(path);
  return attack.finish();
}

}  // namespace tapescope::tasks
