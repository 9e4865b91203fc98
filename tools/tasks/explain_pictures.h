// Maps of what is explained in pictures: drawn, kept as arrays, scored.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/files/input_files.h"
#include "tools/tasks/picture_explainer.h"
#include "tools/tasks/run.h"

namespace tapescope::tasks {

struct ExplainCommand {
  ExplainOptions options;
  std::vector<std::string> pictures;
  std::string out;         // folder
  std::string mask;        // of the one picture; empty: none
  bool ledger = false;     // of the methods that keep one
  bool leave_out = false;  // methods that do not apply are told, not an error
  // A line or a table for people.
  std::function<void(const std::string& text)> say = [](const std::string&) {};
};

struct Explained {
  std::string json;   // what scores.json holds, without a line's end
  std::string sheet;  // a picture of all of them; empty where there is none
  int status = 0;     // 2 where a picture could not be read
};

// Writes, into `out`, PICTURE[.LABEL].METHOD.png and .npy, sheet.png, maps.safetensors and
// scores.json.
Explained explain_pictures(const Run& run, const ExplainCommand& command);

// Throws a usage error, before anything is written, where `explain` would write over what it reads:
// `inputs` and `pictures`, into the folder `out`.
void expect_apart(InputFiles inputs, const std::vector<std::string>& pictures,
                  const std::string& out);

}  // namespace tapescope::tasks
