// Explanations that average the gradient over many points: along a path, or in a neighbourhood.
// Points come one after another and are added up as they come, so memory does not grow with their
// number; sums are in f64 and in the order of the points, so neither does the result depend on how
// many points share a run.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "engine/philox.h"
#include "engine/tensor.h"

namespace tapescope::explain {

// The target's gradient at points of x's space: f32 {M*N,...} -> the same shape or that of a node's
// gradient {M*N,...}; point m of sample n is row m*N + n.
using Gradients = std::function<Tensor(const Tensor& points)>;

struct Estimate {
  Tensor map;      // f32, the gradient's shape for N samples
  Tensor error;    // f32 {N}: how far the largest element may be off; NaN where that cannot be told
  int points = 0;  // gradients taken per sample
};
inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
// The larger of two errors; unknown where one of them is (std::max would drop a NaN).
inline double larger_error(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

// --- along the straight path from a baseline ---
enum class PathRule : unsigned char { midpoint, gauss_legendre, trapezoid };

// A node of a rule on [0, 1], and its weight in a coarser rule, from which the error is told: the
// third of the midpoints, every other point of the trapezoid; for Gauss-Legendre another set.
struct PathPoint {
  double position = 0, weight = 0, coarse_weight = 0;
};
// `steps` is rounded down to what the rule can nest (midpoint: a multiple of 3, trapezoid: odd), at
// least 3. On a net of ReLUs no rule converges faster than 1/steps: the path has kinks everywhere.
std::vector<PathPoint> quadrature(PathRule rule, int steps);

// Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): (x - x') times the mean
// gradient on the path from x' to x. baseline: {N,...} or {1,...}. The error is the largest change
// of an element between the rule and its coarser one.
Estimate integrated_gradients(const Gradients& gradients, const Tensor& x, const Tensor& baseline,
                              const std::vector<PathPoint>& points, int chunk = 8);
// The same where the net begins with an affine function of x, whose values at x and baseline are
// given: `gradients` are those of its value, `back` takes them to x once, after the mean.
struct AffineStart {
  Tensor at_x, at_baseline;
  Gradients back;  // the function's vector-Jacobian product
};
Estimate integrated_gradients(const Gradients& gradients, const AffineStart& start, const Tensor& x,
                              const Tensor& baseline, const std::vector<PathPoint>& points,
                              int chunk = 8);
// The mean gradient on the path alone; `gradients` may be those of an inner node, which makes it
// internal influence (Leino et al. 2018, arXiv 1802.03788).
Estimate path_gradient(const Gradients& gradients, const Tensor& x, const Tensor& baseline,
                       const std::vector<PathPoint>& points, int chunk = 8);
// Conductance (Dhamdhere et al. 2018, arXiv 1805.12233): integral of dF/dh dh along the path, the
// midpoint rule with h at both ends of each step; sums to F(x) - F(x') with an error of 1/steps.
// `values` gives h at points of x. `steps` is a multiple of 3.
Estimate conductance(const Gradients& gradients, const Gradients& values, const Tensor& x,
                     const Tensor& baseline, int steps);

// The random numbers of draw k under a seed.
inline PhiloxStream stream_of_draw(std::uint64_t seed, int k) {
  return PhiloxStream(seed ^ (0x9e3779b97f4a7c15ull * (static_cast<std::uint64_t>(k) + 1)));
}

// --- in a neighbourhood ---
// What is added to x at the k-th draw, of x's shape or {1,...}.
using Offset = std::function<Tensor(int draw)>;

// Normal noise of `level` times each sample's own range. A draw's noise is the same for every
// sample of a batch and every batch size: it is a function of (seed, draw, element).
Offset relative_noise(const Tensor& x, double level, std::uint64_t seed);

enum class NoiseMean : unsigned char {
  gradient,  // SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825)
  squared,   // SmoothGrad squared (Hooker et al. 2018, arXiv 1806.10758)
  variance,  // VarGrad (Adebayo et al. 2018, arXiv 1810.03292): the biased variance
};
// The error is the standard error of the element that has the largest.
Estimate noise_mean(const Gradients& gradients, const Tensor& x, const Offset& offset,
                    NoiseMean what, int draws, int chunk = 8);

// GradientSHAP, or expected gradients (Erion et al. 2019, arXiv 1906.10670): the mean of
// (x - b) * gradient at b + t (x - b) over baselines b and places t. Every baseline gets as many
// draws, its places stratified. The error is the largest standard error.
Estimate expected_gradients(const Gradients& gradients, const Tensor& x,
                            const std::vector<Tensor>& baselines, int draws, std::uint64_t seed,
                            int chunk = 8);

}  // namespace tapescope::explain
