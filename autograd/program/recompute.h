// A Program within a limit of memory: values that are cheap to make are not kept from their last
// reader of the forward pass to their first one of the backward pass, but computed again.
//
//   y = relu(..)   z = f(y)   ..   g = df(y, ..)     as recorded: y is kept meanwhile
//   y = relu(..)   z = f(y)   ..   y' = relu(..)   g = df(y', ..)
//
// Only steps that are pure functions of what they read are repeated, with the same op and the same
// operands: no bit changes. What y' reads must be there: it is kept as well, or computed again in
// its turn. So convolutions, if they must be dropped too, are repeated a segment at a time, from
// one kept value to the next (Chen et al. 2016, "Training deep nets with sublinear memory cost",
// arXiv:1604.06174); but no value is computed more than twice. Which ones is chosen one by one, by
// the bytes saved where the plan is above the limit for each byte moved and operation done; none
// that needs a convolution or a matrix product while others help.
#pragma once

#include "autograd/program/lower.h"

namespace tapescope {

// The smallest plan that was found is above the limit. Bytes as in MemoryPlan::total().
struct MemoryLimitError : Error {
  MemoryLimitError(const Error& error, std::size_t smallest, std::int64_t rows_that_fit)
      : Error(error), smallest(smallest), rows_that_fit(rows_that_fit) {}
  std::size_t smallest;
  std::int64_t rows_that_fit;  // of the batch; 0: none
};

// Until the plan at options.memory_rows is within options.memory_limit, if that is not 0. Throws a
// MemoryLimitError, a usage error, where it cannot be; without `again` where it is not at once.
// Says what it did in program.recomputed.
void keep_within_limit(LoweredProgram& program, const Backend& backend,
                       const CompileOptions& options, bool again);

}  // namespace tapescope
