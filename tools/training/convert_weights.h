// What a weights file holds, and the same as a model file of this program.
#pragma once

#include <string>

namespace tapescope {

struct WeightsRequest {
  std::string file;
  bool all = false;  // list every tensor, not a screen of them
  std::string out;   // safetensors file to write; empty: none
  // What names begin with and what then: lines of "OLD NEW", the first that fits counts. "": none.
  std::string rename;
  // Of a file that is to be a model: its name in the zoo, its classes (a file with one per line, or
  // a JSON list) and what its pictures go through (preprocessing.h). A name that the zoo does not
  // have is written all the same, and said.
  std::string model, classes, preprocess = "imagenet";
};

struct WeightsAnswer {
  std::string text, json;
};

// Throws usage errors as open_weights() does; where the file does not fit the model, naming what is
// missing and of another shape, and then nothing is written.
WeightsAnswer describe_weights(const WeightsRequest& request);

}  // namespace tapescope
