#include "autograd/explain/explainer.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/explain/cam.h"
#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {

Var Recording::at_layer() {
  const Var var = layer.empty() ? last_feature_map(tape, target, image) : tape.find(layer);
  node = var.path();
  return var;
}

// --- the Programs of a model
Prepared& Programs::prepared(const std::string& key, const std::string& layer,
                             const Append& append) {
  std::unique_ptr<Prepared>& slot = all[key + " " + layer];
  if (slot) return *slot;
  // Recorded for two images: a batch of one would hide which axes are the batch.
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  const Var image = tape.input("image", DType::f32, image_shape.with_leading(2));
  const Var logits = record(tape, image);
  const Var index = tape.input("class", DType::i64, {2});
  Recording recording{tape, image, index, logits, class_logit(logits, index), layer, image.path()};
  std::vector<Var> outputs = append(recording);
  for (Var& output : outputs) output = widened(output);  // maps are f32, whatever they are made in
  CompileOptions options;
  options.cuts = recording.cuts;
  options.arena = arena;
  options.keep_fixed = true;
  // All methods' Programs share what kernels keep of a parameter; folded weights would be each
  // one's.
  options.without = {"fold_batch_norm"};
  const std::string input = recording.cuts.empty() ? image.path() : recording.cuts[0].path();
  slot.reset(new Prepared{recording.node, input, tape.compile(outputs, {}, options)});
  slot->macs = slot->program.cost().macs;
  return *slot;
}

Prepared& Programs::target() {
  return prepared("target", "", [](Recording& r) { return std::vector<Var>{r.target}; });
}

Prepared& Programs::gradient() {
  return prepared("gradient", "",
                  [](Recording& r) { return r.tape.gradient(r.target, {r.image}); });
}

Prepared& Programs::at_layer(const std::string& path) {
  return prepared("layer", path, [](Recording& r) { return std::vector<Var>{r.at_layer()}; });
}

namespace {

// Follows the picture as long as one node alone reads it, which is affine in it.
Var affine_end(const Tape& tape, Var value) {
  for (;;) {
    const Node* reader = nullptr;
    for (const Node* node : tape.nodes()) {
      const auto operands = node->operands();
      const auto reads = std::count(operands.begin(), operands.end(), value);
      if (reads == 0) continue;
      if (reader != nullptr || reads > 1) return value;
      reader = node;
    }
    if (reader == nullptr || reader->operands()[0] != value || reader->types().size() != 1) {
      return value;
    }
    const RelevanceClass passes = reader->op->relevance_class(1u);
    if (passes != RelevanceClass::linear && passes != RelevanceClass::moves) return value;
    value = reader->out();
  }
}

}  // namespace

Prepared* Programs::affine_start() {
  Prepared& start = prepared("affine-start", "", [&](Recording& r) {
    const Var end = affine_end(r.tape, r.image);
    if (end == r.image || end == r.target) return std::vector<Var>{r.target};
    r.node = end.path();
    return std::vector<Var>{end};
  });
  return start.node != start.input && start.macs > 0 ? &start : nullptr;
}

// A net without convolutions and matrix products has no multiply-adds to compare.
double Programs::in_forwards(const Prepared& program, double otherwise) {
  const double forward = target().macs;
  return forward > 0 ? program.macs / forward : otherwise;
}

// --- what every method is asked
std::vector<Tensor> Request::baselines() const {
  const std::int64_t rows = image.shape()[0];
  const Shape one = programs.image_shape.with_leading(1);
  std::vector<Tensor> all = options.baselines;
  if (all.empty()) all.push_back(Tensor::zeros({DType::f32, one}));
  for (Tensor& baseline : all) {
    if (baseline.shape().rank() < one.rank()) baseline = baseline.reshape(one);
    if (baseline.shape()[0] != rows) baseline = repeated_rows(baseline, rows);
  }
  return all;
}

Gradients Request::at_points(Prepared& program) const {
  bool around = false;  // whether a way goes around the node that the Program begins at
  for (const auto& [name, type] : program.program.inputs()) {
    around = around || (name == "image" && program.input != name);
  }
  return [&program, classes = classes, image = around ? image : Tensor()](const Tensor& points) {
    const std::int64_t times = points.shape()[0] / classes.shape()[0];
    std::vector<NamedTensor> inputs{{program.input, points},
                                    {"class", repeated_rows(classes, times)}};
    if (image.defined()) inputs.push_back({"image", repeated_rows(image, times)});
    return program.program.run(inputs)[0];
  };
}

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

std::string cut_to(std::int64_t taken, std::int64_t asked, std::string_view what) {
  return fmt::format("{} of {} {}, what --budget pays for", taken, asked, what);
}

void add_share(Tensor& whole, const Tensor& part, double share) {
  if (!whole.defined()) whole = Tensor::zeros(part.type());
  const auto from = part.values<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    whole.values<float>()[i] += static_cast<float>(share * from[i]);
  }
}

// --- methods that are one Program
Attribution one_run(const Request& request, const std::string& key,
                    const std::function<Var(Recording&)>& append) {
  Prepared& program = request.programs.prepared(key, request.layer(), [&](Recording& r) {
    std::vector<Var> outputs{append(r), r.target};
    if (r.residual) outputs.push_back(r.residual);
    return outputs;
  });
  std::vector<Tensor> out =
      program.program.run({{"image", request.image}, {"class", request.classes}});
  Attribution result;
  result.node = program.node;
  result.map = std::move(out[0]);
  result.value = std::move(out[1]);
  if (out.size() > 2) result.residual = std::move(out[2]);
  result.forward_passes = request.programs.in_forwards(program, 2);
  return result;
}

Attribution runs::eigen_cam(const Request& request) {
  Attribution result = one_run(request, "eigen-cam", [](Recording& r) { return r.at_layer(); });
  result.map = explain::eigen_cam(result.map);
  return result;
}

namespace {

Attribution run(const Request& request) {
  const Method& method = request.method;
  if (const Answer* answer = std::get_if<Answer>(&method.run)) return (*answer)(request);
  const std::string name(method.name);
  if (const AppendMap* append = std::get_if<AppendMap>(&method.run)) {
    return one_run(request, name, *append);
  }
  const MakeComposite* make = std::get_if<MakeComposite>(&method.run);
  if (make == nullptr) {
    throw usage_error("[{}] it explains a detector's boxes; this is a classifier", name);
  }
  const LrpSettings& settings = request.options.lrp;
  return one_run(request, name + " " + key_of(settings), [&](Recording& r) {
    const Var wrt[] = {r.image};
    return r.tape.relevance(r.target, wrt, (*make)(settings))[0];
  });
}

}  // namespace

// --- the Explainer
Explainer::Explainer(Record record, Shape image_shape, const Backend& backend)
    : programs_(new Programs{std::move(record), image_shape, backend}) {}
Explainer::~Explainer() = default;

const std::vector<std::string_view>& Explainer::methods() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Method& method : all_methods()) all.push_back(method.name);
    return all;
  }();
  return names;
}

Tensor Explainer::logits(const Tensor& image) {
  Prepared& forward =
      programs_->prepared("logits", "", [](Recording& r) { return std::vector<Var>{r.logits}; });
  return forward.program.run({{"image", image}})[0];
}

std::string Explainer::first_non_finite(const Tensor& image, const Tensor& classes) {
  const std::vector<NamedTensor> inputs{{"image", image}, {"class", classes}};
  return programs_->target().program.first_non_finite(inputs);
}

Attribution Explainer::explain(std::string_view name, const Tensor& image, const Tensor& classes,
                               const ExplainOptions& options) {
  const Method* method = find_method(name);
  if (method == nullptr) {
    std::vector<std::string_view> known = methods();
    for (const Method& other : particular_methods()) known.push_back(other.name);
    throw usage_error("unknown explanation method '{}'; known are {}", name,
                      fmt::join(known, ", "));
  }
  Attribution result = run({*method, image, classes, options, *programs_});
  result.method = name;
  return result;
}

}  // namespace tapescope::explain
