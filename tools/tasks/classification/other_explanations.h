// Explanations of class scores that are no maps, one function each: JSON, with files in
// command.out.
#pragma once

#include "tools/tasks/classification/classification.h"
#include "tools/tasks/other_explanations.h"

namespace tapescope::tasks {

std::string explain_by_examples(const OtherCommand& command, const ClassificationRun& run);
std::string explain_by_concept(const OtherCommand& command, const ClassificationRun& run);
std::string visualize_feature(const OtherCommand& command, const ClassificationRun& run);
std::string attack(const OtherCommand& command, const ClassificationRun& run);

}  // namespace tapescope::tasks
