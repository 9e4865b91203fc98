// Four pictures around one point, as YOLOv4 and its followers train on: more objects per sample,
// cut where no picture ends.
#pragma once

#include <span>
#include <vector>

#include "tools/data/image.h"
#include "tools/detection/annotations.h"

namespace tapescope::detection {

constexpr std::uint8_t kGrey = 114;  // where there is no picture

// A picture and its objects. While samples are made, `area` of an object is that of its whole box,
// whatever has been cut off.
struct Sample {
  Image image;
  std::vector<Object> objects;
};

// What is left of the objects inside a window; those of which less than a quarter is go. Regions of
// crowds stay.
void cut(std::vector<Object>& objects, const Box& window);

// A picture's rectangle within an input that has grey around it.
struct Tile {
  ImageView input;
  int left = 0, top = 0, width = 0, height = 0;
  std::vector<Object> objects;  // in the input's pixels
};
// Each picture has a corner at (x, y): the first is left above it, then right above, left below,
// right below. As large as the inputs.
Sample mosaic_of(std::span<const Tile, 4> tiles, int y, int x);

}  // namespace tapescope::detection
