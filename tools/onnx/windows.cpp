#include "tools/onnx/windows.h"

#include <algorithm>

namespace tapescope::onnx {
namespace {

constexpr std::int64_t kLargest = 1 << 20;  // of strides, kernels and margins

void expect_between(std::string_view what, const Two& values, std::int64_t least) {
  for (const std::int64_t value : values) {
    if (value >= least && value <= kLargest) continue;
    throw usage_error("{} of {}; it must be {} to {}", what, value, least, kLargest);
  }
}

}  // namespace

Image image_of(const Call& call, int operand) {
  Image image;
  image.like = call.operand(operand);
  const int rank = image.like.rank();
  if (rank < 3 || rank > 4) {
    throw usage_error(
        "its operand has {} axes; images {{N, C, H, W}} and signals {{N, C, W}} are "
        "read",
        rank);
  }
  image.flat = rank == 3;
  const Layout layout = image_layout(rank);
  image.x = call.arranged(operand, layout);
  image.like.layout = layout;
  if (image.flat) {
    const Shape& s = image.x.shape();
    image.x = shaped(image.x, {s[0], 1, s[1], s[2]}, image.like.batched);
  }
  return image;
}

void give_image(Call& call, Var y, const Image& image) {
  const Shape& s = y.shape();
  if (image.flat) y = shaped(y, {s[0], s[2], s[3]}, image.like.batched);
  call.give(y, image.like);
}

Two spatial(const Call& call, const Image& image, std::string_view name, std::int64_t usual) {
  const std::vector<std::int64_t> values = call.wholes(name, image.flat ? 1 : 2, usual);
  return image.flat ? Two{usual, values[0]} : Two{values[0], values[1]};
}

Two kernel_shape(const Call& call, const Image& image) {
  if (!call.says("kernel_shape")) throw usage_error("it does not say its kernel_shape");
  Two kernel = spatial(call, image, "kernel_shape", 1);
  expect_between("a kernel", kernel, 1);
  return kernel;
}

Windows windows_of(const Call& call, const Image& image, const Two& kernel) {
  Windows w;
  w.kernel = kernel;
  w.stride = spatial(call, image, "strides", 1);
  w.dilation = spatial(call, image, "dilations", 1);
  expect_between("a kernel", w.kernel, 1);
  expect_between("a stride", w.stride, 1);
  expect_between("a dilation", w.dilation, 1);
  const std::string automatic = call.text("auto_pad", "NOTSET");
  if (automatic == "NOTSET" || automatic.empty()) {
    const std::vector<std::int64_t> pads = call.wholes("pads", image.flat ? 2 : 4, 0);
    if (image.flat) {
      w.before[1] = pads[0], w.after[1] = pads[1];
    } else {
      w.before = {pads[0], pads[1]}, w.after = {pads[2], pads[3]};
    }
    expect_between("a padding", w.before, 0);
    expect_between("a padding", w.after, 0);
    return w;
  }
  if (automatic == "VALID") return w;
  if (automatic != "SAME_UPPER" && automatic != "SAME_LOWER") {
    throw usage_error("auto_pad is neither NOTSET, VALID, SAME_UPPER nor SAME_LOWER");
  }
  const Two size = {image.height(), image.width()};
  for (std::size_t a = image.flat ? 1 : 0; a < 2; ++a) {
    const std::int64_t out = (size[a] + w.stride[a] - 1) / w.stride[a];
    const std::int64_t all =
        std::max<std::int64_t>(0, (out - 1) * w.stride[a] + w.effective()[a] - size[a]);
    const std::int64_t less = all / 2;
    w.before[a] = automatic == "SAME_UPPER" ? less : all - less;
    w.after[a] = all - w.before[a];
  }
  return w;
}

Var padded(Var x, const Two& before, const Two& after, double value) {
  if (before == Two{} && after == Two{}) return x;
  const std::int64_t front[] = {0, before[0], before[1], 0};
  const std::int64_t back[] = {0, after[0], after[1], 0};
  return pad(x, front, back, value);
}

}  // namespace tapescope::onnx
