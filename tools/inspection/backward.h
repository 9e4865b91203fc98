// What only the gradient program and the clock can tell about a model's structure.
#pragma once

#include "autograd/program/program.h"
#include "tools/inspection/structure.h"

namespace tapescope::inspection {

// Fills in saved_bytes and, if wanted, backward_seconds: records the model once more on a training
// tape, with its gradient. A node that exists in training only (dropout) counts for the row before.
// `evaluation` is the tape that the rows were read from.
void add_backward(Structure& structure, const Tape& evaluation, const Record& record,
                  const Shape& image, const StructureOptions& options);

// Fills in forward_seconds and variant; `outputs` are what the rows were read from.
void measure_forward(Structure& structure, Tape& tape, std::span<const Var> outputs,
                     const Shape& image, const StructureOptions& options);

}  // namespace tapescope::inspection
