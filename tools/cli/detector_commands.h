// What eval and explain do where the run is a detector's.
#pragma once

#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/cli/explanation_options.h"

namespace tapescope::cli {

int eval_detector(const RunOptions& run, const std::string& data, const std::string& split,
                  std::int64_t batch_size, bool json);

// Which box, and what of it.
struct BoxOptions {
  std::int64_t box = -1;       // of `detect`'s list; -1: the surest
  std::string at;              // "X,Y" in the picture's pixels: the cell there, whatever its score
  std::string side = "score";  // or left, top, right, bottom: how far that side is away
  double threshold = 0.3;      // of the list
};
int explain_boxes(const RunOptions& run, const std::vector<std::string>& images,
                  const ExplanationOptions& explanation, const BoxOptions& box,
                  const std::string& out, bool json);

}  // namespace tapescope::cli
