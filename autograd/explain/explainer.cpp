#include "autograd/explain/explainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/explain/cam.h"
#include "autograd/explain/deeplift.h"
#include "autograd/explain/gradient_methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {
namespace {

constexpr std::string_view kIntegratedGradients = "integrated-gradients";
constexpr std::string_view kDeepLift = "deeplift";
constexpr std::string_view kContrastive = "contrastive-excitation-backprop";

// Null where the method is no composite.
const NamedComposite* composite_named(std::string_view method) {
  for (const NamedComposite& named : named_composites()) {
    if (named.name == method) return &named;
  }
  return nullptr;
}

// Multiply-adds of convolutions and matrix products, which are nearly all of the work.
double macs(Program& program) {
  double sum = 0;
  for (const StepInfo& step : program.steps())
    sum += step.op->cost(step.operands, step.outputs).macs;
  return sum;
}

// f32 {N}: target minus the sum of each sample's map.
Tensor residual_of(const Tensor& target, const Tensor& map) {
  Tensor residual(Type{DType::f32, target.shape()});
  for (std::int64_t n = 0; n < target.elements(); ++n) {
    double sum = 0;
    for (float value : map.rows(n, n + 1).values<float>()) sum += value;
    residual.values<float>()[static_cast<std::size_t>(n)] =
        static_cast<float>(target.item(n) - sum);
  }
  return residual;
}

}  // namespace

// A method's own tape and Program; the tape must outlive nothing, but the paths of its nodes are
// reported.
struct Explainer::Method {
  std::string node;
  Program program;
  double forward_passes = 2;  // forward, and a gradient with respect to the input only
};

Explainer::Explainer(Record record, Shape image_shape, Device device, KernelChoices kernels)
    : record_(std::move(record)),
      image_shape_(image_shape),
      device_(device),
      kernels_(std::move(kernels)) {}
Explainer::~Explainer() = default;

const std::vector<std::string_view>& Explainer::methods() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all = {
        "saliency", "input-x-gradient", kIntegratedGradients, "grad-cam", "cam", kDeepLift};
    for (const NamedComposite& named : named_composites()) all.push_back(named.name);
    all.push_back(kContrastive);
    return all;
  }();
  return names;
}

Explainer::Method& Explainer::prepared(std::string_view method, const std::string& layer) {
  std::unique_ptr<Method>& slot = prepared_[fmt::format("{} {}", method, layer)];
  if (slot) return *slot;
  // Recorded for two images: a batch of one would hide which axes are the batch.
  Tape tape(device_, Mode::evaluation, {0, kernels_});
  const Var image = tape.input("image", DType::f32, image_shape_.with_leading(2));
  Var x = image;
  if (method == kIntegratedGradients) {
    const Var baseline = tape.input("baseline", DType::f32, image_shape_.with_leading(1));
    const Var position = tape.input("position", DType::f32, {});
    x = add(baseline, mul(position, sub(image, baseline)));
  }
  const Var logits = record_(tape, x);
  if (method == "logits") {
    slot.reset(new Method{logits.path(), tape.compile({logits}), 1});
    return *slot;
  }
  const Var index = tape.input("class", DType::i64, {2});
  const Var target = class_logit(logits, index);
  std::string node = image.path();
  Var map;
  if (const NamedComposite* named = composite_named(method)) {
    map = tape.relevance(target, {x}, named->make())[0];
  } else if (method == kContrastive) {
    map = contrastive_excitation_backprop(tape, target, x);
  } else if (method == kDeepLift) {
    const Var baseline = tape.input("baseline", DType::f32, image_shape_.with_leading(1));
    const Var reference = broadcast_like(baseline, x);
    const Var at_baseline = class_logit(record_(tape, reference), index);
    map = deeplift(tape, target, x, at_baseline, reference);
    slot.reset(new Method{std::move(node), tape.compile({map, target, sub(target, at_baseline)})});
  } else if (method == "saliency" || method == kIntegratedGradients) {
    map = saliency(tape, target, x);
  } else if (method == "input-x-gradient") {
    map = input_x_gradient(tape, target, x);
  } else {
    const Var features = layer.empty() ? last_feature_map(tape, target, x) : tape.find(layer);
    node = features.path();
    map = method == "cam" ? cam(tape, target, features) : grad_cam(tape, target, features);
  }
  if (!slot) slot.reset(new Method{std::move(node), tape.compile({map, target})});
  if (const double forward = macs(prepared("logits", "").program); forward > 0) {
    slot->forward_passes = macs(slot->program) / forward;
  }
  return *slot;
}

Tensor Explainer::baseline_of(const ExplainOptions& options) const {
  const Shape one = image_shape_.with_leading(1);
  return options.baseline.defined() ? options.baseline.reshape(one)
                                    : Tensor::zeros({DType::f32, one});
}

Tensor Explainer::logits(const Tensor& image) {
  return prepared("logits", "").program.run({{"image", image}})[0];
}

Attribution Explainer::explain(std::string_view method, const Tensor& image, const Tensor& classes,
                               const ExplainOptions& options) {
  if (std::find(methods().begin(), methods().end(), method) == methods().end()) {
    throw usage_error("unknown explanation method '{}'; known are {}", method,
                      fmt::join(methods(), ", "));
  }
  const bool uses_layer = method == "cam" || method == "grad-cam";
  Method& prepared = this->prepared(method, uses_layer ? options.layer : "");
  Attribution result;
  if (method == kIntegratedGradients) {
    result = integrated_gradients(prepared, image, classes, options);
  } else {
    std::vector<NamedTensor> inputs = {{"image", image}, {"class", classes}};
    if (method == kDeepLift) inputs.push_back({"baseline", baseline_of(options)});
    std::vector<Tensor> out = prepared.program.run(inputs);
    result.map = std::move(out[0]);
    result.value = std::move(out[1]);
    if (method == kDeepLift) result.residual = residual_of(out[2], result.map);
    result.forward_passes = prepared.forward_passes;
  }
  result.method = method;
  result.node = prepared.node;
  return result;
}

// Sundararajan et al. 2017 (arXiv 1703.01365): (x - x') times the mean gradient along the straight
// path from the baseline x', by the midpoint rule. The points of a third of the steps are among
// those of all (3(k + 1/2) = 3k + 1 + 1/2), so an estimate of the error costs nothing. One point
// of the path is in memory at a time.
Attribution Explainer::integrated_gradients(Method& method, const Tensor& image,
                                            const Tensor& classes, const ExplainOptions& options) {
  const int affordable = static_cast<int>(options.budget / 2) - 2;
  const int steps = std::max(3, std::min(options.steps, affordable) / 3 * 3);
  const Tensor baseline = baseline_of(options);
  const auto run = [&](double position) {
    return method.program.run({{"image", image},
                               {"class", classes},
                               {"baseline", baseline},
                               {"position", Tensor::scalar(static_cast<float>(position))}});
  };
  const auto elements = static_cast<std::size_t>(image.elements());
  std::vector<double> all(elements, 0.0), third(elements, 0.0);
  for (int k = 0; k < steps; ++k) {
    const std::vector<Tensor> out = run((k + 0.5) / steps);
    const auto gradient = out[0].values<float>();
    for (std::size_t i = 0; i < elements; ++i) all[i] += gradient[i];
    if (k % 3 == 1) {
      for (std::size_t i = 0; i < elements; ++i) third[i] += gradient[i];
    }
  }
  Attribution result;
  result.map = Tensor(image.type());
  result.value = run(1)[1];
  Tensor change(result.value.type());  // F(x) - F(x')
  const Tensor at_baseline = run(0)[1];
  result.error_estimate = Tensor(result.value.type());
  const std::int64_t rows = image.shape()[0];
  const std::size_t units = rows > 0 ? elements / static_cast<std::size_t>(rows) : 0;
  const auto x = image.values<float>();
  const auto from = baseline.values<float>();
  for (std::int64_t n = 0; n < rows; ++n) {
    double worst = 0;
    for (std::size_t u = 0; u < units; ++u) {
      const std::size_t i = static_cast<std::size_t>(n) * units + u;
      const double distance = static_cast<double>(x[i]) - from[u];
      const double fine = distance * all[i] / steps;
      result.map.values<float>()[i] = static_cast<float>(fine);
      worst = std::max(worst, std::abs(fine - distance * third[i] / (steps / 3)));
    }
    const auto row = static_cast<std::size_t>(n);
    result.error_estimate.values<float>()[row] = static_cast<float>(worst);
    change.values<float>()[row] = static_cast<float>(result.value.item(n) - at_baseline.item(n));
  }
  result.residual = residual_of(change, result.map);
  result.forward_passes = 2.0 * (steps + 2);
  return result;
}

}  // namespace tapescope::explain
