// A tape and its Program for other programs.
#pragma once

#include <string>

#include "autograd/program/program.h"

namespace tapescope::inspection {

// One JSON object: the nodes with their operands, types and origin (null: recorded by the model),
// and, where a Program is given, its steps and its memory plan in bytes.
std::string to_json(const std::string& model, const Tape& tape, Program* program);

}  // namespace tapescope::inspection
