// Options of the subcommands that explain pictures.
#pragma once

#include "tools/cli/cli.h"
#include "tools/explanation/request.h"
#include "tools/tasks/other_explanations.h"
#include "tools/tasks/picture_explainer.h"

namespace tapescope::cli {

void add_explanation_options(CommandLine& line, ExplanationRequest& request,
                             const std::string& method_help);
void add_box_options(CommandLine& line, tasks::BoxChoice& boxes);
void add_other_options(CommandLine& line, tasks::OtherOptions& other);

}  // namespace tapescope::cli
