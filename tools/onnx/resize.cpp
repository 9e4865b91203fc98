// Resize and Upsample. Along one axis every form of them is a fixed linear map of that axis: a
// matrix, worked out from the node, of which two kinds are ops of the tape.
#include <algorithm>
#include <cmath>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

// What a node says that holds for every axis.
struct Method {
  std::string mode, coordinates, nearest;
  double cubic = -0.75, outside = 0;
  bool antialias = false, exclude_outside = false;
};

struct Axis {
  std::int64_t in = 1, out = 1;
  double scale = 1, roi_start = 0, roi_end = 1;
  bool unchanged() const { return in == out && scale == 1; }
};

Method method_of(const Call& call) {
  Method m;
  m.mode = call.text("mode", "nearest");
  const bool old = call.op() == "Upsample" || call.opset() < 11;
  m.coordinates = old ? "asymmetric" : call.text("coordinate_transformation_mode", "half_pixel");
  m.nearest = old ? "floor" : call.text("nearest_mode", "round_prefer_floor");
  m.cubic = call.real("cubic_coeff_a", -0.75);
  m.outside = call.real("extrapolation_value", 0);
  m.antialias = call.whole("antialias", 0) != 0;
  m.exclude_outside = call.whole("exclude_outside", 0) != 0;
  if (m.mode != "nearest" && m.mode != "linear" && m.mode != "cubic" && m.mode != "bilinear") {
    throw usage_error("its mode is neither nearest, linear nor cubic");
  }
  return m;
}

// Where output position p lies on the input's axis. In float, as the format's runtimes have it: the
// nearest of two alike depends on it.
double source_of(const Method& m, const Axis& a, std::int64_t p) {
  const auto x = static_cast<float>(p), scale = static_cast<float>(a.scale);
  const auto in = static_cast<float>(a.in), out = static_cast<float>(a.out);
  const auto start = static_cast<float>(a.roi_start), end = static_cast<float>(a.roi_end);
  const std::string& how = m.coordinates;
  if (how == "half_pixel") return (x + 0.5f) / scale - 0.5f;
  if (how == "pytorch_half_pixel") return a.out > 1 ? (x + 0.5f) / scale - 0.5f : 0;
  if (how == "asymmetric") return x / scale;
  // The format takes the length before it is rounded here.
  if (how == "align_corners") return a.out > 1 ? x * (in - 1) / (scale * in - 1) : 0;
  if (how == "tf_half_pixel_for_nn") return (x + 0.5f) / scale;
  if (how == "half_pixel_symmetric") {
    const float centre = in / 2 * (1 - out / (scale * in));
    return centre + (x + 0.5f) / scale - 0.5f;
  }
  if (how == "tf_crop_and_resize") {
    return a.out > 1 ? start * (in - 1) + x * (end - start) * (in - 1) / (out - 1)
                     : 0.5f * (start + end) * (in - 1);
  }
  throw usage_error("its coordinate_transformation_mode is not known");
}

double nearest_of(const Method& m, double x) {
  if (m.nearest == "round_prefer_floor") return std::ceil(x - 0.5);
  if (m.nearest == "round_prefer_ceil") return std::floor(x + 0.5);
  if (m.nearest == "floor") return std::floor(x);
  if (m.nearest == "ceil") return std::ceil(x);
  throw usage_error("its nearest_mode is not known");
}

// Keys 1981, with a free coefficient.
double cubic_kernel(double t, double a) {
  t = std::abs(t);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

bool lies_outside(const Method& m, const Axis& a, std::int64_t p) {
  if (m.coordinates != "tf_crop_and_resize") return false;
  const double x = source_of(m, a, p);
  return x < 0 || x > static_cast<double>(a.in - 1);
}

// The weights of one output position: of the input positions row[0..in).
void weigh(const Method& m, const Axis& a, std::int64_t p, double* row) {
  if (lies_outside(m, a, p)) return;
  const double x = source_of(m, a, p);
  const auto last = static_cast<double>(a.in - 1);
  const auto at = [&](double i) { return static_cast<std::size_t>(std::clamp(i, 0.0, last)); };
  if (m.mode == "nearest") {
    row[at(nearest_of(m, x))] = 1;
    return;
  }
  const double stretch = m.antialias && a.scale < 1 ? a.scale : 1;
  const double reach = (m.mode == "cubic" ? 2 : 1) / stretch;
  double sum = 0;
  for (double i = std::ceil(x - reach); i <= std::floor(x + reach); ++i) {
    if (m.exclude_outside && (i < 0 || i > last)) continue;
    const double t = (i - x) * stretch;
    const double weight =
        m.mode == "cubic" ? cubic_kernel(t, m.cubic) : std::max(0.0, 1 - std::abs(t));
    row[at(i)] += weight;
    sum += weight;
  }
  if (sum == 0) return;
  for (std::int64_t i = 0; i < a.in; ++i) row[i] /= sum;
}

std::shared_ptr<Known> matrix_of(const Call& call, const Method& m, const Axis& a) {
  auto matrix = call.make(Element::f32, {a.out, a.in});
  std::vector<double> row(static_cast<std::size_t>(a.in));
  for (std::int64_t p = 0; p < a.out; ++p) {
    std::fill(row.begin(), row.end(), 0.0);
    weigh(m, a, p, row.data());
    for (std::int64_t i = 0; i < a.in; ++i) {
      put(*matrix, p * a.in + i, row[static_cast<std::size_t>(i)]);
    }
  }
  return matrix;
}

std::vector<double> reals(const Call& call, int i) {
  std::vector<double> all;
  if (!call.has(i)) return all;
  const Known& values = call.known(i);
  if (values.elements() > 16) throw usage_error("operand {} has {} numbers", i, values.elements());
  for (std::int64_t k = 0; k < values.elements(); ++k) all.push_back(real_at(values, k));
  return all;
}

// Which of the value's axes the node's numbers are of.
std::vector<int> named_axes(const Call& call, int rank) {
  std::vector<int> axes;
  for (const std::int64_t axis : call.wholes("axes")) axes.push_back(call.axis_of(axis, rank));
  if (axes.empty()) axes = plain_layout(rank);
  return axes;
}

void take_scales(std::vector<Axis>& axes, const std::vector<int>& named,
                 const std::vector<double>& scales) {
  for (std::size_t i = 0; i < named.size(); ++i) {
    Axis& a = axes[static_cast<std::size_t>(named[i])];
    // In float: 20 * 1.3f is 26, as a double it is less.
    const double out = std::floor(static_cast<float>(a.in) * static_cast<float>(scales[i]));
    if (!(scales[i] > 0) || !(out >= 1) || out > (1 << 24)) {
      throw usage_error("a scale of {}", scales[i]);
    }
    a.scale = scales[i];
    a.out = static_cast<std::int64_t>(out);
  }
}

void take_sizes(const Call& call, std::vector<Axis>& axes, const std::vector<int>& named,
                int batch) {
  const std::vector<Number> sizes = call.numbers(3);
  if (sizes.size() != named.size()) throw usage_error("it has {} sizes", sizes.size());
  const std::string policy = call.text("keep_aspect_ratio_policy", "stretch");
  double common = policy == "not_larger" ? INFINITY : 0;
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i] == batch) continue;
    Axis& a = axes[static_cast<std::size_t>(named[i])];
    if (sizes[i].n != 0 || sizes[i].c < 1 || sizes[i].c > (1 << 24) || a.in < 1) {
      throw usage_error("a size of {}", sizes[i].c);
    }
    a.out = sizes[i].c;
    a.scale = static_cast<double>(a.out) / static_cast<double>(a.in);
    common = policy == "not_larger" ? std::min(common, a.scale) : std::max(common, a.scale);
  }
  if (policy == "stretch") return;
  for (const int axis : named) {
    if (axis == batch) continue;
    Axis& a = axes[static_cast<std::size_t>(axis)];
    a.scale = common;
    a.out = static_cast<std::int64_t>(std::floor(common * static_cast<double>(a.in) + 0.5));
    if (a.out < 1 || a.out > (1 << 24)) throw usage_error("a size of {}", a.out);
  }
}

std::vector<Axis> axes_of(const Call& call, const Value& x) {
  const Shape extents = extents_of(x);
  std::vector<Axis> axes;
  for (const std::int64_t extent : extents) axes.push_back({extent, extent});
  const std::vector<int> named = named_axes(call, extents.rank());
  const bool old = call.op() == "Upsample" || call.opset() < 11;
  std::vector<double> scales;
  if (const Attribute* given = call.find("scales"); given != nullptr && call.op() == "Upsample") {
    scales.assign(given->floats.begin(), given->floats.end());
  } else {
    scales = reals(call, old ? 1 : 2);
  }
  if (scales.size() == named.size()) {
    take_scales(axes, named, scales);
  } else if (!old && call.has(3)) {
    take_sizes(call, axes, named, x.batch_axis());
  } else {
    throw usage_error("it says neither scales nor sizes for its {} axes", named.size());
  }
  if (const std::vector<double> roi = old ? std::vector<double>{} : reals(call, 1);
      roi.size() == 2 * named.size()) {
    for (std::size_t i = 0; i < named.size(); ++i) {
      Axis& a = axes[static_cast<std::size_t>(named[i])];
      a.roi_start = roi[i], a.roi_end = roi[i + named.size()];
    }
  }
  return axes;
}

// The same whole factor along height and width, each input position repeated so often.
std::int64_t repeats_of(const std::vector<Axis>& axes, const Known& rows, const Known& columns) {
  const std::int64_t factor = axes[2].out / axes[2].in;
  for (std::size_t a = 2; a < 4; ++a) {
    const Known& matrix = a == 2 ? rows : columns;
    if (axes[a].out != factor * axes[a].in) return 0;
    for (std::int64_t p = 0; p < axes[a].out; ++p) {
      if (real_at(matrix, p * axes[a].in + p / factor) != 1) return 0;
    }
  }
  return factor;
}

// As an op of the tape, or null.
Var as_upsampling(const Call& call, const Method& m, const std::vector<Axis>& axes, Value& x) {
  if (axes.size() != 4 || !axes[0].unchanged() || !axes[1].unchanged()) return {};
  const Layout layout = image_layout(4);
  const auto image = [&] {
    x.var = arranged(x, layout);
    x.layout = layout;
    return x.var;
  };
  const bool half_pixel = m.coordinates == "half_pixel" || (m.coordinates == "pytorch_half_pixel" &&
                                                            axes[2].out > 1 && axes[3].out > 1);
  const auto exact = [](const Axis& a) {
    return a.scale == static_cast<double>(a.out) / static_cast<double>(a.in);
  };
  if ((m.mode == "linear" || m.mode == "bilinear") && half_pixel && !m.antialias &&
      !m.exclude_outside && exact(axes[2]) && exact(axes[3])) {
    return upsample_bilinear(image(), axes[2].out, axes[3].out);
  }
  if (m.mode != "nearest" || axes[2].out < axes[2].in) return {};
  const std::int64_t factor =
      repeats_of(axes, *matrix_of(call, m, axes[2]), *matrix_of(call, m, axes[3]));
  return factor >= 1 ? upsample_nearest(image(), factor) : Var{};
}

// What lies outside of the input along any axis has a value of its own.
Var with_outside(const Call& call, const Method& m, const std::vector<Axis>& axes, const Value& y) {
  if (m.coordinates != "tf_crop_and_resize" || m.outside == 0) return y.var;
  Shape shape(std::vector<std::int64_t>(axes.size(), 1));
  for (std::size_t a = 0; a < axes.size(); ++a) {
    if (!axes[a].unchanged()) shape[static_cast<int>(a)] = axes[a].out;
  }
  auto values = call.make(Element::f32, shape);
  for (std::int64_t i = 0; i < values->elements(); ++i) {
    bool outside = false;
    std::int64_t rest = i;
    for (std::size_t a = axes.size(); a-- > 0;) {
      const std::int64_t extent = shape[static_cast<int>(a)];
      outside = outside || (extent > 1 && lies_outside(m, axes[a], rest % extent));
      rest /= extent;
    }
    put(*values, i, outside ? m.outside : 0.0);
  }
  const Tensor memory = arranged(*values, y.layout).to(y.var.dtype());
  return add(y.var, call.tape().constant(memory));
}

}  // namespace

void record_resize(Call& call) {
  Value x = call.on_tape(0);
  const Method m = method_of(call);
  const std::vector<Axis> axes = axes_of(call, x);
  if (const Var y = as_upsampling(call, m, axes, x)) return call.give(y, x);
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const bool crops =
        m.coordinates == "tf_crop_and_resize" && (axes[a].roi_start != 0 || axes[a].roi_end != 1);
    if (axes[a].unchanged() && !crops) continue;
    const int axis = static_cast<int>(a);
    if (axis == x.batch_axis()) throw usage_error("it works along the batch axis");
    const Layout layout = last_layout(x, axis);
    const Tensor matrix = matrix_of(call, m, axes[a])->numbers.to(x.var.dtype());
    x.var = by_matrix(arranged(x, layout), call.tape().constant(matrix), x.batched);
    x.layout = layout;
  }
  call.give(with_outside(call, m, axes, x), x);
}

}  // namespace tapescope::onnx
