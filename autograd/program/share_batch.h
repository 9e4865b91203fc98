// A step on a batch that is cut into pieces, and that processes share.
//
// A tape is recorded for the whole batch, as on one process. Lowering then looks at each step: what
// has the batch's rows is *split*, everything else is the same on every process.
//
//   row n of the result depends on row n alone     done on the rows that the process has
//   the result is a sum over rows                  done piece by piece, the results added as a
//                                                  balanced tree, ((0 + 1) + (2 + 3)), which
//                                                  all_reduce continues over the processes
//   an average over rows                           that sum, divided by the count, a sum as well
//   a batch normalisation                          its sums, then the rest of it
//   dropout                                        told which row of the batch its first one is
//
// So one, two or four processes make the same bits: the tree depends on the number of pieces alone
// (Op::adds_rows, Op::without_average). Where there is any other op the batch is not cut: several
// processes are refused, by the op's name.
#pragma once

#include "autograd/program/lower.h"
#include "autograd/program/share.h"

namespace tapescope {

// options.chunks and options.ranks: without either nothing changes.
void share_batch(LoweredProgram& program, const Backend& backend, const CompileOptions& options);

// An op made for this, which knows of its outputs which are split.
class SharedOp : public Op {
 public:
  virtual bool is_split(int output) const = 0;
};

// `op` on the pieces of its split operands, one after the other: outputs that are not split are
// added up.
OpRef in_chunks(OpRef op, int chunks, std::vector<bool> split_operands,
                std::vector<bool> split_outputs);

// Records batch normalisation `op` in two parts, where it is one that has them: one Var an output.
// Empty where it is not.
std::vector<Var> batch_norm_in_parts(const OpRef& op, std::span<const Var> operands);

}  // namespace tapescope
