// Explanations from changed pictures: forward passes only, so any model that gives scores will do.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/explain/path_methods.h"

namespace tapescope::explain {

// The target at pictures f32 {M*N,H,W,C} -> f32 {M*N}; picture m of sample n is row m*N + n.
using Scores = std::function<Tensor(const Tensor& pictures)>;

// Which feature each position of a picture belongs to: ids in [0, count), row by row.
struct Segments {
  std::int64_t height = 0, width = 0;
  int count = 0;
  std::vector<int> id;  // {height, width}

  // rows x columns rectangles of nearly equal size; never more than there are positions.
  static Segments grid(std::int64_t height, std::int64_t width, int rows, int columns);
  // Any numbers, one a position: they are numbered anew in order of appearance.
  static Segments from_ids(std::int64_t height, std::int64_t width, const std::vector<int>& ids);
};

// All of these compare x {N,H,W,C} with `baseline` {N,H,W,C} or {1,H,W,C} and give maps {N,H,W,1}.
// `chunk` changed pictures share a run. Errors are standard errors, {N}, the largest of any
// position; zero where nothing is drawn. `points` counts forward passes per sample.

// Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): F(x) - F(x with a window of the baseline),
// averaged over the windows that cover a position. The last window of a row or column is moved to
// end at the border.
Estimate occlusion(const Scores& scores, const Tensor& x, const Tensor& baseline,
                   std::int64_t window, std::int64_t stride, int chunk = 8);

// F(x) - F(x with one feature of the baseline), at every position of the feature.
Estimate feature_ablation(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, int chunk = 8);

// RISE (Petsiuk et al. 2018, arXiv 1806.07421): E[F | position kept] - E[F], from masks of
// cells x cells, each cell kept with probability 1/2, enlarged bilinearly and shifted at random.
// The mean of F is taken off, which ranks positions alike and leaves less noise.
Estimate rise(const Scores& scores, const Tensor& x, const Tensor& baseline, int cells, int masks,
              std::uint64_t seed, int chunk = 8);

// Shapley values of the features by permutations (Castro et al. 2009, 10.1016/j.cor.2008.04.004),
// each taken forwards and backwards. Every permutation telescopes: the values of all features sum
// to F(x) - F(x') whatever the number of draws. At least one pair is drawn: `forwards` is what may
// be spent, count + 1 a permutation. The same permutations for every sample.
Estimate shapley_sampling(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, double forwards, std::uint64_t seed,
                          int chunk = 8);

}  // namespace tapescope::explain
