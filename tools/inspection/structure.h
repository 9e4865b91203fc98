// The layer table: a row per node of the model's tape, functional ops and residual sums included,
// and subtotals per module.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace tapescope::inspection {

// Runs the model on the tape it is given, on image {N,H,W,C}, and returns its outputs {N,...}.
using Record = std::function<std::vector<Var>(Tape& tape, Var image)>;

// What a node and a sum of nodes have in common. For one image.
struct StructureCounts {
  std::int64_t parameters = 0;  // trained; a parameter that is used twice counts where used first
  std::int64_t frozen = 0;      // parameters that --freeze keeps as they are
  std::int64_t buffers = 0;     // saved with the model but not trained
  double macs = 0;              // multiply-adds of convolutions and matrix products, without biases
  double flops = 0;             // 2 per multiply-add, 1 any other addition or multiplication
  double bytes_moved = 0;       // operands and output, each once
  std::int64_t output_bytes = 0;  // 0 where the output shares its operand's memory
  // What is kept from the forward to the backward pass of a training step: exactly the values that
  // the tape's gradient program reads, each counted where it is made.
  std::int64_t saved_bytes = 0;
  double forward_seconds = 0, backward_seconds = 0;  // measured, of a batch; see Structure

  void add(const StructureCounts& other);
  // Floating-point operations per byte moved (Williams et al. 2009, "Roofline").
  double intensity() const { return bytes_moved > 0 ? flops / bytes_moved : 0; }
};

struct StructureRow : StructureCounts {
  std::uint32_t node = 0;      // its index on the tape that was read
  std::string path;            // "layer1/0/conv1/conv2d"
  std::string op;              // "conv2d"
  std::string attributes;      // "stride_h=2 pad_h=1 ..."
  std::string window;          // "3x3 /2 +1": kernel, stride, padding; empty elsewhere
  std::vector<Type> operands;  // what it reads, parameters included
  Type output;                 // for one image: {1, ...}
  std::vector<int> inputs;     // the rows whose outputs it reads; -1: the model's input
  std::vector<std::string> parameter_names;
  // Pixels of the input, height and width, that one position of the output depends on (rows and
  // columns beyond the border counted), and how many lie between neighbouring positions. Dumoulin
  // and Visin 2016, the longest way; -1: all of the input.
  std::int64_t field_h = 1, field_w = 1, jump_h = 1, jump_w = 1;
  // How many nodes read this row's first parameter: more than 1 where a layer is used again.
  int uses = 0;
  std::string variant;  // the kernel that was chosen; empty where not measured
};

// A module: the rows [first, first + count) have its path as prefix.
struct ModuleRow : StructureCounts {
  std::string path;
  int depth = 0;  // 0: child of the model
  int first = 0, count = 0;
};

struct Structure {
  std::vector<StructureRow> rows;  // in the order in which they run
  std::vector<ModuleRow> modules;  // of one row or more, in order of their first row
  StructureCounts totals;
  std::int64_t input_bytes = 0;
  std::int64_t measured_batch = 0;  // images per run, where there are times; else 0
  // Of op kinds, attributes, shapes and edges: equal for equal architectures whatever the names.
  std::uint64_t hash = 0;
};

struct StructureOptions {
  Backend backend;
  std::int64_t measure_batch = 0;  // measure with so many images; 0: do not
  int repeats = 5;                 // runs that are averaged
};

// image: {H,W,C}. The model's parameters are on options.backend.device.
Structure structure_of(const Record& record, const Shape& image, const StructureOptions& options);

std::string to_text(const Structure& structure);  // an aligned table for a terminal
std::string to_json(const Structure& structure, const std::string& model);

// What a graph or a column may be coloured and sorted by; a usage error naming the columns for
// another word.
double column(const StructureCounts& counts, const std::string& name);
const std::vector<std::string>& column_names();

// 1234567 as "1,234,567".
std::string grouped(double number);

}  // namespace tapescope::inspection
