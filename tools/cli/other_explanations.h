// Explanations that are no maps: examples, concepts, pictures that a unit likes, attacks. Options
// of `explain` of their own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/cli/explanation_options.h"

namespace tapescope::cli {

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

  void add_to(CLI::App& app);
  // How many were asked for: at most one at a time.
  int asked() const;
};

struct OtherCommand {
  RunOptions run;
  std::vector<std::string> images;
  ExplanationOptions explanation;
  OtherOptions other;
  std::string data, out;
  bool json = false;
};
// Does what was asked for.
int explain_otherwise(const OtherCommand& command);

int explain_by_examples(const OtherCommand& command, const LoadedModel& loaded);
int explain_by_concept(const OtherCommand& command, const LoadedModel& loaded);
int visualize_feature(const OtherCommand& command, const LoadedModel& loaded);
int attack(const OtherCommand& command, const LoadedModel& loaded);

// Runs the loaded model on an image, and returns its logits.
explain::Explainer::Record record_of(const LoadedModel& loaded);
// "conv4/relu[17]": the node and a number of it. `option` is named in the error.
struct NodeIndex {
  std::string node;
  std::int64_t index = 0;
};
NodeIndex parsed_node(const std::string& option, const std::string& text);

}  // namespace tapescope::cli
