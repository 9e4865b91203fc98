// An ONNX file as a run: a classifier that somebody else trained.
#pragma once

#include "tools/tasks/run.h"
#include "tools/training/classifier_file.h"

namespace tapescope::onnx {
struct Graph;
}

namespace tapescope::tasks {

// Takes the graph of the file that `asked` names as its run. Size, normalisation and classes are
// what the options say, or else what the file says of itself. Throws a usage error that names the
// options where neither does, and for graphs that take no picture. `notices` receives what the user
// should know. A net whose answers are no classes has its units for them, called "[C,Y,X]" by their
// places in the output.
LoadedModel open_onnx(const RunRequest& asked, onnx::Graph& graph,
                      std::vector<std::string>& notices);

}  // namespace tapescope::tasks
