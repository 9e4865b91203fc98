// The last layer of a classifier: what gives its scores.
#pragma once

#include "tools/onnx/graph.h"

namespace tapescope::onnx {

// Makes the last layer answer `classes` scores, with values drawn anew: weights normal with a
// deviation of 1 / sqrt(inputs), biases 0. Throws a usage error where the first output is not given
// by a Gemm, a MatMul or a Conv whose weights are the file's and nobody else's, with nothing behind
// it but a bias, activations, means over places and changes of shape.
void give_classes(Graph& graph, std::int64_t classes, std::uint64_t seed);

}  // namespace tapescope::onnx
