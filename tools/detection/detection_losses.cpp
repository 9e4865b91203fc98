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
  const Var at_centres = mul(centre, mul(square(missing), softplus(neg(logits))));
  const Var elsewhere = mul(square(square(affine(heat, -1, 1))), mul(square(p), softplus(logits)));
  return shared_out(per_sample(add(at_centres, elsewhere)), maximum(sum(centre), tape.scalar(1)));
}

Var centres_per_sample(Var heat) { return per_sample(is_centre(heat)); }

Var generalised_iou(Var a, Var b) {
  constexpr double kEpsilon = 1e-7;  // beside areas only: an IoU keeps its value
  const auto extent = [](Var low, Var high) { return relu(sub(high, low)); };
  const auto area = [&](Var box) {
    return mul(sub(part(box, 2), part(box, 0)), sub(part(box, 3), part(box, 1)));
  };
  const Var both = mul(extent(maximum(part(a, 0), part(b, 0)), minimum(part(a, 2), part(b, 2))),
                       extent(maximum(part(a, 1), part(b, 1)), minimum(part(a, 3), part(b, 3))));
  const Var either = affine(sub(add(area(a), area(b)), both), 1, kEpsilon);
  const Var hull =
      affine(mul(extent(minimum(part(a, 0), part(b, 0)), maximum(part(a, 2), part(b, 2))),
                 extent(minimum(part(a, 1), part(b, 1)), maximum(part(a, 3), part(b, 3)))),
             1, kEpsilon);
  return sub(div(both, either), div(sub(hull, either), hull));
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
  return add(mul(ltrb, tape.constant(sign.to(tape.device()))),
             tape.constant(corner.to(tape.device())));
}

Var box_loss(Var boxes, Var sides, Var weight) {
  const Var lost = mul(weight, affine(generalised_iou(boxes, sides), -1, 1));
  return affine(shared_out(per_sample(lost), affine(sum(weight), 1, 1e-4)), 5);
}

}  // namespace tapescope::detection
