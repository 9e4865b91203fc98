// What an ONNX file and the options say together of its pictures and answers.
#pragma once

#include <string>
#include <vector>

#include "tools/data/transforms.h"
#include "tools/onnx/metadata.h"
#include "tools/tasks/run.h"

namespace tapescope::tasks {

// The names of `count` classes: --class-names, or else what the file says, or else numbers, which
// `notices` is told. Throws a usage error where another number of them is named.
std::vector<std::string> classes_of(const RunRequest& asked, const onnx::Metadata& said,
                                    std::int64_t count, std::vector<std::string>& notices);
// Throws a usage error where mean and std have neither one number nor one per channel, or where a
// std is 0.
void check_normalisation(const RunRequest& asked, const Normalize& normalize,
                         std::int64_t channels);
void tell_licence(const RunRequest& asked, const onnx::Metadata& said,
                  std::vector<std::string>& notices);

}  // namespace tapescope::tasks
