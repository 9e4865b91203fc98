#include "kernels/common/tensor_map.h"

#include "engine/error.h"

namespace tapescope {
namespace {

constexpr int kInner = 64;  // bf16 in 128 bytes

void require(bool right, const char* what, std::int64_t value, const char* limit) {
  if (!right) {
    throw failure("a tensor map's {} is {}; {}", what, value, limit);
  }
}

}  // namespace

void check(const TensorView& v) {
  const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(v.data));
  require(address % 16 == 0, "address", address, "TMA wants a multiple of 16");
  require(v.im2col ? v.rank == 4 : v.rank >= 2 && v.rank <= 5, "rank", v.rank,
          "2 to 5 are tiled, 4 is im2col");
  for (int d = 0; d < v.rank; ++d) {
    require(v.extent[d] >= 1 && v.extent[d] <= std::int64_t{1} << 32, "extent", v.extent[d],
            "1 to 2^32 fit");
    if (d > 0) {
      require(v.stride[d] > 0 && v.stride[d] % 16 == 0 && v.stride[d] < std::int64_t{1} << 40,
              "stride", v.stride[d], "a multiple of 16 bytes below 2^40 fits");
    }
    if (!v.im2col) require(v.box[d] >= 1 && v.box[d] <= 256, "box", v.box[d], "1 to 256 fit");
  }
  const int inner = v.im2col ? v.channels : v.box[0];
  require(inner * 2 % 16 == 0, "inner box", inner, "its bytes are a multiple of 16");
  require(!v.swizzled || inner <= kInner, "inner box", inner, "a swizzle of 128 bytes holds 64");
  if (!v.im2col) return;
  require(v.channels >= 1 && v.channels <= 256, "channels of a pixel", v.channels, "1 to 256 fit");
  require(v.pixels >= 1 && v.pixels <= 1024, "pixels of a column", v.pixels, "1 to 1024 fit");
  for (const int step : {v.step_w, v.step_h}) {
    require(step >= 1 && step <= 8, "traversal stride", step, "1 to 8 fit");
  }
  for (const int corner : {v.lower_w, v.lower_h, v.upper_w, v.upper_h}) {
    require(corner >= -128 && corner <= 127, "box corner", corner, "-128 to 127 fit");
  }
  const std::int64_t wide = v.extent[1] + v.upper_w - v.lower_w;
  const std::int64_t high = v.extent[2] + v.upper_h - v.lower_h;
  require(wide >= 1, "box width", wide, "a box holds a pixel");
  require(high >= 1, "box height", high, "a box holds a pixel");
}

TensorView matrix_view(const void* data, std::int64_t rows, std::int64_t columns, int box_rows) {
  TensorView v;
  v.data = data;
  v.rank = 2;
  v.extent[0] = columns, v.extent[1] = rows;
  v.stride[1] = columns * 2;
  v.box[0] = kInner, v.box[1] = box_rows;
  return v;
}

TensorView stack_view(const void* data, std::int64_t outer, std::int64_t middle, std::int64_t inner,
                      int box_outer) {
  TensorView v;
  v.data = data;
  v.rank = 3;
  v.extent[0] = inner, v.extent[1] = middle, v.extent[2] = outer;
  v.stride[1] = inner * 2, v.stride[2] = middle * inner * 2;
  v.box[0] = kInner, v.box[1] = 1, v.box[2] = box_outer;
  return v;
}

TensorView windows_view(const void* data, const ImageWindows& w, int pixels) {
  TensorView v;
  v.data = data;
  v.rank = 4;
  v.extent[0] = w.C, v.extent[1] = w.W, v.extent[2] = w.H, v.extent[3] = w.N;
  v.stride[1] = w.C * 2, v.stride[2] = w.W * w.C * 2, v.stride[3] = w.H * w.W * w.C * 2;
  v.im2col = true;
  v.channels = kInner, v.pixels = pixels;
  v.step_w = w.stride_w, v.step_h = w.stride_h;
  v.lower_w = -w.pad_w, v.lower_h = -w.pad_h;
  // From the last pixel to the last window's first one.
  v.upper_w = static_cast<int>((w.out_w - 1) * w.stride_w - w.pad_w - (w.W - 1));
  v.upper_h = static_cast<int>((w.out_h - 1) * w.stride_h - w.pad_h - (w.H - 1));
  return v;
}

bool windows_fit(const ImageWindows& w) {
  const TensorView v = windows_view(nullptr, w, 1);
  const auto fits = [](int corner) { return corner >= -128 && corner <= 127; };
  return fits(v.lower_w) && fits(v.lower_h) && fits(v.upper_w) && fits(v.upper_h) &&
         w.stride_w <= 8 && w.stride_h <= 8 && w.C % 8 == 0;
}

}  // namespace tapescope
