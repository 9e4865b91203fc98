// The layer table: a row per node of the model's tape, functional ops and residual sums included.
#pragma once

#include <string>
#include <vector>

#include "autograd/tape.h"

namespace tapescope::inspection {

struct StructureRow {
  std::string path;             // "layer1/0/conv1/conv2d"
  std::string op;               // "conv2d"
  std::string attributes;       // "stride_h=2 pad_h=1 ..."
  std::vector<Type> operands;   // what it reads, parameters included
  Type output;                  // for one image: {1, ...}
  std::int64_t parameters = 0;  // trained; a parameter that is used twice counts where used first
  std::int64_t buffers = 0;     // saved with the model but not trained
  double macs = 0;              // multiply-adds of convolutions and matrix products
  double flops = 0;
  double bytes_moved = 0;         // operands and output, each once
  std::int64_t output_bytes = 0;  // 0 where the output shares its operand's memory
};

struct Structure {
  std::vector<StructureRow> rows;  // in the order in which they run
  StructureRow totals;
};

// Of everything that `outputs` need. Record the model on an evaluation tape with a batch of one.
Structure structure_of(const Tape& tape, std::span<const Var> outputs);

std::string to_text(const Structure& structure);  // an aligned table for a terminal

}  // namespace tapescope::inspection
