// Explanations that are no maps: examples, concepts, pictures that a unit likes, attacks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/explanation/request.h"

namespace tapescope::tasks {

struct OtherOptions {
  bool tracin = false, nearest = false, visualization = false, fgsm = false, pgd = false;
  std::string concept_folder, random_folder;  // of tcav: asked for by its concept
  std::string parameters;                     // of tracin: a glob
  std::int64_t examples = 2000, shown = 6;    // of tracin and nearest-examples
  std::string channel;                        // of feature visualization: NODE[INDEX]
  double radius = 8;                          // of attacks: in 1/255 of black to white
  int attack_steps = 10;
  std::string norm = "linf";
  int random_sets = 10;  // of tcav

  // How many were asked for: at most one at a time.
  int asked() const {
    return static_cast<int>(tracin) + static_cast<int>(nearest) + static_cast<int>(visualization) +
           static_cast<int>(fgsm) + static_cast<int>(pgd) +
           static_cast<int>(!concept_folder.empty());
  }
};

struct OtherCommand {
  std::vector<std::string> images;
  ExplanationRequest explanation;
  OtherOptions other;
  std::string data, out;
  Backend backend;
  // A line for people.
  std::function<void(const std::string& text)> say = [](const std::string&) {};
};
struct OtherAnswer {
  std::string json;
  int status = 0;  // 2 where a picture could not be read
};

}  // namespace tapescope::tasks
