// Explanations from changed pictures: forward passes only, so any model that gives scores will do.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/explain/path_methods.h"
#include "autograd/explain/segments.h"

namespace tapescope::explain {

// The target at pictures f32 {M*N,H,W,C} -> f32 {M*N}; picture m of sample n is row m*N + n.
using Scores = std::function<Tensor(const Tensor& pictures)>;

// `tensor` again and again, `times` in all, along the rows.
Tensor repeated_rows(const Tensor& tensor, std::int64_t times);

// All of these compare x {N,H,W,C} with `baseline` {N,H,W,C} or {1,H,W,C} and give maps {N,H,W,1}.
// `chunk` changed pictures share a run. Errors are standard errors, {N}, the largest of any
// position; zero where nothing is drawn, NaN where too little is drawn to tell. `points` counts
// forward passes per sample.

// Where occlusion puts its windows: every `stride` positions; the last one of a row or column is
// moved to end at the border.
struct Corner {
  std::int64_t y = 0, x = 0;
};
struct Windows {
  std::vector<std::int64_t> tops, lefts;
  std::int64_t height = 1, width = 1;  // of each window
  int count() const { return static_cast<int>(tops.size() * lefts.size()); }
  Corner corner(int k) const {  // row by row
    const auto i = static_cast<std::size_t>(k);
    return {tops[i / lefts.size()], lefts[i % lefts.size()]};
  }
};
// Of a picture of this size. Throws a usage error where window or stride is below 1.
Windows windows_of(std::int64_t height, std::int64_t width, std::int64_t window,
                   std::int64_t stride);

// Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): F(x) - F(x with a window of the baseline),
// averaged over the windows that cover a position.
Estimate occlusion(const Scores& scores, const Tensor& x, const Tensor& baseline,
                   const Windows& windows, int chunk = 8);
// The same from F(x), `whole` {N}, and `scores` {windows*N}: window k of sample n is row k*N + n.
Estimate mean_over_windows(const Tensor& x, const Windows& windows, const Tensor& whole,
                           const Tensor& scores);

// F(x) - F(x with one feature of the baseline), at every position of the feature.
Estimate feature_ablation(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, int chunk = 8);

// RISE (Petsiuk et al. 2018, arXiv 1806.07421): E[F | position kept] - E[F], from masks of
// cells x cells, each cell kept with probability 1/2, enlarged bilinearly and shifted at random.
// The mean of F is taken off, which ranks positions alike and leaves less noise: both are means
// over the same masks, and the error is that of their difference, which a constant added to F
// leaves as it is. Scores of several targets, {M*N,targets}, are answered by the same masks: map
// {N*targets,H,W,1}, error {N*targets}.
Estimate rise(const Scores& scores, const Tensor& x, const Tensor& baseline, int cells, int masks,
              std::uint64_t seed, int chunk = 8, std::int64_t targets = 1);

// Shapley values of the features by permutations (Castro et al. 2009, 10.1016/j.cor.2008.04.004),
// each taken forwards and backwards. Every permutation telescopes: the values of all features sum
// to F(x) - F(x') whatever the number of draws. At least one pair is drawn: `forwards` is what may
// be spent, count + 1 a permutation. The same permutations for every sample. The error of a single
// pair is unknown but for one or two features, whose permutations it takes all of.
Estimate shapley_sampling(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, double forwards, std::uint64_t seed,
                          int chunk = 8);

// KernelSHAP (Lundberg and Lee 2017, arXiv 1705.07874): Shapley values as the least-squares fit of
// an additive function to scores of coalitions, empty and full ones fitted exactly. Where
// `forwards` pays for all 2^n coalitions they are taken, and the values are exact; else they are
// drawn in complementary pairs by their weight, and the error is half the difference between the
// fits to every other pair, unknown where half of the pairs are fewer than the unknowns. Throws a
// usage error where fewer pairs than features can be paid for.
Estimate kernel_shap(const Scores& scores, const Tensor& x, const Tensor& baseline,
                     const Segments& segments, double forwards, std::uint64_t seed, int chunk = 8);

// LIME (Ribeiro et al. 2016, arXiv 1602.04938): a ridge regression on which features are kept, each
// with probability 1/2, weighted by exp(-d^2 / width^2) with d the cosine distance to keeping all.
// A feature's coefficient stands at each of its positions. The error is as kernel_shap's.
struct LimeOptions {
  double width = 0.25, ridge = 1;  // the authors' values for pictures
  double forwards = 500;
  std::uint64_t seed = 0;
};
Estimate lime(const Scores& scores, const Tensor& x, const Tensor& baseline,
              const Segments& segments, const LimeOptions& options = {}, int chunk = 8);

// What the surrogates are fitted to: one score a coalition and sample, {coalitions, N}; a coalition
// says of each feature whether it is the picture's.
using Coalitions = std::vector<std::vector<bool>>;
std::vector<double> score_coalitions(const Scores& scores, const Tensor& x, const Tensor& baseline,
                                     const Segments& segments, const Coalitions& coalitions,
                                     int chunk = 8);

}  // namespace tapescope::explain
