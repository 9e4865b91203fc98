#include "tools/inspection/activations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/leaf.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "autograd/reach.h"
#include "tools/inspection/spectrum.h"

namespace tapescope::inspection {
namespace {

constexpr double kSaturated = 0.05;  // of the steepest slope
constexpr double kNearlyNever = 1e-3;
constexpr int kCurvePoints = 101;
constexpr std::int64_t kCovarianceRows = 64;  // positions of an image that enter the covariance

struct Function {
  std::string_view name;
  Var (*record)(Var);
};
constexpr Function kFunctions[] = {
    {"relu", [](Var x) { return relu(x); }},
    {"leaky_relu", [](Var x) { return leaky_relu(x); }},
    {"elu", [](Var x) { return elu(x); }},
    {"gelu", [](Var x) { return gelu(x); }},
    {"silu", [](Var x) { return silu(x); }},
    {"sigmoid", [](Var x) { return sigmoid(x); }},
    {"tanh", [](Var x) { return tanh(x); }},
    {"softplus", [](Var x) { return softplus(x); }},
    {"hard_swish", [](Var x) { return hard_swish(x); }},
    {"hard_sigmoid", [](Var x) { return hard_sigmoid(x); }},
    {"clamp", [](Var x) { return clamp(x, 0, 6); }},  // ReLU6
};

bool saturates(std::string_view op) { return op == "sigmoid" || op == "tanh"; }

// s'(z) / max s' of sigmoid and tanh from their result.
double relative_slope(std::string_view op, double result) {
  return op == "sigmoid" ? 4 * result * (1 - result) : 1 - result * result;
}

// The function and its slope at `x`, from the op itself.
void draw_curve(ActivationRow& row, const OpRef& op) {
  const double margin = 0.05 * (row.histogram.high - row.histogram.low) + 1e-3;
  const double low = std::min(row.histogram.low - margin, -1.0);
  const double high = std::max(row.histogram.high + margin, 1.0);
  Tensor points(Type{DType::f32, {kCurvePoints}});
  for (int i = 0; i < kCurvePoints; ++i) {
    points.values<float>()[static_cast<std::size_t>(i)] =
        static_cast<float>(low + (high - low) * i / (kCurvePoints - 1));
  }
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", points);
  const Var y = tape.record(op, {x}).out();
  const Var slope = tape.gradient(sum(y), {x})[0];
  for (int i = 0; i < kCurvePoints; ++i) {
    row.curve_x.push_back(points.item(i));
    row.curve_y.push_back(y.value().item(i));
    row.curve_slope.push_back(slope.value().item(i));
  }
}

// Sums for the covariance of the units.
struct Covariance {
  std::size_t units = 0;
  double count = 0;
  std::vector<double> sum, products;  // {C}, {C,C} upper triangle

  void add(std::span<const float> row) {
    if (units == 0) {
      units = row.size();
      sum.assign(units, 0);
      products.assign(units * units, 0);
    }
    ++count;
    for (std::size_t i = 0; i < units; ++i) {
      sum[i] += row[i];
      if (row[i] == 0) continue;  // most are, after a relu
      const double value = row[i];
      for (std::size_t k = i; k < units; ++k) products[i * units + k] += value * row[k];
    }
  }
  double effective_rank() const {
    if (count < 2) return 0;
    std::vector<float> matrix(units * units);
    for (std::size_t i = 0; i < units; ++i) {
      for (std::size_t k = i; k < units; ++k) {
        const double c = products[i * units + k] / count - sum[i] / count * (sum[k] / count);
        matrix[i * units + k] = matrix[k * units + i] = static_cast<float>(c);
      }
    }
    const auto n = static_cast<std::int64_t>(units);
    // A covariance's singular values are its eigenvalues.
    return spectrum_of(matrix, n, n).effective_rank;
  }
};

struct Watched {
  const Node* node = nullptr;
  ActivationRow row;
  double zeros = 0, negatives = 0, saturated = 0;
  std::vector<double> places, active, unit_saturated;  // by unit
  Covariance covariance;

  // The first batch gives the histogram's range.
  void begin(std::span<const float> z, std::size_t units) {
    row.units.assign(units, {});
    for (UnitRow& unit : row.units) {
      unit.min = std::numeric_limits<float>::infinity();
      unit.max = -unit.min;
    }
    places.assign(units, 0);
    active.assign(units, 0);
    unit_saturated.assign(units, 0);
    row.histogram = histogram_of(z);
    row.histogram.counts.assign(40, 0);
    row.histogram.below = row.histogram.above = row.histogram.not_finite = 0;
    const double room = 0.1 * (row.histogram.high - row.histogram.low) + 1e-6;
    row.histogram.low -= room;
    row.histogram.high += room;
  }
};

// Keeps the `most` largest, equal ones in the order in which they came.
void add_top(std::vector<TopImage>& top, const TopImage& candidate, std::size_t most) {
  const auto before =
      std::upper_bound(top.begin(), top.end(), candidate,
                       [](const TopImage& x, const TopImage& y) { return x.value > y.value; });
  top.insert(before, candidate);
  if (top.size() > most) top.pop_back();
}

}  // namespace

bool is_activation(std::string_view op) {
  return std::any_of(std::begin(kFunctions), std::end(kFunctions),
                     [&](const Function& f) { return f.name == op; });
}

struct ActivationProbe::State {
  ActivationOptions options;
  Tape tape;
  std::vector<Watched> watched;
  std::unique_ptr<Program> program;  // the model's; null where nothing is watched
  // By step of the program: whose operand or result its outputs are.
  struct Reading {
    std::size_t watched;
    int output;
    bool operand;
  };
  std::vector<std::vector<Reading>> readings;

  State(const ActivationOptions& options)
      : options(options),
        tape(options.backend.device, Mode::evaluation, {0, options.backend.choices}) {}
  void plan_readings();
  // A pass of the pictures, each watched function looked at when it has just run.
  void run(const Tensor& images, std::span<const std::int64_t> indices);
  void look(Watched& w, const Tensor& input, const Tensor& output,
            std::span<const std::int64_t> indices) const;
};

ActivationProbe::ActivationProbe(const Record& record, const Shape& image,
                                 const ActivationOptions& options)
    : state_(new State(options)) {
  State& s = *state_;
  const Var input = s.tape.input("image", DType::f32,
                                 image.with_leading(std::max<std::int64_t>(1, options.batch_size)));
  const std::vector<Var> outputs = record(s.tape, input);
  const std::vector<bool> needed = leading_to(s.tape, outputs, Through::everything);
  for (const Node* node : s.tape.nodes()) {
    if (!needed[node->index]) continue;
    if (!is_activation(node->op->name())) continue;
    Watched w;
    w.node = node;
    w.row.path = node->path();
    w.row.op = node->op->name();
    w.row.attributes = describe(*node->op).substr(w.row.op.size());
    w.row.shape = node->types()[0].shape.without_leading();
    s.watched.push_back(std::move(w));
  }
  if (s.watched.empty()) return;
  s.program = std::make_unique<Program>(s.tape.compile(outputs));
  s.plan_readings();
}

ActivationProbe::~ActivationProbe() = default;

void ActivationProbe::State::plan_readings() {
  const std::vector<StepInfo> steps = program->steps();
  readings.resize(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (std::size_t w = 0; w < watched.size(); ++w) {
      const Var operand = watched[w].node->operands()[0];
      if (operand.node->index == steps[i].node) readings[i].push_back({w, operand.output, true});
      if (watched[w].node->index == steps[i].node) readings[i].push_back({w, 0, false});
    }
  }
}

void ActivationProbe::State::run(const Tensor& images, std::span<const std::int64_t> indices) {
  std::vector<Tensor> operands;  // a step may write over its own
  for (const Watched& w : watched) {
    const auto* leaf = dynamic_cast<const ParameterOp*>(w.node->operands()[0].node->op.get());
    operands.push_back(leaf != nullptr ? leaf->parameter->value.host() : images);
  }
  const auto read = [&](const ObservedStep& step) {
    for (const Reading& reading : readings[step.index]) {
      Tensor& operand = operands[reading.watched];
      if (reading.operand) {
        operand = step.output(reading.output);
      } else {
        look(watched[reading.watched], operand, step.output(reading.output), indices);
        operand = {};
      }
    }
    return true;
  };
  const NamedTensor inputs[] = {{"image", images}};
  program->run(inputs, read);
}

void ActivationProbe::State::look(Watched& w, const Tensor& input, const Tensor& output,
                                  std::span<const std::int64_t> indices) const {
  const std::span<const float> z = input.values<float>(), a = output.values<float>();
  ActivationRow& row = w.row;
  const Shape& shape = output.shape();
  const auto units = static_cast<std::size_t>(shape[shape.rank() - 1]);
  const std::int64_t images = shape[0];
  const std::size_t places =
      z.size() / units / static_cast<std::size_t>(std::max<std::int64_t>(images, 1));
  if (row.input.count == 0) w.begin(z, units);
  row.input.add(z);
  row.output.add(a);
  for (float value : z) row.histogram.add(value);
  const bool may_saturate = saturates(row.op);
  const std::int64_t stride =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(places) / kCovarianceRows);
  std::vector<float> peak(units);
  for (std::int64_t n = 0; n < images; ++n) {
    std::fill(peak.begin(), peak.end(), -std::numeric_limits<float>::infinity());
    for (std::size_t p = 0; p < places; ++p) {
      const std::size_t at = (static_cast<std::size_t>(n) * places + p) * units;
      for (std::size_t c = 0; c < units; ++c) {
        const float in = z[at + c], out = a[at + c];
        UnitRow& unit = row.units[c];
        unit.min = std::min(unit.min, in);
        unit.max = std::max(unit.max, in);
        peak[c] = std::max(peak[c], out);
        w.zeros += out == 0;
        w.negatives += in < 0;
        w.active[c] += out > 0;
        if (may_saturate && relative_slope(row.op, out) < kSaturated) {
          ++w.saturated;
          ++w.unit_saturated[c];
        }
      }
      if (static_cast<std::int64_t>(p) % stride == 0) w.covariance.add(a.subspan(at, units));
    }
    for (std::size_t c = 0; c < units; ++c) {
      w.places[c] += static_cast<double>(places);
      if (indices.empty() || options.top_images == 0) continue;
      add_top(row.units[c].top, {indices[static_cast<std::size_t>(n)], peak[c]},
              static_cast<std::size_t>(options.top_images));
    }
  }
}

void ActivationProbe::add(const Tensor& images, std::span<const std::int64_t> indices) {
  State& s = *state_;
  if (!s.program) return;
  const std::int64_t batch = std::max<std::int64_t>(1, s.options.batch_size);
  for (std::int64_t first = 0; first < images.shape()[0]; first += batch) {
    const std::int64_t last = std::min(first + batch, images.shape()[0]);
    s.run(images.rows(first, last), indices.empty()
                                        ? indices
                                        : indices.subspan(static_cast<std::size_t>(first),
                                                          static_cast<std::size_t>(last - first)));
  }
}

std::vector<ActivationRow> ActivationProbe::rows() {
  std::vector<ActivationRow> rows;
  for (Watched& w : state_->watched) {
    const double count =
        std::max(1.0, w.row.input.count + static_cast<double>(w.row.input.not_finite));
    ActivationRow row = w.row;
    row.zero_fraction = w.zeros / count;
    row.negative_fraction = w.negatives / count;
    row.saturated_fraction = w.saturated / count;
    row.effective_rank = w.covariance.effective_rank();
    for (std::size_t c = 0; c < row.units.size(); ++c) {
      UnitRow& unit = row.units[c];
      unit.active = w.places[c] > 0 ? w.active[c] / w.places[c] : 0;
      unit.saturated = w.places[c] > 0 ? w.unit_saturated[c] / w.places[c] : 0;
      if (row.op == "relu") {
        const bool dead = unit.max <= 0;
        row.dead += dead;
        row.near_dead += !dead && unit.active < kNearlyNever;
        row.always_on += unit.min > 0;
      } else if (saturates(row.op)) {
        row.dead += unit.saturated >= 1;
      }
    }
    draw_curve(row, w.node->op);
    rows.push_back(std::move(row));
    ActivationRow fresh;
    fresh.path = w.row.path;
    fresh.op = w.row.op;
    fresh.attributes = w.row.attributes;
    fresh.shape = w.row.shape;
    const Node* node = w.node;
    w = Watched{};
    w.node = node;
    w.row = std::move(fresh);
  }
  return rows;
}

std::vector<Image> feature_maps(const Record& record, const std::string& node, const Tensor& image,
                                const Backend& backend, int most) {
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  record(tape, tape.input("image", DType::f32, image.shape()));
  const Var map = tape.find(node);
  if (map.shape().rank() != 4) {
    throw usage_error("'{}' has shape {}: only {{N,H,W,C}} results can be drawn as feature maps",
                      node, to_string(map.shape()));
  }
  const Tensor values = tape.compile({map}).run({{"image", image}})[0];
  const auto v = values.values<float>();
  const Shape& s = values.shape();
  const auto height = static_cast<int>(s[1]), width = static_cast<int>(s[2]);
  const auto channels = static_cast<std::size_t>(s[3]);
  const std::size_t places = static_cast<std::size_t>(s[1] * s[2]);
  std::vector<Image> pictures;
  for (std::size_t c = 0; c < std::min(channels, static_cast<std::size_t>(most)); ++c) {
    float low = v[c], high = v[c];
    for (std::size_t p = 0; p < places; ++p) {
      low = std::min(low, v[p * channels + c]);
      high = std::max(high, v[p * channels + c]);
    }
    Image picture(height, width, 1);
    for (std::size_t p = 0; p < places; ++p) {
      const float t = high > low ? (v[p * channels + c] - low) / (high - low) : 0;
      picture.pixels[p] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(t, 0.0f, 1.0f)));
    }
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

std::vector<Var> swapped(std::span<const Var> outputs, const std::string& from,
                         const std::string& to) {
  const Function* replacement = nullptr;
  std::vector<std::string_view> names;
  for (const Function& function : kFunctions) {
    names.push_back(function.name);
    if (function.name == to) replacement = &function;
  }
  for (const std::string& name : {from, to}) {
    if (!is_activation(name)) {
      throw usage_error("there is no activation function '{}'; known are {}", name,
                        fmt::join(names, ", "));
    }
  }
  Tape& tape = outputs[0].tape();
  const std::vector<bool> needed = leading_to(tape, outputs, Through::everything);
  std::vector<const Node*> copies(needed.size(), nullptr);  // of nodes that come to differ
  int found = 0;
  const Tape::Scope in(tape, "swapped");
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const Node* node = tape.nodes()[i];
    if (!needed[i] || node->op->is_leaf()) continue;
    std::vector<Var> operands(node->operands().begin(), node->operands().end());
    bool changed = false;
    for (Var& operand : operands) {
      if (const Node* copy = copies[operand.node->index]; copy != nullptr) {
        operand = copy->out(operand.output);
        changed = true;
      }
    }
    if (node->op->name() == from) {
      copies[i] = replacement->record(operands[0]).node;
      ++found;
    } else if (changed) {
      copies[i] = &tape.record(node->op, operands);
    }
  }
  if (found == 0) throw usage_error("the model has no '{}' that could be swapped", from);
  std::vector<Var> results;
  for (const Var& output : outputs) {
    const Node* copy = copies[output.node->index];
    results.push_back(copy != nullptr ? copy->out(output.output) : output);
  }
  return results;
}

}  // namespace tapescope::inspection
