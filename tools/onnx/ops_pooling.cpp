// MaxPool, AveragePool, and their global forms.
#include <algorithm>
#include <limits>

#include "kernels/pool2d/pool2d.h"
#include "tools/onnx/ops.h"
#include "tools/onnx/windows.h"

namespace tapescope::onnx {
namespace {

constexpr double kLowest = std::numeric_limits<float>::lowest();

// Windows that fit: what is added behind the image so that as many of them lie in it as the node
// asks for, and how many that are.
struct Fitted {
  Two after{}, count{};
};

Fitted fitted(const Call& call, const Image& image, const Windows& w) {
  Fitted fit;
  const Two size = {image.height(), image.width()};
  const bool ceil = call.whole("ceil_mode", 0) != 0;
  for (std::size_t a = 0; a < 2; ++a) {
    const std::int64_t room = size[a] + w.before[a] + w.after[a] - w.effective()[a];
    if (room < 0) {
      throw usage_error("a window of {} does not fit an extent of {} with its padding",
                        w.effective()[a], size[a]);
    }
    std::int64_t last = ceil ? (room + w.stride[a] - 1) / w.stride[a] : room / w.stride[a];
    // None begins behind the image.
    if (ceil && last * w.stride[a] >= size[a] + w.before[a]) --last;
    fit.count[a] = last + 1;
    fit.after[a] =
        std::max<std::int64_t>(0, last * w.stride[a] + w.effective()[a] - size[a] - w.before[a]);
  }
  return fit;
}

// One place of each window: {N, P, Q, C}.
Var place(Var x, const Windows& w, const Two& count, std::int64_t r, std::int64_t s) {
  const Var rows = strided(x, 1, r * w.dilation[0], w.stride[0], count[0]);
  return strided(rows, 2, s * w.dilation[1], w.stride[1], count[1]);
}

// All places of each window joined two by two: for dilated ones, which are rare.
Var joined(Var x, const Windows& w, const Two& count, Var (*join)(Var, Var)) {
  if (w.kernel[0] * w.kernel[1] > 256) throw usage_error("a dilated window of over 256 places");
  Var y;
  for (std::int64_t r = 0; r < w.kernel[0]; ++r) {
    for (std::int64_t s = 0; s < w.kernel[1]; ++s) {
      const Var next = place(x, w, count, r, s);
      y = y ? join(y, next) : next;
    }
  }
  return y;
}

bool plain(const Windows& w, const Fitted& fit) {
  return w.before == w.after && w.dilation == Two{1, 1} && w.before[0] < w.kernel[0] &&
         w.before[1] < w.kernel[1] && fit.after[0] <= w.after[0] && fit.after[1] <= w.after[1];
}

Pool2dOptions options_of(const Windows& w, const Two& padding) {
  return {w.kernel[0], w.kernel[1], w.stride[0], w.stride[1], padding[0], padding[1]};
}

Var max_pool(const Image& image, const Windows& w, const Fitted& fit) {
  const bool whole = w.kernel[0] * w.kernel[1] > kLargestWindow;
  if (whole) {
    if (w.kernel != Two{image.height(), image.width()} || w.before != Two{} || w.after != Two{}) {
      throw usage_error("a window of {}x{}; those of more than {} places must cover the image",
                        w.kernel[0], w.kernel[1], kLargestWindow);
    }
    constexpr int kImage[] = {1, 2};
    return reduce_max(image.x, kImage);
  }
  if (plain(w, fit)) return max_pool2d(image.x, options_of(w, w.before));
  const Var x = padded(image.x, w.before, fit.after, kLowest);
  if (w.dilation != Two{1, 1}) return joined(x, w, fit.count, maximum);
  return max_pool2d(x, options_of(w, {}));
}

// How many places of each window count: those inside the image, or inside it and its padding.
std::shared_ptr<Known> counts(const Call& call, const Image& image, const Windows& w,
                              const Fitted& fit, bool padding_counts) {
  const auto along = [&](std::size_t a, std::int64_t p, std::int64_t size) {
    const std::int64_t low = padding_counts ? -w.before[a] : 0;
    const std::int64_t high = padding_counts ? size + w.after[a] : size;
    std::int64_t count = 0;
    for (std::int64_t k = 0; k < w.kernel[a]; ++k) {
      const std::int64_t at = p * w.stride[a] - w.before[a] + k * w.dilation[a];
      count += at >= low && at < high ? 1 : 0;
    }
    return static_cast<double>(std::max<std::int64_t>(count, 1));
  };
  auto shares = call.make(Element::f32, {1, fit.count[0], fit.count[1], 1});
  const double places = static_cast<double>(w.kernel[0] * w.kernel[1]);
  for (std::int64_t p = 0; p < fit.count[0]; ++p) {
    const double rows = along(0, p, image.height());
    for (std::int64_t q = 0; q < fit.count[1]; ++q) {
      put(*shares, p * fit.count[1] + q, places / (rows * along(1, q, image.width())));
    }
  }
  return shares;
}

Var average_pool(const Call& call, const Image& image, const Windows& w, const Fitted& fit) {
  const bool padding_counts = call.whole("count_include_pad", 0) != 0;
  if (plain(w, fit)) {
    Pool2dOptions options = options_of(w, w.before);
    options.count_include_pad = padding_counts || w.before == Two{};
    return avg_pool2d(image.x, options);
  }
  const Var x = padded(image.x, w.before, fit.after, 0);
  Var y;
  if (w.dilation != Two{1, 1}) {
    y = affine(joined(x, w, fit.count, add), 1.0 / static_cast<double>(w.kernel[0] * w.kernel[1]));
  } else {
    y = avg_pool2d(x, options_of(w, {}));
  }
  const Tensor shares = counts(call, image, w, fit, padding_counts)->numbers;
  return mul(y, call.tape().constant(shares.to(y.dtype())));
}

}  // namespace

void record_pool(Call& call) {
  if (call.wanted(1)) throw usage_error("its second output, the places of the maxima, is not read");
  const Image image = image_of(call);
  const Windows w = windows_of(call, image, kernel_shape(call, image));
  const Fitted fit = fitted(call, image, w);
  give_image(call,
             call.op() == "MaxPool" ? max_pool(image, w, fit) : average_pool(call, image, w, fit),
             image);
}

void record_global_pool(Call& call) {
  const Image image = image_of(call);
  constexpr int kImage[] = {1, 2};
  give_image(
      call,
      call.op() == "GlobalMaxPool" ? reduce_max(image.x, kImage) : reduce_mean(image.x, kImage),
      image);
}

}  // namespace tapescope::onnx
