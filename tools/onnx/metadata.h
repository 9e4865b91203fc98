// What a model's file says of the pictures it is given and of what it answers, where whoever made
// it wrote that down.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tapescope::onnx {

struct Metadata {
  std::vector<std::string> classes;  // by number; empty: not said
  std::vector<double> mean, std;     // of pixels from 0 to 1; empty: not said
  std::int64_t image_size = 0;       // 0: not said
  std::string task, license;         // "" : not said
};

// Understands what Ultralytics writes ("names", "imgsz", "task", "license"; its pictures are
// pixels from 0 to 1) and lists of JSON under "classes", "mean" and "std".
Metadata metadata_of(const std::map<std::string, std::string>& entries);

// "0.485,0.456,0.406": 1 to 4 finite numbers. Throws a usage error that names `option`.
std::vector<double> numbers_in(const std::string& option, const std::string& text);

}  // namespace tapescope::onnx
