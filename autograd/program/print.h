// A tape as text and as a drawing for Graphviz; a Program as text.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/program/program.h"

namespace tapescope {

// One line per node: index, path, op with its attributes, the indices of its operands, the types of
// its outputs. "%3.1" is output 1 of node 3. "of %4": appended for node 4.
//
//   %0   image                input input=image           ()              f32 {1, 28, 28, 1}
//   %3   conv1/conv2d         conv2d stride=1 pad=0 ...   (%0, %1, %2)    f32 {1, 24, 24, 8}
//   %41  gradient/conv1/mul   mul                         (%40, %1)       f32 {1, 8}  of %3
//
// `first` leaves out what was recorded before that mark.
std::string list_nodes(const Tape& tape, std::uint32_t first = 0);

// describe(op), its attributes of height and width told once where they are equal: "stride=2".
std::string describe_briefly(const Op& op);

// The same as a directed graph in the dot language, clusters by scope: `dot -Tsvg`. Operands of
// which only the shape is read are dashed; parameters and inputs are boxes.
std::string dot_graph(const Tape& tape, std::uint32_t first = 0);

// One line per step: path, op with its attributes, the types that it reads and writes, its kernel,
// whether it writes over an operand, whether its result is kept from run to run (such steps of one
// node are one line). Then what the
// memory plan comes to. `batch` as in Program::plan.
std::string list_steps(Program& program, std::int64_t batch = 0);

}  // namespace tapescope
