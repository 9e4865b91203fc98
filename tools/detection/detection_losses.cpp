#include "tools/detection/detection_losses.h"

#include "autograd/tape.h"

namespace tapescope::detection {
namespace {

// Sums a sample's cells: {N,h,w,C} to {N}.
Var per_sample(Var x) {
  constexpr int kCells[] = {1, 2, 3};
  return reshape(reduce_sum(x, kCells), {});
}

// The mean over {N} of the result is sum(per sample) / total.
Var shared_out(Var each, Var total) {
  const Var samples = count_like(each, total);
  return mul(each, div(samples, total));
}

Var is_centre(Var heat) { return equal(heat, heat.tape().scalar(1)); }

Var part(Var box, std::int64_t i) { return slice(box, 3, i, i + 1); }

}  // namespace

Var penalty_reduced_focal_loss(Var logits, Var heat) {
  Tape& tape = logits.tape();
  const Var p = sigmoid(logits), missing = affine(p, -1, 1);
  const Var centre = is_centre(heat);
  const Var missed = square(missing), found = square(p);
  const Var at_centres = mul(centre, mul(missed, softplus(neg(logits))));
  const Var distance = square(square(affine(heat, -1, 1)));
  const Var elsewhere = mul(distance, mul(found, softplus(logits)));
  const Var count = sum(centre), one = tape.scalar(1);
  const Var lost = per_sample(add(at_centres, elsewhere));
  return shared_out(lost, maximum(count, one));
}

Var centres_per_sample(Var heat) { return per_sample(is_centre(heat)); }

Var generalised_iou(Var a, Var b) {
  constexpr double kEpsilon = 1e-7;  // beside areas only: an IoU keeps its value
  const Var left_a = part(a, 0), top_a = part(a, 1), right_a = part(a, 2), bottom_a = part(a, 3);
  const Var left_b = part(b, 0), top_b = part(b, 1), right_b = part(b, 2), bottom_b = part(b, 3);
  const auto extent = [](Var low, Var high) { return relu(sub(high, low)); };
  const auto area = [](Var left, Var top, Var right, Var bottom) {
    const Var width = sub(right, left), height = sub(bottom, top);
    return mul(width, height);
  };
  const Var left = maximum(left_a, left_b), right = minimum(right_a, right_b);
  const Var top = maximum(top_a, top_b), bottom = minimum(bottom_a, bottom_b);
  const Var shared_width = extent(left, right), shared_height = extent(top, bottom);
  const Var both = mul(shared_width, shared_height);
  const Var area_a = area(left_a, top_a, right_a, bottom_a);
  const Var area_b = area(left_b, top_b, right_b, bottom_b);
  const Var either = affine(sub(add(area_a, area_b), both), 1, kEpsilon);
  const Var outer_left = minimum(left_a, left_b), outer_right = maximum(right_a, right_b);
  const Var outer_top = minimum(top_a, top_b), outer_bottom = maximum(bottom_a, bottom_b);
  const Var outer_width = extent(outer_left, outer_right);
  const Var outer_height = extent(outer_top, outer_bottom);
  const Var hull = affine(mul(outer_width, outer_height), 1, kEpsilon);
  const Var overlap = div(both, either);
  return sub(overlap, div(sub(hull, either), hull));
}

Var decode_sides(Var ltrb, std::int64_t stride) {
  Tape& tape = ltrb.tape();
  const std::int64_t h = ltrb.shape()[1], w = ltrb.shape()[2];
  Tensor corner({DType::f32, {1, h, w, 4}}), sign({DType::f32, {1, 1, 1, 4}});
  const auto c = corner.values<float>();
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      for (std::int64_t k = 0; k < 4; ++k) {
        c[static_cast<std::size_t>((y * w + x) * 4 + k)] =
            static_cast<float>(stride * (k % 2 == 0 ? x : y));
      }
    }
  }
  for (std::size_t k = 0; k < 4; ++k) sign.values<float>()[k] = k < 2 ? -1.0f : 1.0f;
  const Var from_corner = mul(ltrb, tape.constant(sign));
  return add(from_corner, tape.constant(corner));
}

Var box_loss(Var boxes, Var sides, Var weight) {
  const Var lost = mul(weight, affine(generalised_iou(boxes, sides), -1, 1));
  const Var each = per_sample(lost);
  return affine(shared_out(each, affine(sum(weight), 1, 1e-4)), 5);
}

}  // namespace tapescope::detection
