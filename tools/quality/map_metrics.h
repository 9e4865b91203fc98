// Numbers about one map alone, or about a map and a mask of what caused the answer.
#pragma once

#include <span>
#include <vector>

#include "engine/tensor.h"
#include "tools/report/colormap.h"

namespace tapescope::quality {

// Channels added up, which keeps a complete map complete; or their sizes, for maps whose sign says
// nothing (explain::kSensitivity). map: f32 {1,h,w,C}; gives h x w.
enum class Signs : unsigned char { kept, dropped };
Map channel_sum(const Tensor& map, Signs signs = Signs::kept);
// The same brought to the picture's size, bilinearly: what all scores here are taken of.
Map at_picture_size(const Tensor& map, int height, int width, Signs signs = Signs::kept);

// True where every value is finite. A map that is not scores as badly as can be, never well.
bool is_finite(const Map& map);

// Which positions caused the answer, {height, width}; from synthesize, or a person's outline.
struct Mask {
  int height = 0, width = 0;
  std::vector<bool> cause;
  double share() const;  // of the area: what a map without knowledge scores
};

// Pointing game (Zhang et al. 2016, arXiv 1608.00507): whether the largest value lies within
// `tolerance` pixels (Euclidean) of the mask. Equal largest values share the hit.
double pointing_game(const Map& map, const Mask& mask, double tolerance = 0);
// Relevance mass accuracy (Arras et al. 2022, arXiv 2003.07258): the mask's share of the positive
// part's sum. 0 where nothing is positive.
double mass_accuracy(const Map& map, const Mask& mask);
// Relevance rank accuracy (the same): of the K largest values, K the mask's area, the share inside.
// Equal values at the edge of the K count by their share.
double rank_accuracy(const Map& map, const Mask& mask);

// Gini index of the absolute values (Chalasani et al. 2020, arXiv 1810.06583): 0 where all are
// equal, 1 - 1/n for a single one. NaN for a map of zeros.
double sparseness(std::span<const float> values);
// Entropy in nats of the absolute values as shares of their sum (Bhatt et al. 2020, arXiv
// 2005.00631): log n where all are equal, 0 for a single one. NaN for a map of zeros.
double complexity(std::span<const float> values);

// Spearman's rank correlation, equal values at their mean rank. NaN where one side is constant.
double rank_correlation(std::span<const float> a, std::span<const float> b);

// Positions from the largest value to the smallest; equal ones in row order.
std::vector<std::size_t> descending(const Map& map);

}  // namespace tapescope::quality
