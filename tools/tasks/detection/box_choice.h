// Which of a detector's answers a command explains.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/detection/annotations.h"
#include "tools/detection/box_explainer.h"
#include "tools/tasks/picture_explainer.h"

namespace tapescope::tasks {

// A number of one cell that is explained, and what is known of the cell.
struct ChosenBox {
  detection::CellNumber what;
  std::optional<detection::CellNumber> against;
  std::string name;    // for people: the class, or a side of it
  std::string label;   // of its files; empty for a single one
  detection::Box box;  // in the input's pixels
  detection::Verdict verdict;
  std::optional<detection::Missed> missed;
};

// A picture as a detector is given it.
struct DetectorPicture {
  Picture picture;  // `image` is letterboxed, as `input` is
  detection::Letterbox frame;
  int height = 0, width = 0;               // of the picture itself
  std::vector<detection::Object> objects;  // annotated ones, in the input's pixels
  // A box of the input as `detect` gives it: in the picture's pixels, clipped to it.
  detection::Box in_picture(const detection::Box& box) const {
    return frame.into_picture(box, height, width);
  }
};
// What `detect` lists of the picture, in its order, with boxes in the input's pixels.
std::vector<detection::Seen> listed_in(const DetectorPicture& picture,
                                       const detection::Cells& cells,
                                       const detection::DetectOptions& options);

// Annotations by picture.
class Annotations {
 public:
  // Of no pictures, where the folder is empty.
  Annotations(const std::string& folder, const detection::DetectorConfig& config,
              bool allow_outside);
  bool given() const { return !folder_.empty(); }
  const detection::DetectionData& data() const { return data_; }
  // Throws a usage error for a picture without annotation.
  const detection::AnnotatedImage& of(const std::string& path) const;

 private:
  std::string folder_;
  detection::DetectionData data_;
};

DetectorPicture picture_for(const detection::DetectorConfig& config, const std::string& path,
                            const Annotations& annotations);
// What becomes of a picture that is letterboxed.
Preprocess preprocess_of(const detection::DetectorConfig& config);

detection::DetectOptions detect_options(const BoxChoice& options);

// Those that the options ask for; none where --missed finds everything found. Throws a usage error
// for a box, a point, a class or a side that is not there.
std::vector<ChosenBox> choose_boxes(const detection::Cells& cells, const DetectorPicture& picture,
                                    const BoxChoice& options, const ExplanationRequest& explanation,
                                    const std::vector<std::string>& classes);

// A sentence without its end: which cell it is, and what became of it.
std::string to_text(const ChosenBox& box, const DetectorPicture& picture,
                    const detection::Grid& grid, const std::vector<std::string>& classes,
                    const detection::DetectOptions& options);

}  // namespace tapescope::tasks
