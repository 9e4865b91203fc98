// Normalisations. With stored statistics it is one op of the tape; the others are composed.
#include <algorithm>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

// (x - mean) / sqrt(variance + epsilon) over axes of memory, and what it divides by, which is a
// gate: relevance takes it as it is (Ali et al. 2022, arXiv 2202.07304).
struct Standardised {
  Var y, mean, inverse;
};
Standardised standardised(Var x, const std::vector<int>& axes, double epsilon) {
  const Var mean = reduce_mean(x, axes);
  const Var centred = sub(x, mean);
  const Var variance = reduce_mean(square(centred), axes);
  const Var inverse = rsqrt(affine(variance, 1, epsilon));
  return {gate(centred, inverse), mean, inverse};
}

std::vector<int> in_memory(const Value& x, const std::vector<int>& axes) {
  std::vector<int> places;
  for (const int axis : axes) {
    if (axis == x.batch_axis()) throw usage_error("it normalises over the batch");
    places.push_back(x.layout[static_cast<std::size_t>(axis)]);
  }
  std::sort(places.begin(), places.end());
  return places;
}

std::vector<int> from(int first, int rank) {
  std::vector<int> axes;
  for (int a = first; a < rank; ++a) axes.push_back(a);
  return axes;
}

// Operand i, one number per channel, beside images in memory order {N, spatial..., C}.
Var per_channel(const Call& call, int i, Parameter::Kind kind) {
  return call.arranged(i, {0}, kind);
}

}  // namespace

namespace {

// With the statistics of the operand itself, where that is no picture but weights that a net
// standardises: {1, C, values of a filter}.
void standardise_weights(Call& call) {
  const Value x = call.on_tape(0);
  std::vector<int> axes;
  for (int a = 0; a < x.rank(); ++a) {
    if (a != 1) axes.push_back(x.layout[static_cast<std::size_t>(a)]);
  }
  std::sort(axes.begin(), axes.end());
  const Var y = standardised(x.var, axes, call.real("epsilon", 1e-5)).y;
  // {C} along the channels' place in memory.
  std::vector<std::int64_t> beside(static_cast<std::size_t>(x.rank()), 1);
  beside[static_cast<std::size_t>(x.layout[1])] = extents_of(x)[1];
  const auto factor = [&](int i) {
    return shaped(per_channel(call, i, Parameter::Kind::bias), Shape(beside), false);
  };
  call.give(add(mul(y, factor(1)), factor(2)), x);
}

}  // namespace

void record_batch_normalisation(Call& call) {
  const bool trains = call.whole("training_mode", 0) != 0 || (call.opset() < 14 && call.wanted(1));
  if (trains && !call.operand(0).batched && call.operand(0).rank() > 1 && !call.wanted(3)) {
    return standardise_weights(call);
  }
  if (trains) {
    throw usage_error("it is in training mode; export the model for inference (model.eval())");
  }
  if (call.whole("spatial", 1) == 0) throw usage_error("spatial=0 is not read");
  Value x = call.operand(0);
  if (x.rank() < 2 || x.rank() > 4) throw usage_error("its operand has {} axes", x.rank());
  const Layout layout = image_layout(x.rank());
  x.var = call.arranged(0, layout);
  x.layout = layout;
  const Var scale = per_channel(call, 1, Parameter::Kind::bias);
  const Var shift = per_channel(call, 2, Parameter::Kind::bias);
  const Var mean = per_channel(call, 3, Parameter::Kind::buffer);
  const Var variance = per_channel(call, 4, Parameter::Kind::buffer);
  call.give(batch_norm_inference(x.var, scale, shift, mean, variance, call.real("epsilon", 1e-5)),
            x);
}

void record_layer_normalisation(Call& call) {
  const Value x = call.on_tape(0);
  const int first = call.axis_of(call.whole("axis", -1), x.rank());
  const std::vector<int> axes = in_memory(x, from(first, x.rank()));
  const double epsilon = call.real("epsilon", 1e-5);
  const bool last = axes.size() == 1 && axes[0] == x.rank() - 1;
  const bool vectors = call.operand(1).known && call.has(2) && call.operand(2).known &&
                       call.operand(1).rank() == 1 && call.operand(2).rank() == 1;
  if (call.op() == "LayerNormalization" && last && vectors && x.rank() > 1 && !call.wanted(1) &&
      !call.wanted(2)) {
    const Var scale = per_channel(call, 1, Parameter::Kind::bias);
    const Var shift = per_channel(call, 2, Parameter::Kind::bias);
    return call.give(layer_norm(x.var, scale, shift, epsilon), x);
  }
  Standardised s;
  if (call.op() == "LayerNormalization") {
    s = standardised(x.var, axes, epsilon);
  } else {  // RMSNormalization
    s.inverse = rsqrt(affine(reduce_mean(square(x.var), axes), 1, epsilon));
    s.y = gate(x.var, s.inverse);
  }
  Var y = mul(s.y, call.arranged(1, x.layout, Parameter::Kind::bias));
  if (call.has(2)) y = add(y, call.arranged(2, x.layout, Parameter::Kind::bias));
  call.give(y, x);
  if (call.wanted(1)) call.give(s.mean, x, 1);
  if (call.wanted(2)) call.give(s.inverse, x, 2);
}

void record_channel_normalisation(Call& call) {
  Value x = call.operand(0);
  if (x.rank() < 3 || x.rank() > 4) throw usage_error("its operand has {} axes", x.rank());
  const Layout layout = image_layout(x.rank());
  x.var = call.arranged(0, layout);
  x.layout = layout;
  const Shape shape = x.var.shape();
  const int last = shape.rank() - 1;
  const double epsilon = call.real("epsilon", 1e-5);
  Var y;
  const bool grouped = call.op() == "GroupNormalization";
  const std::int64_t groups = grouped ? call.whole("num_groups", 0) : shape[last];
  if (groups < 1 || shape[last] % groups != 0)
    throw usage_error("{} groups of {}", groups, shape[last]);
  if (grouped) {  // {N, H*W, groups, channels of one}
    const Shape parts = {shape[0], shape.elements(1, last), groups, shape[last] / groups};
    y = standardised(shaped(x.var, parts, x.batched), {1, 3}, epsilon).y;
    y = shaped(y, shape, x.batched);
  } else {
    y = standardised(x.var, from(1, last), epsilon).y;
  }
  const bool per_group = grouped && call.opset() < 21 && groups != shape[last];
  const auto factor = [&](int i) {
    if (!per_group) return per_channel(call, i, Parameter::Kind::bias);
    auto spread = call.make(call.operand(i).type, {shape[last]});
    for (std::int64_t c = 0; c < shape[last]; ++c) {
      put(*spread, c, real_at(call.known(i), c / (shape[last] / groups)));
    }
    return call.known_as(call.operand(i), {0}, Parameter::Kind::bias,
                         [&] { return spread->numbers; });
  };
  const Var scale = factor(1), shift = factor(2);
  call.give(add(mul(y, scale), shift), x);
}

void record_lp_normalisation(Call& call) {
  const Value x = call.on_tape(0);
  const std::vector<int> axes = in_memory(x, {call.axis_of(call.whole("axis", -1), x.rank())});
  const Var norm = call.whole("p", 2) == 1 ? reduce_sum(abs(x.var), axes)
                                           : sqrt(reduce_sum(square(x.var), axes));
  call.give(safe_divide(x.var, norm), x);
}

void record_mean_variance_normalisation(Call& call) {
  const Value x = call.on_tape(0);
  std::vector<std::int64_t> axes = call.wholes("axes");
  if (!call.says("axes")) axes = {0, 2, 3};
  std::vector<int> counted;
  for (const std::int64_t axis : axes) counted.push_back(call.axis_of(axis, x.rank()));
  const std::vector<int> places = in_memory(x, counted);
  const Var centred = sub(x.var, reduce_mean(x.var, places));
  const Var deviation = sqrt(reduce_mean(square(centred), places));
  call.give(div(centred, affine(deviation, 1, 1e-9)), x);
}

// Krizhevsky et al. 2012: each channel by its neighbours.
void record_lrn(Call& call) {
  Value x = call.operand(0);
  if (x.rank() != 4) throw usage_error("its operand has {} axes", x.rank());
  x.var = call.arranged(0, image_layout(4));
  x.layout = image_layout(4);
  const std::int64_t size = call.whole("size", 0), channels = x.var.shape()[3];
  if (size < 1 || size > channels * 2 + 1) throw usage_error("a size of {}", size);
  const std::int64_t before = (size - 1) / 2, after = size - 1 - before;
  const std::int64_t front[] = {0, 0, 0, before}, back[] = {0, 0, 0, after};
  const Var squares = pad(square(x.var), front, back);
  Var all;
  for (std::int64_t c = 0; c < size; ++c) {
    const Var part = slice(squares, 3, c, c + channels);
    all = all ? add(all, part) : part;
  }
  const double alpha = call.real("alpha", 1e-4), beta = call.real("beta", 0.75);
  const Var scale = affine(all, alpha / static_cast<double>(size), call.real("bias", 1));
  call.give(mul(x.var, pow(scale, -beta)), x);
}

}  // namespace tapescope::onnx
