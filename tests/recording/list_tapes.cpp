// Prints the tapes of the zoo's nets (training, gradient, each composite's relevance, maps) and of
// every op's samples with their gradients, a line per node: what all compilers have to agree on.
#include <cstdio>

#include "autograd/explain/cam.h"
#include "autograd/explain/deeplift.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"
#include "autograd/program/print.h"
#include "autograd/reach.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

void print(const std::string& title, const Tape& tape, std::uint32_t first = 0) {
  std::printf("\n== %s\n%s", title.c_str(), list_nodes(tape, first).c_str());
}

struct Net {
  std::unique_ptr<Classifier> model;
  Shape image;
};

Net make(std::string_view name) {
  ModelConfig config;
  config.name = name;
  config.width = 0.1;
  config.image_size = describe_model(name).smallest_image;
  if (config.image_size < 16) config.image_size = 16;
  return {make_model(config), {2, config.image_size, config.image_size, config.channels}};
}

void list_training(const std::string& name, const std::string& optimizer) {
  const Net net = make(name);
  Tape tape(Device::cpu(), Mode::training);
  const Var image = tape.input("image", DType::f32, net.image);
  const Var label = tape.input("label", DType::i64, {2});
  const Var logits = (*net.model)({{"image", image}}).at("logits");
  const Var loss = optimizer == "sgd" ? mean(cross_entropy(logits, label, 0.1))
                                      : mean(focal_loss(logits, label, 1.5));
  const std::vector<ParameterRef> parameters = net.model->trained_parameters();
  const std::vector<Var> gradients = tape.gradient(loss, parameters);
  Optimizer({.name = optimizer, .clip_gradient = 1}).update(parameters, gradients);
  print(name + ", training by " + optimizer, tape);
}

// `append` adds to a tape that holds the net.
template <class Append>
void list_evaluation(const std::string& name, const std::string& what, Append append) {
  const Net net = make(name);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", DType::f32, net.image);
  const Var index = tape.input("class", DType::i64, {2});
  const Var logits = (*net.model)({{"image", image}}).at("logits");
  const Var target = explain::class_logit(logits, index);
  const std::uint32_t first = tape.mark();
  append(tape, target, image, [&](Var other) {
    return explain::class_logit((*net.model)({{"image", other}}).at("logits"), index);
  });
  print(name + ", " + what, tape, what == "gradient" ? 0 : first);
}

void list_relevance(const std::string& name, const std::string& method) {
  list_evaluation(name, method, [&](Tape& tape, Var target, Var image, auto) {
    explain::LrpSettings settings;
    settings.rules = "*=alpha-beta:2:1";
    const Var wrt[] = {image};
    const auto composite = explain::composite_of(method, settings);
    if (!composite) return;
    explain::Ledger ledger;
    explain::relevance(tape, target, wrt, *composite, {}, &ledger);
  });
}

void list_maps(const std::string& name) {
  using namespace explain;
  list_evaluation(name, "gradient", [](Tape& tape, Var target, Var image, auto) {
    const Var first = tape.gradient(target, {image})[0];
    tape.gradient(row_sums(mul(first, first)), {image});
  });
  list_evaluation(name, "maps", [](Tape& tape, Var target, Var image, auto record) {
    const Var other = tape.input("other", DType::f32, image.shape());
    const Var at_other = record(other);
    deeplift(tape, target, image, at_other, other);
    contrastive_excitation_backprop(tape, target, image);
    full_gradient(tape, target, image);
    try {
      const Var layer = last_feature_map(tape, target, image);
      grad_cam(tape, target, layer);
      grad_cam_plus_plus(tape, target, layer);
      xgrad_cam(tape, target, layer);
      hires_cam(tape, target, layer);
      layer_cam(tape, target, layer);
      guided_grad_cam(tape, target, layer, image);
    } catch (const Error&) {
      // A net of linear layers has no feature map.
    }
  });
}

// The op, its gradient, and the gradient of that.
void list_sample(const Sample& sample) {
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<Var> operands, wrt;
  for (const OperandSpec& spec : sample.operands) {
    operands.push_back(
        tape.input(fmt::format("operand {}", operands.size()), spec.type.dtype, spec.type.shape));
    const int i = static_cast<int>(operands.size()) - 1;
    if (passes(sample.op->role(i)) && is_floating(spec.type.dtype)) wrt.push_back(operands.back());
  }
  const Node& node = tape.record(sample.op, operands);
  Var total;
  for (int o = 0; o < node.output_count; ++o) {
    if (!is_floating(node.types()[static_cast<std::size_t>(o)].dtype)) continue;
    const Var term = sum(square(node.out(o)));
    total = total ? add(total, term) : term;
  }
  if (total && !wrt.empty()) {
    Var again;
    for (const Var& g : tape.gradient(total, wrt)) {
      const Var term = sum(square(g));
      again = again ? add(again, term) : term;
    }
    tape.gradient(again, wrt);
  }
  print(fmt::format("{} {}", sample.op->name(), sample.label), tape);
}

}  // namespace
}  // namespace tapescope

int main() {
  using namespace tapescope;
  for (const ModelDescription& model : model_descriptions()) {
    const std::string name(model.name);
    list_training(name, "sgd");
    list_training(name, "adamw");
    list_maps(name);
    for (const explain::Method& method : explain::all_methods()) {
      list_relevance(name, std::string(method.name));
    }
    list_relevance(name, "lrp-composite");
  }
  for (const OpEntry& op : all_ops()) {
    for (const Sample& sample : op.samples()) list_sample(sample);
  }
}
