// What eval, explain and benchmark-explanations do where the run is a detector's.
#pragma once

#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/cli/explanation_options.h"
#include "tools/detection/annotations.h"

namespace tapescope::cli {

// The images of train, validation or test; a usage error where there are none. `folder`: for it.
const std::vector<detection::AnnotatedImage>& split_of(const detection::DetectionData& data,
                                                       const std::string& folder,
                                                       const std::string& split);

// --on-bad-image.
BadImage bad_image_from(const std::string& option);
// On stderr: what a folder was taken for, what was mended and what was left out.
void say(const detection::DetectionData& data);

int eval_detector(const RunOptions& run, const std::string& data, const std::string& split,
                  std::int64_t batch_size, BadImage on_bad_image, bool json);

// Which boxes, and what of them.
struct BoxOptions {
  std::string box;             // of `detect`'s list, from 0, or "all"; empty: the surest
  std::string at;              // "X,Y" in the picture's pixels: the cell there, whatever its score
  bool missed = false;         // annotated objects that no box finds
  std::string side = "score";  // or left, top, right, bottom: how far that side is away
  double threshold = 0.3, nms = 0;  // of the list
  void add_to(CLI::App& app);
};

struct BoxCommand {
  RunOptions run;
  ExplanationOptions explanation;
  BoxOptions box;
  std::string data;  // where the pictures' annotations are; may be empty
  std::string out;
  bool json = false;
};
int explain_boxes(const BoxCommand& command, const std::vector<std::string>& images, bool score,
                  const std::string& mask);
// `limit` pictures of the split: one box of each class that finds an annotated object in each.
int benchmark_boxes(const BoxCommand& command, const std::string& split, std::int64_t limit);

}  // namespace tapescope::cli
