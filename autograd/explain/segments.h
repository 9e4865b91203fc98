// Which feature each position of a picture belongs to.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace tapescope::explain {

// Ids in [0, count), row by row.
struct Segments {
  std::int64_t height = 0, width = 0;
  int count = 0;
  std::vector<int> id;  // {height, width}

  std::vector<double> sizes() const;  // {count}: positions of each feature

  // rows x columns rectangles of nearly equal size; never more than there are positions.
  static Segments grid(std::int64_t height, std::int64_t width, int rows, int columns);
  // Any numbers, one a position: they are numbered anew in order of appearance.
  static Segments from_ids(std::int64_t height, std::int64_t width, const std::vector<int>& ids);
  // About `count` connected patches of like colour: k-means of colour and place in neighbourhoods
  // (SLIC, Achanta et al. 2012, 10.1109/TPAMI.2012.120), pieces cut off given to a neighbour.
  // x: f32 {1,H,W,C}. `compactness` weighs place against colour, which is counted in shares of the
  // picture's range.
  static Segments slic(const Tensor& x, int count, double compactness = 0.2);
};

}  // namespace tapescope::explain
