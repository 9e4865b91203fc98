#include "tools/inspection/pulse.h"

#include <algorithm>
#include <cmath>

#include "autograd/leaf.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "autograd/reach.h"
#include "tools/inspection/activations.h"

namespace tapescope::inspection {
namespace {

// Every axis but the last: a unit is a channel.
std::vector<int> places_of(Var x) {
  std::vector<int> axes;
  for (int axis = 0; axis + 1 < x.shape().rank(); ++axis) axes.push_back(axis);
  return axes;
}

double mean_of(const Tensor& units) {
  double sum = 0;
  for (float value : units.values<float>()) sum += value;
  return sum / static_cast<double>(std::max<std::int64_t>(1, units.elements()));
}

// The standard deviation over units and places from each unit's mean and mean square.
double std_of(const Tensor& mean, const Tensor& squares) {
  const double m = mean_of(mean);
  return std::sqrt(std::max(0.0, mean_of(squares) - m * m));
}

constexpr int kOutputsOfActivation = 6, kOutputsOfNorm = 2;

}  // namespace

struct PulseProbe::State {
  std::vector<PulseRow> rows;
  struct Norm {
    std::string path;
    ParameterRef mean, variance;
  };
  std::vector<Norm> norms;
  std::unique_ptr<Program> program;
};

PulseProbe::PulseProbe(const Record& record, const Shape& image, const Backend& backend)
    : state_(new State) {
  State& s = *state_;
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const std::vector<Var> outputs =
      record(tape, tape.input("image", DType::f32, image.with_leading(2)));
  const std::vector<bool> needed = leading_to(tape, outputs, Through::everything);
  const std::vector<Node*> nodes(tape.nodes().begin(), tape.nodes().end());
  std::vector<Var> activations, norms;
  for (const Node* node : nodes) {
    const std::string_view op = node->op->name();
    if (!needed[node->index]) continue;
    if (is_activation(op)) {
      const Var z = node->operands()[0], a = node->out();
      const std::vector<int> axes = places_of(z);
      // 1 where the slope is nearly 0: |tanh| > 0.9747, sigmoid outside [0.0127, 0.9873].
      const auto outside = [&](double low, double high) {
        return affine(inside(a, low, high), -1, 1);
      };
      const Var flat = op == "tanh"      ? outside(-0.974679, 0.974679)
                       : op == "sigmoid" ? outside(0.0126603, 0.9873397)
                                         : is_zero(a);
      for (const Var& outcome :
           {reduce_mean(flat, axes), reduce_mean(is_zero(a), axes), reduce_mean(z, axes),
            reduce_mean(square(z), axes), reduce_mean(a, axes), reduce_mean(square(a), axes)}) {
        activations.push_back(outcome);
      }
      s.rows.push_back(
          {node->path(), std::string(op), static_cast<int>(z.shape()[z.shape().rank() - 1])});
    } else if (op == "batch_norm_inference") {
      const auto parameter = [&](int i) {
        const auto* leaf = dynamic_cast<const ParameterOp*>(node->operand_data[i].node->op.get());
        return leaf != nullptr ? leaf->parameter : nullptr;
      };
      State::Norm norm{node->path(), parameter(3), parameter(4)};
      if (!norm.mean || !norm.variance) continue;  // statistics that are computed are never off
      const auto stays = [](const ParameterRef& p) { return p != nullptr && p->frozen; };
      if (stays(parameter(1)) && stays(parameter(2))) continue;  // as they are, on purpose
      const Var x = node->operands()[0];
      norms.push_back(reduce_mean(x, places_of(x)));
      norms.push_back(reduce_mean(square(x), places_of(x)));
      s.norms.push_back(std::move(norm));
    }
  }
  activations.insert(activations.end(), norms.begin(), norms.end());
  if (!activations.empty()) s.program = std::make_unique<Program>(tape.compile(activations));
}

PulseProbe::~PulseProbe() = default;

Pulse PulseProbe::measure(const Tensor& images) {
  State& s = *state_;
  Pulse pulse;
  if (!s.program) return pulse;
  const std::vector<Tensor> out = s.program->run({{"image", images}});
  std::size_t at = 0;
  for (PulseRow row : s.rows) {
    for (float share : out[at].values<float>()) row.dead += share >= 1;
    const bool saturates = row.op == "tanh" || row.op == "sigmoid";
    if (saturates) row.saturated_fraction = mean_of(out[at]);
    if (!saturates && row.op != "relu") row.dead = 0;
    row.zero_fraction = mean_of(out[at + 1]);
    row.input_std = std_of(out[at + 2], out[at + 3]);
    row.output_std = std_of(out[at + 4], out[at + 5]);
    pulse.activations.push_back(std::move(row));
    at += kOutputsOfActivation;
  }
  for (const State::Norm& norm : s.norms) {
    constexpr double kEpsilon = 1e-5;  // batch norm's own
    const auto mean = out[at].values<float>(), squares = out[at + 1].values<float>();
    const Tensor running_mean = norm.mean->value.host(), running_var = norm.variance->value.host();
    NormDrift drift{norm.path};
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const auto i = static_cast<std::int64_t>(c);
      const double running = running_var.item(i) + kEpsilon;
      const double seen =
          std::max(0.0, static_cast<double>(squares[c]) - static_cast<double>(mean[c]) * mean[c]);
      const double shift = (mean[c] - running_mean.item(i)) / std::sqrt(running);
      const double ratio = 0.5 * std::log((seen + kEpsilon) / running);
      drift.mean_shift += shift * shift / static_cast<double>(mean.size());
      drift.log_std_ratio += ratio * ratio / static_cast<double>(mean.size());
    }
    drift.mean_shift = std::sqrt(drift.mean_shift);
    drift.log_std_ratio = std::sqrt(drift.log_std_ratio);
    pulse.norms.push_back(std::move(drift));
    at += kOutputsOfNorm;
  }
  return pulse;
}

}  // namespace tapescope::inspection
