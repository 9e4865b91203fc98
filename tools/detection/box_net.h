// A net that finds boxes, whatever its heads are: what all of detection works with.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "layers/module.h"
#include "tools/data/dataset.h"

namespace tapescope {
class Task;
}

namespace tapescope::detection {

class DetectionSource;

// How a picture becomes an input: proportions are kept, and the rest is grey (114).
struct InputForm {
  bool corner = false;  // at the upper left, as YOLOX has it; else in the middle
  // (v - mean) / std of pixels v from 0 to 1: one number, or one per channel.
  std::vector<double> mean = {0.5}, std = {0.25};
};

struct DetectorConfig {
  std::vector<std::string> classes;
  std::int64_t height = 240, width = 320;  // of the input; multiples of 16
  double channel_scale = 1.0;              // of the hidden channel counts: --width
  std::uint64_t seed = 0;
  std::vector<std::string> category_ids =
      {};                    // by class, in the data's JSON, as JSON text; or none
  Exif exif = Exif::ignore;  // how its pictures are read; model files of before say nothing
  // Of its data, where no folder names a split.
  double validation_fraction = 0, test_fraction = 0;
  Draw draw = Draw::stratified;  // model files of before say nothing
  BadImage on_bad_image = BadImage::fail;
  std::filesystem::path split_record = {};       // RUN/split.tsv, where there is one
  std::shared_ptr<std::int64_t> room = nullptr;  // see Module
  InputForm form = {};
  std::string backbone = {};  // of the zoo, in place of the levels of its own; "": none
};

// Cells of one stride: `boxes` answers for each place, one grid of places after the other.
struct Level {
  int stride = 0;
  int height = 0, width = 0;
  int boxes = 1;
  std::int64_t cells() const { return std::int64_t{1} * boxes * height * width; }
};

// Where a net's cells lie. Its maps are {N,height,width,...}, whose cells y * width + x count
// through the levels; no levels: a file does not say.
struct Grid {
  std::vector<Level> levels;
  std::int64_t height = 0, width = 0;
  struct Place {
    int level = -1, stride = 0, y = 0, x = 0;
  };
  // Of a cell that is there; level -1 and where it is in the maps, where nothing more is known.
  Place place(int y, int x) const;
  // The cells (y, x) that a point of the input lies in, or nearest to: one per level and box.
  std::vector<std::pair<int, int>> cells_at(double x, double y) const;
  std::string name(int y, int x) const;  // for people, after "cell": "3,4", "3,4 of stride 16"
};

// What the cells answer.
struct CellVars {
  Var probability;  // {N,h,w,C}
  Var boxes;        // {N,h,w,4}: x0, y0, x1, y1 in the input's pixels
};

// How boxes are chosen among the answers where no option says more.
struct Selection {
  bool peaks = true;  // a cell counts where none of the eight around it is surer of the class
  double nms = 0;     // of boxes of one class above this IoU only the surest stays; 0: all stay
};

// Which layers of a detector are drawn anew: those of one branch alone; the way from the coarse
// maps to the shared one; what comes before.
enum class DetectorPart : unsigned char { head, neck, backbone };
constexpr DetectorPart kDetectorParts[] = {DetectorPart::head, DetectorPart::neck,
                                           DetectorPart::backbone};

// {"image": f32 {N,H,W,3}} to at least {"heat": logits of classes {N,h,w,C}, "ltrb": {N,h,w,4}, how
// far the left, top, right and lower side lie from a place of the cell, in pixels} and, where that
// is a factor of its own, {"objectness": logits {N,h,w,1}}.
class BoxNet : public Model {
 public:
  using Model::Model;
  virtual const DetectorConfig& config() const = 0;
  virtual Grid grid() const = 0;
  virtual Selection selection() const { return {}; }
  virtual CellVars cells(const NamedVars& outputs) const = 0;
  // {N,h,w,C+4}: probabilities, 0 where a cell does not count, and boxes.
  Var predictions(const NamedVars& outputs) const;
  // The feature map that CAM methods look at unless told otherwise: the last that all heads of this
  // cell read.
  virtual std::string shared_map(int y, int x) const = 0;
  // Whether it is trained here: then its task has a loss.
  virtual bool learns() const = 0;
  // What boxes on `source` are scored by; it and this net stay.
  virtual std::unique_ptr<Task> task(std::shared_ptr<const DetectionSource> source) const = 0;
  // A copy with that part's parameters as an untrained net has them: Adebayo et al. 2018 (arXiv
  // 1810.03292) for detectors (Padmanabhan et al. 2023, arXiv 2306.02424).
  virtual std::unique_ptr<BoxNet> randomised(DetectorPart part, std::uint64_t seed) const = 0;
};

// Predictions of what cells answer.
Var predictions_of(const CellVars& cells, bool peaks);

}  // namespace tapescope::detection
