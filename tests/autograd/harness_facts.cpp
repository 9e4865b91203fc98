// What an op says of itself for explanations, held to its samples in f64.
#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "autograd/explain/composite.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/harness.h"
#include "tests/autograd/harness_run.h"

namespace tapescope {
namespace {

using Operands = std::vector<Tensor>;

Tensor outcome(const Op& op, const Operands& operands) {
  if (op.alias() >= 0) {
    const Tensor& whole = operands[static_cast<std::size_t>(op.alias())];
    return whole.reshape(op.infer(types_of(operands))[0].shape);
  }
  return run(op, operands, {Device::cpu(), {}}, 0, nullptr)[0];
}

bool has_role(const Case& c, std::size_t k, std::initializer_list<Role> roles) {
  const Role role = c.sample.op->role(static_cast<int>(k));
  return c.operands[k].dtype() == DType::f64 &&
         std::find(roles.begin(), roles.end(), role) != roles.end();
}

unsigned signals_of(const Case& c) {
  unsigned set = 0;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    if (has_role(c, k, {Role::signal})) set |= 1u << k;
  }
  return set;
}

// The operands whose role is among `roles`, changed element by element.
template <class F>
Operands changed(const Case& c, std::initializer_list<Role> roles, F&& f) {
  Operands operands = c.operands;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    if (!has_role(c, k, roles)) continue;
    operands[k] = operands[k].clone();
    for (double& value : operands[k].values<double>()) value = f(value);
  }
  return operands;
}

// To rounding of sums of a few hundred terms.
bool near(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-10 * (1 + std::abs(a) + std::abs(b));
}

Problems differs(const char* what, const Tensor& got, const Tensor& want) {
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    if (near(got.item(i), want.item(i))) continue;
    return {fmt::format("{}: element {} is {}, should be {}", what, i, got.item(i), want.item(i))};
  }
  return {};
}

bool is_class(const Case& c, RelevanceClass kind) {
  const unsigned signals = signals_of(c);
  return signals != 0 && c.sample.op->relevance_class(signals) == kind &&
         is_floating(c.sample.op->infer(types_of(c.operands))[0].dtype);
}

// Every signal element by a number of its own, from `first` up.
Operands numbered(const Case& c, double first) {
  double next = first;
  return changed(c, {Role::signal}, [&](double) { return next++; });
}

}  // namespace

// What is read for its shape only may be anything: Programs give its memory to others.
Problems check_shape_operands(const Case& c) {
  Operands operands = c.operands, noise = c.operands;
  for (const DType dtype : {DType::f64, DType::f32}) {
    bool any = false;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      if (!is_floating(operands[k].dtype())) continue;
      operands[k] = noise[k] = c.operands[k].to(dtype);
      if (!has_role(c, k, {Role::shape})) continue;
      noise[k] = Tensor::full(noise[k].type(), std::nan(""));
      any = true;
    }
    if (!any) return {};
    Problems problems = differs("of NaN where only the shape is read", outcome(*c.sample.op, noise),
                                outcome(*c.sample.op, operands));
    if (!problems.empty()) return problems;
  }
  return {};
}

Problems check_moves(const Case& c) {
  if (!is_class(c, RelevanceClass::moves)) return {};
  // Other values, in the reverse order: the element that an output is must be the same one.
  const Operands forth = numbered(c, 1);
  double count = 0;
  for (std::size_t k = 0; k < forth.size(); ++k) {
    if (has_role(c, k, {Role::signal})) count += static_cast<double>(forth[k].elements());
  }
  const auto other = [](double number) { return 1000 - 3 * number; };
  double next = 1;
  const Operands back = changed(c, {Role::signal}, [&](double) { return other(next++); });
  const Tensor one = outcome(*c.sample.op, forth), two = outcome(*c.sample.op, back);
  for (std::int64_t i = 0; i < one.elements(); ++i) {
    const double number = one.item(i);
    const bool of_operand = number >= 1 && number <= count && number == std::floor(number);
    const bool constant = !of_operand && two.item(i) == number;  // zeros beside, a margin
    if (constant || (of_operand && two.item(i) == other(number))) continue;
    return {fmt::format("element {} is {} and then {}: not one element, whatever the values", i,
                        number, two.item(i))};
  }
  return {};
}

Problems check_selects(const Case& c) {
  if (!is_class(c, RelevanceClass::selects)) return {};
  std::set<double> values;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    for (std::int64_t i = 0; i < c.operands[k].elements(); ++i)
      values.insert(c.operands[k].item(i));
  }
  const Tensor y = outcome(*c.sample.op, c.operands);
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    if (!values.contains(y.item(i))) {
      return {fmt::format("element {} is {}, which no operand holds", i, y.item(i))};
    }
  }
  return {};
}

// With the weights doubled, what the active operand adds to the output is doubled.
Problems check_weight_operand(const Case& c) {
  const Op& op = *c.sample.op;
  Problems problems;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    const int weight = op.weight_operand(1u << k);
    if (!has_role(c, k, {Role::signal}) || weight < 0) continue;
    const auto w = static_cast<std::size_t>(weight);
    if (w >= c.operands.size() || w == k) {
      problems.push_back(fmt::format("operand {} cannot be the weights of operand {}", w, k));
      continue;
    }
    const auto added = [&](double factor) {
      Operands operands = c.operands;
      operands[w] = operands[w].clone();
      for (double& value : operands[w].values<double>()) value *= factor;
      Tensor all = outcome(op, operands).clone();
      operands[k] = Tensor::zeros(operands[k].type());
      const Tensor without = outcome(op, operands);
      for (std::int64_t i = 0; i < all.elements(); ++i) {
        all.values<double>()[static_cast<std::size_t>(i)] -= without.item(i);
      }
      return all;
    };
    Tensor once = added(1).clone();
    for (double& value : once.values<double>()) value *= 2;
    for (const std::string& problem : differs("weights doubled", added(2), once)) {
      problems.push_back(problem);
    }
  }
  return problems;
}

// A channel's weights doubled double that channel of the output, and no other.
Problems check_channel_axis(const Case& c) {
  const Op& op = *c.sample.op;
  const int axis = op.channel_axis(), weight = op.weight_operand(1u);
  if (axis < 0) return {};
  if (weight < 0) return {"a channel axis of no weights"};
  const Tensor& w = c.operands[static_cast<std::size_t>(weight)];
  const Case plain{c.sample, changed(c, {Role::bias}, [](double) { return 0.0; })};
  const Tensor y = outcome(op, plain.operands);
  const std::int64_t channels = y.shape()[y.shape().rank() - 1];
  if (axis >= w.shape().rank() || w.shape()[axis] != channels) {
    return {fmt::format("axis {} of the weights {} does not run over {} channels", axis,
                        to_string(w.shape()), channels)};
  }
  if (channels == 0) return {};
  const std::int64_t chosen = channels / 2;
  const std::int64_t behind = w.shape().elements(axis + 1, w.shape().rank());
  Operands operands = plain.operands;
  Tensor& doubled = operands[static_cast<std::size_t>(weight)];
  doubled = doubled.clone();
  for (std::int64_t i = 0; i < doubled.elements(); ++i) {
    if (i / behind % channels == chosen) doubled.values<double>()[static_cast<std::size_t>(i)] *= 2;
  }
  Tensor want = y.clone();
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    if (i % channels == chosen) want.values<double>()[static_cast<std::size_t>(i)] *= 2;
  }
  return differs("a channel's weights doubled", outcome(op, operands), want);
}

// f(x + d) - f(x) = f(d) >= 0 for d >= 0, and f(0) = 0.
Problems check_nonnegative_factors(const Case& c) {
  const Op& op = *c.sample.op;
  if (!op.nonnegative_factors()) return {};
  PhiloxStream random(5);
  const Case steps{c.sample,
                   changed(c, {Role::signal}, [&](double) { return random.uniform_f64(); })};
  Operands moved = c.operands;
  for (std::size_t k = 0; k < moved.size(); ++k) {
    if (!has_role(c, k, {Role::signal})) continue;
    moved[k] = moved[k].clone();
    for (std::int64_t i = 0; i < moved[k].elements(); ++i) {
      moved[k].values<double>()[static_cast<std::size_t>(i)] += steps.operands[k].item(i);
    }
  }
  const Tensor at = outcome(op, c.operands), then = outcome(op, moved);
  const Tensor of_step = outcome(op, steps.operands);
  for (std::int64_t i = 0; i < at.elements(); ++i) {
    if (of_step.item(i) < 0) return {fmt::format("element {} of f(d) is {}", i, of_step.item(i))};
    if (!near(then.item(i) - at.item(i), of_step.item(i))) {
      return {fmt::format("element {} grows by {}, but f(d) is {}", i, then.item(i) - at.item(i),
                          of_step.item(i))};
    }
  }
  const Tensor zero = outcome(op, changed(c, {Role::signal}, [](double) { return 0.0; }));
  return differs("f(0)", zero, Tensor::zeros(zero.type()));
}

Problems check_keeps_signs(const Case& c) {
  const Op& op = *c.sample.op;
  if (!op.keeps_signs() || signals_of(c) == 0) return {};
  const Tensor y = outcome(op, changed(c, {Role::signal}, [](double x) { return std::abs(x); }));
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    if (y.item(i) < 0) return {fmt::format("element {} is {} of operands >= 0", i, y.item(i))};
  }
  return {};
}

Problems check_constant_part(const Case& c) {
  const Op& op = *c.sample.op;
  const bool asked = is_class(c, RelevanceClass::linear) || is_class(c, RelevanceClass::moves);
  // A normalisation's is in its centre and shift: see check_channel_affine.
  if (!asked || op.has_constant_part() || op.folds_into_weights()) return {};
  const Tensor y =
      outcome(op, changed(c, {Role::signal, Role::bias, Role::fixed}, [](double) { return 0.0; }));
  return differs("of zeros", y, Tensor::zeros(y.type()));
}

// Of ops that move elements: what is a channel of the output was one channel.
Problems check_channels_last(const Case& c) {
  const Op& op = *c.sample.op;
  if (!op.channels_last() || !is_class(c, RelevanceClass::moves) || op.alias() >= 0) return {};
  if (std::popcount(signals_of(c)) != 1 || c.operands[0].shape().rank() != 4) return {};
  const Tensor y = outcome(op, numbered(c, 1));
  if (y.shape().rank() != 4) return {};
  const std::int64_t channels = y.shape()[3], before = c.operands[0].shape()[3];
  std::vector<std::int64_t> was(static_cast<std::size_t>(channels), -1);
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    if (y.item(i) < 1) continue;  // a margin
    const auto from = (static_cast<std::int64_t>(y.item(i)) - 1) % before;
    std::int64_t& seen = was[static_cast<std::size_t>(i % channels)];
    if (seen >= 0 && seen != from) {
      return {fmt::format("channel {} is of channels {} and {}", i % channels, seen, from)};
    }
    seen = from;
  }
  return {};
}

// The op is (x - centre) * factor + shift.
Problems check_channel_affine(const Case& c) {
  const Op& op = *c.sample.op;
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<Var> operands;
  for (const Tensor& operand : c.operands) operands.push_back(tape.constant(operand));
  const std::vector<Var> parts = op.channel_affine(operands);
  if (!op.folds_into_weights()) {
    return parts.empty() ? Problems{} : Problems{"is no normalisation but has a channel's affine"};
  }
  if (parts.size() != 3)
    return {fmt::format("{} parts, not centre, factor and shift", parts.size())};
  const Shape channels{c.operands[0].shape()[c.operands[0].shape().rank() - 1]};
  for (const Var& part : parts) {
    if (part.shape() != channels) return {"a part is not one number per channel"};
  }
  const Var scaled = mul(sub(operands[0], parts[0]), parts[1]);
  return differs("(x - centre) factor + shift", add(scaled, parts[2]).value(),
                 outcome(op, c.operands));
}

// The op without padding, of an image with a margin of what padding counts as.
Problems check_without_padding(const Case& c) {
  const Op& op = *c.sample.op;
  const OpRef plain = op.without_padding();
  if (plain == nullptr) return {};
  const Footprint f = op.footprint(), g = plain->footprint();
  if (f.kind != Footprint::Kind::window) return {"has no window and no padding"};
  if (g.pad_h != 0 || g.pad_w != 0) return {"is padded still"};
  Tape tape(Device::cpu(), Mode::evaluation);
  const std::int64_t margin[] = {0, f.pad_h, f.pad_w, 0};
  Operands operands = c.operands;
  operands[0] = pad(tape.constant(operands[0]), margin, margin, op.padding_value()).value();
  return differs("padded by hand", outcome(*plain, operands), outcome(op, c.operands));
}

// What an op of this class is made of has rules of its own: sums, element-wise functions, gates.
Problems check_elementary(const Case& c) {
  if (!is_class(c, RelevanceClass::elementary)) return {};
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<Var> operands;
  for (const Tensor& operand : c.operands) operands.push_back(tape.constant(operand));
  const std::vector<Var> parts = c.sample.op->decompose(tape, operands);
  if (parts.size() != 1) return {fmt::format("is made of {} parts, not one", parts.size())};
  const Var from[] = {operands[0]};
  for (const explain::Place& place : explain::route(tape, parts[0], from)) {
    const bool product = place.kind == RelevanceClass::product && place.node->op->name() != "gate";
    if (!product && place.kind != RelevanceClass::normaliser && place.kind != RelevanceClass::stop)
      continue;
    return {fmt::format("is made of '{}', which has no rule", place.node->op->name())};
  }
  return {};
}

}  // namespace tapescope
