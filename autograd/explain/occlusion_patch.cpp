#include "autograd/explain/occlusion_patch.h"

#include <algorithm>
#include <functional>

#include "engine/thread_pool.h"

namespace tapescope::explain {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

// The part of a row of the map that a row of a patch covers: columns [begin, end) of the patch.
struct Overlap {
  std::int64_t begin = 0, end = 0, in_map = 0;  // in_map: the map's column of the first
};
Overlap overlap(std::int64_t start, std::int64_t size, std::int64_t extent) {
  const std::int64_t begin = std::clamp<std::int64_t>(-start, 0, size);
  return {begin, std::max(begin, std::min(size, extent - start)), start + begin};
}

// Calls `row` for each row of all patches {M*N,h,...}: with the patch's number k, the sample, the
// row in the patch, and the row of the map that it stands for (outside of the map, too).
using Row = std::function<void(std::size_t, std::int64_t, std::int64_t, std::int64_t)>;
void for_rows(std::int64_t samples, const std::vector<Corner>& corners, const Reach& y,
              const Row& row) {
  parallel_for(static_cast<std::int64_t>(corners.size()) * samples, [&](std::int64_t i) {
    const auto k = static_cast<std::size_t>(i / samples);
    const std::int64_t first = corners[k].y / y.jump + y.begin;
    for (std::int64_t r = 0; r < y.size; ++r) row(k, i % samples, r, first + r);
  });
}

Tensor patches_of(std::size_t count, std::int64_t samples, const Patch& patch,
                  std::int64_t channels) {
  return Tensor(
      Type{DType::f32,
           {static_cast<std::int64_t>(count) * samples, patch.y.size, patch.x.size, channels}});
}

}  // namespace

Span rows_of(const Footprint& f) {
  return {(f.kernel_h - 1) * f.dilation_h + 1, f.stride_h, f.pad_h};
}
Span columns_of(const Footprint& f) {
  return {(f.kernel_w - 1) * f.dilation_w + 1, f.stride_w, f.pad_w};
}

Reach reached_by(const Reach& in, const Span& span) {
  const std::int64_t first = ceil_div(in.begin + span.pad - span.extent + 1, span.stride);
  const std::int64_t last = floor_div(in.begin + in.size - 1 + span.pad, span.stride);
  // A stride beyond the kernel may leave none.
  return {in.jump * span.stride, first, std::max<std::int64_t>(1, last - first + 1)};
}
Reach read_by(const Reach& out, const Span& span) {
  return {out.jump / span.stride, out.begin * span.stride - span.pad,
          (out.size - 1) * span.stride + span.extent};
}
Reach hull(const Reach& a, const Reach& b) {
  const std::int64_t begin = std::min(a.begin, b.begin);
  return {a.jump, begin, std::max(a.begin + a.size, b.begin + b.size) - begin};
}

Tensor occluded(const Tensor& x, const Tensor& baseline, const Windows& windows, int first,
                const std::vector<Corner>& corners, const Patch& patch) {
  const std::int64_t samples = x.shape()[0], height = x.shape()[1], width = x.shape()[2],
                     channels = x.shape()[3], line = patch.x.size * channels;
  Tensor result = patches_of(corners.size(), samples, patch, channels);
  const float *from = x.values<float>().data(), *base = baseline.values<float>().data();
  float* const all = result.values<float>().data();
  for_rows(samples, corners, patch.y,
           [&](std::size_t k, std::int64_t n, std::int64_t r, std::int64_t y) {
             const auto number = static_cast<std::int64_t>(k) * samples + n;
             float* const out = all + (number * patch.y.size + r) * line;
             if (y >= height) {
               std::fill_n(out, line, 0.0f);
               return;
             }
             const auto copy = [&](const float* source, std::int64_t sample, std::int64_t begin,
                                   std::int64_t end) {
               source += ((sample * height + y) * width + begin) * channels;
               std::copy_n(source, (end - begin) * channels,
                           out + (begin - corners[k].x) * channels);
             };
             const Overlap o = overlap(corners[k].x, patch.x.size, width);
             copy(from, n, corners[k].x, corners[k].x + o.end);
             std::fill(out + o.end * channels, out + line, 0.0f);
             const Corner window = windows.corner(first + static_cast<int>(k));
             if (y >= window.y && y < window.y + windows.height) {
               copy(base, baseline.shape()[0] == 1 ? 0 : n, window.x, window.x + windows.width);
             }
           });
  return result;
}

std::pair<Tensor, Tensor> surroundings(const Tensor& map, const std::vector<Corner>& corners,
                                       const Patch& inner, const Patch& wanted, double fill) {
  const std::int64_t samples = map.shape()[0], height = map.shape()[1], width = map.shape()[2],
                     channels = map.shape()[3], line = wanted.x.size * channels;
  Tensor around = patches_of(corners.size(), samples, wanted, channels);
  Tensor inside = patches_of(corners.size(), samples, wanted, 1);
  float* const all = around.values<float>().data();
  float* const mask = inside.values<float>().data();
  const float* const from = map.values<float>().data();
  const auto outside = static_cast<float>(fill);
  for_rows(samples, corners, wanted.y,
           [&](std::size_t k, std::int64_t n, std::int64_t r, std::int64_t y) {
             const std::int64_t row =
                 (static_cast<std::int64_t>(k) * samples + n) * wanted.y.size + r;
             float *const out = all + row * line, *const counts = mask + row * wanted.x.size;
             std::fill_n(counts, wanted.x.size, 0.0f);
             if (y < 0 || y >= height) {
               std::fill_n(out, line, outside);
               return;
             }
             const Overlap o =
                 overlap(corners[k].x / wanted.x.jump + wanted.x.begin, wanted.x.size, width);
             std::fill(out, out + o.begin * channels, outside);
             std::copy_n(from + ((n * height + y) * width + o.in_map) * channels,
                         (o.end - o.begin) * channels, out + o.begin * channels);
             std::fill(out + o.end * channels, out + line, outside);
             const std::int64_t of_inner = wanted.y.begin + r - inner.y.begin;
             const std::int64_t left = inner.x.begin - wanted.x.begin;
             const std::int64_t begin = std::max(o.begin, left);
             const std::int64_t end = std::min(o.end, left + inner.x.size);
             if (of_inner >= 0 && of_inner < inner.y.size && begin < end) {
               std::fill(out + begin * channels, out + end * channels, 0.0f);
               std::fill(counts + begin, counts + end, 1.0f);
             }
           });
  return {std::move(around), std::move(inside)};
}

Tensor pasted(const Tensor& map, const Tensor& patches, const std::vector<Corner>& corners,
              const Patch& patch) {
  const std::int64_t samples = map.shape()[0], height = map.shape()[1], width = map.shape()[2],
                     channels = map.shape()[3];
  Tensor result = repeated_rows(map, static_cast<std::int64_t>(corners.size()));
  const float* const from = patches.values<float>().data();
  float* const out = result.values<float>().data();
  for_rows(samples, corners, patch.y,
           [&](std::size_t k, std::int64_t n, std::int64_t r, std::int64_t y) {
             if (y < 0 || y >= height) return;
             const auto number = static_cast<std::int64_t>(k) * samples + n;
             const Overlap o =
                 overlap(corners[k].x / patch.x.jump + patch.x.begin, patch.x.size, width);
             std::copy_n(from + ((number * patch.y.size + r) * patch.x.size + o.begin) * channels,
                         (o.end - o.begin) * channels,
                         out + ((number * height + y) * width + o.in_map) * channels);
           });
  return result;
}

}  // namespace tapescope::explain
