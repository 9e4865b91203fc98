// What every cell of a detector's heat map says, listed or not, and why it is or is not.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/detection/detector.h"

namespace tapescope::detection {

// The answers before any of them is chosen, of N inputs.
struct Cells {
  Tensor probability;  // f32 {N,h,w,C}
  Tensor boxes;        // f32 {N,h,w,4}: x0, y0, x1, y1 in the input's pixels
  Grid grid{};
  Selection selection{};
  std::int64_t height() const { return probability.shape()[1]; }
  std::int64_t width() const { return probability.shape()[2]; }
  std::int64_t classes() const { return probability.shape()[3]; }
  float at(std::int64_t n, std::int64_t y, std::int64_t x, int category) const;
  Box box(std::int64_t n, std::int64_t y, std::int64_t x) const;
};

class CellReader {
 public:
  CellReader(const BoxNet& model, const Backend& backend);
  Cells read(const Tensor& inputs);  // f32 {N,H,W,3}

 private:
  Program program_;
  Grid grid_;
  Selection selection_;
};

// What became of one class at one cell.
enum class Fate : unsigned char {
  listed,
  unsure,   // below the threshold
  beaten,   // a neighbour is surer: it is no peak
  covered,  // a surer box of its class overlaps it by more than the suppression lets pass
  crowded,  // more than `most` are surer
};
struct Verdict {
  Fate fate = Fate::listed;
  float score = 0;
  // Of beaten and covered: the answer that stands in its place, reached uphill from neighbour to
  // neighbour, and how far the two boxes overlap.
  int by_y = 0, by_x = 0;
  float by_score = 0;
  double overlap = 0;
  double nms = 0;    // the suppression there was
  std::string by{};  // that cell's name
};
Verdict verdict_of(const Cells& cells, int y, int x, int category, const DetectOptions& options);
// A sentence without its end: "is listed", "is no peak: the cell at 3, 4 says 0.61 ...".
std::string to_text(const Verdict& verdict, const DetectOptions& options);

// The boxes that `Detector::detect` lists, in the input's pixels, from the cells of the first
// input.
std::vector<Seen> listed(const Cells& cells, const DetectOptions& options);

// An annotated object that no listed box of its class has an IoU of 0.5 with, each box given to one
// object, the surest box first. Explained by the cell whose box fits it best, whatever its score;
// of equal fits the one that is surest of the object's class.
struct Missed {
  Object object;  // in the input's pixels
  int y = 0, x = 0;
  double overlap = 0;  // of the cell's box with the object
  int category = 0;    // what the cell is surest of
  float surest = 0;    // and how sure
  Verdict verdict;     // of the object's class there
};
Missed best_cell(const Cells& cells, const Object& object, const DetectOptions& options);
// Regions marked as crowds, and objects marked as difficult, are not missed.
std::vector<Missed> missed(const Cells& cells, std::span<const Object> objects,
                           const DetectOptions& options);

}  // namespace tapescope::detection
