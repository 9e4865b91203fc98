// A tape as text, and as a drawing for Graphviz.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/tape.h"

namespace tapescope {

// One line a node: index, path, op with its attributes, the indices of its operands, the types of
// its outputs. "%3.1" is output 1 of node 3.
//
//   %0  image                 input input=image             ()          f32 {1, 28, 28, 1}
//   %4  conv1/conv2d          conv2d stride_h=1 ...         (%0, %1)    f32 {1, 24, 24, 8}
//
// `first` leaves out what was recorded before that mark.
std::string list_nodes(const Tape& tape, std::uint32_t first = 0);

// The same as a directed graph in the dot language, clusters by scope: `dot -Tsvg`. Operands of
// which only the shape is read are dashed; parameters and inputs are boxes.
std::string dot_graph(const Tape& tape, std::uint32_t first = 0);

}  // namespace tapescope
