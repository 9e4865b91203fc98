// Several nodes that say one function become one node of it. Rules for relevance see a function for
// what it is then: x * sigmoid(x) as a product of two would share out the relevance between both.
#pragma once

#include "tools/onnx/graph.h"

namespace tapescope::onnx {

// Replaces what matches: x * sigmoid(x), hard swish, erf's GELU, the layer norm of older exporters,
// x times a sigmoid of something else ("Gate", an op of this reader).
// What is left without a reader stays in the list and is not recorded. Returns how many there were.
int join_patterns(Graph& graph);

}  // namespace tapescope::onnx
