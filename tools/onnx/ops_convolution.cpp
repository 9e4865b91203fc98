// Conv and ConvTranspose.
#include <algorithm>

#include "tools/onnx/ops.h"
#include "tools/onnx/windows.h"

namespace tapescope::onnx {
namespace {

// Weights {O, I, KH, KW} as {O, KH, KW, I}; of a signal {O, I, K} as {O, 1, K, I}.
Var weights_of(const Call& call, const Image& image) {
  const Value& weights = call.operand(1);
  const int rank = image.flat ? 3 : 4;
  if (weights.rank() != rank) {
    throw usage_error("its weights have {} axes, its image {}", weights.rank(), rank);
  }
  const Layout layout = image_layout(rank);
  if (!weights.known) {
    const Var w = call.arranged(1, layout);
    const Shape& s = w.shape();
    return image.flat ? shaped(w, {s[0], 1, s[1], s[2]}, weights.batched) : w;
  }
  return call.known_as(weights, layout, Parameter::Kind::weight, [&] {
    const Tensor w = call.in_order(*weights.known, layout);
    const Shape& s = w.shape();
    return image.flat ? w.reshape({s[0], 1, s[1], s[2]}) : w;
  });
}

Var bias_of(const Call& call) {
  if (!call.has(2)) return {};
  return call.arranged(2, {0}, Parameter::Kind::bias);
}

std::int64_t groups_of(const Call& call) {
  const std::int64_t groups = call.whole("group", 1);
  if (groups < 1) throw usage_error("it has {} groups", groups);
  return groups;
}

// {N, H, W, C} of which only the shape is asked, with the rows of x.
Var like_of(Var x, std::int64_t height, std::int64_t width, std::int64_t channels) {
  Var one = x;
  for (int axis = 1; axis < 4; ++axis) one = slice(one, axis, 0, 1);
  const std::int64_t before[] = {0, 0, 0, 0};
  const std::int64_t after[] = {0, height - 1, width - 1, channels - 1};
  return pad(one, before, after);
}

// How far the output reaches, and what of it is cut off at the front.
struct Extent {
  std::int64_t size, before;
};

Extent transposed_extent(const Call& call, const Image& image, const Windows& w, std::size_t a) {
  const Two size = {image.height(), image.width()};
  const Two more = spatial(call, image, "output_padding", 0);
  const std::int64_t full =
      (size[a] - 1) * w.stride[a] + w.effective()[a] + std::max<std::int64_t>(0, more[a]);
  const std::string automatic = call.text("auto_pad", "NOTSET");
  const bool same = automatic.starts_with("SAME");
  if (!call.says("output_shape") && !same) {
    return {full - w.before[a] - w.after[a], w.before[a]};
  }
  const std::int64_t wanted = call.says("output_shape") ? spatial(call, image, "output_shape", 1)[a]
                                                        : size[a] * w.stride[a];
  // What is more is cut off, half at either end.
  const std::int64_t cut = full - wanted;
  const std::int64_t less = std::max<std::int64_t>(0, cut) / 2;
  return {wanted, automatic == "SAME_UPPER" ? less : std::max<std::int64_t>(0, cut) - less};
}

}  // namespace

void record_conv(Call& call) {
  const Image image = image_of(call);
  const Var weights = weights_of(call, image);
  const Two kernel = {weights.shape()[1], weights.shape()[2]};
  if (call.says("kernel_shape") && kernel_shape(call, image) != kernel) {
    throw usage_error("its kernel_shape is not that of its weights {}", to_string(weights.shape()));
  }
  Windows w = windows_of(call, image, kernel);
  Var x = image.x;
  if (w.before != w.after) {
    x = padded(x, w.before, w.after, 0);
    w.before = {};
  }
  give_image(call,
             conv2d(x, weights, bias_of(call),
                    {w.stride[0], w.stride[1], w.before[0], w.before[1], w.dilation[0],
                     w.dilation[1], groups_of(call)}),
             image);
}

// The data gradient of a convolution, as an op of its own: weights {I, O/groups, KH, KW}.
void record_conv_transpose(Call& call) {
  const Image image = image_of(call);
  const Var weights = weights_of(call, image);
  const std::int64_t groups = groups_of(call);
  Windows w = windows_of(call, image, {weights.shape()[1], weights.shape()[2]});
  const Extent h = image.flat ? Extent{1, 0} : transposed_extent(call, image, w, 0);
  const Extent v = transposed_extent(call, image, w, 1);
  if (h.size < 1 || v.size < 1 || h.size > (1 << 24) || v.size > (1 << 24)) {
    throw usage_error("its output would have {}x{} positions", h.size, v.size);
  }
  // The convolution whose gradient this is sees an image that is large enough on all sides; what
  // lies outside of the wanted output is cut off.
  const Two full = {(image.height() - 1) * w.stride[0] + w.effective()[0],
                    (image.width() - 1) * w.stride[1] + w.effective()[1]};
  const Two reach = {std::max(full[0], h.before + h.size), std::max(full[1], v.before + v.size)};
  Var like = like_of(image.x, full[0], full[1], weights.shape()[3] * groups);
  Var y =
      conv2d_data_gradient(image.x, weights, like,
                           {w.stride[0], w.stride[1], 0, 0, w.dilation[0], w.dilation[1], groups});
  y = padded(y, {}, {reach[0] - full[0], reach[1] - full[1]}, 0);
  if (h.before > 0 || h.size < reach[0]) y = slice(y, 1, h.before, h.before + h.size);
  if (v.before > 0 || v.size < reach[1]) y = slice(y, 2, v.before, v.before + v.size);
  if (const Var bias = bias_of(call)) y = add(y, bias);
  give_image(call, y, image);
}

}  // namespace tapescope::onnx
