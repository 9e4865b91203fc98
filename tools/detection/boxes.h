// Boxes, what is annotated and what is found.
#pragma once

#include <cstdint>
#include <string>

namespace tapescope::detection {

// Pixels of the picture; x and y are the upper left corner. COCO's form.
struct Box {
  double x = 0, y = 0, w = 0, h = 0;
  double area() const { return w * h; }
  friend bool operator==(const Box&, const Box&) = default;
};

// An annotated object.
struct Truth {
  std::int64_t image = 0;
  // COCO's evaluation stores matches as ids, so that an object with id 0 counts as not found: give
  // ids from 1 on.
  std::int64_t id = 0;
  int category = 0;
  Box box;
  double area = 0;         // COCO's `area` field: of the mask where there is one, else of the box
  bool crowd = false;      // COCO: a region with many; matches any number of boxes, counts as none
  bool difficult = false;  // VOC: neither a hit nor a miss
};

struct Detection {
  std::int64_t image = 0;
  int category = 0;
  Box box;
  double score = 0;
};

// Intersection over union in double, no pixel added. `crowd`: intersection over a's own area.
double iou(const Box& a, const Box& b, bool crowd = false);

}  // namespace tapescope::detection
